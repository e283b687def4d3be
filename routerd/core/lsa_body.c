#include "routerd/core/lsa_body.h"

#include <string.h>

#include "common/base/mem.h"
#include "routerd/core/tlv.h"

_Static_assert(LSA_MAX_BYTES <= UINT16_MAX, "raw_len holds the length of any LSA");

struct lsa_body *
lsa_body_new(const struct lsa *l, const uint8_t *raw, size_t raw_len)
{
	size_t adj_len = l->adj_count * sizeof(l->adj[0]);
	struct lsa_body *b;
	uint8_t *lists; /* in the same piece of memory: the adjacencies, then raw */

	MUST(raw_len <= LSA_MAX_BYTES && l->adj_count <= LSA_ADJ_MAX);
	if ((b = mem_calloc(1, sizeof(*b) + adj_len + raw_len)) == NULL)
		return NULL;
	lists = (uint8_t *)(b + 1);
	memcpy(lists, l->adj, adj_len);
	memcpy(lists + adj_len, raw, raw_len);
	b->adj = (const struct lsa_adj *)(const void *)lists;
	b->raw = lists + adj_len;
	b->id = l->id;
	b->refs = 1;
	b->raw_len = (uint16_t)raw_len;
	b->adj_count = l->adj_count;
	b->tlv_len = l->tlv_len;
	b->flags = l->flags;
	b->lifetime_s = tlv_lifetime_s(l->tlv, l->tlv_len);
	memcpy(b->pubkey, l->pubkey, sizeof(b->pubkey));
	memcpy(b->name, l->name, sizeof(b->name));
	memcpy(b->region, l->region, sizeof(b->region));
	memcpy(b->software, l->software, sizeof(b->software));
	return b;
}

struct lsa_body *
lsa_body_ref(struct lsa_body *b)
{
	MUST(b->refs != 0 && b->refs != UINT32_MAX);
	b->refs++;
	return b;
}

void
lsa_body_unref(struct lsa_body *b)
{
	if (b == NULL)
		return;
	MUST(b->refs != 0);
	if (--b->refs == 0)
		mem_free(b);
}
