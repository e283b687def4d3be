#include "transportd/transport.h"

#include <string.h>

#include "common/base/err.h"
#include "common/os/log.h"
#include "transportd/core/goaway.h"
#include "transportd/tls.h"

#include <stdio.h>

static bool
same_node(const struct identity *a, const struct identity *b)
{
	return a->node_id == b->node_id && memcmp(a->public_key, b->public_key, sizeof(a->public_key)) == 0;
}

/* A certificate for somebody else would be refused by every peer: say so here, once. */
static void
check_certificate(const struct transport *t)
{
	char mesh[ULID_TEXT_SIZE], node[NODEID_TEXT_SIZE], want[TLS_URI_SIZE];

	ulid_format(mesh, &t->set.mesh_id);
	nodeid_format(node, t->identity.node_id);
	snprintf(want, sizeof(want), "spiffe://%s/node/%s", mesh, node);
	if (strcmp(tls_own_uri(t->tls), want) != 0)
		log_error("the certificate in tls-cert is for %s, but this node is %s: peers will refuse it; "
			  "issue one for this node",
		    tls_own_uri(t->tls), want);
}

int
transport_identity(struct transport *t, const struct ulid *mesh_id, const struct identity *fresh)
{
	bool first = !t->identity.known, changed = !first && !same_node(&t->identity, fresh);
	char node[NODEID_TEXT_SIZE];

	if (ulid_compare(mesh_id, &t->set.mesh_id) != 0) {
		log_error("consensusd belongs to another mesh; do both read the same mesh.conf?");
		return ERR_RANGE;
	}
	if (changed) {
		log_warn("the identity of this node has changed: all links start over");
		link_close_all(t, GOAWAY_IDENTITY);
		conn_fail_all(t, GOAWAY_IDENTITY);
	}
	t->identity = *fresh;
	if (!first && !changed)
		return 0;
	nodeid_format(node, fresh->node_id);
	log_info("this node is %s (%s)", fresh->name, node);
	check_certificate(t);
	peers_start(t);
	return 0;
}

const char *
transport_denied(const struct transport *t, uint64_t node)
{
	if (idset_has(&t->evicted, node))
		return "evicted";
	return settings_denied(&t->set, node) ? "" : NULL;
}

int
transport_evicted(struct transport *t, const uint8_t *body, size_t len)
{
	int err = idset_decode(&t->evicted, body, len);

	if (err == 0)
		link_close_denied(t);
	return err;
}
