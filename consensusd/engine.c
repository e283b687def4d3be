/* engine: see engine.h. */
#include "consensusd/engine.h"

#include <stdio.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/clock.h"
#include "common/os/conf.h"
#include "common/os/crypto.h"
#include "common/os/log.h"
#include "consensusd/acl.h"
#include "consensusd/api.h"
#include "consensusd/ask.h"
#include "consensusd/bulletin.h"
#include "consensusd/core/credit.h"
#include "consensusd/core/node_list.h"
#include "consensusd/applier.h"
#include "consensusd/dbsink.h"
#include "consensusd/egress.h"
#include "consensusd/follower.h"
#include "consensusd/group.h"
#include "consensusd/keyring.h"
#include "consensusd/limits.h"
#include "consensusd/memo.h"
#include "consensusd/mesh.h"
#include "consensusd/meta.h"
#include "consensusd/meters.h"
#include "consensusd/peers.h"
#include "consensusd/relation.h"
#include "consensusd/regulator.h"
#include "consensusd/router.h"
#include "consensusd/seal.h"
#include "consensusd/shared.h"
#include "consensusd/sink.h"
#include "consensusd/source.h"
#include "consensusd/spill.h"
#include "consensusd/stats.h"
#include "consensusd/store.h"
#include "consensusd/tenantkeys.h"
#include "consensusd/transport.h"
#include "consensusd/warmth.h"

static void turn(void *arg);
static void on_timer(void *arg);

void
engine_configure(struct engine *e, const struct conf *conf)
{
	struct stream_conf *s = &e->stream_conf;

	s->flow.window_bytes = (size_t)conf_int(conf, "consensusd", "stream-window");
	s->flow.rto_min_ms = (uint32_t)(conf_int(conf, "consensusd", "retransmit-min") / 1000);
	s->flow.rto_max_ms = (uint32_t)(conf_int(conf, "consensusd", "retransmit-max") / 1000);
	if (s->flow.rto_max_ms < s->flow.rto_min_ms)
		s->flow.rto_max_ms = s->flow.rto_min_ms;
	s->batch_messages = (uint32_t)conf_int(conf, "consensusd", "batch-messages");
	s->batch_bytes = (size_t)conf_int(conf, "consensusd", "batch-bytes");
	s->backlog_bytes = (size_t)conf_int(conf, "consensusd", "stream-backlog");
	e->target_conf.window_bytes = s->flow.window_bytes;
	e->target_conf.backlog_bytes = s->backlog_bytes;
	e->target_conf.reassembly_us = TARGET_REASSEMBLY_US;
	e->ids.window_max = (uint32_t)conf_int(conf, "consensusd", "dedupe-window");
	e->ids.total_max = (uint32_t)conf_int(conf, "consensusd", "dedupe-max");
	e->letters_max = (uint64_t)conf_int(conf, "consensusd", "dead-letters-max");
	e->streams_max = (size_t)conf_int(conf, "consensusd", "streams-max");
	e->metrics_streams = (size_t)conf_int(conf, "consensusd", "metrics-streams");
	e->metrics_tenants = (size_t)conf_int(conf, "consensusd", "metrics-tenants");
	e->budget.max_bytes = (size_t)conf_int(conf, "consensusd", "memory-max");
	e->assembly.message_max = (size_t)conf_int(conf, "consensusd", "message-max");
	if (e->applier != NULL)
		applier_configure(e->applier, conf);
	if (e->dbsinks != NULL)
		dbsinks_configure(e->dbsinks, conf);
	memo_configure(e, conf);
}

static void
copy_text(char *out, size_t size, const char *text)
{
	snprintf(out, size, "%s", text != NULL ? text : "");
}

static uint64_t
seed(void)
{
	uint64_t s;

	crypto_random(&s, sizeof(s));
	return s;
}

/* Each is built upon the one before. */
static int
init_consensus(struct engine *e, const struct conf *conf)
{
	e->asks = asks_new(e);
	e->groups = groups_new(e, conf);
	e->relations = relations_new(e);
	e->shared = shared_new(e);
	e->acl = acl_new(e);
	if (e->acl == NULL || e->asks == NULL || e->groups == NULL || e->relations == NULL ||
	    e->shared == NULL)
		return ERR_NOMEM;
	e->mesh = mesh_new(e, conf);
	return e->mesh != NULL ? 0 : ERR_NOMEM;
}

int
engine_init(struct engine *e, struct loop *loop, struct keyring *keyring, const struct conf *conf)
{
	*e = (struct engine){.loop = loop, .keyring = keyring, .started = clock_mono()};
	e->busy.at = e->started;
	e->busy.cpu_us = clock_cpu_us();
	e->self = keyring_node_id(keyring);
	crypto_key_public(keyring_node_key(keyring), e->public_key);
	if (ulid_parse(conf_str(conf, "mesh", "id"), &e->mesh_id) != 0)
		return ERR_FORMAT;
	copy_text(e->mesh_name, sizeof(e->mesh_name), conf_str(conf, "mesh", "name"));
	copy_text(e->node_name, sizeof(e->node_name), conf_str(conf, "mesh", "node-name"));
	copy_text(e->region, sizeof(e->region), conf_str(conf, "mesh", "region"));
	rng_seed(&e->rng, seed());
	for (int i = 0; i < FRAME_CLASS_COUNT; i++)
		order_init(&e->order[i]);
	deadlines_init(&e->deadlines);
	TAILQ_INIT(&e->early);
	nodes_init(&e->nodes);
	idwindows_init(&e->ids, 0, 0, IDCACHE_MAX, seed());
	idcache_init(&e->closed, CLOSED_MAX, seed());
	fresh_init(&e->fresh);
	assembly_init(&e->assembly, &e->budget, 0);
	engine_configure(e, conf);
	for (int i = 0; i < FRAME_CLASS_COUNT; i++) {
		TAILQ_INIT(&e->dirty_sources[i]);
		TAILQ_INIT(&e->ready_flows[i]);
		TAILQ_INIT(&e->dirty_sinks[i]);
	}
	TAILQ_INIT(&e->reads);
	e->turn.fn = turn;
	e->turn.arg = e;
	e->timer = loop_timer_new(loop, on_timer, e);
	e->scratch = mem_calloc(BATCH_MESSAGES_MAX, sizeof(*e->scratch));
	e->transport = transport_new(e);
	e->router = router_new(e);
	e->peers = peers_new(e);
	e->warmth = warmth_new(e);
	e->regulator = regulator_new(e);
	e->meters = meters_new(e);
	if (e->warmth == NULL || e->timer == NULL || e->scratch == NULL || e->transport == NULL ||
	    e->router == NULL || e->peers == NULL || e->regulator == NULL || e->meters == NULL)
		return ERR_NOMEM;
	return init_consensus(e, conf);
}

void
engine_fini(struct engine *e)
{
	if (e->loop == NULL)
		return;
	applier_free(e->applier);
	e->applier = NULL;
	store_free(e->store);
	e->store = NULL;
	while (!TAILQ_EMPTY(&e->reads))
		engine_read_free(TAILQ_FIRST(&e->reads));
	source_free_all(e);
	sink_free_all(e);
	dbsinks_free(e->dbsinks);
	regulator_free(e->regulator);
	meters_free(e->meters);
	memo_close(e);
	warmth_free(e->warmth);
	mesh_free(e->mesh);
	shared_free(e->shared);
	relations_free(e->relations);
	acl_free(e->acl);
	groups_free(e->groups);
	asks_free(e->asks);
	bulletin_free(e->bulletin);
	router_free(e->router);
	transport_free(e->transport);
	peers_free(e->peers);
	loop_timer_free(e->timer);
	loop_defer_del(&e->turn);
	for (int i = 0; i < FRAME_CLASS_COUNT; i++)
		order_fini(&e->order[i]);
	deadlines_fini(&e->deadlines);
	nodes_fini(&e->nodes);
	idwindows_fini(&e->ids);
	idcache_fini(&e->closed);
	assembly_fini(&e->assembly);
	pending_pool_fini(&e->pool);
	mem_free(e->scratch);
}

/* --- the turn --- */

void
engine_wake(struct engine *e)
{
	loop_defer_add(e->loop, &e->turn);
}

static void
arm_timer(struct engine *e)
{
	loop_timer_arm(e->timer, e->early_count != 0 ? clock_mono() : deadlines_next(&e->deadlines));
}

/* Streams that nothing happens to keep what they have: when memory is short, they give it back. */
static void
trim_all(struct engine *e)
{
	struct mono now = clock_mono();
	struct source *s, *s_next;
	struct sink *k, *k_next;

	if (!budget_over(&e->budget) || mono_before(now, e->trim_at))
		return;
	e->trim_at = mono_add_ms(now, ENGINE_TRIM_MS);
	HASH_ITER (hh, e->sources, s, s_next)
		stream_trim(s->stream);
	HASH_ITER (hh, e->sinks, k, k_next)
		target_trim(k->target);
}

/* What sources are granted follows from how far the database is behind, and how busy this process is: over
 * the last second of turns, or longer where there were none. */
static void
measure(struct engine *e)
{
	struct mono now = clock_mono();
	int64_t wall_us = mono_diff_us(now, e->busy.at), cpu_us;

	if (wall_us >= ENGINE_MEASURE_MS * 1000) {
		cpu_us = clock_cpu_us();
		e->busy.permille = (uint32_t)((cpu_us - e->busy.cpu_us) * 1000 / wall_us);
		e->busy.cpu_us = cpu_us;
		e->busy.at = now;
	}
	e->target_conf.pressure_permille = credit_pressure(store_lag_ms(e->store), e->busy.permille);
	metric_set(&stats.pressure, e->target_conf.pressure_permille);
}

static void
turn(void *arg)
{
	struct engine *e = arg;
	bool more;

	if (!e->loaded)
		return;
	measure(e);
	sink_turn(e);
	more = source_turn(e);
	more |= api_turn(e->api);
	relations_turn(e->relations);
	more |= groups_turn(e->groups);
	peers_turn(e->peers);
	more |= transport_turn(e->transport);
	trim_all(e);
	metric_set(&stats.memory, (int64_t)e->budget.used_bytes);
	arm_timer(e);
	if (more)
		engine_wake(e);
}

/* --- deadlines --- */

static void
early_del(struct engine *e, struct timed *t)
{
	if (!t->early)
		return;
	TAILQ_REMOVE(&e->early, t, entry);
	t->early = false;
	e->early_count--;
}

static void
early_add(struct engine *e, struct timed *t)
{
	if (t->early)
		return;
	TAILQ_INSERT_TAIL(&e->early, t, entry);
	t->early = true;
	e->early_count++;
	arm_timer(e);
}

/* Those that are there now: more may come meanwhile. */
static void
early_run(struct engine *e)
{
	struct timed *t;

	for (size_t n = e->early_count; n > 0 && (t = TAILQ_FIRST(&e->early)) != NULL; n--) {
		early_del(e, t);
		t->fn(t->arg);
	}
}

static void
on_timer(void *arg)
{
	struct engine *e = arg;
	struct mono now = clock_mono();
	struct deadline *d;

	early_run(e);
	while ((d = deadlines_pop(&e->deadlines, now)) != NULL) {
		struct timed *t = (struct timed *)d;

		t->fn(t->arg);
	}
	metric_add(&stats.expired, (int64_t)assembly_expire(&e->assembly, now));
	arm_timer(e);
}

void
engine_at(struct engine *e, struct timed *t, struct mono when)
{
	struct mono next = deadlines_next(&e->deadlines);

	early_del(e, t);
	if (deadlines_set(&e->deadlines, &t->deadline, when) != 0) {
		early_add(e, t);
		return;
	}
	/* Inside the turn the timer is armed at its end. */
	if (mono_before(when, next))
		engine_wake(e);
}

void
engine_at_cancel(struct engine *e, struct timed *t)
{
	early_del(e, t);
	deadlines_del(&e->deadlines, &t->deadline);
}

/* --- the store --- */

static void
on_durable_entry(void *arg, const struct order_entry *x)
{
	switch (x->kind) {
	case ORDER_STREAM_ROW:
		source_row_durable(x->noun, x->seq);
		break;
	case ORDER_TARGET_ROW:
		sink_row_durable(x->noun, x->seq);
		break;
	case ORDER_OUTBOX:
		source_outbox_durable(x->noun);
		break;
	case ORDER_INBOX:
		sink_inbox_durable(x->noun);
		break;
	case ORDER_PROCESSED:
		sink_processed_durable(x->noun, x->seq);
		break;
	case ORDER_RECORDED:
		source_flow_recorded(x->noun);
		break;
	case ORDER_SKIPPED:
		source_skip_durable(x->noun, x->seq);
		break;
	case ORDER_LETTER:
		api_dead_durable(x->noun);
		break;
	case ORDER_NOTE:
		bulletin_durable(x->noun, x->seq);
		break;
	case ORDER_CONTROL:
		api_control_durable(((struct engine *)arg)->api, x->seq);
		break;
	}
}

static void
on_durable(void *ctx, uint64_t ticket)
{
	struct engine *e = ctx;

	for (int i = 0; i < FRAME_CLASS_COUNT; i++)
		order_durable(&e->order[i], ticket, clock_mono(), on_durable_entry, e);
	groups_durable(e->groups, ticket);
	e->flushed = true;
	/* At once, so that what waited for this flush is part of the next. */
	turn(e);
	memo_durable(e, ticket);
}

static void
load_failed(struct engine *e, const char *what, int err)
{
	log_error("%s can't be loaded from the database: %s", what, err_text(err));
	e->failed = true;
	loop_stop(e->loop);
}

/* Closed by its source; or this node left it, which it shows by not being among the targets. */
static void
load_closed(struct engine *e, const struct store_stream *row)
{
	struct store_stream full = *row;
	bool is_target = node_list_has(row->dst_nodes, row->dst_count, e->self);

	if (row->src_node == e->self || is_target || meta_load(&full) != 0)
		fresh_closed(e, &row->stream_id, row->close_seq);
	else
		fresh_removed(e, &row->stream_id, full.revision);
}

static void
on_load_stream(void *ctx, const struct store_stream *row)
{
	struct store_stream full = *row;
	struct engine *e = ctx;
	int err = 0;

	if (row->state == STORE_STREAM_CLOSED) {
		load_closed(e, row);
	} else {
		err = meta_load(&full);
		if (err == 0 && row->src_node == e->self)
			err = source_load(e, &full);
		for (size_t i = 0; i < row->dst_count && err == 0; i++) {
			if (row->dst_nodes[i] == e->self) {
				err = sink_load(e, &full);
				break; /* another node's list may name us twice */
			}
		}
	}
	if (err != 0)
		load_failed(e, "a stream", err);
}

static void
on_load_rule(void *ctx, const struct control *c)
{
	struct engine *e = ctx;
	int err = regulator_load(e->regulator, c);

	if (err != 0)
		load_failed(e, "a rule about streams", err);
}

static void
on_load_key(void *ctx, const struct store_key *row)
{
	struct engine *e = ctx;
	int err = tenantkeys_load(e, row);

	if (err != 0)
		load_failed(e, "a key of a tenant", err);
}

static void
on_key_gone(void *ctx, const char *tenant_id, const uint8_t key_id[BATCH_KEY_ID_BYTES])
{
	tenantkeys_gone(ctx, tenant_id, key_id);
}

static void
on_load_node(void *ctx, uint64_t node_id, const char *addresses)
{
	struct engine *e = ctx;

	router_load_node(e->router, node_id, addresses);
}

static void
on_load_offset(void *ctx, const struct store_offset *o)
{
	struct engine *e = ctx;
	struct source *s = source_find(e, &o->stream_id);
	struct sink *k = sink_find(e, &o->stream_id);

	if (s != NULL)
		source_load_offset(s, o->node_id, o->committed_seq);
	if (k != NULL && o->node_id == e->self)
		sink_load_offset(k, o->committed_seq);
}

static void
on_ready(void *ctx)
{
	struct engine *e = ctx;
	bool first = !e->loaded;
	struct source *s, *next;

	e->loaded = true;
	metric_set(&stats.store_ready, 1);
	log_notice("database ready: %zu streams", engine_stream_count(e));
	if (first) {
		groups_ready(e->groups);
		relations_ready(e->relations);
		mesh_ready(e->mesh);
		/* Who was evicted is known before anybody is linked with. */
		while (groups_turn(e->groups))
			;
		transport_identify(e->transport);
		router_loaded(e->router);
		memo_loaded(e);
		bulletin_loaded(e->bulletin);
		if (e->applier != NULL)
			applier_open(e->applier);
		if (e->dbsinks != NULL)
			dbsinks_open(e->dbsinks);
	}
	HASH_ITER (hh, e->sources, s, next) {
		source_read_ids(s);
		source_progressed(s); /* the last run may have ended before it cleared what was processed */
	}
	api_health_changed(e->api);
	engine_transport_up(e);
}

static void
on_lost(void *ctx, const char *why)
{
	struct engine *e = ctx;

	metric_set(&stats.store_ready, 0);
	log_warn("database away: %s; publishers wait until it is back", why);
	api_health_changed(e->api);
	engine_wake(e);
}

static int
on_load_raft(void *ctx, const struct store_raft_state *r)
{
	struct engine *e = ctx;

	return groups_load(e->groups, r);
}

static void
on_load_note(void *ctx, const struct store_note *n)
{
	struct engine *e = ctx;
	int err = bulletin_load(e->bulletin, n);

	if (err != 0)
		load_failed(e, "a note of a node", err);
}

static void
on_load_position(void *ctx, const struct store_position *p)
{
	struct engine *e = ctx;
	int err = 0;

	/* Without a name: positions up to this one were used. */
	if (p->subscriber[0] == '\0' && p->kind == FOLLOW_NODES)
		bulletin_load_position(e->bulletin, p->position);
	else if (p->subscriber[0] == '\0' && p->kind == FOLLOW_MESH)
		mesh_load_log(e->mesh, p->position);
	else
		err = follower_load(e, p->kind, p->subscriber, p->position);
	if (err != 0)
		load_failed(e, "the position of a subscriber", err);
}

static void
on_load_letters(void *ctx, uint64_t count)
{
	struct engine *e = ctx;

	e->letters = count;
	metric_set(&stats.letters, (int64_t)count);
}

static void
on_load_attempt(void *ctx, const struct store_letter *row)
{
	struct engine *e = ctx;
	struct sink *k = sink_find(e, &row->stream_id);

	if (k != NULL)
		sink_load_attempt(k, row);
}

static void
on_load_failure(void *ctx, const struct ulid *stream, uint64_t node, uint64_t seq)
{
	struct engine *e = ctx;
	struct source *s = source_find(e, stream);
	struct sink *k = node == e->self ? sink_find(e, stream) : NULL;

	if (s != NULL)
		source_load_failed(s, node, seq);
	if (k != NULL)
		target_load_failed(k->target, seq);
}

static void
on_rolled_back(void *ctx, const char *why)
{
	struct engine *e = ctx;

	groups_rolled_back(e->groups, why);
	spill_distrust(e);
}

static void
on_damaged(void *ctx, const uint8_t group[STORE_GROUP_BYTES], const char *why)
{
	struct engine *e = ctx;

	groups_damaged(e->groups, group, why);
}

static void
on_fatal(void *ctx, const char *why)
{
	struct engine *e = ctx;

	log_error("stopping: %s", why);
	e->failed = true;
	loop_stop(e->loop);
}

int
engine_open_store(struct engine *e, const struct conf *conf, int sql_dir_fd, int witness_fd, const char *user)
{
	const struct store_conf sc = {
	    .conninfo = conf_str(conf, "consensusd", "database"),
	    .user = user,
	    .sql_dir_fd = sql_dir_fd,
	    .migrate = strcmp(conf_str(conf, "consensusd", "migrate"), "apply") == 0,
	    .memory_max = e->budget.max_bytes,
	    .node_id = e->self,
	    .witness_fd = witness_fd,
	    .trust_database = conf_bool(conf, "consensusd", "trust-database"),
	};
	const struct store_callbacks cb = {
	    .on_ready = on_ready,
	    .on_lost = on_lost,
	    .on_durable = on_durable,
	    .on_load_node = on_load_node,
	    .on_load_rule = on_load_rule,
	    .on_load_key = on_load_key,
	    .on_key_gone = on_key_gone,
	    .on_load_stream = on_load_stream,
	    .on_load_offset = on_load_offset,
	    .on_load_raft = on_load_raft,
	    .on_load_note = on_load_note,
	    .on_load_position = on_load_position,
	    .on_load_letters = on_load_letters,
	    .on_load_attempt = on_load_attempt,
	    .on_load_failure = on_load_failure,
	    .on_rolled_back = on_rolled_back,
	    .on_damaged = on_damaged,
	    .on_fatal = on_fatal,
	    .ctx = e,
	};

	e->store = store_new(e->loop, &sc, &cb);
	return e->store != NULL ? 0 : ERR_NOMEM;
}

/* --- what the parts ask --- */

struct engine_read *
engine_read_new(struct engine *e, const struct ulid *stream_id, uint64_t node)
{
	struct engine_read *r = mem_calloc(1, sizeof(*r));

	if (r == NULL)
		return NULL;
	r->engine = e;
	r->stream_id = *stream_id;
	r->node = node;
	TAILQ_INSERT_TAIL(&e->reads, r, entry);
	return r;
}

void
engine_read_free(struct engine_read *r)
{
	if (r == NULL)
		return;
	TAILQ_REMOVE(&r->engine->reads, r, entry);
	mem_free(r->extra);
	mem_free(r);
}

bool
engine_held(const struct engine *e, uint8_t class, const char **why)
{
	const char *text = NULL;

	if (!e->loaded || !store_ready(e->store))
		text = "the database of this node is away";
	else if (store_full_for(e->store, class))
		text = "the database of this node is behind";
	else if (budget_over(&e->budget))
		text = "this node's memory for messages is full (memory-max)";
	if (why != NULL)
		*why = text;
	return text != NULL;
}

size_t
engine_stream_count(const struct engine *e)
{
	return HASH_COUNT(e->sources) + HASH_COUNT(e->sinks);
}

void
engine_ulid(struct engine *e, struct ulid *out)
{
	uint64_t now = clock_unix_ms();
	uint8_t random[10] = {0};

	/* Within a millisecond the random part is counted up: no need to draw one. */
	if (now > ulid_unix_ms(&e->last_ulid))
		crypto_random(random, sizeof(random));
	ulid_next(out, &e->last_ulid, now, random);
	e->last_ulid = *out;
}

void
engine_node_up(struct engine *e, struct node *n)
{
	struct mono now = clock_mono();

	for (struct source_flow *f = n->flows; f != NULL; f = f->next_on_node) {
		flow_hurry(f->flow, now);
		source_flow_ready(f);
	}
	e->unsorted = true;
	groups_node_up(e->groups);
	mesh_node_changed(e->mesh, n->id);
	bulletin_node_up(e->bulletin, n->id);
	engine_wake(e);
}

void
engine_node_down(struct engine *e, struct node *n)
{
	egress_node_down(e, n);
	groups_node_down(e->groups, n->id);
	mesh_node_changed(e->mesh, n->id);
}

void
engine_transport_up(struct engine *e)
{
	if (!e->loaded || !transport_up(e->transport))
		return;
	for (size_t i = 0; i < e->nodes.count; i++)
		engine_node_up(e, e->nodes.all[i]);
	sink_announce_all(e);
	engine_wake(e);
}

const char *
engine_node_text(const struct engine *e, uint64_t node)
{
	static char text[NODE_NAME_SIZE + NODEID_TEXT_SIZE + 4];
	const struct node *n = nodes_find(&e->nodes, node);
	char id[NODEID_TEXT_SIZE];

	nodeid_format(id, node);
	if (node == e->self)
		snprintf(text, sizeof(text), "%s (this node)", e->node_name);
	else if (n != NULL && n->name[0] != '\0')
		snprintf(text, sizeof(text), "%s (%s)", n->name, id);
	else
		snprintf(text, sizeof(text), "%s", id);
	return text;
}
