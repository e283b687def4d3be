/*
 * swim_meta: what a member says about itself: NodeMeta, and LinkMeta of its best links.
 *
 *	str8 name, str8 region, str8 software version, u8 count, str8 capabilities, u8 count, str8 addresses,
 *	u16 load per mille, u8 count, links {u64 peer, u32 rtt us, u32 bandwidth kbit/s}
 *
 * Load is the machine's load average for each processor, at most 1000.
 *
 * What is measured comes last: it changes all the time, and alone is not worth gossip.
 *
 * Anybody may have written it: what is shown is checked here.
 */
#ifndef ROUTERD_CORE_SWIM_META_H
#define ROUTERD_CORE_SWIM_META_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/id.h"
#include "common/base/must.h"
#include "routerd/core/limits.h"
#include "routerd/core/lsa.h"
#include "routerd/core/tlv.h"

struct buf;

struct swim_link_meta {
	uint64_t peer;
	uint32_t rtt_us, bandwidth_kbps;
};

struct swim_meta {
	char name[NODE_NAME_SIZE];
	char region[NODE_NAME_SIZE];      /* may be empty */
	char software[LSA_SOFTWARE_SIZE]; /* may be empty */
	uint16_t load_permille;
	uint8_t capability_count, link_count;
	char capabilities[LABELS_MAX][LABEL_SIZE]; /* labels: see tlv.h */
	struct address_list addresses;
	struct swim_link_meta links[SWIM_META_LINKS_MAX];
};

/* Addresses, then links, that make it too long are left out.  ERR_RANGE if a field breaks a rule. */
int swim_meta_encode(const struct swim_meta *m, struct buf *out) MUST_USE;
/* Total: ERR_SHORT, ERR_LEFTOVER, ERR_LIMIT, ERR_FORMAT.  What is in *out after an error is not defined. */
int swim_meta_decode(const uint8_t *data, size_t len, struct swim_meta *out) MUST_USE;
/* Is what is not measured the same?  Both as swim_meta_encode() writes them; other bytes are not. */
bool swim_meta_same(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len);
/* Adds a link if there is room for it, or if it is better than the worst, which goes. */
void swim_meta_add_link(struct swim_meta *m, const struct swim_link_meta *link);

#endif
