#include "routerd/core/swim_meta_body.h"

#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"

struct swim_meta_body *
swim_meta_body_new(uint64_t version, const uint8_t *data, size_t len)
{
	struct swim_meta_body *b = mem_calloc(1, sizeof(*b) + len);

	MUST(len <= UINT16_MAX);
	if (b == NULL)
		return NULL;
	b->version = version;
	b->refs = 1;
	b->len = (uint16_t)len;
	memcpy(b->data, data, len);
	return b;
}

struct swim_meta_body *
swim_meta_body_ref(struct swim_meta_body *b)
{
	MUST(b->refs != 0 && b->refs != UINT32_MAX);
	b->refs++;
	return b;
}

void
swim_meta_body_unref(struct swim_meta_body *b)
{
	if (b == NULL)
		return;
	MUST(b->refs != 0);
	if (--b->refs == 0)
		mem_free(b);
}

int
swim_meta_body_set_version(struct swim_meta_body **b, uint64_t version)
{
	struct swim_meta_body *own;

	if ((*b)->refs != 1) {
		if ((own = swim_meta_body_new(version, (*b)->data, (*b)->len)) == NULL)
			return ERR_NOMEM;
		swim_meta_body_unref(*b);
		*b = own;
	}
	(*b)->version = version;
	return 0;
}
