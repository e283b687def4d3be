/* controls: see controls.h. */
#include "consensusd/core/controls.h"

#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"

enum { CONTROLS_CAP_MIN = 8 };

const char *
control_kind_name(enum control_kind kind)
{
	static const char *const names[CONTROL_KINDS] = {"pause", "throttle"};

	return names[kind];
}

const char *
control_side_name(enum control_side side)
{
	static const char *const names[CONTROL_SIDES] = {"source", "target"};

	return names[side];
}

void
controls_fini(struct controls *c)
{
	for (size_t i = 0; i < c->count; i++)
		mem_free(c->all[i]);
	mem_free(c->all);
	*c = (struct controls){0};
}

/* --- scopes --- */

static bool
has_priority(const struct control_scope *s)
{
	return s->min_priority != INT32_MIN || s->max_priority != INT32_MAX;
}

static int
rank(const struct control_scope *s)
{
	return (ulid_is_zero(&s->stream_id) ? 0 : 4) + (s->tenant[0] != '\0' ? 2 : 0) +
	       (has_priority(s) ? 1 : 0);
}

static int64_t
width(const struct control_scope *s)
{
	return (int64_t)s->max_priority - s->min_priority;
}

/* Above zero: a is the more specific one. */
static int
compare(const struct control_scope *a, const struct control_scope *b)
{
	if (rank(a) != rank(b))
		return rank(a) - rank(b);
	return width(a) == width(b) ? 0 : width(a) < width(b) ? 1 : -1;
}

static bool
same_scope(const struct control_scope *a, const struct control_scope *b)
{
	return ulid_compare(&a->stream_id, &b->stream_id) == 0 && strcmp(a->tenant, b->tenant) == 0 &&
	       a->min_priority == b->min_priority && a->max_priority == b->max_priority;
}

/* Whether there can be a stream that both fit. */
static bool
overlap(const struct control_scope *a, const struct control_scope *b)
{
	if (!ulid_is_zero(&a->stream_id) && !ulid_is_zero(&b->stream_id) &&
	    ulid_compare(&a->stream_id, &b->stream_id) != 0)
		return false;
	if (a->tenant[0] != '\0' && b->tenant[0] != '\0' && strcmp(a->tenant, b->tenant) != 0)
		return false;
	return a->min_priority <= b->max_priority && b->min_priority <= a->max_priority;
}

bool
control_scope_fits(
    const struct control_scope *scope, const struct ulid *stream_id, const char *tenant, int32_t priority)
{
	if (!ulid_is_zero(&scope->stream_id) && ulid_compare(&scope->stream_id, stream_id) != 0)
		return false;
	if (scope->tenant[0] != '\0' && strcmp(scope->tenant, tenant) != 0)
		return false;
	return scope->min_priority <= priority && priority <= scope->max_priority;
}

/* --- rules --- */

static size_t
place(const struct controls *c, enum control_kind kind, enum control_side side,
    const struct control_scope *scope)
{
	size_t i = 0;

	while (i < c->count &&
	       !(c->all[i]->kind == kind && c->all[i]->side == side && same_scope(&c->all[i]->scope, scope)))
		i++;
	return i;
}

static int
grow(struct controls *c)
{
	size_t cap = c->cap == 0 ? CONTROLS_CAP_MIN : 2 * c->cap;
	struct control **p;

	if (c->count < c->cap)
		return 0;
	p = mem_reallocarray(c->all, cap, sizeof(struct control *));
	if (p == NULL)
		return ERR_NOMEM;
	c->all = p;
	c->cap = cap;
	return 0;
}

static int
add(struct controls *c, const struct control *rule, struct mono now)
{
	struct control *r;

	if (c->count == CONTROLS_MAX)
		return ERR_FULL;
	if (grow(c) != 0 || (r = mem_dup(rule, sizeof(*rule))) == NULL)
		return ERR_NOMEM;
	throttle_init(&r->throttle, r->messages_per_s, r->bytes_per_s, now);
	c->all[c->count++] = r;
	return 0;
}

int
controls_set(struct controls *c, const struct control *rule, struct mono now)
{
	size_t i = place(c, rule->kind, rule->side, &rule->scope);
	struct throttle bucket;

	if (i == c->count)
		return add(c, rule, now);
	bucket = c->all[i]->throttle;
	*c->all[i] = *rule;
	c->all[i]->throttle = bucket;
	throttle_set(&c->all[i]->throttle, rule->messages_per_s, rule->bytes_per_s, now);
	return 0;
}

bool
controls_del(
    struct controls *c, enum control_kind kind, enum control_side side, const struct control_scope *scope)
{
	size_t i = place(c, kind, side, scope);

	if (i == c->count)
		return false;
	mem_free(c->all[i]);
	c->count--;
	memmove(&c->all[i], &c->all[i + 1], (c->count - i) * sizeof(struct control *));
	return true;
}

static bool
decides(const struct control *r, const struct control *before)
{
	int diff;

	if (before == NULL)
		return true;
	diff = compare(&r->scope, &before->scope);
	return diff > 0 || (diff == 0 && r->created_unix_ms >= before->created_unix_ms);
}

struct control *
controls_find(const struct controls *c, enum control_kind kind, enum control_side side,
    const struct ulid *stream_id, const char *tenant, int32_t priority)
{
	struct control *best = NULL;

	for (size_t i = 0; i < c->count; i++) {
		struct control *r = c->all[i];

		if (r->kind == kind && r->side == side &&
		    control_scope_fits(&r->scope, stream_id, tenant, priority) && decides(r, best))
			best = r;
	}
	return best != NULL && !best->exception ? best : NULL;
}

bool
controls_covered(const struct controls *c, enum control_kind kind, enum control_side side,
    const struct control_scope *scope)
{
	for (size_t i = 0; i < c->count; i++) {
		const struct control *r = c->all[i];

		if (!r->exception && r->kind == kind && r->side == side && overlap(&r->scope, scope) &&
		    !same_scope(&r->scope, scope) && compare(&r->scope, scope) <= 0)
			return true;
	}
	return false;
}

const struct control *
controls_useless(const struct controls *c)
{
	for (size_t i = 0; i < c->count; i++) {
		const struct control *r = c->all[i];

		if (r->exception && !controls_covered(c, r->kind, r->side, &r->scope))
			return r;
	}
	return NULL;
}

const struct control *
controls_of_stream(const struct controls *c, const struct ulid *stream_id)
{
	for (size_t i = 0; i < c->count; i++) {
		if (ulid_compare(&c->all[i]->scope.stream_id, stream_id) == 0)
			return c->all[i];
	}
	return NULL;
}
