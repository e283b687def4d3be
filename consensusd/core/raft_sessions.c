#include "consensusd/core/raft_sessions.h"

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/tree.h"
#include "consensusd/core/codec.h"

enum {
	SLOTS_MIN = 8,
	SESSION_BYTES = 8 + 8 + 8 + 8 + 4, /* encoded: client, opened, next, highest, count */
	RESULT_BYTES = 8 + 8 + 4,
};

struct slot {
	uint64_t seq; /* 0: nothing is kept */
	uint64_t index;
	int result;
};

struct session {
	RB_ENTRY(session) by_client;
	TAILQ_ENTRY(session) by_use;
	uint64_t client;
	uint64_t opened;  /* index */
	uint64_t next;    /* the lowest seq that was not applied */
	uint64_t highest; /* that was; below next + RAFT_SESSION_WINDOW */
	size_t kept;
	/* Seq s is at s modulo cap.  Seqs count from 1, so while they are below cap nothing wraps, and a slot
	 * stays where it is when there are to be more. */
	struct slot *slots;
	size_t cap;
};

RB_HEAD(by_client, session);
TAILQ_HEAD(by_use, session);

struct raft_sessions {
	struct by_client clients;
	struct by_use uses; /* the least recent first */
	size_t count, kept;
};

static int
compare(const struct session *a, const struct session *b)
{
	return a->client < b->client ? -1 : a->client > b->client;
}
RB_GENERATE_STATIC(by_client, session, by_client, compare)

struct raft_sessions *
raft_sessions_new(void)
{
	struct raft_sessions *s = mem_calloc(1, sizeof(*s));

	if (s == NULL)
		return NULL;
	RB_INIT(&s->clients);
	TAILQ_INIT(&s->uses);
	return s;
}

static void
forget(struct raft_sessions *s, struct session *x)
{
	RB_REMOVE(by_client, &s->clients, x);
	TAILQ_REMOVE(&s->uses, x, by_use);
	s->count--;
	s->kept -= x->kept;
	mem_free(x->slots);
	mem_free(x);
}

void
raft_sessions_free(struct raft_sessions *s)
{
	struct session *x;

	if (s == NULL)
		return;
	while ((x = TAILQ_FIRST(&s->uses)) != NULL)
		forget(s, x);
	mem_free(s);
}

size_t
raft_sessions_count(const struct raft_sessions *s)
{
	return s->count;
}

static struct session *
find(const struct raft_sessions *s, uint64_t client)
{
	struct raft_sessions look = *s; /* RB_FIND changes nothing, but does not say so */
	struct session key = {.client = client};

	return RB_FIND(by_client, &look.clients, &key);
}

static void
touch(struct raft_sessions *s, struct session *x)
{
	TAILQ_REMOVE(&s->uses, x, by_use);
	TAILQ_INSERT_TAIL(&s->uses, x, by_use);
}

/* --- slots --- */

static struct slot *
slot(const struct session *x, uint64_t seq)
{
	return &x->slots[seq % x->cap];
}

static bool
applied(const struct session *x, uint64_t seq)
{
	return seq < x->next || (seq <= x->highest && slot(x, seq)->seq == seq);
}

static int
grow(struct session *x, uint64_t seq)
{
	size_t cap = x->cap != 0 ? x->cap : SLOTS_MIN;
	struct slot *slots;

	while (cap < RAFT_SESSION_WINDOW && cap <= seq)
		cap *= 2;
	if (cap == x->cap)
		return 0;
	if ((slots = mem_reallocarray(x->slots, cap, sizeof(*slots))) == NULL)
		return ERR_NOMEM;
	for (size_t i = x->cap; i < cap; i++)
		slots[i] = (struct slot){0};
	x->slots = slots;
	x->cap = cap;
	return 0;
}

/* Results that fall out of the window when seq is the highest. */
static void
slide(struct raft_sessions *s, struct session *x, uint64_t seq)
{
	for (size_t i = 0; i < x->cap; i++) {
		struct slot *old = &x->slots[i];

		if (old->seq == 0 || seq - old->seq < RAFT_SESSION_WINDOW)
			continue;
		*old = (struct slot){0};
		x->kept--;
		s->kept--;
	}
	x->highest = seq;
}

static void
keep(struct raft_sessions *s, struct session *x, const struct slot *result)
{
	if (result->seq > x->highest)
		slide(s, x, result->seq);
	*slot(x, result->seq) = *result;
	x->kept++;
	s->kept++;
	while (x->next <= x->highest && applied(x, x->next))
		x->next++;
}

/* --- events --- */

int
raft_sessions_begin(struct raft_sessions *s, uint64_t client, uint64_t seq, int *result, uint64_t *index)
{
	struct session *x = find(s, client);

	if (x == NULL)
		return ERR_NOENT;
	if (seq != 0 && !applied(x, seq) && seq - x->next < RAFT_SESSION_WINDOW)
		return grow(x, seq);
	/* The log uses the session even so. */
	touch(s, x);
	if (seq == 0 || !applied(x, seq))
		return ERR_RANGE;
	if (slot(x, seq)->seq != seq)
		return ERR_STALE;
	*result = slot(x, seq)->result;
	*index = slot(x, seq)->index;
	return ERR_EXISTS;
}

void
raft_sessions_done(struct raft_sessions *s, uint64_t client, uint64_t seq, int result, uint64_t index)
{
	struct session *x = find(s, client);

	MUST(x != NULL && seq != 0 && !applied(x, seq) && seq - x->next < RAFT_SESSION_WINDOW);
	MUST(x->cap > seq || x->cap >= RAFT_SESSION_WINDOW);
	keep(s, x, &(struct slot){.seq = seq, .index = index, .result = result});
	touch(s, x);
}

static void
insert(struct raft_sessions *s, struct session *x)
{
	MUST(RB_INSERT(by_client, &s->clients, x) == NULL);
	TAILQ_INSERT_TAIL(&s->uses, x, by_use);
	s->count++;
}

int
raft_sessions_open(struct raft_sessions *s, uint64_t client, uint64_t index)
{
	struct session *x = find(s, client);

	if (x != NULL) {
		touch(s, x);
		return 0;
	}
	if ((x = mem_calloc(1, sizeof(*x))) == NULL)
		return ERR_NOMEM;
	if (s->count == RAFT_SESSIONS_MAX)
		forget(s, TAILQ_FIRST(&s->uses));
	x->client = client;
	x->opened = index;
	x->next = 1;
	insert(s, x);
	return 0;
}

/* --- bytes ---
 *
 *	u32 count, count x {u64 client, u64 opened, u64 next, u64 highest,
 *			u32 kept, kept x {u64 seq, u64 index, u32 result}, ascending by seq}
 *
 * from the session that was used least recently on.
 */

static void
result_fields(struct codec *c, struct slot *r)
{
	uint32_t result = (uint32_t)r->result;

	codec_u64(c, &r->seq);
	codec_u64(c, &r->index);
	codec_u32(c, &result);
	if (c->err == 0)
		r->result = (int)result;
}

static void
session_fields(struct codec *c, struct session *x, size_t *kept)
{
	codec_u64(c, &x->client);
	codec_u64(c, &x->opened);
	codec_u64(c, &x->next);
	codec_u64(c, &x->highest);
	codec_count(c, kept, RAFT_SESSION_WINDOW, RESULT_BYTES);
}

static uint64_t
window_first(uint64_t highest)
{
	return highest >= RAFT_SESSION_WINDOW ? highest - RAFT_SESSION_WINDOW + 1 : 1;
}

static void
put_session(struct codec *c, struct session *x)
{
	session_fields(c, x, &x->kept);
	for (uint64_t seq = window_first(x->highest); seq <= x->highest && c->err == 0; seq++)
		if (slot(x, seq)->seq == seq)
			result_fields(c, slot(x, seq));
}

int
raft_sessions_encode(const struct raft_sessions *s, struct buf *out)
{
	struct codec c = codec_put(out);
	size_t count = s->count;
	struct session *x;

	codec_count(&c, &count, RAFT_SESSIONS_MAX, SESSION_BYTES);
	TAILQ_FOREACH (x, &s->uses, by_use)
		put_session(&c, x);
	return c.err;
}

static int
get_results(struct codec *c, struct raft_sessions *s, struct session *x, size_t count)
{
	const uint64_t next = x->next, highest = x->highest;
	uint64_t before = window_first(highest) - 1;
	int err;

	if (count == 0)
		return highest == 0 && next == 1 ? 0 : ERR_FORMAT;
	if (next == 0 || highest > INT64_MAX || next > highest + 1 ||
	    highest - next + 1 > RAFT_SESSION_WINDOW)
		return ERR_FORMAT;
	if ((err = grow(x, highest)) != 0)
		return err;
	/* All below next were applied; what is kept of them need not be said but has to be there. */
	x->highest = 0;
	x->next = window_first(highest);
	for (size_t i = 0; i < count; i++) {
		struct slot r = {0};

		result_fields(c, &r);
		if (c->err != 0)
			return c->err;
		if (r.seq <= before || r.seq > highest)
			return ERR_FORMAT;
		before = r.seq;
		keep(s, x, &r);
	}
	return x->highest == highest && x->next == next ? 0 : ERR_FORMAT;
}

static int
get_session(struct codec *c, struct raft_sessions *s)
{
	struct session *x = mem_calloc(1, sizeof(*x));
	size_t kept = 0;

	if (x == NULL)
		return ERR_NOMEM;
	session_fields(c, x, &kept);
	codec_check(c, x->client != 0 && find(s, x->client) == NULL, ERR_FORMAT);
	if (c->err != 0) {
		mem_free(x);
		return c->err;
	}
	insert(s, x);
	return get_results(c, s, x, kept);
}

int
raft_sessions_decode(struct buf *in, struct raft_sessions **out)
{
	struct raft_sessions *s = raft_sessions_new();
	struct codec c = codec_get(in);
	size_t count = 0;
	int err;

	if (s == NULL)
		return ERR_NOMEM;
	codec_count(&c, &count, RAFT_SESSIONS_MAX, SESSION_BYTES);
	err = c.err;
	for (size_t i = 0; i < count && err == 0; i++)
		err = get_session(&c, s);
	if (err != 0) {
		raft_sessions_free(s);
		return err;
	}
	*out = s;
	return 0;
}

size_t
raft_sessions_bytes(const struct raft_sessions *s)
{
	return 4 + s->count * SESSION_BYTES + s->kept * RESULT_BYTES;
}
