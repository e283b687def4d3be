/* failures: see failures.h. */
#include "consensusd/core/failures.h"

#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/num.h"

void
failures_init(struct failures *f, uint64_t from, size_t cap)
{
	*f = (struct failures){.from = from, .cap = cap};
}

void
failures_fini(struct failures *f)
{
	mem_free(f->seqs);
	f->seqs = NULL;
	f->count = 0;
}

size_t
failures_after(const struct failures *f, uint64_t seq)
{
	return seq == UINT64_MAX ? f->count : place_u64(f->seqs, f->count, seq + 1);
}

bool
failures_has(const struct failures *f, uint64_t seq)
{
	size_t i = failures_after(f, seq);

	return i > 0 && f->seqs[i - 1] == seq;
}

int
failures_add(struct failures *f, uint64_t seq)
{
	MUST(seq > f->from && (f->count == 0 || seq > f->seqs[f->count - 1]));
	if (f->count == f->cap)
		return ERR_FULL;
	/* Made when the first message fails: most streams never need it. */
	if (f->seqs == NULL)
		f->seqs = mem_calloc(f->cap, sizeof(f->seqs[0]));
	if (f->seqs == NULL)
		return ERR_NOMEM;
	f->seqs[f->count++] = seq;
	return 0;
}

int
failures_load(struct failures *f, uint64_t seq)
{
	int err;

	if (f->count == f->cap)
		failures_cut(f, f->seqs[0]);
	err = failures_add(f, seq);
	if (err != 0)
		failures_cut(f, seq);
	return err;
}

static void
drop(struct failures *f, size_t first, size_t end)
{
	if (first == end)
		return;
	memmove(&f->seqs[first], &f->seqs[end], (f->count - end) * sizeof(f->seqs[0]));
	f->count -= end - first;
}

void
failures_del(struct failures *f, uint64_t seq)
{
	if (failures_has(f, seq))
		drop(f, failures_after(f, seq) - 1, failures_after(f, seq));
}

void
failures_cut(struct failures *f, uint64_t seq)
{
	if (seq <= f->from)
		return;
	drop(f, 0, failures_after(f, seq));
	f->from = seq;
}
