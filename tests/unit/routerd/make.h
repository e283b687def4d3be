/*
 * make: LSAs and databases for the tests.
 */
#ifndef TESTS_UNIT_ROUTERD_MAKE_H
#define TESTS_UNIT_ROUTERD_MAKE_H

#include <stdio.h>

#include "tests/unit/unit.h"

#include "common/base/be.h"
#include "common/base/buf.h"
#include "routerd/core/lsa.h"
#include "routerd/core/lsdb.h"

static inline void
make_lsa(struct lsa *l, uint64_t node, uint64_t incarnation, uint64_t seq)
{
	memset(l, 0, sizeof(*l));
	l->id = (struct lsa_id){node, incarnation, seq};
	be_store64(l->pubkey, node);
	snprintf(l->name, sizeof(l->name), "n%llu", (unsigned long long)node % 1000000);
	snprintf(l->software, sizeof(l->software), "1.0");
}

/* Neighbours have to be added in ascending order. */
static inline void
make_adj(struct lsa *l, uint64_t neighbour, uint32_t latency_us)
{
	assert_true(l->adj_count < LSA_ADJ_MAX);
	l->adj[l->adj_count++] = (struct lsa_adj){.neighbour = neighbour, .latency_us = latency_us};
}

/* The whole encoding; its length. */
static inline size_t
make_raw(const struct lsa *l, uint8_t out[LSA_MAX_BYTES])
{
	struct buf b;

	buf_init_fixed(&b, out, LSA_MAX_BYTES);
	assert_int_equal(lsa_encode_unsigned(l, &b), 0);
	memset(out + buf_left(&b), 0x5a, LSA_SIG_BYTES);
	return buf_left(&b) + LSA_SIG_BYTES;
}

static inline struct lsdb_entry *
make_entry(struct lsdb *db, const struct lsa *l, int64_t born_us, int64_t now_us)
{
	static uint8_t raw[LSA_MAX_BYTES];
	struct lsdb_entry *e = NULL;
	bool topology;

	assert_int_equal(lsdb_put(db, l, raw, make_raw(l, raw), (struct mono){born_us}, (struct mono){now_us},
			     &e, &topology),
	    0);
	return e;
}

#endif
