#include "common/base/idset.h"

#include "common/base/be.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/num.h"

void
idset_fini(struct idset *s)
{
	mem_free(s->ids);
	*s = (struct idset){0};
}

static void
sift(uint64_t *ids, size_t root, size_t count)
{
	size_t child;

	while ((child = 2 * root + 1) < count) {
		uint64_t id = ids[root];

		if (child + 1 < count && ids[child + 1] > ids[child])
			child++;
		if (ids[child] <= id)
			return;
		ids[root] = ids[child];
		ids[child] = id;
		root = child;
	}
}

/* Heapsort: in place, and no order of the input makes it slow. */
static void
sort(uint64_t *ids, size_t count)
{
	for (size_t i = count / 2; i > 0; i--)
		sift(ids, i - 1, count);
	for (size_t n = count; n > 1; n--) {
		uint64_t last = ids[n - 1];

		ids[n - 1] = ids[0];
		ids[0] = last;
		sift(ids, 0, n - 1);
	}
}

/* Takes ids over, sorted; what is there twice counts once. */
static void
replace(struct idset *s, uint64_t *ids, size_t count)
{
	size_t kept = 0;

	for (size_t i = 0; i < count; i++)
		if (kept == 0 || ids[i] != ids[kept - 1])
			ids[kept++] = ids[i];
	mem_free(s->ids);
	s->ids = ids;
	s->count = kept;
}

int
idset_assign(struct idset *s, const uint64_t *ids, size_t count)
{
	uint64_t *copy;

	if (count > IDSET_MAX_COUNT)
		return ERR_LIMIT;
	for (size_t i = 0; i < count; i++)
		if (ids[i] == 0)
			return ERR_RANGE;
	if (count == 0) {
		idset_fini(s);
		return 0;
	}
	if ((copy = mem_dup(ids, count * sizeof(*ids))) == NULL)
		return ERR_NOMEM;
	sort(copy, count);
	replace(s, copy, count);
	return 0;
}

int
idset_decode(struct idset *s, const uint8_t *body, size_t len)
{
	size_t count = len / 8;
	uint64_t before = 0, *ids;

	if (len % 8 != 0)
		return ERR_FORMAT;
	if (count > IDSET_MAX_COUNT)
		return ERR_LIMIT;
	for (size_t i = 0; i < count; i++) {
		uint64_t id = be_load64(body + 8 * i);

		if (id <= before)
			return ERR_FORMAT;
		before = id;
	}
	if (count == 0) {
		idset_fini(s);
		return 0;
	}
	if ((ids = mem_calloc(count, sizeof(*ids))) == NULL)
		return ERR_NOMEM;
	for (size_t i = 0; i < count; i++)
		ids[i] = be_load64(body + 8 * i);
	replace(s, ids, count);
	return 0;
}

int
idset_encode(const struct idset *s, struct buf *out)
{
	uint8_t *p;
	int err = buf_reserve(out, 8 * s->count, &p);

	if (err != 0)
		return err;
	for (size_t i = 0; i < s->count; i++)
		be_store64(p + 8 * i, s->ids[i]);
	buf_commit(out, 8 * s->count);
	return 0;
}

bool
idset_has(const struct idset *s, uint64_t id)
{
	size_t i = place_u64(s->ids, s->count, id);

	return i < s->count && s->ids[i] == id;
}

uint64_t
idset_from(const struct idset *s, uint64_t id)
{
	size_t i = place_u64(s->ids, s->count, id);

	return i < s->count ? s->ids[i] : 0;
}
