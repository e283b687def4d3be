/*
 * tlv: the extensions of an LSA that this version knows (mesh-linkstate(7)).
 *
 *	1 ADDRESSES  str8, repeated: where the node can be dialled, host:port
 *	2 WISH       u64: when somebody asked this node for links between all nodes, Unix milliseconds
 *	3 SERVICES   str8, repeated: what can be had at the node
 *	4 CAPABILITIES str8, repeated: what the node is able to do
 *	5 LIFETIME   u32: seconds until others remove the LSA if it is not refreshed
 *
 * They are written by other nodes: what can't be read is as if it were not there, and what an address
 * or a label may consist of is checked here, because it is shown, dialled and searched for.
 */
#ifndef ROUTERD_CORE_TLV_H
#define ROUTERD_CORE_TLV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"
#include "routerd/core/limits.h"

struct buf;

enum tlv_type {
	TLV_ADDRESSES = 1,
	TLV_WISH = 2,
	TLV_SERVICES = 3,
	TLV_CAPABILITIES = 4,
	TLV_LIFETIME = 5,
};

struct address_list {
	size_t count;
	char text[ADDRESSES_MAX][ADDRESS_SIZE];
};

struct label_list {
	size_t count;
	char text[LABELS_MAX][LABEL_SIZE];
};

/* What a node says about itself beside its links. */
struct node_about {
	struct address_list addresses;
	struct label_list services, capabilities;
	uint64_t wish_unix_ms; /* 0: none */
	uint32_t lifetime_s;   /* 0: not said */
};

/* 1-32 characters of [A-Za-z0-9._-]. */
bool label_valid(const char *text);
/* Adds one that is not there yet; false: it is not valid, or there is no room. */
bool label_add(struct label_list *list, const char *text);
bool label_has(const struct label_list *list, const char *text);

/* host:port or [v6]:port, of letters, digits and .-_: only, and a port from 1 to 65535. */
bool address_valid(const char *text);
/* Adds one; false: it is not valid, or there is no room. */
bool address_add(struct address_list *list, const char *text);

/* Appends the extensions of an LSA; addresses that make it too long are left out.  The buffer's errors. */
int tlv_encode(const struct node_about *about, struct buf *out) MUST_USE;
/* Total. */
void tlv_addresses(const uint8_t *tlv, size_t len, struct address_list *out);
/* type: TLV_SERVICES or TLV_CAPABILITIES. */
void tlv_labels(const uint8_t *tlv, size_t len, enum tlv_type type, struct label_list *out);
/* 0: none. */
uint64_t tlv_wish(const uint8_t *tlv, size_t len);
/* LSA_LIFETIME_MIN_S to LSA_LIFETIME_MAX_S; 0: none. */
uint32_t tlv_lifetime_s(const uint8_t *tlv, size_t len);

#endif
