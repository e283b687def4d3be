/*
 * Any bytes are a snapshot of the control group, which is written as it was read, or an error; and any log
 * gives the same state on two machines, one of which is taken down and restored in between.
 */
#include "tests/fuzz/fuzz.h"

#include "common/base/buf.h"
#include "common/base/err.h"
#include "consensusd/core/mcg.h"
#include "consensusd/core/raft_entry.h"

enum { MAX_BYTES = 64 << 20, RESTORE = 1, CLIENT = 2 };

static struct mcg *
machine(void)
{
	struct mcg *m = mcg_new();

	FUZZ_CHECK(m != NULL);
	return m;
}

static void
snapshot(const struct mcg *m, struct buf *out)
{
	buf_init(out, MAX_BYTES);
	FUZZ_CHECK(mcg_snapshot(m, out) == 0);
}

static void
look(const struct mcg *m)
{
	struct mcg_update u = {.index = 0};
	struct mcg_value v;

	for (size_t i = 0; i < mcg_member_count(m); i++)
		FUZZ_CHECK(mcg_member_get(m, mcg_member_at(m, i)->node) == mcg_member_at(m, i));
	for (size_t i = 0; mcg_value_at(m, i, &v); i++)
		FUZZ_CHECK(mcg_value_get(m, v.key, &v));
	for (size_t i = 0; i < mcg_key_count(m); i++)
		FUZZ_CHECK(mcg_key_get(m, mcg_key_at(m, i)->tenant) != NULL);
	while (mcg_update_after(m, u.index, &u))
		FUZZ_CHECK(u.index > mcg_pruned(m) && u.index <= mcg_update_last(m));
	if (mcg_mesh(m) != NULL)
		FUZZ_CHECK(mcg_update_bytes(m) <= mcg_mesh(m)->updates_max_bytes);
}

static void
same(const struct mcg *a, const struct mcg *b)
{
	struct buf x, y;

	snapshot(a, &x);
	snapshot(b, &y);
	FUZZ_CHECK(buf_left(&x) == buf_left(&y));
	FUZZ_CHECK(memcmp(buf_head(&x), buf_head(&y), buf_left(&x)) == 0);
	FUZZ_CHECK(mcg_bytes(a) == mcg_bytes(b));
	buf_fini(&x);
	buf_fini(&y);
}

static void
as_snapshot(const uint8_t *data, size_t size)
{
	struct mcg *m = machine();
	struct buf out;

	if (mcg_restore(m, data, size) == 0) {
		look(m);
		snapshot(m, &out);
		FUZZ_CHECK(buf_left(&out) == size && memcmp(buf_head(&out), data, size) == 0);
		buf_fini(&out);
	} else {
		FUZZ_CHECK(mcg_index(m) == 0 && mcg_mesh(m) == NULL);
	}
	mcg_free(m);
}

static struct mcg *
moved(struct mcg *m)
{
	struct mcg *to = machine();
	struct buf b;

	snapshot(m, &b);
	FUZZ_CHECK(mcg_restore(to, buf_head(&b), buf_left(&b)) == 0);
	buf_fini(&b);
	mcg_free(m);
	return to;
}

static void
apply(struct mcg *m, uint64_t client, uint64_t seq, const uint8_t *data, size_t len, struct mcg_result *r)
{
	struct raft_entry *e = raft_entry_new(RAFT_DATA, client, seq, data, len);

	FUZZ_CHECK(e != NULL);
	e->index = mcg_index(m) + 1;
	e->term = 1;
	FUZZ_CHECK(mcg_apply(m, e, r) == 0);
	FUZZ_CHECK(mcg_index(m) == e->index);
	raft_entry_unref(e);
}

/* Entries: u8 flags, u8 seq, u16 length, data. */
static void
as_log(const uint8_t *data, size_t size)
{
	struct mcg *a = machine(), *b = machine();

	while (size >= 4) {
		uint64_t client = data[0] / CLIENT % 4, seq = data[1];
		size_t len = (size_t)(data[2] << 8 | data[3]);
		struct mcg_result x, y;

		if ((data[0] & RESTORE) != 0)
			b = moved(b);
		data += 4;
		size -= 4;
		len = len < size ? len : size;
		apply(a, client, seq, data, len, &x);
		apply(b, client, seq, data, len, &y);
		FUZZ_CHECK(x.err == y.err && x.index == y.index && x.changes == y.changes);
		FUZZ_CHECK(x.session == y.session && x.repeated == y.repeated && x.version == y.version);
		data += len;
		size -= len;
	}
	look(a);
	same(a, b);
	b = moved(b);
	same(a, b);
	mcg_free(a);
	mcg_free(b);
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
