/*
 * forge: LSAs that no router of the network made, and that it gets all the same.
 */
#ifndef TESTS_UNIT_ROUTERD_FORGE_H
#define TESTS_UNIT_ROUTERD_FORGE_H

#include "tests/unit/routerd/net.h"

#include "common/base/buf.h"
#include "routerd/core/linkstate.h"

/* An LSA of node, with these neighbours, signed by its key if valid. */
static inline size_t
forge_lsa(uint8_t *out, int node, uint64_t incarnation, uint64_t seq, int neighbour, bool valid)
{
	static struct lsa l;
	struct buf b;

	memset(&l, 0, sizeof(l));
	l.id = (struct lsa_id){net_id(node), incarnation, seq};
	be_store64(l.pubkey, l.id.node);
	snprintf(l.name, sizeof(l.name), "node-%d", node);
	if (neighbour >= 0) {
		l.adj_count = 1;
		l.adj[0].neighbour = net_id(neighbour);
	}
	buf_init_fixed(&b, out, LSA_MAX_BYTES);
	assert_int_equal(lsa_encode_unsigned(&l, &b), 0);
	net_sign(l.id.node, out, buf_left(&b), out + buf_left(&b));
	if (!valid)
		out[buf_left(&b) + 5] ^= 1;
	return buf_left(&b) + LSA_SIG_BYTES;
}

/* To node, as if its neighbour from had it since age_ms. */
static inline void
forge_send(struct net *net, int to, int from, uint32_t age_ms, const uint8_t *lsa, size_t len)
{
	static uint8_t payload[FRAME_PAYLOAD_MAX_BYTES];

	payload[0] = LINKSTATE_VERSION;
	payload[1] = LINKSTATE_UPDATE;
	be_store16(payload + 2, (uint16_t)(4 + len));
	be_store32(payload + 4, age_ms);
	memcpy(payload + 8, lsa, len);
	router_feed(net->nodes[to].router, net_id(from), payload, 8 + len, net_mono(net));
}

#endif
