/*
 * Any bytes are a snapshot of a data stream group, which is written as it was read, or an error; and any log
 * gives the same state on two machines, one of which is taken down and restored in between, with what must
 * hold of each stream.
 */
#include "tests/fuzz/fuzz.h"

#include "common/base/buf.h"
#include "common/base/mem.h"
#include "consensusd/core/dsg_impl.h"

enum { MAX_BYTES = 64 << 20, RESTORE = 1, SHORT = 2 };

static struct dsg *
machine(void)
{
	struct dsg *d = dsg_new(NULL);

	FUZZ_CHECK(d != NULL);
	return d;
}

static void
snapshot(const struct dsg *d, struct buf *out)
{
	buf_init(out, MAX_BYTES);
	FUZZ_CHECK(dsg_snapshot(d, out) == 0);
}

static void
look_at(const struct dsg *d, const struct dsg_item *item)
{
	const struct dsg_stream *s = &item->s;
	uint64_t last = s->described;

	FUZZ_CHECK(dsg_find(d, &s->id) == s);
	FUZZ_CHECK(s->committed <= s->described && s->committed >= dsg_item_committed(s));
	for (size_t i = 0; i < s->target_count; i++)
		FUZZ_CHECK(s->processed[i] <= s->described);
	for (size_t i = item->descriptors.count; i > 0; i--) {
		const struct dsg_descriptor *one = dsg_descriptors_at(&item->descriptors, i - 1);
		struct dsg_batch b = {
		    .stream = s->id, .epoch = one->epoch, .first_seq = one->first_seq, .count = one->count};

		FUZZ_CHECK(dsg_descriptor_last(one) == last && last > s->committed);
		last = one->first_seq - 1;
		memcpy(b.digest, one->digest, sizeof(b.digest));
		memcpy(b.signature, one->signature, sizeof(b.signature));
		FUZZ_CHECK(dsg_check(d, &b) == DSG_CHECK_SAME);
		b.digest[0] ^= 1;
		FUZZ_CHECK(dsg_check(d, &b) == DSG_CHECK_OTHER);
	}
}

static void
look(const struct dsg *d)
{
	size_t kept = 0, slots = 0;

	for (size_t i = 0; i < dsg_count(d); i++) {
		const struct dsg_item *item = d->streams.at[i];

		look_at(d, item);
		kept += item->descriptors.count;
		slots += item->descriptors.cap;
	}
	FUZZ_CHECK(kept == d->descriptors && slots == d->slots);
	FUZZ_CHECK(dsg_at(d, dsg_count(d)) == NULL);
}

static void
same(const struct dsg *a, const struct dsg *b)
{
	struct buf x, y;

	snapshot(a, &x);
	snapshot(b, &y);
	FUZZ_CHECK(buf_left(&x) == buf_left(&y));
	FUZZ_CHECK(memcmp(buf_head(&x), buf_head(&y), buf_left(&x)) == 0);
	buf_fini(&x);
	buf_fini(&y);
}

static void
as_snapshot(const uint8_t *data, size_t size)
{
	struct dsg *d = machine();
	struct buf out;

	if (dsg_restore(d, data, size) == 0) {
		look(d);
		snapshot(d, &out);
		FUZZ_CHECK(buf_left(&out) == size && memcmp(buf_head(&out), data, size) == 0);
		buf_fini(&out);
	} else {
		FUZZ_CHECK(dsg_count(d) == 0);
	}
	dsg_free(d);
}

static struct dsg *
moved(struct dsg *d)
{
	struct dsg *to = machine();
	struct buf b;

	snapshot(d, &b);
	FUZZ_CHECK(dsg_restore(to, buf_head(&b), buf_left(&b)) == 0);
	buf_fini(&b);
	dsg_free(d);
	return to;
}

/* Too little memory for the first time. */
static void
apply_short(struct dsg *d, unsigned at, const uint8_t *data, size_t len)
{
	mem_fail_at(at);
	if (dsg_apply(d, data, len) == 0) {
		mem_fail_at(0);
		return;
	}
	mem_fail_at(0);
	look(d);
	FUZZ_CHECK(dsg_apply(d, data, len) == 0);
}

/* Entries: u8 flags, u16 length, data. */
static void
as_log(const uint8_t *data, size_t size)
{
	struct dsg *a = machine(), *b = machine();

	while (size >= 3) {
		size_t len = (size_t)(data[1] << 8 | data[2]);
		uint8_t flags = data[0];

		if ((flags & RESTORE) != 0)
			b = moved(b);
		data += 3;
		size -= 3;
		len = len < size ? len : size;
		FUZZ_CHECK(dsg_apply(a, data, len) == 0);
		if ((flags & SHORT) != 0)
			apply_short(b, flags / SHORT / 2 % 8 + 1, data, len);
		else
			FUZZ_CHECK(dsg_apply(b, data, len) == 0);
		data += len;
		size -= len;
	}
	look(a);
	look(b);
	same(a, b);
	dsg_free(a);
	dsg_free(b);
}

/* The first byte says which. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	if (data[0] % 2 == 0)
		as_snapshot(data + 1, size - 1);
	else
		as_log(data + 1, size - 1);
	return 0;
}
