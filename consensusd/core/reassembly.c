/* reassembly: see reassembly.h. */
#include "consensusd/core/reassembly.h"

#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "consensusd/core/budget.h"

void
reassembly_init(struct reassembly *r, struct budget *budget)
{
	r->count = 0;
	r->bytes = 0;
	r->budget = budget;
}

static void
forget(struct reassembly *r, struct partial *p)
{
	r->bytes -= p->batch->body_len;
	budget_sub(r->budget, p->batch->body_len);
	mem_free(p->have);
	*p = r->partials[--r->count];
}

static void
drop(struct reassembly *r, struct partial *p)
{
	struct batch *b = p->batch;

	forget(r, p);
	batch_unref(b);
}

void
reassembly_fini(struct reassembly *r)
{
	while (r->count > 0)
		drop(r, &r->partials[r->count - 1]);
}

void
reassembly_cut(struct reassembly *r, uint64_t seq)
{
	for (size_t i = r->count; i > 0; i--) {
		if (r->partials[i - 1].batch->first_seq < seq)
			drop(r, &r->partials[i - 1]);
	}
}

size_t
reassembly_expire(struct reassembly *r, struct mono since)
{
	size_t before = r->count;

	for (size_t i = r->count; i > 0; i--) {
		if (!mono_before(since, r->partials[i - 1].last))
			drop(r, &r->partials[i - 1]);
	}
	return before - r->count;
}

struct mono
reassembly_oldest(const struct reassembly *r)
{
	struct mono oldest = MONO_NEVER;

	for (size_t i = 0; i < r->count; i++)
		oldest = mono_min(oldest, r->partials[i].last);
	return oldest;
}

static struct batch *
batch_of(const struct ulid *stream_id, const struct fragment *f)
{
	struct batch *b = batch_new(f->batch_bytes);

	if (b == NULL)
		return NULL;
	b->stream_id = *stream_id;
	b->first_seq = f->first_seq;
	b->count = f->count;
	b->epoch = f->epoch;
	memcpy(b->key_id, f->key_id, BATCH_KEY_ID_BYTES);
	memcpy(b->nonce, f->nonce, BATCH_NONCE_BYTES);
	return b;
}

static bool
same_batch(const struct partial *p, const struct fragment *f)
{
	const struct batch *b = p->batch;

	return b->count == f->count && b->epoch == f->epoch && b->body_len == f->batch_bytes &&
	       p->total == f->total && memcmp(b->nonce, f->nonce, BATCH_NONCE_BYTES) == 0 &&
	       memcmp(b->key_id, f->key_id, BATCH_KEY_ID_BYTES) == 0;
}

static struct partial *
find(struct reassembly *r, uint64_t first_seq)
{
	for (size_t i = 0; i < r->count; i++) {
		if (r->partials[i].batch->first_seq == first_seq)
			return &r->partials[i];
	}
	return NULL;
}

static struct partial *
farthest(struct reassembly *r)
{
	struct partial *far = NULL;

	for (size_t i = 0; i < r->count; i++) {
		if (far == NULL || r->partials[i].batch->first_seq > far->batch->first_seq)
			far = &r->partials[i];
	}
	return far;
}

/* Room for a new batch: those farther ahead give way. */
static bool
make_room(struct reassembly *r, const struct fragment *f, size_t max_bytes)
{
	struct partial *far;

	while (r->count == REASSEMBLY_MAX || (r->count > 0 && r->bytes + f->batch_bytes > max_bytes)) {
		far = farthest(r);
		if (far->batch->first_seq < f->first_seq)
			return false;
		drop(r, far);
	}
	return true;
}

static int
start(struct reassembly *r, const struct ulid *stream_id, const struct fragment *f, size_t max_bytes,
    struct partial **out)
{
	struct partial p = {.total = f->total};

	if (!make_room(r, f, max_bytes))
		return ERR_FULL;
	p.batch = batch_of(stream_id, f);
	p.have = mem_calloc((f->total + 7) / 8, 1);
	if (p.batch == NULL || p.have == NULL) {
		batch_unref(p.batch);
		mem_free(p.have);
		return ERR_NOMEM;
	}
	r->bytes += p.batch->body_len;
	budget_add(r->budget, p.batch->body_len);
	r->partials[r->count] = p;
	*out = &r->partials[r->count++];
	return 0;
}

static bool
fits(const struct fragment *f)
{
	return f->total > 0 && f->index < f->total && f->offset <= f->batch_bytes &&
	       f->payload_len <= f->batch_bytes - f->offset;
}

static void
fill(struct batch *b, const struct fragment *f)
{
	memcpy(b->body + f->offset, f->payload, f->payload_len);
	if (f->signature != NULL)
		memcpy(b->signature, f->signature, BATCH_SIG_BYTES);
}

static int
add_whole(const struct ulid *stream_id, const struct fragment *f, struct batch **out)
{
	struct batch *b;

	if (f->payload_len != f->batch_bytes)
		return ERR_FORMAT;
	b = batch_of(stream_id, f);
	if (b == NULL)
		return ERR_NOMEM;
	fill(b, f);
	*out = b;
	return 0;
}

int
reassembly_add(struct reassembly *r, const struct ulid *stream_id, const struct fragment *f, size_t max_bytes,
    struct mono now, struct batch **out)
{
	struct partial *p;
	int err;

	*out = NULL;
	if (!fits(f))
		return ERR_FORMAT;
	if (f->total == 1)
		return add_whole(stream_id, f, out);
	p = find(r, f->first_seq);
	if (p != NULL && !same_batch(p, f)) {
		drop(r, p);
		p = NULL;
	}
	if (p == NULL) {
		err = start(r, stream_id, f, max_bytes, &p);
		if (err != 0)
			return err;
	}
	p->last = now;
	if (p->have[f->index / 8] & 1u << f->index % 8)
		return 0;
	p->have[f->index / 8] |= (uint8_t)(1u << f->index % 8);
	fill(p->batch, f);
	if (++p->got < p->total)
		return 0;
	*out = p->batch;
	forget(r, p);
	return 0;
}
