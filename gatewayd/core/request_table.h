/*
 * request_table: ids of requests in flight, and what each stands for.
 *
 * An id is a slot number and a generation that changes when the slot is used again, so an answer that
 * comes late, after its request was given up, finds nothing instead of another request.  0 is never an
 * id.  Adding, finding and removing cost the same however many there are.
 */
#ifndef GATEWAYD_CORE_REQUEST_TABLE_H
#define GATEWAYD_CORE_REQUEST_TABLE_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"

enum { REQUEST_TABLE_MAX = 65535 };

struct request_slot {
	void *value; /* NULL: free */
	uint16_t generation;
	uint16_t next_free; /* slot number + 1; 0: none */
};

struct request_table {
	struct request_slot *slots; /* owned; grows by doubling */
	size_t cap, count, max;
	uint16_t first_free; /* slot number + 1 */
};

/* max: requests at once, up to REQUEST_TABLE_MAX. */
void request_table_init(struct request_table *t, size_t max);
void request_table_fini(struct request_table *t);
/* Stores value (borrowed, not NULL) under a new id.  ERR_FULL, ERR_NOMEM. */
int request_table_add(struct request_table *t, void *value, uint32_t *id) MUST_USE;
/* What was stored, or NULL. */
void *request_table_get(const struct request_table *t, uint32_t id);
/* Removes it; the same, or NULL if there is none. */
void *request_table_del(struct request_table *t, uint32_t id);

#endif
