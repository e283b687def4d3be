/* relation: making, finding and ending relations; see relation.h. */
#include "consensusd/relation.h"

#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/clock.h"
#include "common/os/crypto.h"
#include "common/os/log.h"
#include "consensusd/relation_impl.h"
#include "consensusd/sink_impl.h"
#include "consensusd/source_impl.h"
#include "consensusd/stats.h"

/* Ids of such groups begin with this, so that one that is not here is not taken for the control group. */
static const uint8_t id_prefix[4] = {'D', 'S', 'G', 0};

struct relations *
relations_new(struct engine *e)
{
	struct relations *rs = mem_calloc(1, sizeof(*rs));

	if (rs == NULL)
		return NULL;
	rs->engine = e;
	TAILQ_INIT(&rs->queue);
	return rs;
}

void
relations_free(struct relations *rs)
{
	struct relation *r, *next;

	if (rs == NULL)
		return;
	HASH_ITER (hh, rs->all, r, next)
		relation_free(r);
	mem_free(rs);
}

size_t
relations_count(const struct relations *rs)
{
	return HASH_COUNT(rs->all);
}

struct relation *
relation_find(const struct relations *rs, const uint8_t id[STORE_GROUP_BYTES])
{
	struct relation *r;

	HASH_FIND(hh, rs->all, id, STORE_GROUP_BYTES, r);
	return r;
}

static bool
is_ours(const uint8_t id[STORE_GROUP_BYTES])
{
	return memcmp(id, id_prefix, sizeof(id_prefix)) == 0;
}

bool
relations_unknown(struct relations *rs, const uint8_t *id)
{
	struct relation *r = relation_find(rs, id);

	if (r != NULL)
		relation_duty_soon(r);
	return r != NULL || is_ours(id);
}

/* --- one --- */

static struct dsg *
state_new(struct relation *r)
{
	const struct dsg_watch watch = {
	    .described = relation_on_described, .opened = relation_on_opened, .ctx = r};

	return dsg_new(&watch);
}

int
relation_new(struct relations *rs, const uint8_t id[STORE_GROUP_BYTES], struct relation **out)
{
	struct relation *r = mem_calloc(1, sizeof(*r));

	if (r == NULL)
		return ERR_NOMEM;
	r->owner = rs;
	memcpy(r->id, id, STORE_GROUP_BYTES);
	uuid_format(r->text, id);
	TAILQ_INIT(&r->sources);
	TAILQ_INIT(&r->sinks);
	buf_init(&r->proposal, RELATION_PROPOSAL_BYTES);
	r->duty.fn = relation_on_duty;
	r->duty.arg = r;
	r->unused_since = clock_mono();
	r->gone_since = MONO_NEVER;
	r->state = state_new(r);
	if (r->state != NULL)
		HASH_ADD(hh, rs->all, id, STORE_GROUP_BYTES, r);
	if (r->state == NULL || !HASH_ADDED(r)) {
		dsg_free(r->state);
		mem_free(r);
		return ERR_NOMEM;
	}
	*out = r;
	return 0;
}

/* The group stays as it is. */
void
relation_free(struct relation *r)
{
	struct relations *rs = r->owner;

	engine_at_cancel(rs->engine, &r->duty);
	if (r->queued)
		TAILQ_REMOVE(&rs->queue, r, queue_entry);
	relation_unindex(r);
	HASH_DEL(rs->all, r);
	buf_fini(&r->proposal);
	dsg_free(r->state);
	mem_free(r);
}

static void
draw_id(uint8_t id[STORE_GROUP_BYTES])
{
	crypto_random(id, STORE_GROUP_BYTES);
	memcpy(id, id_prefix, sizeof(id_prefix));
}

int
relation_begin(struct relation *r, bool first)
{
	struct engine *e = r->owner->engine;
	const struct raft_member self = {.id = group_draw_replica(), .node = e->self, .role = RAFT_VOTER};
	int err = group_new(
	    e->groups, r->id, STORE_RAFT_DSG, self.id, first ? &self : NULL, first ? 1 : 0, &r->group);

	if (err != 0) {
		r->group = NULL;
		return err;
	}
	err = group_attach(r->group, &relation_ops, r);
	MUST(err == 0); /* there is no snapshot that could be wrong */
	if (first)
		group_campaign(r->group);
	return 0;
}

/* --- a source's --- */

static void
be_mine(struct relation *r, const struct store_stream *row)
{
	r->mine = true;
	memcpy(r->tenant, row->tenant_id, sizeof(r->tenant));
	r->target_count = row->dst_count;
	memcpy(r->targets, row->dst_nodes, sizeof(r->targets));
	relation_index(r);
}

int
relation_choose(struct engine *e, struct store_stream *row)
{
	struct relation_key key = relation_key_make(row->tenant_id, row->dst_nodes, row->dst_count);
	struct relation *r;
	uint8_t id[STORE_GROUP_BYTES];
	int err;

	for (r = relation_by_key(e->relations, &key); r != NULL; r = r->same) {
		if (r->group != NULL && dsg_count(r->state) < DSG_STREAMS_MAX) {
			memcpy(row->group_id, r->id, STORE_GROUP_BYTES);
			return 0;
		}
	}
	draw_id(id);
	if ((err = relation_new(e->relations, id, &r)) != 0)
		return err;
	be_mine(r, row);
	if ((err = relation_begin(r, true)) != 0) {
		relation_free(r);
		return err;
	}
	relation_duty_soon(r);
	memcpy(row->group_id, id, STORE_GROUP_BYTES);
	return 0;
}

int
relation_add_source(struct source *s)
{
	struct relations *rs = s->engine->relations;
	struct relation *r = relation_find(rs, s->row.group_id);
	int err = 0;

	if (r == NULL && (err = relation_new(rs, s->row.group_id, &r)) != 0)
		return err;
	if (!r->mine)
		be_mine(r, &s->row);
	s->relation.relation = r;
	s->relation.cap = s->stream->durable_seq;
	s->relation.sure_from = UINT64_MAX;
	TAILQ_INSERT_TAIL(&r->sources, s, relation.entry);
	relation_used(r);
	return 0;
}

void
relation_del_source(struct source *s, bool closed)
{
	struct relation *r = s->relation.relation, *next = s->relation.next;

	if (next != NULL) {
		s->relation.next = NULL;
		next->expected--;
		relation_used(next);
	}
	if (r == NULL)
		return;
	if (closed && r->ready && dsg_find(r->state, &s->row.stream_id) != NULL &&
	    dsg_put_close(&r->proposal, &s->row.stream_id) == 0)
		relation_queue(r);
	TAILQ_REMOVE(&r->sources, s, relation.entry);
	s->relation.relation = NULL;
	relation_used(r);
}

void
relation_expect(struct source *s)
{
	struct relation *r = relation_find(s->engine->relations, s->row.group_id);

	MUST(r != NULL && s->relation.next == NULL);
	r->expected++;
	s->relation.next = r;
	relation_used(r);
}

void
relation_move(struct source *s)
{
	struct relation *r = s->relation.next;

	MUST(r != NULL);
	if (r != s->relation.relation) {
		/* The source leaves, too, and with it what it has expected. */
		relation_del_source(s, true);
		s->relation = (struct relation_source){
		    .relation = r, .cap = UINT64_MAX, .sure_from = UINT64_MAX, .moved = true};
		TAILQ_INSERT_TAIL(&r->sources, s, relation.entry);
	} else {
		s->relation.next = NULL;
		r->expected--;
	}
	relation_used(r);
	/* It was lost meanwhile, and another one took its place. */
	if (memcmp(s->row.group_id, r->id, STORE_GROUP_BYTES) != 0) {
		memcpy(s->row.group_id, r->id, STORE_GROUP_BYTES);
		source_revise(s);
	}
	relation_arrived(s);
}

/* --- a target's --- */

int
relation_add_sink(struct sink *k)
{
	struct relations *rs = k->engine->relations;
	struct relation *r = relation_find(rs, k->row.group_id);
	int err = 0;

	if (r == NULL && (err = relation_new(rs, k->row.group_id, &r)) != 0)
		return err;
	/* Without room now: tried again. */
	if (r->group == NULL && rs->ready && relation_begin(r, false) != 0)
		log_warn("stream %s: no replica of its group can be begun now", k->id_text);
	k->relation.relation = r;
	TAILQ_INSERT_TAIL(&r->sinks, k, relation.entry);
	relation_used(r);
	return 0;
}

void
relation_del_sink(struct sink *k)
{
	struct relation *r = k->relation.relation;

	if (r == NULL)
		return;
	TAILQ_REMOVE(&r->sinks, k, relation.entry);
	k->relation.relation = NULL;
	relation_used(r);
}

uint64_t
relation_replica(const struct sink *k)
{
	const struct relation *r = k->relation.relation;
	struct raft_status st;

	if (r == NULL || r->group == NULL)
		return 0;
	group_show(r->group, &st);
	return st.id;
}

void
relation_source_back(struct sink *k)
{
	if (k->relation.relation != NULL)
		relation_duty_soon(k->relation.relation);
}

/* --- loading --- */

/* Groups that were loaded find their relations; one that has none is of no use to anybody. */
static void
adopt_groups(struct relations *rs)
{
	struct group *g, *next;

	for (g = groups_first(rs->engine->groups); g != NULL; g = next) {
		struct relation *r = relation_find(rs, group_id(g));

		next = groups_next(g);
		if (group_type(g) != STORE_RAFT_DSG || !is_ours(group_id(g)))
			continue;
		if (r == NULL || group_attach(g, &relation_ops, r) != 0) {
			group_drop(g);
			continue;
		}
		r->group = g;
	}
}

void
relations_ready(struct relations *rs)
{
	struct relation *r, *next;

	adopt_groups(rs);
	rs->ready = true;
	HASH_ITER (hh, rs->all, r, next) {
		if (r->group != NULL && r->mine)
			group_campaign(r->group);
		relation_duty_soon(r);
	}
}

/* --- another group --- */

void
relation_renew(struct relation *r)
{
	struct relations *rs = r->owner;
	struct dsg *state = state_new(r);
	struct source *s;

	if (state == NULL)
		return;
	relation_unready(r);
	if (r->group != NULL)
		group_drop(r->group);
	HASH_DEL(rs->all, r);
	draw_id(r->id);
	uuid_format(r->text, r->id);
	HASH_ADD(hh, rs->all, id, STORE_GROUP_BYTES, r);
	MUST(HASH_ADDED(r)); /* its place is the one it had */
	dsg_free(r->state);
	r->state = state;
	r->heard_count = 0;
	r->applied = 0;
	r->role = (struct raft_status){0};
	TAILQ_FOREACH (s, &r->sources, relation.entry) {
		s->relation.cap = UINT64_MAX;
		/* It is about to leave, and its row says for where. */
		if (s->change.under_way)
			continue;
		memcpy(s->row.group_id, r->id, STORE_GROUP_BYTES);
		source_revise(s);
	}
	if (relation_begin(r, true) != 0)
		log_warn("group %s can't be begun now", r->text);
	metric_inc(&stats.relations_renewed);
}
