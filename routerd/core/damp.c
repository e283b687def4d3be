#include "routerd/core/damp.h"

#include "common/base/must.h"

_Static_assert(
    DAMP_SUPPRESS > DAMP_REUSE && DAMP_CEILING >= DAMP_SUPPRESS, "what RFC 2439 section 4.2 asks for");

void
damp_init(struct damp *d)
{
	d->count = d->damped = 0;
}

/* What is left of a penalty: halves are exact, between them it falls in a straight line. */
static uint32_t
decayed(const struct damp_link *l, struct mono now)
{
	int64_t age = mono_diff_us(now, l->at);
	uint64_t half, p;

	if (age <= 0)
		return l->penalty;
	half = (uint64_t)age / DAMP_HALF_LIFE_US;
	if (half >= 32)
		return 0;
	p = l->penalty >> half;
	return (uint32_t)(p - p * ((uint64_t)age % DAMP_HALF_LIFE_US) / (2ULL * DAMP_HALF_LIFE_US));
}

static struct damp_link *
find(struct damp *d, uint64_t a, uint64_t b)
{
	for (size_t i = 0; i < d->count; i++)
		if (d->links[i].a == a && d->links[i].b == b)
			return &d->links[i];
	return NULL;
}

/* The place of a new link: a free one, or that of the least penalty. */
static struct damp_link *
place(struct damp *d, struct mono now)
{
	struct damp_link *least = &d->links[0];

	if (d->count < DAMP_LINKS_MAX)
		return &d->links[d->count++];
	for (size_t i = 1; i < d->count; i++)
		if (decayed(&d->links[i], now) < decayed(least, now))
			least = &d->links[i];
	d->damped -= least->damped;
	return least;
}

void
damp_down(struct damp *d, uint64_t a, uint64_t b, struct mono now)
{
	uint64_t low = a < b ? a : b, high = a < b ? b : a;
	struct damp_link *l = find(d, low, high);
	uint32_t penalty;

	if (l == NULL) {
		l = place(d, now);
		*l = (struct damp_link){.a = low, .b = high};
	}
	penalty = decayed(l, now) + DAMP_PENALTY;
	l->penalty = penalty < DAMP_CEILING ? penalty : DAMP_CEILING;
	l->at = now;
	if (l->penalty >= DAMP_SUPPRESS && !l->damped) {
		l->damped = true;
		d->damped++;
	}
}

void
damp_each(const struct damp *d, void (*fn)(void *arg, uint64_t a, uint64_t b), void *arg)
{
	if (d->damped == 0)
		return;
	for (size_t i = 0; i < d->count; i++)
		if (d->links[i].damped)
			fn(arg, d->links[i].a, d->links[i].b);
}

bool
damp_step(struct damp *d, struct mono now)
{
	bool freed = false;

	for (size_t i = 0; i < d->count;) {
		struct damp_link *l = &d->links[i];
		uint32_t left = decayed(l, now);

		if (l->damped && left < DAMP_REUSE) {
			l->damped = false;
			d->damped--;
			freed = true;
		}
		if (left >= DAMP_REUSE / 2)
			i++;
		else
			*l = d->links[--d->count]; /* as RFC 2439 forgets it */
	}
	return freed;
}

/* When the penalty is below DAMP_REUSE: decayed() turned round, on the safe side by a microsecond or two. */
static struct mono
reuse_at(const struct damp_link *l)
{
	uint64_t p = l->penalty, us = 0;

	for (; p / 2 >= DAMP_REUSE; p /= 2)
		us += DAMP_HALF_LIFE_US;
	if (p >= DAMP_REUSE)
		us += (p - DAMP_REUSE + 1) * 2 * DAMP_HALF_LIFE_US / p + 1;
	return mono_add_us(l->at, (int64_t)us);
}

struct mono
damp_next(const struct damp *d)
{
	struct mono next = MONO_NEVER;

	if (d->damped == 0)
		return next;
	for (size_t i = 0; i < d->count; i++)
		if (d->links[i].damped)
			next = mono_min(next, reuse_at(&d->links[i]));
	return next;
}
