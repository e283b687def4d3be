/* acl: see acl.h. */
#include "consensusd/acl.h"

#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/channel.h"
#include "common/os/log.h"
#include "consensusd/acl_json.h"
#include "consensusd/api.h"
#include "consensusd/caller.h"
#include "consensusd/engine.h"
#include "consensusd/mesh.h"
#include "consensusd/source.h"
#include "consensusd/stats.h"
#include "consensusd/transport.h"

enum { ACL_DETAIL_SIZE = 256 };

struct acl {
	struct engine *engine;
	struct acl_set set;
	uint64_t generation; /* of the set */
	bool dirty;          /* keys may have changed since */
	size_t broken_count;
	char trouble[ACL_DETAIL_SIZE]; /* of the first broken one */
	struct buf forward;            /* what transportd is told */
	struct loop_defer look;
};

static void look(void *arg);

struct acl *
acl_new(struct engine *e)
{
	struct acl *a = mem_calloc(1, sizeof(*a));

	if (a == NULL)
		return NULL;
	a->engine = e;
	a->generation = 1;
	a->look.fn = look;
	a->look.arg = a;
	buf_init(&a->forward, ACL_FORWARD_MAX_BYTES);
	return a;
}

void
acl_free(struct acl *a)
{
	if (a == NULL)
		return;
	loop_defer_del(&a->look);
	acl_set_fini(&a->set);
	buf_fini(&a->forward);
	mem_free(a);
}

/* --- from the configuration --- */

bool
acl_concerns(const char *key)
{
	return acl_json_tenant(key) != NULL;
}

/* One that can't be read denies everything: nobody gets more than its author meant. */
static int
add(struct acl *a, struct acl_set *set, const struct mcg_value *v)
{
	struct acl_policy *p = NULL;
	char why[ACL_DETAIL_SIZE - 96];

	if (!acl_json_check(v->key, v->json, v->len, why, sizeof(why)) ||
	    acl_json_read(v->json, v->len, &p, why, sizeof(why)) != 0) {
		log_error("the key %s denies everything, since it is no policy: %s", v->key, why);
		if (a->broken_count++ == 0)
			snprintf(a->trouble, sizeof(a->trouble), "%.40s is no policy and denies all: %s",
			    v->key, why);
		p = acl_policy_new(true);
	}
	if (p == NULL)
		return ERR_NOMEM;
	return acl_set_put(set, acl_json_tenant(v->key), p);
}

static int
collect(struct acl *a, struct acl_set *set)
{
	const struct mcg *mcg = mesh_mcg(a->engine->mesh);
	struct mcg_value v;
	int err = 0;

	a->broken_count = 0;
	for (size_t i = 0; err == 0 && mcg_value_at(mcg, i, &v); i++) {
		if (!acl_concerns(v.key))
			continue;
		err = add(a, set, &v);
		/* "acl." beside "acl": it is nobody's. */
		if (err == ERR_EXISTS || err == ERR_LIMIT)
			err = 0;
	}
	return err;
}

/* The tenants that this node may not forward; true: others than before. */
static int
renew_forward(struct acl *a, bool *other)
{
	struct engine *e = a->engine;
	struct buf fresh;
	int err;

	buf_init(&fresh, ACL_FORWARD_MAX_BYTES);
	err = acl_forward_encode(&a->set, e->self, e->node_name, &fresh);
	if (err != 0) {
		buf_fini(&fresh);
		return err;
	}
	*other = buf_left(&fresh) != buf_left(&a->forward) ||
		 memcmp(buf_head(&fresh), buf_head(&a->forward), buf_left(&fresh)) != 0;
	buf_fini(&a->forward);
	a->forward = fresh;
	return 0;
}

static void
renewed(struct acl *a)
{
	bool other = false;

	a->generation++;
	a->dirty = false;
	metric_set(&stats.acl_policies, (int64_t)a->set.policies.count);
	metric_set(&stats.acl_broken, (int64_t)a->broken_count);
	if (renew_forward(a, &other) != 0) {
		log_error("out of memory: relaying goes by the policies before");
		a->dirty = true;
	}
	if (other)
		transport_acl(a->engine->transport);
	acl_apply(a->engine);
	if (a->engine->api != NULL)
		api_health_changed(a->engine->api);
}

/* While it is not known what the control group says, what is known stays in effect. */
static void
look(void *arg)
{
	struct acl *a = arg;
	struct acl_set fresh = {{0}};
	struct mcg_value v;
	int err;

	if (!a->dirty ||
	    (!mesh_config_known(a->engine->mesh) && !mcg_value_at(mesh_mcg(a->engine->mesh), 0, &v)))
		return;
	err = collect(a, &fresh);
	if (err != 0) {
		log_error("the policies of tenants stay as they were: %s", err_text(err));
		acl_set_fini(&fresh);
		return;
	}
	acl_set_fini(&a->set);
	a->set = fresh;
	renewed(a);
}

void
acl_look(struct acl *a)
{
	if (a->dirty)
		loop_defer_add(a->engine->loop, &a->look);
}

void
acl_changed(struct acl *a, const char *key)
{
	if (key == NULL || acl_concerns(key))
		a->dirty = true;
	acl_look(a);
}

/* --- questions --- */

static const char *
node_name(const struct engine *e, uint64_t node)
{
	const struct mcg_member *m;
	const struct node *n;

	if (node == e->self)
		return e->node_name;
	if ((m = mcg_member_get(mesh_mcg(e->mesh), node)) != NULL)
		return m->name;
	n = nodes_find(&e->nodes, node);
	return n != NULL ? n->name : "";
}

static void
explain(
    const struct engine *e, const struct acl_query *q, const struct acl_verdict *v, char why[ACL_WHY_SIZE])
{
	char stream[ULID_TEXT_SIZE] = "any", rule[48] = "no rule of it allows that";

	if (q->stream != NULL)
		ulid_format(stream, q->stream);
	if (v->broken)
		snprintf(rule, sizeof(rule), "it is malformed");
	else if (v->rule != 0)
		snprintf(rule, sizeof(rule), "its rule %u", v->rule);
	snprintf(why, ACL_WHY_SIZE, "tenant %s, stream %s: %s at node %s%s%s is denied by acl%s%s (%s)",
	    q->tenant, stream, acl_action_name(q->action), engine_node_text(e, q->node),
	    q->client != NULL ? " by " : "",
	    q->client == NULL    ? ""
	    : *q->client != '\0' ? q->client
				 : "an unknown client",
	    v->own ? "." : "", v->own ? q->tenant : "", rule);
}

static bool
ask(const struct acl *a, const struct acl_query *q, char why[ACL_WHY_SIZE])
{
	struct acl_verdict v;

	acl_decide(&a->set, q, &v);
	if (!v.allowed)
		explain(a->engine, q, &v, why);
	return v.allowed;
}

bool
acl_may(const struct acl *a, enum acl_action action, const struct caller *who, const char *tenant,
    const struct ulid *stream, char why[ACL_WHY_SIZE])
{
	const struct acl_query q = {.action = action,
	    .tenant = tenant,
	    .client = caller_text(who),
	    .node = a->engine->self,
	    .node_name = a->engine->node_name,
	    .stream = stream};

	return acl_set_empty(&a->set) || ask(a, &q, why);
}

bool
acl_may_see(const struct acl *a, const struct caller *who, const char *tenant, const struct ulid *stream)
{
	char why[ACL_WHY_SIZE];

	return acl_may_see_all(a, who) || acl_may(a, ACL_SUBSCRIBE, who, tenant, stream, why) ||
	       acl_may(a, ACL_PUBLISH, who, tenant, stream, why);
}

bool
acl_may_see_all(const struct acl *a, const struct caller *who)
{
	return acl_set_empty(&a->set) || caller_is_local(who);
}

bool
acl_node_may(const struct acl *a, enum acl_action action, uint64_t node, const char *tenant,
    const struct ulid *stream, char why[ACL_WHY_SIZE])
{
	const struct acl_query q = {.action = action,
	    .tenant = tenant,
	    .node = node,
	    .node_name = node_name(a->engine, node),
	    .stream = stream};

	return acl_set_empty(&a->set) || ask(a, &q, why);
}

bool
acl_may_publish(struct source *s, const struct caller *who, char why[ACL_WHY_SIZE])
{
	const struct acl *a = s->engine->acl;
	struct acl_seen *seen = &s->acl;

	if (acl_set_empty(&a->set) ||
	    (seen->generation == a->generation && seen->caller == caller_serial(who) && seen->allowed))
		return true;
	seen->allowed = acl_may(a, ACL_PUBLISH, who, s->row.tenant_id, &s->row.stream_id, why);
	seen->generation = a->generation;
	seen->caller = caller_serial(who);
	return seen->allowed;
}

bool
acl_may_send(const struct source *s, uint64_t node, char why[ACL_WHY_SIZE])
{
	const struct acl *a = s->engine->acl;
	const char *tenant = s->row.tenant_id;

	return acl_node_may(a, ACL_PUBLISH, s->engine->self, tenant, &s->row.stream_id, why) &&
	       acl_node_may(a, ACL_SUBSCRIBE, node, tenant, &s->row.stream_id, why);
}

bool
acl_may_receive(const struct acl *a, const struct store_stream *row, char why[ACL_WHY_SIZE])
{
	const char *tenant = row->tenant_id;

	return acl_node_may(a, ACL_PUBLISH, row->src_node, tenant, &row->stream_id, why) &&
	       acl_node_may(a, ACL_SUBSCRIBE, a->engine->self, tenant, &row->stream_id, why);
}

/* --- for others --- */

void
acl_send(const struct acl *a, struct channel *ch, uint32_t type)
{
	int err = channel_send(ch, type, 0, buf_head(&a->forward), buf_left(&a->forward));

	/* On the next connection it is said again. */
	if (err != 0)
		channel_close(ch, err);
}

bool
acl_trouble(const struct acl *a, char *detail, size_t size)
{
	if (a->broken_count == 0)
		return false;
	snprintf(detail, size, "%s", a->trouble);
	return true;
}
