/* Of dsg: the descriptors of one stream. */
#include "common/base/err.h"
#include "common/base/mem.h"
#include "consensusd/core/dsg_impl.h"

enum { CAP_MIN = 8 };
_Static_assert((DSG_DESCRIPTORS_MAX & (DSG_DESCRIPTORS_MAX - 1)) == 0, "its ring is a power of two");

void
dsg_descriptors_fini(struct dsg_descriptors *d)
{
	mem_free(d->ring);
	*d = (struct dsg_descriptors){0};
}

struct dsg_descriptor *
dsg_descriptors_at(const struct dsg_descriptors *d, size_t i)
{
	MUST(i < d->count);
	return &d->ring[(d->head + i) & (d->cap - 1)];
}

int
dsg_descriptors_reserve(struct dsg_descriptors *d, size_t count)
{
	size_t cap = d->cap != 0 ? d->cap : CAP_MIN;
	struct dsg_descriptor *ring;

	if (count <= d->cap || d->cap == DSG_DESCRIPTORS_MAX)
		return 0;
	while (cap < count && cap < DSG_DESCRIPTORS_MAX)
		cap *= 2;
	if ((ring = mem_calloc(cap, sizeof(*ring))) == NULL)
		return ERR_NOMEM;
	for (size_t i = 0; i < d->count; i++)
		ring[i] = *dsg_descriptors_at(d, i);
	mem_free(d->ring);
	d->ring = ring;
	d->cap = cap;
	d->head = 0;
	return 0;
}

void
dsg_descriptors_push(struct dsg_descriptors *d, const struct dsg_descriptor *one)
{
	MUST(d->count < d->cap);
	d->count++;
	*dsg_descriptors_at(d, d->count - 1) = *one;
}

void
dsg_descriptors_drop(struct dsg_descriptors *d)
{
	MUST(d->count != 0);
	d->head = (d->head + 1) & (d->cap - 1);
	d->count--;
}

size_t
dsg_descriptors_cut(struct dsg_descriptors *d, uint64_t seq)
{
	size_t dropped = 0;

	while (d->count != 0 && dsg_descriptor_last(dsg_descriptors_at(d, 0)) <= seq) {
		dsg_descriptors_drop(d);
		dropped++;
	}
	return dropped;
}

size_t
dsg_descriptors_cut_back(struct dsg_descriptors *d, uint64_t seq)
{
	size_t dropped = 0;

	while (d->count != 0 && dsg_descriptor_last(dsg_descriptors_at(d, d->count - 1)) > seq) {
		d->count--;
		dropped++;
	}
	return dropped;
}

const struct dsg_descriptor *
dsg_descriptors_find(const struct dsg_descriptors *d, uint64_t seq)
{
	size_t low = 0, high = d->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (dsg_descriptors_at(d, middle)->first_seq < seq)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == d->count || dsg_descriptors_at(d, low)->first_seq != seq)
		return NULL;
	return dsg_descriptors_at(d, low);
}
