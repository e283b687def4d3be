/* table: the replicas of a scene. */
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/must.h"
#include "consensusd/core/raft_entry.h"
#include "tests/raftscene/scene.h"
#include "tests/sim/queue.h"

enum { ELECTION_US = 100000, HEARTBEAT_US = 10000 };

struct tracer {
	struct scene *s;
	unsigned h;
};

static struct tracer tracers[SCENE_HOSTS + 1];

static void
on_trace(void *arg, enum raft_trace what, uint64_t a, uint64_t b)
{
	const struct tracer *t = arg;

	fprintf(t->s->out, "  %u %s", t->h, raft_trace_name(what));
	if (what == RAFT_TRACE_ROLE)
		fprintf(t->s->out, " %s", raft_role_name((enum raft_role)a));
	else
		fprintf(t->s->out, " %llu", (unsigned long long)a);
	fprintf(t->s->out, " %llu\n", (unsigned long long)b);
}

/* --- disks --- */

void
table_encode(const struct raft_config *c, uint8_t **out, size_t *len)
{
	struct buf b;

	buf_init(&b, RAFT_CONFIG_MAX_BYTES);
	MUST(raft_config_encode(c, &b) == 0);
	*len = buf_left(&b);
	*out = sim_dup(buf_head(&b), *len);
	buf_fini(&b);
}

void
table_members(struct scene *s, unsigned voters)
{
	struct raft_member m[SCENE_HOSTS] = {{0}};
	struct raft_config *c;

	for (unsigned i = 0; i < voters; i++)
		m[i] = (struct raft_member){i + 1, i + 1, RAFT_VOTER};
	MUST(raft_config_new(m, voters, &c) == 0);
	for (unsigned h = 1; h <= voters; h++) {
		free(s->host[h].disk.base_config);
		table_encode(c, &s->host[h].disk.base_config, &s->host[h].disk.base_config_len);
	}
	raft_config_free(c);
	s->group = voters;
}

void
table_log(struct scene *s, unsigned h, const uint64_t *terms, size_t count)
{
	struct disk *d = &s->host[h].disk;

	d->entries = sim_realloc(d->entries, count + 1, sizeof(struct raft_entry *));
	d->cap = count + 1;
	for (; d->count < count; d->count++) {
		char text[48];
		int n = snprintf(
		    text, sizeof(text), "%zu/%llu", d->count + 1, (unsigned long long)terms[d->count]);
		struct raft_entry *e = raft_entry_new(RAFT_DATA, 0, 0, text, (size_t)n);

		e->index = d->count + 1;
		e->term = terms[d->count];
		d->entries[d->count] = e;
	}
	d->term = count != 0 && d->term < terms[count - 1] ? terms[count - 1] : d->term;
}

/* --- running --- */

void
table_start(struct scene *s, unsigned h)
{
	struct scene_host *o = &s->host[h];
	struct raft_config *base = NULL;
	struct raft_conf conf = {
	    .set =
		{
		    .election_us = ELECTION_US,
		    .heartbeat_us = HEARTBEAT_US,
		    .append_bytes = s->append_bytes,
		    .inflight_bytes = 262144,
		    .uncommitted_bytes = 262144,
		    .apply_bytes = 65536,
		    .chunk_bytes = 1024,
		},
	    .id = h,
	    .node = h,
	    .seed = h,
	    .trace = on_trace,
	    .arg = &tracers[h],
	};
	struct raft_state state = {
	    .term = o->disk.term,
	    .vote = o->disk.vote,
	    .commit = o->disk.commit,
	    .snap_index = o->disk.base,
	    .snap_term = o->disk.base_term,
	    .entries = o->disk.entries,
	    .entry_count = o->disk.count,
	    .applied = o->disk.snapshot.index,
	};

	tracers[h] = (struct tracer){s, h};
	if (o->disk.base_config != NULL)
		MUST(raft_config_decode(o->disk.base_config, o->disk.base_config_len, &base) == 0);
	state.snap_config = base;
	MUST(raft_new(&conf, &state, o->now, &o->raft) == 0);
	raft_config_free(base);
	table_pump(s, h);
}

void
table_crash(struct scene *s, unsigned h)
{
	raft_free(s->host[h].raft);
	s->host[h].raft = NULL;
	disk_crash(&s->host[h].disk, 0);
	disk_snapshot_free(&s->host[h].incoming);
}

static void
keep_chunks(struct scene_host *o)
{
	struct raft_chunk c;

	while (raft_chunk_came(o->raft, &c)) {
		if (c.offset == 0) {
			disk_snapshot_free(&o->incoming);
			o->incoming.config = sim_dup(c.config, c.config_len);
			o->incoming.config_len = c.config_len;
			o->incoming.index = c.index;
			o->incoming.term = c.term;
		}
		o->incoming.data = sim_realloc(o->incoming.data, c.offset + c.len + 1, 1);
		memcpy(o->incoming.data + c.offset, c.data, c.len);
		o->incoming.len = c.offset + c.len;
		raft_chunk_kept(o->raft, c.id, true, o->now);
	}
}

static void
give_chunks(struct scene_host *o)
{
	const struct disk_snapshot *d = &o->disk.snapshot;
	struct raft_chunk_wanted want;

	while (raft_chunk_next(o->raft, &want)) {
		struct raft_piece p = {
		    d->index, d->term, d->config, d->config_len, d->data + want.offset, 0, d->len};

		p.len = d->len - want.offset < want.max ? d->len - want.offset : want.max;
		raft_chunk_give(o->raft, &want, d->index != 0 ? &p : NULL, o->now);
	}
}

static void
apply(struct scene *s, unsigned h)
{
	struct scene_host *o = &s->host[h];
	uint64_t first, last, ctx, index;

	while (raft_apply(o->raft, &first, &last)) {
		fprintf(s->out, "  %u applies %llu to %llu\n", h, (unsigned long long)first,
		    (unsigned long long)last);
		raft_applied(o->raft, last);
	}
	while (raft_read_next(o->raft, &ctx, &index))
		fprintf(s->out, "  %u may serve read %llu at %llu\n", h, (unsigned long long)ctx,
		    (unsigned long long)index);
}

static void
persist(struct scene *s, unsigned h)
{
	struct scene_host *o = &s->host[h];
	struct raft_persist p;

	while (o->disk.write_count < DISK_WRITES_MAX && raft_persist(o->raft, &p)) {
		fprintf(s->out, "  %u writes %llu: term %llu vote %llu", h, (unsigned long long)p.mark,
		    (unsigned long long)p.term, (unsigned long long)p.vote);
		if (p.restore)
			fprintf(s->out, " restore %llu", (unsigned long long)p.snap_index);
		if (p.cut != UINT64_MAX)
			fprintf(s->out, " cut %llu", (unsigned long long)p.cut);
		if (p.first <= p.last)
			fprintf(s->out, " entries %llu to %llu", (unsigned long long)p.first,
			    (unsigned long long)p.last);
		fputc('\n', s->out);
		disk_persist(&o->disk, o->raft, &p, &o->incoming);
	}
}

static void
pump_once(struct scene *s, unsigned h)
{
	struct scene_host *o = &s->host[h];
	struct raft_msg m;

	give_chunks(o);
	keep_chunks(o);
	apply(s, h);
	persist(s, h);
	while (raft_send(o->raft, &m)) {
		post_put(s, &m);
		raft_msg_fini(&m);
	}
}

void
table_sync(struct scene *s, unsigned h)
{
	struct scene_host *o = &s->host[h];
	uint64_t keep, mark;

	while (o->disk.write_count != 0) {
		mark = disk_sync(&o->disk, &keep);
		if (mark != 0)
			raft_durable(o->raft, mark, o->now);
		else
			MUST(raft_compact(o->raft, keep) == 0);
		pump_once(s, h);
	}
}

void
table_pump(struct scene *s, unsigned h)
{
	pump_once(s, h);
	if (!s->host[h].waits)
		table_sync(s, h);
}

/* --- to look at --- */

static void
print_members(struct scene *s, unsigned h)
{
	static const char *const roles[] = {
	    "-", "voter", "old-voter", "voter+old", "learner", "?", "old+learner", "?"};
	struct raft_member_status m;

	for (size_t i = 0; raft_member_at(s->host[h].raft, i, &m); i++)
		fprintf(s->out, " %llu:%s", (unsigned long long)m.member.id, roles[m.member.role & 7]);
}

void
table_show(struct scene *s, unsigned h)
{
	struct raft_status st;

	if (s->host[h].raft == NULL) {
		fprintf(s->out, "%u: down\n", h);
		return;
	}
	raft_show(s->host[h].raft, &st);
	fprintf(s->out, "%u: %s term %llu commit %llu log", h, raft_role_name(st.role),
	    (unsigned long long)st.term, (unsigned long long)st.commit);
	for (uint64_t i = st.first; i <= st.last; i++)
		fprintf(s->out, " %llu", (unsigned long long)raft_entry_at(s->host[h].raft, i)->term);
	fprintf(s->out, " members%s", st.members == 0 ? " none" : "");
	print_members(s, h);
	fputc('\n', s->out);
}
