/* retry: see retry.h. */
#include "consensusd/core/retry.h"

#include <string.h>

#include "common/base/rng.h"

enum { JITTER_PERCENT = 15 };

/* Where seq is, or would be. */
static size_t
place(const struct retry *r, uint64_t seq)
{
	size_t i = 0;

	while (i < r->count && r->items[i].seq < seq)
		i++;
	return i;
}

struct retry_item *
retry_find(struct retry *r, uint64_t seq)
{
	size_t i = place(r, seq);

	return i < r->count && r->items[i].seq == seq ? &r->items[i] : NULL;
}

static void
del(struct retry *r, size_t i)
{
	r->count--;
	memmove(&r->items[i], &r->items[i + 1], (r->count - i) * sizeof(r->items[0]));
}

/* The highest that may be forgotten makes room. */
static bool
make_room(struct retry *r)
{
	for (size_t i = r->count; i > 0; i--) {
		if (r->items[i - 1].dead)
			continue;
		del(r, i - 1);
		return true;
	}
	return false;
}

static void
copy_error(char out[RETRY_ERROR_SIZE], const char *error)
{
	size_t n = 0;

	for (; error[n] != '\0' && n + 1 < RETRY_ERROR_SIZE; n++)
		out[n] = error[n];
	out[n] = '\0';
}

struct retry_item *
retry_fail(struct retry *r, uint64_t seq, uint32_t attempts, const char *error)
{
	struct retry_item *item = retry_find(r, seq);
	size_t i;

	if (item == NULL) {
		if (r->count == RETRY_ITEMS_MAX && !make_room(r))
			return NULL;
		i = place(r, seq);
		memmove(&r->items[i + 1], &r->items[i], (r->count - i) * sizeof(r->items[0]));
		r->count++;
		item = &r->items[i];
		*item = (struct retry_item){.seq = seq};
	}
	item->attempts = item->attempts > UINT32_MAX - attempts ? UINT32_MAX : item->attempts + attempts;
	item->saved = false;
	copy_error(item->error, error);
	return item;
}

void
retry_cut(struct retry *r, uint64_t seq)
{
	size_t n = place(r, seq + 1);

	r->count -= n;
	memmove(&r->items[0], &r->items[n], r->count * sizeof(r->items[0]));
}

uint64_t
retry_pass(const struct retry *r, uint64_t acked)
{
	for (size_t i = place(r, acked + 1); i < r->count; i++) {
		if (r->items[i].seq != acked + 1 || !r->items[i].dead)
			break;
		acked++;
	}
	return acked;
}

bool
retry_full(const struct retry *r, uint64_t seq)
{
	for (size_t i = 0; i < r->count; i++) {
		if (!r->items[i].dead || r->items[i].seq >= seq)
			return false;
	}
	return r->count == RETRY_ITEMS_MAX;
}

struct mono
retry_next(const struct retry *r, struct mono now)
{
	struct mono next = MONO_NEVER;

	for (size_t i = 0; i < r->count; i++) {
		if (!r->items[i].dead && mono_before(now, r->items[i].at))
			next = mono_min(next, r->items[i].at);
	}
	return next;
}

uint32_t
retry_delay_ms(uint32_t base_ms, uint32_t attempts, struct rng *rng)
{
	int64_t ms = base_ms != 0 ? base_ms : RETRY_DEFAULT_MS;

	for (uint32_t i = 1; i < attempts && ms < RETRY_MAX_MS; i++)
		ms *= 2;
	ms = rng_jitter(rng, ms < RETRY_MAX_MS ? ms : RETRY_MAX_MS, JITTER_PERCENT);
	return ms > RETRY_MAX_MS ? RETRY_MAX_MS : (uint32_t)ms;
}
