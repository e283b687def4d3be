/*
 * keytab: a hash table of things that are known by a source and a number of it.
 *
 * The nodes lie in what the owner keeps.  It grows by itself; when there is no memory for that its
 * chains get longer, so adding never fails.  Empty, it holds no memory of its own.  A source chooses its
 * numbers: without the table's seed, a random number of the shell's, it can't foretell which ones share a
 * chain.
 */
#ifndef TRANSPORTD_CORE_KEYTAB_H
#define TRANSPORTD_CORE_KEYTAB_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"

enum { KEYTAB_FEW = 8 };

struct keytab_node {
	struct keytab_node *next;
	uint64_t src;
	uint32_t id;
};

struct keytab {
	struct keytab_node **slots; /* cap of them, a power of two */
	size_t cap, count;
	uint64_t seed;
	struct keytab_node *few[KEYTAB_FEW]; /* the first slots: the table stays where it is */
};

void keytab_init(struct keytab *t, uint64_t seed);
/* Frees the slots, not the nodes. */
void keytab_fini(struct keytab *t);
/* NULL: not there. */
struct keytab_node *keytab_get(const struct keytab *t, uint64_t src, uint32_t id) MUST_USE;
/* n has its key, which must not be there yet. */
void keytab_add(struct keytab *t, struct keytab_node *n);
void keytab_del(struct keytab *t, struct keytab_node *n);
/* The node behind n in no particular order; the first one for NULL, NULL behind the last. */
struct keytab_node *keytab_next(const struct keytab *t, const struct keytab_node *n);
size_t keytab_memory(const struct keytab *t);
/* The key spread over 32 bits, differently in each table. */
uint32_t keytab_hash(const struct keytab *t, uint64_t src, uint32_t id);

#endif
