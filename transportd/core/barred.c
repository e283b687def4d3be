#include "transportd/core/barred.h"

#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"

void
barred_fini(struct barred *b)
{
	mem_free(b->names);
	mem_free(b->at);
	*b = (struct barred){0};
}

/* --- the set --- */

static int
compare(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len)
{
	int c = memcmp(a, b, a_len < b_len ? a_len : b_len);

	return c != 0 ? c : (a_len > b_len) - (a_len < b_len);
}

/* Counts the names, and fills at if it is not NULL. */
static int
walk(const uint8_t *p, size_t len, const uint8_t **at, size_t *count)
{
	const uint8_t *last = NULL;
	size_t n = 0;

	while (len > 0) {
		size_t used = 1 + (size_t)p[0];

		if (used > len)
			return ERR_SHORT;
		if (n == BARRED_TENANTS_MAX)
			return ERR_LIMIT;
		if (p[0] == 0 || p[0] > TENANT_ID_MAX ||
		    (last != NULL && compare(last + 1, last[0], p + 1, p[0]) >= 0))
			return ERR_FORMAT;
		if (at != NULL)
			at[n] = p;
		n++;
		last = p;
		p += used;
		len -= used;
	}
	*count = n;
	return 0;
}

int
barred_decode(struct barred *b, const uint8_t *body, size_t len)
{
	struct barred fresh = {0};
	int err = len > 0 && body[0] > 1 ? ERR_FORMAT : 0;

	if (err == 0 && len > 0)
		err = walk(body + 1, len - 1, NULL, &fresh.count);
	if (err != 0)
		return err;
	if (len > 0) {
		fresh.all = body[0] == 1;
		fresh.names = mem_dup(body + 1, len - 1);
		fresh.at = mem_calloc(fresh.count + 1, sizeof(*fresh.at));
		if (fresh.names == NULL || fresh.at == NULL) {
			barred_fini(&fresh);
			return ERR_NOMEM;
		}
		MUST(walk(fresh.names, len - 1, fresh.at, &fresh.count) == 0);
	}
	barred_fini(b);
	*b = fresh;
	return 0;
}

bool
barred_empty(const struct barred *b)
{
	return !b->all && b->count == 0;
}

bool
barred_has(const struct barred *b, const uint8_t *tenant, size_t len)
{
	size_t low = 0, high = b->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int c = compare(tenant, len, b->at[middle] + 1, b->at[middle][0]);

		if (c == 0)
			return !b->all;
		if (c > 0)
			low = middle + 1;
		else
			high = middle;
	}
	return b->all;
}

/* --- the header (https://protobuf.dev/programming-guides/encoding/) --- */

enum { FIELD_TENANT = 3, TYPE_VARINT = 0, TYPE_I64 = 1, TYPE_LEN = 2, TYPE_I32 = 5, VARINT_MAX_BYTES = 10 };

struct in {
	const uint8_t *p, *end;
};

static int
varint(struct in *in, uint64_t *out)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < VARINT_MAX_BYTES; i++) {
		if (in->p == in->end)
			return ERR_SHORT;
		v |= (uint64_t)(*in->p & 0x7f) << (7 * i);
		if ((*in->p++ & 0x80) == 0) {
			*out = v;
			return 0;
		}
	}
	return ERR_FORMAT;
}

static int
skip(struct in *in, uint64_t n)
{
	if (n > (uint64_t)(in->end - in->p))
		return ERR_SHORT;
	in->p += n;
	return 0;
}

/* The value of a field of this wire type: of one with a length, its bytes. */
static int
value(struct in *in, unsigned type, const uint8_t **bytes, uint64_t *len)
{
	int err;

	switch (type) {
	case TYPE_VARINT:
		return varint(in, len);
	case TYPE_I64:
		return skip(in, 8);
	case TYPE_I32:
		return skip(in, 4);
	case TYPE_LEN:
		if ((err = varint(in, len)) != 0)
			return err;
		*bytes = in->p;
		return skip(in, *len);
	default:
		return ERR_FORMAT;
	}
}

int
barred_tenant(const uint8_t *e2e, size_t len, const uint8_t **tenant, size_t *tenant_len)
{
	struct in in = {e2e, e2e + len};
	uint64_t key, n = 0;
	int err, found = ERR_NOENT;

	while (in.p != in.end) {
		const uint8_t *bytes = NULL;

		if ((err = varint(&in, &key)) != 0 || (err = value(&in, key & 7, &bytes, &n)) != 0)
			return err;
		/* A reader that takes tags for 32 bits wide may see another field than one that does not. */
		if (key > UINT32_MAX || (key >> 3 == FIELD_TENANT && bytes == NULL))
			return ERR_FORMAT;
		if (key >> 3 != FIELD_TENANT)
			continue;
		/* A reader may end it at a NUL. */
		if (n == 0 || n > TENANT_ID_MAX || memchr(bytes, 0, (size_t)n) != NULL)
			return ERR_FORMAT;
		*tenant = bytes;
		*tenant_len = (size_t)n;
		found = 0;
	}
	return found;
}

bool
barred_frame(const struct barred *b, const uint8_t *e2e, size_t len)
{
	const uint8_t *tenant;
	size_t n;

	if (barred_empty(b))
		return false;
	return barred_tenant(e2e, len, &tenant, &n) != 0 || barred_has(b, tenant, n);
}
