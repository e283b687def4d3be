/* mesh: the control group's state machine in its shell; see mesh.h. */
#include "consensusd/mesh.h"

#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/clock.h"
#include "common/os/conf.h"
#include "common/os/log.h"
#include "consensusd/api.h"
#include "consensusd/core/raft_entry.h"
#include "consensusd/mesh_impl.h"
#include "consensusd/router.h"
#include "consensusd/shared.h"
#include "consensusd/stats.h"
#include "consensusd/store.h"
#include "consensusd/transport.h"

/* --- what a change means here --- */

/* Links and routes know them before anybody is told that they are out. */
static void
tell_evicted(struct mesh *m)
{
	size_t count = 0, all = mcg_member_count(m->mcg);
	uint64_t *nodes = mem_calloc(all + 1, sizeof(*nodes));

	if (nodes == NULL) {
		m->undone |= MCG_CHANGE_MEMBERS;
		return;
	}
	for (size_t i = 0; i < all; i++)
		if (mcg_member_at(m->mcg, i)->status == MCG_EVICTED)
			nodes[count++] = mcg_member_at(m->mcg, i)->node;
	if (transport_evicted(m->engine->transport, nodes, count) != 0 ||
	    router_evicted(m->engine->router, nodes, count) != 0)
		m->undone |= MCG_CHANGE_MEMBERS;
	metric_set(&stats.evicted, (int64_t)count);
	mem_free(nodes);
}

/* Members are nodes that can be sent to, whether or not routerd knows them already. */
static void
learn_keys(struct mesh *m)
{
	for (size_t i = 0; i < mcg_member_count(m->mcg); i++) {
		const struct mcg_member *x = mcg_member_at(m->mcg, i);
		struct node *n = x->node != m->engine->self ? nodes_get(&m->engine->nodes, x->node) : NULL;

		if (n == NULL && x->node != m->engine->self)
			m->undone |= MCG_CHANGE_MEMBERS;
		if (n == NULL || n->has_key)
			continue;
		memcpy(n->public_key, x->public_key, sizeof(n->public_key));
		n->has_key = true;
		if (n->name[0] == '\0')
			nodes_rename(&m->engine->nodes, n, x->name);
	}
}

static void
store_mesh_row(struct mesh *m)
{
	const struct mcg_mesh *x = mcg_mesh(m->mcg);
	struct store_mesh row;
	int64_t ticket;

	if (x == NULL)
		return;
	row = (struct store_mesh){.mesh_id = x->mesh_id,
	    .name = x->name,
	    .description = x->description,
	    .allow_join = x->allow_join != MCG_JOIN_NOBODY,
	    .status = mesh_state(m) == MESH_STOPPED ? "stopped" : "member",
	    .created_unix_ms = x->created_unix_ms};
	if ((ticket = store_put_mesh(m->engine->store, &row)) < 0)
		log_warn("the mesh's settings are not written to the database: %s", err_text((int)ticket));
}

static void
on_members(struct mesh *m)
{
	tell_evicted(m);
	learn_keys(m);
	mesh_updates_forget(m);
	mesh_enter_changed(m);
	metric_set(&stats.members, (int64_t)mcg_member_count(m->mcg));
}

/* Who acts upon what the state machine says has changed, in this order; after a restart or a snapshot each is
 * called for all that there is, so each must bear that. */
static const struct handler {
	unsigned changes;
	void (*fn)(struct mesh *m);
} handlers[] = {
    {MCG_CHANGE_MESH | MCG_CHANGE_MEMBERS, store_mesh_row},
    {MCG_CHANGE_MEMBERS, on_members},
    {MCG_CHANGE_KEYS | MCG_CHANGE_MEMBERS, mesh_keys_changed},
    /* Some may have waited for a key. */
    {MCG_CHANGE_UPDATE | MCG_CHANGE_KEYS | MCG_CHANGE_MEMBERS, mesh_updates_came},
    {MCG_CHANGE_ALL, mesh_lead_soon},
};

static void
act_upon(struct mesh *m, unsigned changes)
{
	for (size_t i = 0; i < sizeof(handlers) / sizeof(handlers[0]); i++)
		if (changes & handlers[i].changes)
			handlers[i].fn(m);
}

void
mesh_catch_up(struct mesh *m)
{
	unsigned undone = m->undone;

	if (undone == 0)
		return;
	log_warn("control group: memory was short; what followed from changes is done now");
	m->undone = 0;
	act_upon(m, undone);
}

/* What those who watch are told of one command: not what a snapshot or a restart repeats. */
static void
look_at_command(struct mesh *m, const struct raft_entry *e, const struct mcg_result *r)
{
	struct mcg_cmd cmd;

	if (e->type != RAFT_DATA || mcg_cmd_decode(e->data, e->len, &cmd) != 0)
		return;
	/* Again after a restart: the database may not have got it. */
	if (cmd.type == MCG_CONFIG)
		mesh_config_set(m, &cmd, e->index, r->version);
	if (e->index > m->settled)
		mesh_tell(m, &cmd);
}

/* --- the state machine --- */

static int
on_apply(void *sm, struct raft_entry *e)
{
	struct mesh *m = sm;
	struct mcg_result r = {0};
	int err = mcg_apply(m->mcg, e, &r);

	if (err != 0)
		return err;
	metric_set(&stats.mesh_applied, (int64_t)e->index);
	if (r.err == 0 && !r.repeated && r.changes != 0)
		look_at_command(m, e, &r);
	act_upon(m, r.changes);
	mesh_proposal_applied(m, e, &r);
	mesh_spread_applied(m);
	shared_look(m->engine->shared);
	return 0;
}

static int
on_snapshot(void *sm, struct buf *out)
{
	struct mesh *m = sm;

	return mcg_snapshot(m->mcg, out);
}

static int
on_restore(void *sm, const uint8_t *data, size_t len, uint64_t index)
{
	struct mesh *m = sm;
	int err = mcg_restore(m->mcg, data, len);

	if (err == 0 && mcg_index(m->mcg) != index)
		err = ERR_FORMAT;
	if (err != 0)
		return err;
	act_upon(m, MCG_CHANGE_ALL);
	mesh_config_changed(m);
	mesh_spread_applied(m);
	return 0;
}

static void
on_role(void *sm, const struct raft_status *now)
{
	struct mesh *m = sm;
	bool leads = now->role == RAFT_LEADER, led = m->role_known && m->role.role == RAFT_LEADER;
	bool other = !m->role_known || now->role != m->role.role || now->leader != m->role.leader;

	m->role = *now;
	m->role_known = true;
	metric_set(&stats.mesh_leader, leads);
	metric_set(&stats.mesh_term, (int64_t)now->term);
	if (!other)
		return;
	log_info("control group: %s in term %llu, led by %s", raft_role_name(now->role),
	    (unsigned long long)now->term,
	    now->leader != 0 ? engine_node_text(m->engine, mesh_leader(m)) : "nobody known");
	mesh_event(m, "role_changed", mesh_leader(m), "role",
	    !leads && !now->voter && now->role == RAFT_FOLLOWER ? "learner" : raft_role_name(now->role));
	if (now->leader != 0)
		mesh_proposals_hurry(m);
	if (leads != led)
		mesh_lead_changed(m);
	mesh_spread_role(m);
	mesh_lead_soon(m);
}

static void
on_gone(void *sm)
{
	mesh_enter_gone(sm);
}

static void
on_readable(void *sm, uint64_t ctx)
{
	mesh_readable(sm, ctx);
}

static const struct group_ops ops = {
    .apply = on_apply,
    .snapshot = on_snapshot,
    .restore = on_restore,
    .role = on_role,
    .readable = on_readable,
    .gone = on_gone,
};

int
mesh_attach(struct mesh *m, struct group *g)
{
	struct raft_status st;
	int err;

	group_show(g, &st);
	/* What was committed when this process began is no news. */
	m->settled = st.commit;
	mesh_config_begin(m, st.last);
	m->group = g;
	mesh_updates_log(m, group_id(g));
	if ((err = group_attach(g, &ops, m)) != 0)
		m->group = NULL;
	return err;
}

/* --- life --- */

void
mesh_configure(struct mesh *m, const struct conf *conf)
{
	m->updates_max_bytes = (size_t)conf_int(conf, "consensusd", "updates-max");
	m->updates_keep_bytes = (size_t)conf_int(conf, "consensusd", "updates-keep");
	m->stable_us = conf_int(conf, "consensusd", "voter-stable");
	m->gone_us = conf_int(conf, "consensusd", "voter-gone");
}

struct mesh *
mesh_new(struct engine *e, const struct conf *conf)
{
	struct mesh *m = mem_calloc(1, sizeof(*m));

	if (m == NULL)
		return NULL;
	m->engine = e;
	mesh_configure(m, conf);
	TAILQ_INIT(&m->transfers);
	TAILQ_INIT(&m->readings);
	mesh_propose_init(m);
	mesh_enter_init(m);
	mesh_lead_init(m);
	mesh_spread_init(m);
	mesh_config_init(m);
	m->mcg = mcg_new();
	m->spread = mem_calloc(1, sizeof(*m->spread));
	if (m->mcg != NULL && m->spread != NULL)
		return m;
	mcg_free(m->mcg);
	mem_free(m->spread);
	mem_free(m);
	return NULL;
}

void
mesh_free(struct mesh *m)
{
	if (m == NULL)
		return;
	mesh_updates_fini(m);
	/* Who waits is told, and may ask for a look at what is to be done. */
	mesh_enter_fini(m);
	mesh_propose_fini(m);
	mesh_transfers_fini(m);
	mesh_readings_fini(m);
	mesh_spread_fini(m);
	mesh_lead_fini(m);
	mesh_config_fini(m);
	mesh_keys_fini(m);
	mcg_free(m->mcg);
	mem_free(m->spread);
	mem_free(m);
}

void
mesh_ready(struct mesh *m)
{
	struct group *g = groups_find_type(m->engine->groups, STORE_RAFT_MCG);
	int err;

	mesh_updates_start(m);
	m->ready = true;
	shared_changed(m->engine->shared, NULL);
	err = g != NULL ? mesh_attach(m, g) : 0;
	if (err == ERR_NOMEM || (err != 0 && group_is_alone(g))) {
		/* What it has is good, and the next start may be luckier; or nobody else has it. */
		log_error("the control group's state can't be loaded: %s", err_text(err));
		m->engine->failed = true;
		loop_stop(m->engine->loop);
	} else if (err != 0) {
		log_error("the control group's state in the database can't be used (%s): it is forgotten, "
			  "and this node joins again",
		    err_text(err));
		group_drop(g);
		mesh_enter_again(m);
	} else if (g != NULL) {
		mesh_enter_resume(m);
	} else if (groups_lost(m->engine->groups)) {
		mesh_enter_again(m);
	}
}

/* A replica that is gone leaves nothing behind: the next one begins with an empty state. */
void
mesh_outside(struct mesh *m, const char *why)
{
	struct mcg *fresh = mcg_new();
	struct group *g = m->group;

	if (g == NULL || fresh == NULL) {
		mcg_free(fresh);
		return;
	}
	log_notice("control group: this node is outside: %s", why);
	m->group = NULL;
	m->role_known = false;
	m->undone = 0;
	mcg_free(m->mcg);
	m->mcg = fresh;
	m->evictions_told = m->evictions_streams = 0;
	mesh_keys_fini(m);
	mesh_keys_tenants(m);
	shared_changed(m->engine->shared, NULL);
	mesh_proposals_fail(m, mesh_absent(m), why);
	group_drop(g);
	metric_set(&stats.mesh_leader, 0);
	metric_set(&stats.members, 0);
}

/* --- to look at --- */

enum mesh_state
mesh_state(const struct mesh *m)
{
	const struct mcg_member *self = mcg_member_get(m->mcg, m->engine->self);

	if (m->group == NULL)
		return m->entering.kind != MESH_ENTRY_NONE ? MESH_ENTERING : MESH_OUTSIDE;
	if (self == NULL || (self->status != MCG_MEMBER && self->status != MCG_STOPPED))
		return MESH_ENTERING;
	return self->status == MCG_STOPPED ? MESH_STOPPED : MESH_MEMBER;
}

const struct mcg *
mesh_mcg(const struct mesh *m)
{
	return m->mcg;
}

struct group *
mesh_group(const struct mesh *m)
{
	return m->group;
}

int
mesh_absent(const struct mesh *m)
{
	return m->group != NULL || m->entering.kind == MESH_ENTRY_AGAIN ? ERR_UNAVAIL : ERR_STATE;
}

bool
mesh_leads(const struct mesh *m)
{
	return m->group != NULL && m->role_known && m->role.role == RAFT_LEADER;
}

uint64_t
mesh_leader(const struct mesh *m)
{
	return m->group != NULL ? group_leader_node(m->group) : 0;
}

void
mesh_forget(struct mesh *m, const void *ctx)
{
	mesh_proposals_forget(m, ctx);
	mesh_spread_forget(m, ctx);
	mesh_transfers_forget(m, ctx);
	mesh_readings_forget(m, ctx);
	if (m->entering.ctx == ctx)
		m->entering.fn = NULL;
}
