/*
 * Events of routerd as messages of the API.
 */
#include <stdio.h>
#include <string.h>

#include "common/base/id.h"
#include "common/os/clock.h"
#include "common/os/crypto.h"
#include "routerd/pathstate.h"
#include "routerd/report.h"
#include "routerd/routerd.h"

static void
add_text(mesh_v1_MeshEvent *out, const char *key, const char *value)
{
	mesh_v1_MeshEvent_MetadataEntry *e = &out->metadata[out->metadata_count++];

	snprintf(e->key, sizeof(e->key), "%s", key);
	snprintf(e->value, sizeof(e->value), "%s", value);
}

/* key and key_name: the node's id and its name. */
static void
add_node(struct routerd *d, mesh_v1_MeshEvent *out, const char *key, uint64_t node)
{
	char id[NODEID_TEXT_SIZE], name[NODE_NAME_SIZE], name_key[32];

	nodeid_format(id, node);
	report_node_name(d, node, name, sizeof(name));
	snprintf(name_key, sizeof(name_key), "%s_name", key);
	add_text(out, key, id);
	add_text(out, name_key, name);
}

static void
add_path(struct routerd *d, mesh_v1_MeshEvent *out, uint64_t destination)
{
	const struct fib_route *r = fib_get(router_fib(d->router), destination);
	const struct spf_path *path;
	char text[16];

	if (r == NULL)
		return;
	path = &r->paths[0]->path[0].path;
	add_node(d, out, "via", path->hops[0]);
	snprintf(text, sizeof(text), "%u", (unsigned)path->hop_count);
	add_text(out, "hops", text);
	snprintf(text, sizeof(text), "%u", (unsigned)path->cost);
	add_text(out, "cost", text);
}

/* What is measured at a of its link with b. */
static void
add_quality(struct routerd *d, mesh_v1_MeshEvent *out, uint64_t a, uint64_t b)
{
	const struct lsdb_entry *e = lsdb_get(router_lsdb(d->router), a);
	const struct lsa_adj *adj = e != NULL ? lsdb_adj(e, b) : NULL;
	char text[16];

	if (adj == NULL)
		return;
	snprintf(text, sizeof(text), "%u", (unsigned)adj->loss_ppm);
	add_text(out, "loss_ppm", text);
	snprintf(text, sizeof(text), "%u", (unsigned)adj->utilisation_permille);
	add_text(out, "utilization_permille", text);
}

static bool
is_self(struct routerd *d, uint64_t node)
{
	const struct router_identity *self = router_self(d->router);

	return self != NULL && self->node == node;
}

static void
put_head(struct routerd *d, const char *type, mesh_v1_MeshEvent *out)
{
	uint64_t unix_ms = clock_unix_ms();
	uint8_t random[10];

	crypto_random(random, sizeof(random));
	ulid_next(&d->event_id, &d->event_id, unix_ms, random);
	ulid_format(out->event_id, &d->event_id);
	snprintf(out->event_type, sizeof(out->event_type), "%s", type);
	out->timestamp = (int64_t)unix_ms;
}

/* Of nodes membership tells, when it is sure; the router's own view of them is in the log. */
bool
report_event(struct routerd *d, enum router_event ev, uint64_t a, uint64_t b, mesh_v1_MeshEvent *out)
{
	memset(out, 0, sizeof(*out));
	switch (ev) {
	case ROUTER_LINK_UP:
	case ROUTER_LINK_DOWN:
		/* Of the node's own links transportd tells, and knows more. */
		if (is_self(d, a) || is_self(d, b))
			return false;
		add_node(d, out, "source", a);
		add_node(d, out, "target", b);
		break;
	case ROUTER_LINK_DEGRADED:
	case ROUTER_LINK_WELL:
		add_node(d, out, "source", a);
		add_node(d, out, "target", b);
		add_quality(d, out, a, b);
		break;
	case ROUTER_NODE_EVICTED:
		add_node(d, out, "node", a);
		break;
	case ROUTER_PATH_CHANGED:
		add_node(d, out, "destination", a);
		add_path(d, out, a);
		break;
	default:
		return false;
	}
	put_head(d, router_event_name(ev), out);
	return true;
}

bool
report_member(struct routerd *d, enum swim_event ev, uint64_t node, mesh_v1_MeshEvent *out)
{
	static const char *const types[SWIM_EVENT_COUNT] = {
	    [SWIM_EVENT_JOIN] = "node_up",
	    [SWIM_EVENT_ALIVE] = "node_up",
	    [SWIM_EVENT_SUSPECT] = "node_suspect",
	    [SWIM_EVENT_DEAD] = "node_down",
	    [SWIM_EVENT_LEFT] = "node_left",
	};

	if (types[ev] == NULL)
		return false;
	memset(out, 0, sizeof(*out));
	add_node(d, out, "node", node);
	put_head(d, types[ev], out);
	return true;
}

void
report_path(struct routerd *d, const struct pathstate *p, mesh_v1_MeshEvent *out)
{
	const mesh_ipc_PathState *said = &p->said;
	static const char *const types[] = {
	    [mesh_ipc_PathStateCode_PATH_UP] = "path_recovered",
	    [mesh_ipc_PathStateCode_PATH_SLOW] = "path_degraded",
	    [mesh_ipc_PathStateCode_PATH_SUSPECT] = "path_degraded",
	    [mesh_ipc_PathStateCode_PATH_FORGOTTEN] = "path_gone",
	};
	char text[16];

	memset(out, 0, sizeof(*out));
	add_node(d, out, "destination", said->destination);
	snprintf(text, sizeof(text), "%u", (unsigned)said->path_id);
	add_text(out, "path_id", text);
	add_text(out, "state", pathstate_name(said->state));
	if (said->reason[0] != '\0')
		add_text(out, "reason", said->reason);
	if (p->hops != 0) {
		add_node(d, out, "via", p->via);
		snprintf(text, sizeof(text), "%u", (unsigned)p->hops);
		add_text(out, "hops", text);
	}
	put_head(d, types[said->state], out);
}

void
report_user_event(struct routerd *d, const struct swim_user_event *ev, mesh_v1_MeshEvent *out)
{
	char ltime[24];

	memset(out, 0, sizeof(*out));
	add_node(d, out, "node", ev->node);
	add_text(out, "name", ev->name);
	snprintf(ltime, sizeof(ltime), "%llu", (unsigned long long)ev->ltime);
	add_text(out, "ltime", ltime);
	MUST(ev->len <= sizeof(out->payload.bytes));
	memcpy(out->payload.bytes, ev->payload, ev->len);
	out->payload.size = (pb_size_t)ev->len;
	put_head(d, "user_event", out);
}
