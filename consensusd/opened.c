/* opened: see opened.h. */
#include "consensusd/opened.h"

#include "common/base/err.h"
#include "common/base/mem.h"
#include "consensusd/digest.h"
#include "consensusd/seal.h"

static int
make_room(struct opened *o, size_t bytes)
{
	uint8_t *p;

	if (bytes <= o->bytes)
		return 0;
	p = mem_reallocarray(o->mem, bytes, 1);
	if (p == NULL)
		return ERR_NOMEM;
	o->mem = p;
	o->bytes = bytes;
	return 0;
}

int
opened_take(struct opened *o, const struct keyring *k, const char *tenant, const struct batch *b,
    const struct batch_record *rec)
{
	const uint8_t *headers;
	int err = make_room(o, rec->sealed_len);

	if (err == 0)
		err = seal_open(
		    k, tenant, b, rec, o->mem, &headers, &o->headers_len, &o->payload, &o->payload_len);
	if (err == 0)
		err = digest_check(headers, o->headers_len, o->payload, o->payload_len);
	if (err == 0)
		o->headers = o->mem + (headers - o->mem);
	return err;
}

void
opened_fini(struct opened *o)
{
	mem_free(o->mem);
	*o = (struct opened){0};
}
