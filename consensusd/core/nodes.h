/*
 * nodes: the directory of known nodes: id, name, key, whether a path to it exists now, and whether
 * transportd asks to hold data for it.
 */
#ifndef CONSENSUSD_CORE_NODES_H
#define CONSENSUSD_CORE_NODES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/id.h"
#include "common/base/mono.h"
#include "common/base/must.h"

enum node_status {
	NODE_STATUS_UNKNOWN,
	NODE_STATUS_ALIVE,
	NODE_STATUS_UNREACHABLE,
	NODE_STATUS_LEFT,
	NODE_STATUS_EVICTED,
};

struct node {
	uint64_t id;
	char name[NODE_NAME_SIZE]; /* "" if not known */
	uint8_t public_key[32];
	uint64_t incarnation;
	enum node_status status;
	bool has_key;
	bool held;
	struct mono status_at;       /* it has been so since */
	uint32_t links, rtt_us;      /* to its neighbours: how many, and their mean; 0: not known */
	uint32_t hops;               /* from this node, by the quickest way */
	uint64_t path_us;            /* and how long that takes, one way; 0: not known */
	size_t warm_cwnd_bytes;      /* flows to it had such windows, at warm_at */
	uint64_t warm_granted_bytes; /* and it granted so much */
	int64_t warm_srtt_us;        /* and took such round trips; 0: not known */
	struct mono warm_at;
	bool fresh;                  /* named in the snapshot that is being received */
	void *flows;                 /* of the shell: what goes to this node */
	uint32_t next_id, next_name; /* hash chains: index + 1 */
};

struct nodes {
	struct node **all; /* pointers stay good until nodes_fini() */
	uint32_t *by_id, *by_name;
	size_t count, cap, bucket_count;
};

void nodes_init(struct nodes *d);
void nodes_fini(struct nodes *d);
/* The node with this id, made if it is new.  NULL: no memory, or NODES_MAX. */
struct node *nodes_get(struct nodes *d, uint64_t id);
/* NULL if unknown. */
struct node *nodes_find(const struct nodes *d, uint64_t id);
struct node *nodes_find_name(const struct nodes *d, const char *name);
void nodes_rename(struct nodes *d, struct node *n, const char *name);
/* By id in text form, or by name; NULL if unknown. */
struct node *nodes_resolve(const struct nodes *d, const char *text);

#endif
