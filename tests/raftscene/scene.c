#include "tests/raftscene/scene.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/must.h"
#include "consensusd/core/raft_entry.h"
#include "tests/raftsim/disk.h"
#include "tests/sim/queue.h"

enum { SETTLE_ROUNDS = 100 };

void
scene_init(struct scene *s, FILE *out)
{
	*s = (struct scene){.out = out, .append_bytes = 65536};
	for (unsigned h = 1; h <= SCENE_HOSTS; h++)
		disk_init(&s->host[h].disk);
}

void
scene_fini(struct scene *s)
{
	for (unsigned h = 1; h <= SCENE_HOSTS; h++) {
		raft_free(s->host[h].raft);
		disk_fini(&s->host[h].disk);
		disk_snapshot_free(&s->host[h].incoming);
	}
	for (size_t i = 0; i < s->count; i++)
		free(s->msg[i].data);
}

/* --- words --- */

/* A host's number; 0: it is none. */
static unsigned
host(const char *word)
{
	char *end;
	unsigned long n = word != NULL ? strtoul(word, &end, 10) : 0;

	return word != NULL && *end == '\0' && n <= SCENE_HOSTS ? (unsigned)n : 0;
}

static bool
running(const struct scene *s, unsigned h)
{
	return h != 0 && s->host[h].raft != NULL;
}

static uint8_t
kind_of(const char *word)
{
	for (uint8_t k = 1; k < RAFT_KINDS; k++)
		if (strcmp(word, raft_kind_name(k)) == 0)
			return k;
	return 0;
}

/* [FROM>TO] [KIND]; * is any. */
static const char *
which(char *const *word, unsigned *from, unsigned *to, uint8_t *kind)
{
	*from = *to = *kind = 0;
	for (; *word != NULL; word++) {
		if (strchr(*word, '>') != NULL) {
			*from = (unsigned)strtoul(*word, NULL, 10);
			*to = (unsigned)strtoul(strchr(*word, '>') + 1, NULL, 10);
		} else if ((*kind = kind_of(*word)) == 0) {
			return "which messages? [FROM>TO] [KIND]";
		}
	}
	return NULL;
}

static void
told(struct scene *s, int err)
{
	if (err != 0)
		fprintf(s->out, "  refused: %s\n", err_text(err));
}

/* --- commands --- */

static const char *
do_group(struct scene *s, char *const *word)
{
	unsigned n = host(word[1]);

	if (n == 0)
		return "group VOTERS";
	table_members(s, n);
	return NULL;
}

/* One entry in each append, as the paper draws them. */
static const char *
do_single(struct scene *s, char *const *word)
{
	s->append_bytes = 1;
	return word[1] == NULL ? NULL : "single";
}

static const char *
do_log(struct scene *s, char *const *word)
{
	uint64_t terms[SCENE_WORDS];
	size_t n = 0;

	if (host(word[1]) == 0)
		return "log HOST TERM...";
	for (; word[2 + n] != NULL; n++)
		terms[n] = strtoull(word[2 + n], NULL, 10);
	table_log(s, host(word[1]), terms, n);
	return NULL;
}

static const char *
do_disk(struct scene *s, char *const *word)
{
	unsigned h = host(word[1]);

	if (h == 0 || word[2] == NULL)
		return "disk HOST term N | vote N | commit N | wait | go";
	if (strcmp(word[2], "wait") == 0)
		s->host[h].waits = true;
	else if (strcmp(word[2], "go") == 0)
		s->host[h].waits = false;
	else if (word[3] == NULL)
		return "disk HOST term|vote|commit N";
	else if (strcmp(word[2], "term") == 0)
		s->host[h].disk.term = strtoull(word[3], NULL, 10);
	else if (strcmp(word[2], "vote") == 0)
		s->host[h].disk.vote = strtoull(word[3], NULL, 10);
	else if (strcmp(word[2], "commit") == 0)
		s->host[h].disk.commit = strtoull(word[3], NULL, 10);
	if (!s->host[h].waits && s->host[h].raft != NULL)
		table_sync(s, h);
	return NULL;
}

static const char *
do_start(struct scene *s, char *const *word)
{
	for (unsigned h = 1; word[1] == NULL && h <= s->group; h++)
		table_start(s, h);
	for (word++; *word != NULL; word++) {
		if (host(*word) == 0 || running(s, host(*word)))
			return "start [HOST...]";
		table_start(s, host(*word));
	}
	return NULL;
}

static const char *
do_crash(struct scene *s, char *const *word)
{
	for (word++; *word != NULL; word++) {
		if (!running(s, host(*word)))
			return "crash HOST...";
		table_crash(s, host(*word));
	}
	return NULL;
}

static const char *
do_campaign(struct scene *s, char *const *word)
{
	unsigned h = host(word[1]);

	if (!running(s, h))
		return "campaign HOST";
	raft_campaign(s->host[h].raft, s->host[h].now);
	table_pump(s, h);
	return NULL;
}

static const char *
do_pass(struct scene *s, char *const *word)
{
	unsigned h = host(word[1]);
	int64_t ms = word[1] != NULL && word[2] != NULL ? strtoll(word[2], NULL, 10) : 0;

	if (h == 0 || ms <= 0)
		return "pass HOST MS";
	s->host[h].now = mono_add_us(s->host[h].now, ms * 1000);
	if (s->host[h].raft == NULL)
		return NULL;
	raft_tick(s->host[h].raft, s->host[h].now);
	table_pump(s, h);
	return NULL;
}

static const char *
do_propose(struct scene *s, char *const *word)
{
	unsigned h = host(word[1]);
	uint64_t index;

	if (!running(s, h) || word[2] == NULL)
		return "propose HOST TEXT";
	told(s, raft_propose(s->host[h].raft, raft_entry_new(RAFT_DATA, 0, 0, word[2], strlen(word[2])),
		    s->host[h].now, &index));
	table_pump(s, h);
	return NULL;
}

static const char *
do_change(struct scene *s, char *const *word)
{
	unsigned h = host(word[1]);
	struct raft_member m[SCENE_WORDS];
	struct raft_config *c;
	size_t n = 0;
	int err;

	if (!running(s, h))
		return "change HOST VOTER|LEARNER+...";
	for (; word[2 + n] != NULL; n++) {
		uint64_t id = strtoull(word[2 + n], NULL, 10);

		m[n] = (struct raft_member){
		    id, id, strchr(word[2 + n], '+') != NULL ? RAFT_LEARNER : RAFT_VOTER};
	}
	if ((err = raft_config_new(m, n, &c)) == 0) {
		err = raft_change(s->host[h].raft, c, s->host[h].now);
		raft_config_free(c);
	}
	told(s, err);
	table_pump(s, h);
	return NULL;
}

static const char *
do_transfer(struct scene *s, char *const *word)
{
	unsigned h = host(word[1]);

	if (!running(s, h) || host(word[2]) == 0)
		return "transfer HOST TO";
	told(s, raft_transfer(s->host[h].raft, host(word[2]), s->host[h].now));
	table_pump(s, h);
	return NULL;
}

static const char *
do_read(struct scene *s, char *const *word)
{
	unsigned h = host(word[1]);

	if (!running(s, h) || word[2] == NULL)
		return "read HOST NUMBER";
	told(s, raft_read(s->host[h].raft, strtoull(word[2], NULL, 10), s->host[h].now));
	table_pump(s, h);
	return NULL;
}

/* What it has applied becomes a snapshot, and the log ends there. */
static const char *
do_compact(struct scene *s, char *const *word)
{
	unsigned h = host(word[1]);
	struct raft_status st;
	struct disk_snapshot snap = {0};
	struct raft_config *c;

	if (!running(s, h))
		return "compact HOST";
	raft_show(s->host[h].raft, &st);
	snap.index = st.applied;
	snap.term = raft_entry_at(s->host[h].raft, st.applied)->term;
	MUST(raft_config_at(s->host[h].raft, st.applied, &c) == 0);
	table_encode(c, &snap.config, &snap.config_len);
	raft_config_free(c);
	snap.len = 1500;
	snap.data = sim_alloc(1, snap.len);
	disk_snapshot(&s->host[h].disk, &snap, snap.index, snap.term, sim_dup(snap.config, snap.config_len),
	    snap.config_len);
	table_pump(s, h);
	return NULL;
}

static const char *
do_sync(struct scene *s, char *const *word)
{
	if (!running(s, host(word[1])))
		return "sync HOST";
	table_sync(s, host(word[1]));
	return NULL;
}

static const char *
deliver_or(struct scene *s, char *const *word, bool drop)
{
	unsigned from, to;
	uint8_t kind;
	const char *why = which(word + 1, &from, &to, &kind);

	if (why == NULL)
		post_deliver(s, from, to, kind, drop);
	return why;
}

static const char *
do_deliver(struct scene *s, char *const *word)
{
	return deliver_or(s, word, false);
}

static const char *
do_drop(struct scene *s, char *const *word)
{
	return deliver_or(s, word, true);
}

static const char *
do_double(struct scene *s, char *const *word)
{
	unsigned from, to;
	uint8_t kind;
	const char *why = which(word + 1, &from, &to, &kind);

	if (why == NULL && !post_double(s, from, to, kind))
		why = "there is no such message";
	return why;
}

/* Everything arrives, until nothing is on its way. */
static const char *
do_settle(struct scene *s, char *const *word)
{
	unsigned from, to;
	uint8_t kind;
	const char *why = which(word + 1, &from, &to, &kind);
	unsigned rounds = 0;

	while (why == NULL && s->count != 0) {
		if (rounds++ == SETTLE_ROUNDS)
			return "it does not settle";
		post_deliver(s, from, to, kind, false);
	}
	return why;
}

static const char *
do_show(struct scene *s, char *const *word)
{
	for (unsigned h = 1; word[1] == NULL && h <= s->group; h++)
		table_show(s, h);
	for (word++; *word != NULL; word++)
		if (host(*word) != 0)
			table_show(s, host(*word));
	return NULL;
}

static const struct {
	const char *name;
	const char *(*run)(struct scene *s, char *const *word);
} commands[] = {
    {"group", do_group},
    {"single", do_single},
    {"log", do_log},
    {"disk", do_disk},
    {"start", do_start},
    {"crash", do_crash},
    {"campaign", do_campaign},
    {"pass", do_pass},
    {"propose", do_propose},
    {"change", do_change},
    {"transfer", do_transfer},
    {"read", do_read},
    {"compact", do_compact},
    {"sync", do_sync},
    {"deliver", do_deliver},
    {"drop", do_drop},
    {"double", do_double},
    {"settle", do_settle},
    {"show", do_show},
};

const char *
scene_do(struct scene *s, char *const *word, size_t count)
{
	if (count == 0)
		return NULL;
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (strcmp(word[0], commands[i].name) == 0)
			return commands[i].run(s, word);
	return "there is no such command";
}
