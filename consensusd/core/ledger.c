/* ledger: see ledger.h. */
#include "consensusd/core/ledger.h"

#include <stdbool.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/must.h"
#include "consensusd/core/limits.h"

enum { LEDGER_CAP_MIN = 8 };

void
ledger_init(struct ledger *l)
{
	*l = (struct ledger){
	    .grain = LEDGER_GRAIN_BYTES, .grain_min = LEDGER_GRAIN_BYTES, .span_ms = LEDGER_SPAN_MS};
}

void
ledger_fini(struct ledger *l)
{
	mem_free(l->buckets);
	ledger_init(l);
}

static void
to_front(struct ledger *l)
{
	if (l->head == 0)
		return;
	MUST(l->buckets != NULL);
	memmove(l->buckets, l->buckets + l->head, l->count * sizeof(*l->buckets));
	l->head = 0;
}

static void
merge_pairs(struct ledger *l)
{
	size_t n = 0;

	MUST(l->buckets != NULL);
	for (size_t i = 0; i < l->count; i += 2) {
		struct ledger_bucket b = l->buckets[i];

		if (i + 1 < l->count) {
			b.last_seq = l->buckets[i + 1].last_seq;
			b.bytes += l->buckets[i + 1].bytes;
			b.last_ms = l->buckets[i + 1].last_ms;
		}
		l->buckets[n++] = b;
	}
	l->count = n;
	l->grain *= 2;
	l->span_ms *= 2;
}

/* Makes room for one bucket more, if it can. */
static void
make_room(struct ledger *l)
{
	size_t cap = l->cap == 0 ? LEDGER_CAP_MIN : l->cap * 2;
	struct ledger_bucket *p;

	to_front(l);
	if (l->count < l->cap)
		return;
	if (l->cap >= LEDGER_BUCKETS_MAX) {
		merge_pairs(l);
		return;
	}
	p = mem_reallocarray(l->buckets, cap, sizeof(*p));
	if (p == NULL)
		return;
	l->buckets = p;
	l->cap = cap;
}

void
ledger_add(struct ledger *l, uint64_t last_seq, size_t bytes)
{
	ledger_add_at(l, last_seq, bytes, 0);
}

/* Clocks of the wall may go back: that is no reason for a new bucket. */
static bool
spans_enough(const struct ledger *l, const struct ledger_bucket *b, uint64_t at_ms)
{
	return b->bytes >= l->grain || (at_ms > b->first_ms && at_ms - b->first_ms > l->span_ms);
}

void
ledger_add_at(struct ledger *l, uint64_t last_seq, size_t bytes, uint64_t at_ms)
{
	struct ledger_bucket *newest = l->count > 0 ? &l->buckets[l->head + l->count - 1] : NULL;

	if (newest == NULL || spans_enough(l, newest, at_ms)) {
		if (l->head + l->count == l->cap)
			make_room(l);
		newest = l->count > 0 ? &l->buckets[l->head + l->count - 1] : NULL;
		if (l->head + l->count < l->cap) {
			MUST(l->buckets != NULL);
			newest = &l->buckets[l->head + l->count++];
			newest->bytes = 0;
			newest->first_ms = at_ms;
		}
	}
	if (newest == NULL)
		return;
	newest->last_seq = last_seq;
	newest->last_ms = at_ms;
	newest->bytes += bytes;
	l->total_bytes += bytes;
}

void
ledger_cut(struct ledger *l, uint64_t seq)
{
	while (l->count > 0 && l->buckets[l->head].last_seq <= seq) {
		l->total_bytes -= l->buckets[l->head].bytes;
		l->head++;
		l->count--;
	}
	if (l->count == 0) {
		l->head = 0;
		l->grain = l->grain_min;
		l->span_ms = LEDGER_SPAN_MS;
	}
}

void
ledger_put_before(struct ledger *l, const struct ledger_bucket *older, size_t count)
{
	struct ledger_bucket *p = mem_calloc(l->count + count + 1, sizeof(*p));

	if (p == NULL)
		return;
	for (size_t i = 0; i < count; i++) {
		p[i] = older[i];
		l->total_bytes += older[i].bytes;
	}
	for (size_t i = 0; i < l->count; i++)
		p[count + i] = *ledger_at(l, i);
	mem_free(l->buckets);
	l->buckets = p;
	l->head = 0;
	l->count += count;
	l->cap = l->count + 1;
}

const struct ledger_bucket *
ledger_at(const struct ledger *l, size_t i)
{
	return i < l->count ? &l->buckets[l->head + i] : NULL;
}
