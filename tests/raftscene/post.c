/* post: messages between the replicas of a scene. */
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/must.h"
#include "consensusd/core/raft_entry.h"
#include "tests/raftscene/scene.h"
#include "tests/sim/queue.h"

enum { MESSAGE_MAX_BYTES = 1 << 20 };

static void
print_entries(FILE *out, const struct raft_msg *m)
{
	static const char *const types[] = {"noop", "data", "config"};

	for (size_t i = 0; i < m->entry_count; i++) {
		const struct raft_entry *e = m->entries[i];

		fprintf(out, " %llu:%llu", (unsigned long long)e->index, (unsigned long long)e->term);
		if (e->type == RAFT_DATA)
			fprintf(out, "\"%.*s\"", (int)e->len, (const char *)e->data);
		else
			fprintf(out, "(%s)", types[e->type]);
	}
}

static void
print_numbers(FILE *out, const struct raft_msg *m)
{
	const struct {
		const char *name;
		uint64_t value;
	} fields[] = {
	    {"index", m->index},
	    {"log-term", m->log_term},
	    {"commit", m->commit},
	    {"hint", m->hint},
	    {"hint-term", m->hint_term},
	    {"read", m->read},
	    {"offset", m->offset},
	    {"size", m->size},
	};

	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		if (fields[i].value != 0)
			fprintf(out, " %s %llu", fields[i].name, (unsigned long long)fields[i].value);
}

void
post_print(FILE *out, const struct raft_msg *m)
{
	fprintf(out, "%llu -> %llu %s term %llu", (unsigned long long)m->from, (unsigned long long)m->to,
	    raft_kind_name(m->kind), (unsigned long long)m->term);
	print_numbers(out, m);
	fprintf(out, "%s%s%s", m->reject ? " reject" : "", m->transfer ? " transfer" : "",
	    m->quiet ? " quiet" : "");
	print_entries(out, m);
	fputc('\n', out);
}

void
post_put(struct scene *s, const struct raft_msg *m)
{
	struct scene_message *x = &s->msg[s->count++];
	struct buf b;

	MUST(s->count <= SCENE_MESSAGES && m->to <= SCENE_HOSTS);
	fprintf(s->out, "  ");
	post_print(s->out, m);
	buf_init(&b, MESSAGE_MAX_BYTES);
	MUST(raft_msg_encode(m, &b) == 0);
	*x = (struct scene_message){.from = (unsigned)m->from, .to = (unsigned)m->to, .kind = m->kind};
	x->len = buf_left(&b);
	x->data = sim_dup(buf_head(&b), x->len);
	buf_fini(&b);
}

static bool
fits(const struct scene_message *m, unsigned from, unsigned to, uint8_t kind)
{
	return (from == 0 || m->from == from) && (to == 0 || m->to == to) && (kind == 0 || m->kind == kind);
}

static void
arrive(struct scene *s, const struct scene_message *x)
{
	struct scene_host *h = &s->host[x->to];
	struct raft_msg m;

	if (h->raft == NULL)
		return;
	MUST(raft_msg_decode(x->data, x->len, &m) == 0);
	fprintf(s->out, "%u gets %s of %u\n", x->to, raft_kind_name(x->kind), x->from);
	raft_step(h->raft, &m, h->now);
	table_pump(s, x->to);
}

void
post_deliver(struct scene *s, unsigned from, unsigned to, uint8_t kind, bool drop)
{
	size_t count = s->count, kept = 0;
	struct scene_message *now = sim_dup(s->msg, count * sizeof(s->msg[0]));

	/* Those that stay are on their way before those that follow from the others. */
	for (size_t i = 0; i < count; i++)
		if (!fits(&now[i], from, to, kind))
			s->msg[kept++] = now[i];
	s->count = kept;
	for (size_t i = 0; i < count; i++) {
		if (!fits(&now[i], from, to, kind))
			continue;
		if (!drop)
			arrive(s, &now[i]);
		free(now[i].data);
	}
	free(now);
}

bool
post_double(struct scene *s, unsigned from, unsigned to, uint8_t kind)
{
	for (size_t i = 0; i < s->count; i++) {
		if (!fits(&s->msg[i], from, to, kind))
			continue;
		MUST(s->count < SCENE_MESSAGES);
		s->msg[s->count] = s->msg[i];
		s->msg[s->count++].data = sim_dup(s->msg[i].data, s->msg[i].len);
		return true;
	}
	return false;
}
