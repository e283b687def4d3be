#include "transportd/core/eyeballs.h"

#include <string.h>

#include "common/base/err.h"

void
eyeballs_init(struct eyeballs *e, struct mono now)
{
	memset(e, 0, sizeof(*e));
	e->due = mono_add_ms(now, EYEBALLS_RESOLVE_MS);
}

void
eyeballs_ask(struct eyeballs *e)
{
	e->asked++;
}

void
eyeballs_answered(struct eyeballs *e)
{
	MUST(e->asked != 0);
	e->asked--;
}

static bool
is_v6(const struct eyeballs_candidate *c)
{
	return strchr(c->ip, ':') != NULL;
}

int
eyeballs_add(struct eyeballs *e, const char *ip, uint16_t port, uint8_t rank, bool last)
{
	struct eyeballs_candidate *c = &e->list[e->count];
	size_t len = strlen(ip);

	for (size_t i = 0; i < e->count; i++)
		if (e->list[i].port == port && e->list[i].rank == rank && strcmp(e->list[i].ip, ip) == 0)
			return 0;
	if (e->count == EYEBALLS_MAX)
		return ERR_FULL;
	if (len >= sizeof(c->ip))
		return ERR_FORMAT;
	*c = (struct eyeballs_candidate){.port = port, .rank = rank, .last = last};
	memcpy(c->ip, ip, len);
	e->count++;
	return 0;
}

struct mono
eyeballs_next(const struct eyeballs *e)
{
	if (e->begun == e->count || e->running >= EYEBALLS_RUNNING_MAX)
		return MONO_NEVER;
	/* Nobody can come before those that are there. */
	if (e->begun == 0 && e->asked == 0)
		return MONO_ZERO;
	return e->due;
}

/* Does a come before b, both still to be tried? */
static bool
before(const struct eyeballs *e, const struct eyeballs_candidate *a, const struct eyeballs_candidate *b)
{
	bool want_v6 = e->begun == 0 || !e->last_v6;

	if (a->last != b->last)
		return b->last;
	if (is_v6(a) != is_v6(b))
		return is_v6(a) == want_v6;
	return a->rank < b->rank;
}

const struct eyeballs_candidate *
eyeballs_begin(struct eyeballs *e, struct mono now)
{
	struct eyeballs_candidate *best = NULL;

	for (size_t i = 0; i < e->count; i++)
		if (!e->list[i].begun && (best == NULL || before(e, &e->list[i], best)))
			best = &e->list[i];
	MUST(best != NULL);
	best->begun = true;
	e->begun++;
	e->running++;
	e->last_v6 = is_v6(best);
	e->due = mono_add_ms(now, EYEBALLS_DELAY_MS);
	return best;
}

void
eyeballs_failed(struct eyeballs *e, struct mono now)
{
	MUST(e->running != 0);
	e->running--;
	e->due = now;
}

bool
eyeballs_over(const struct eyeballs *e)
{
	return e->running == 0 && e->asked == 0 && e->begun == e->count;
}
