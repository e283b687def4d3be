/* relation: the groups of this node's streams by tenant and targets; see relation.h.  Those with the same
 * ones (a group that is full has successors) are a list, whose first one is in the hash. */
#include <string.h>

#include "consensusd/relation_impl.h"

struct relation_key
relation_key_make(const char *tenant, const uint64_t *targets, size_t count)
{
	struct relation_key k = {.count = count};
	size_t n = strlen(tenant);

	MUST(count <= STORE_TARGETS_MAX && n < sizeof(k.tenant));
	memcpy(k.tenant, tenant, n);
	/* In whatever order they were named. */
	for (size_t i = 0; i < count; i++) {
		size_t at = i;

		for (; at > 0 && k.targets[at - 1] > targets[i]; at--)
			k.targets[at] = k.targets[at - 1];
		k.targets[at] = targets[i];
	}
	return k;
}

struct relation *
relation_by_key(const struct relations *rs, const struct relation_key *key)
{
	struct relation *r;

	HASH_FIND(by_key, rs->by_key, key, sizeof(*key), r);
	return r;
}

static void
put_first(struct relations *rs, struct relation *r)
{
	HASH_ADD(by_key, rs->by_key, key, sizeof(r->key), r);
	/* Without memory it is not found: another group is begun. */
	r->indexed = r->by_key.tbl != NULL;
}

void
relation_index(struct relation *r)
{
	struct relations *rs = r->owner;
	struct relation *first;

	relation_unindex(r);
	r->key = relation_key_make(r->tenant, r->targets, r->target_count);
	first = relation_by_key(rs, &r->key);
	if (first == NULL) {
		put_first(rs, r);
		return;
	}
	r->same = first->same;
	first->same = r;
	r->indexed = true;
}

void
relation_unindex(struct relation *r)
{
	struct relations *rs = r->owner;
	struct relation *first, *next = r->same;

	if (!r->indexed)
		return;
	first = relation_by_key(rs, &r->key);
	r->indexed = false;
	r->same = NULL;
	if (first != r) {
		while (first->same != r)
			first = first->same;
		first->same = next;
		return;
	}
	HASH_DELETE(by_key, rs->by_key, r);
	if (next != NULL)
		put_first(rs, next);
}
