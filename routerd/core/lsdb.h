/*
 * lsdb: the link-state database: the newest LSA of each node.
 *
 * An LSA is newer by (incarnation, seq).  It lives for as long as it says after its origin made it, as
 * far as the ages that neighbours stated tell; its id then stays as a tombstone as long again, at most
 * LSA_TOMBSTONE_MAX_US, so that an old copy can't come back.  At most nodes_max nodes, of LSA_MAX_BYTES
 * each; a new node beyond is refused.
 * Iteration is in ascending order of node ids.
 *
 * Entries are small and lie in one array, in that order: a walk over all is fast, and a new node, which is
 * rare, moves those behind it.  What an LSA says is in its body.
 */
#ifndef ROUTERD_CORE_LSDB_H
#define ROUTERD_CORE_LSDB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/id.h"
#include "common/base/idset.h"
#include "common/base/mono.h"
#include "common/base/must.h"
#include "routerd/core/lsa.h"
#include "routerd/core/lsa_body.h"

struct address_list;
struct label_list;

enum node_state {
	NODE_STATE_NEW, /* no paths computed yet since its first LSA */
	NODE_STATE_ALIVE,
	NODE_STATE_UNREACHABLE,
	NODE_STATE_LEFT,
	NODE_STATE_EVICTED, /* on its way out of the database */
};

struct lsdb_entry {
	uint64_t node;
	struct mono born; /* when its origin made it, by our clock */
	struct lsa_body *lsa;
	/* When its origin may send a whole burst of LSAs again, in 10 ms: the low half, with the order of
	 * RFC 1982 (no entry gets as old as the half of that). */
	uint32_t earned_cs;
	uint8_t state;      /* enum node_state */
	uint8_t hops;       /* on the best path; 0: no path, or this node */
	bool tombstone : 1; /* never seen outside of lsdb */
	bool changed : 1;   /* since its state was last told */
	bool lost : 1;      /* its LSA lists fewer nodes than the one before, or the node left */
	bool dead : 1;      /* membership says so: not on any path until it gives a newer LSA */
	bool missed : 1;    /* it was reachable before transportd went away, and is not yet again */
};

struct lsdb {
	struct lsdb_entry *entries; /* ascending */
	size_t cap;
	size_t count; /* without tombstones */
	size_t tombstones;
	size_t nodes_max;
	size_t bytes;         /* of the LSAs held */
	uint64_t sum;         /* over the ids of all LSAs: equal databases have equal sums */
	int64_t lifetime_us;  /* of LSAs that don't say */
	size_t unsaid;        /* how many of those there are */
	uint64_t self;        /* this node: its LSA does not age here.  0: not known */
	struct idset evicted; /* nodes that are not taken */
	struct mono expiry;   /* no LSA and no tombstone ends before this */
};

/* lifetime_us: of LSAs that don't say. */
void lsdb_init(struct lsdb *db, size_t nodes_max, int64_t lifetime_us);
void lsdb_fini(struct lsdb *db);
/* How long the LSA may live. */
int64_t lsdb_lifetime_us(const struct lsdb *db, const struct lsa *lsa);

/* The node's LSA, or NULL.  Borrowed until the next put or expire. */
struct lsdb_entry *lsdb_get(struct lsdb *db, uint64_t node);
/* The first at or after this node id; the next one after e.  NULL at the end. */
struct lsdb_entry *lsdb_from(struct lsdb *db, uint64_t node);
struct lsdb_entry *lsdb_next(struct lsdb *db, struct lsdb_entry *e);
const struct lsa_adj *lsdb_adj(const struct lsdb_entry *e, uint64_t neighbour);
/* What its extensions say; see tlv.h. */
void lsdb_addresses(const struct lsdb_entry *e, struct address_list *out);
void lsdb_services(const struct lsdb_entry *e, struct label_list *out);
void lsdb_capabilities(const struct lsdb_entry *e, struct label_list *out);
uint64_t lsdb_wish(const struct lsdb_entry *e);

/* What the database says of an LSA that came in.  Changes nothing. */
enum lsdb_verdict {
	LSDB_NEWER,
	LSDB_SAME,
	LSDB_STALE,   /* there is a newer one, or a tombstone that is not older */
	LSDB_EXPIRED, /* too old */
	LSDB_FULL,    /* unknown node, and no room */
	LSDB_EVICTED, /* its node may not be in the mesh */
	LSDB_LIMITED, /* newer, but its origin sends too many */
};
enum lsdb_verdict lsdb_judge(
    struct lsdb *db, const struct lsa_id *id, int64_t lifetime_us, struct mono born, struct mono now);

/* Stores a newer LSA, of which raw is the encoding (copied), and counts it against its origin's limit.
 * *topology tells whether anything that paths depend on differs from before.  ERR_NOMEM: nothing was
 * changed.  ERR_FULL only if lsdb_judge() would say so. */
int lsdb_put(struct lsdb *db, const struct lsa *lsa, const uint8_t *raw, size_t raw_len, struct mono born,
    struct mono now, struct lsdb_entry **out, bool *topology) MUST_USE;
/* Likewise, an LSA of which there is a body: that is taken over, but not after an error. */
int lsdb_put_body(struct lsdb *db, struct lsa_body *body, struct mono born, struct mono now,
    struct lsdb_entry **out, bool *topology) MUST_USE;

/* Ends the node's LSA, as if it had been too old. */
void lsdb_end(struct lsdb *db, struct lsdb_entry *e);
/* The name of a node in its last LSA, as long as that is remembered after its end; NULL. */
const char *lsdb_last_name(struct lsdb *db, uint64_t node);

/* Ends what is too old, after calling fn for each LSA among it. */
void lsdb_expire(struct lsdb *db, struct mono now, void (*fn)(void *arg, struct lsdb_entry *e), void *arg);
uint32_t lsdb_age_ms(const struct lsdb_entry *e, struct mono now);

#endif
