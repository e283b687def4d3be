/* mesh: the configuration that all nodes share, written down, and what those who watch are told; see mesh.h.
 */
#include <stdio.h>
#include <string.h>

#include "common/base/err.h"
#include "common/os/clock.h"
#include "common/os/log.h"
#include "consensusd/acl.h"
#include "consensusd/api.h"
#include "consensusd/mesh_impl.h"
#include "consensusd/shared.h"
#include "consensusd/store.h"

static void
put(struct mesh *m, const struct mcg_value *v)
{
	const struct store_config row = {.key = v->key,
	    .json = v->json,
	    .len = v->len,
	    .version = v->version,
	    .index = v->index,
	    .node = v->node,
	    .unix_ms = v->unix_ms};
	int64_t ticket = store_put_config(m->engine->store, &row);

	if (ticket < 0)
		log_warn("%s of the configuration is not written to the database: %s", v->key,
		    err_text((int)ticket));
}

/* The database has it for people, and its history; the state machine does not read it from there. */
void
mesh_config_changed(struct mesh *m)
{
	struct mcg_value v;
	int64_t ticket = store_put_config_clear(m->engine->store);

	if (ticket < 0)
		log_warn(
		    "the configuration in the database is not brought up to date: %s", err_text((int)ticket));
	for (size_t i = 0; mcg_value_at(m->mcg, i, &v); i++)
		put(m, &v);
	shared_changed(m->engine->shared, NULL);
}

/* The daemons of a node that starts and reaches nobody go by it. */
static void
keep(struct mesh *m)
{
	int err = group_keep(m->group);

	if (err != 0)
		log_warn("the shared configuration is as before after a restart without a leader: %s",
		    err_text(err));
}

void
mesh_config_set(struct mesh *m, const struct mcg_cmd *cmd, uint64_t index, uint64_t version)
{
	const struct mcg_cmd_config *c = &cmd->u.config;
	const struct mcg_value v = {.key = c->key,
	    .json = c->remove ? NULL : c->json,
	    .len = c->remove ? 0 : c->len,
	    .version = version,
	    .index = index,
	    .unix_ms = cmd->unix_ms,
	    .node = cmd->node};

	put(m, &v);
	shared_changed(m->engine->shared, c->key);
	if (index > m->settled && (shared_concerns(c->key) || acl_concerns(c->key)))
		keep(m);
}

/* --- whether it is known --- */

static void
on_patience_over(void *arg)
{
	struct mesh *m = arg;

	shared_look(m->engine->shared);
}

void
mesh_config_init(struct mesh *m)
{
	m->config_timer.fn = on_patience_over;
	m->config_timer.arg = m;
}

void
mesh_config_fini(struct mesh *m)
{
	engine_at_cancel(m->engine, &m->config_timer);
}

/* What the database knows to be committed is often an entry or two behind: a change that was in effect before
 * the restart is not taken back until a leader says so again. */
void
mesh_config_begin(struct mesh *m, uint64_t last)
{
	m->config_index = last;
	m->config_over = mono_add_ms(clock_mono(), MESH_CONFIG_PATIENCE_MS);
	engine_at(m->engine, &m->config_timer, m->config_over);
}

bool
mesh_config_known(const struct mesh *m)
{
	switch (mesh_state(m)) {
	case MESH_OUTSIDE:
		return m->ready;
	case MESH_ENTERING:
		return false;
	case MESH_MEMBER:
	case MESH_STOPPED:
		break;
	}
	return mcg_index(m->mcg) >= m->config_index ||
	       (mcg_index(m->mcg) >= m->settled && !mono_before(clock_mono(), m->config_over));
}

/* --- events --- */

static void
event(struct mesh *m, const char *type, uint64_t node, const char *key, const char *value)
{
	char id[NODEID_TEXT_SIZE] = "";
	struct api_field fields[] = {{"node_id", id}, {"node_name", ""}, {key, value}};
	const struct node *n = nodes_find(&m->engine->nodes, node);
	const struct mcg_member *x = mcg_member_get(m->mcg, node);

	if (node != 0)
		nodeid_format(id, node);
	if (node == m->engine->self)
		fields[1].value = m->engine->node_name;
	else if (x != NULL)
		fields[1].value = x->name;
	else if (n != NULL)
		fields[1].value = n->name;
	api_event(m->engine, type, fields, key != NULL ? 3 : 2);
}

void
mesh_event(struct mesh *m, const char *type, uint64_t node, const char *key, const char *value)
{
	if (m->engine->api != NULL)
		event(m, type, node, key, value);
}

static void
tell_state(struct mesh *m, const struct mcg_cmd_state *s)
{
	log_notice("control group: %s %s", engine_node_text(m->engine, s->node),
	    s->stopped ? "is going down" : "takes part again");
	mesh_event(m, s->stopped ? "member_stopped" : "member_started", s->node, NULL, NULL);
}

static void
tell_remove(struct mesh *m, const struct mcg_cmd_remove *r)
{
	const char *what = r->readmit ? "may join again" : r->evict ? "was evicted" : "left";

	log_notice("control group: %s %s%s%s", engine_node_text(m->engine, r->node), what,
	    r->reason[0] != '\0' ? ": " : "", r->reason);
	mesh_event(m,
	    r->readmit ? "member_readmitted"
	    : r->evict ? "member_evicted"
		       : "member_left",
	    r->node, "reason", r->reason);
}

static void
tell_config(struct mesh *m, const struct mcg_cmd_config *c)
{
	log_info("configuration: %s %s", c->key, c->remove ? "is removed" : "is set");
	mesh_event(m, "config_changed", 0, "key", c->key);
}

void
mesh_tell(struct mesh *m, const struct mcg_cmd *cmd)
{
	switch (cmd->type) {
	case MCG_SEED:
		log_notice("control group: begun by this node");
		mesh_event(m, "group_seeded", cmd->node, NULL, NULL);
		break;
	case MCG_ADMIT:
		log_notice("control group: %s is a member", engine_node_text(m->engine, cmd->u.admit.node));
		mesh_event(m, "member_joined", cmd->u.admit.node, NULL, NULL);
		break;
	case MCG_REMOVE:
		tell_remove(m, &cmd->u.remove);
		break;
	case MCG_STATE:
		tell_state(m, &cmd->u.state);
		break;
	case MCG_CONFIG:
		tell_config(m, &cmd->u.config);
		break;
	case MCG_KEY:
		mesh_event(m, "key_rotated", cmd->node, "tenant_id", cmd->u.key.tenant);
		break;
	default:
		break;
	}
}
