/*
 * lsa: what one node says about itself and its links, signed by it (mesh-linkstate(7)).
 *
 *	u8 version, u64 node, public key 32, u64 incarnation, u64 seq, u8 flags, str8 name, str8 region,
 *	str8 software version, u16 count, count x {u64 neighbour, u32 latency us, u32 bandwidth kbit/s,
 *	u32 loss ppm, u16 utilisation per mille, u16 weight}, u16 length, TLVs {u8 type, u16 length, value},
 *	signature 64
 *
 * Integers are big endian.  There is one encoding of each LSA: neighbours ascend, and nothing is left
 * over.  The signature covers all before it.  It and the key are checked by who has the means.
 */
#ifndef ROUTERD_CORE_LSA_H
#define ROUTERD_CORE_LSA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/id.h"
#include "common/base/must.h"
#include "routerd/core/limits.h"

struct buf;

enum {
	LSA_VERSION = 1,
	LSA_PUBKEY_BYTES = 32,
	LSA_SIG_BYTES = 64,
	LSA_SOFTWARE_SIZE = 32, /* 31 characters and NUL */
	LSA_ADJ_BYTES = 24,
	LSA_MAX_BYTES = 1 + 8 + LSA_PUBKEY_BYTES + 8 + 8 + 1 + 2 * NODE_NAME_SIZE + LSA_SOFTWARE_SIZE + 2 +
			LSA_ADJ_MAX * LSA_ADJ_BYTES + 2 + LSA_TLV_MAX_BYTES + LSA_SIG_BYTES,
};

enum lsa_flag {
	LSA_FLAG_LEFT = 0x01, /* the node said goodbye */
};

/* Which LSA of which node: also what digests and acknowledgements consist of. */
struct lsa_id {
	uint64_t node;
	uint64_t incarnation; /* raised at every start of the node, persisted there */
	uint64_t seq;         /* from 1 */
};

struct lsa_adj {
	uint64_t neighbour;
	uint32_t latency_us;     /* one way */
	uint32_t bandwidth_kbps; /* 0: not known */
	uint32_t loss_ppm;
	uint16_t utilisation_permille;
	uint16_t weight; /* set by the operator; adds to the cost, LSA_WEIGHT_NEVER: see graph.h */
};

enum { LSA_WEIGHT_NEVER = 65535 }; /* not for transit */

struct lsa {
	struct lsa_id id;
	uint8_t pubkey[LSA_PUBKEY_BYTES];
	uint8_t flags; /* unknown ones are kept and ignored */
	char name[NODE_NAME_SIZE];
	char region[NODE_NAME_SIZE]; /* may be empty */
	char software[LSA_SOFTWARE_SIZE];
	uint16_t adj_count, tlv_len;
	const uint8_t *tlv; /* borrowed */
	struct lsa_adj adj[LSA_ADJ_MAX];
	uint8_t sig[LSA_SIG_BYTES];
};

/* Negative, 0, positive: a is older than, the same as, newer than b (of the same node). */
int lsa_compare(const struct lsa_id *a, const struct lsa_id *b);

/* Appends what is signed.  ERR_RANGE if a field breaks a rule of the format, else the buffer's errors. */
int lsa_encode_unsigned(const struct lsa *lsa, struct buf *out) MUST_USE;
/* Decodes exactly len bytes; tlv points into them.  Total: ERR_SHORT, ERR_LEFTOVER, ERR_VERSION,
 * ERR_LIMIT, ERR_FORMAT.  What is in *out after an error is not defined. */
int lsa_decode(const uint8_t *data, size_t len, struct lsa *out) MUST_USE;

/* True for 0-31 characters of [A-Za-z0-9._+~-]. */
bool lsa_software_valid(const char *text);

#endif
