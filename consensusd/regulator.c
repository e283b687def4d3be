/* regulator: see regulator.h. */
#include "consensusd/regulator.h"

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/clock.h"
#include "common/os/log.h"
#include "consensusd/engine.h"
#include "consensusd/sink.h"
#include "consensusd/source.h"
#include "consensusd/store.h"

struct regulator {
	struct engine *engine;
	struct controls controls;
	int64_t ticket; /* of what was written last; 0: somebody has asked for that already */
};

struct regulator *
regulator_new(struct engine *e)
{
	struct regulator *r = mem_calloc(1, sizeof(*r));

	if (r != NULL)
		r->engine = e;
	return r;
}

void
regulator_free(struct regulator *r)
{
	if (r == NULL)
		return;
	controls_fini(&r->controls);
	mem_free(r);
}

int
regulator_load(struct regulator *r, const struct control *c)
{
	return controls_set(&r->controls, c, clock_mono());
}

const struct controls *
regulator_controls(const struct regulator *r)
{
	return &r->controls;
}

/* --- streams --- */

void
regulator_source(const struct regulator *r, struct source *s)
{
	const struct store_stream *row = &s->row;

	s->pause = controls_find(
	    &r->controls, CONTROL_PAUSE, CONTROL_SOURCE, &row->stream_id, row->tenant_id, row->priority);
	s->limit = controls_find(
	    &r->controls, CONTROL_THROTTLE, CONTROL_SOURCE, &row->stream_id, row->tenant_id, row->priority);
	stream_regulate(s->stream, s->pause != NULL, s->limit != NULL ? &s->limit->throttle : NULL);
	source_ready_all(s);
}

void
regulator_sink(const struct regulator *r, struct sink *s)
{
	const struct store_stream *row = &s->row;

	s->pause = controls_find(
	    &r->controls, CONTROL_PAUSE, CONTROL_TARGET, &row->stream_id, row->tenant_id, row->priority);
	target_pause(s->target, s->pause != NULL);
	sink_touch(s);
}

void
regulator_apply(struct regulator *r)
{
	struct engine *e = r->engine;
	struct source *s, *s_next;
	struct sink *k, *k_next;

	HASH_ITER (hh, e->sources, s, s_next)
		regulator_source(r, s);
	HASH_ITER (hh, e->sinks, k, k_next)
		regulator_sink(r, k);
}

/* --- changes --- */

static int
put(struct regulator *r, const struct control *c, bool drop)
{
	const struct store_rule row = {.control = *c, .drop = drop};
	int64_t ticket = store_put_rule(r->engine->store, &row);

	if (ticket < 0)
		return (int)ticket;
	r->ticket = ticket;
	return 0;
}

static int
set(struct regulator *r, const struct control *c)
{
	int err = controls_set(&r->controls, c, clock_mono());

	if (err != 0)
		return err;
	return put(r, c, false) == 0 ? 0 : ERR_UNAVAIL;
}

static int
drop(struct regulator *r, const struct control *c)
{
	if (!controls_del(&r->controls, c->kind, c->side, &c->scope))
		return 0;
	return put(r, c, true) == 0 ? 0 : ERR_UNAVAIL;
}

/* Exceptions end with what they were exceptions of. */
static int
tidy(struct regulator *r)
{
	const struct control *c;
	int err = 0;

	while ((c = controls_useless(&r->controls)) != NULL && err == 0) {
		struct control copy = *c;

		err = drop(r, &copy);
	}
	return err;
}

int
regulator_set(struct regulator *r, const struct control *c, bool drop_it)
{
	struct control exception = *c;
	int err;

	exception.exception = true;
	exception.messages_per_s = exception.bytes_per_s = 0;
	if (!drop_it)
		err = set(r, c);
	else if (controls_covered(&r->controls, c->kind, c->side, &c->scope))
		err = set(r, &exception);
	else
		err = drop(r, c);
	if (err == 0 && drop_it)
		err = tidy(r);
	return err;
}

int
regulator_notify(struct regulator *r, uint64_t call)
{
	struct engine *e = r->engine;

	if (r->ticket == 0)
		return 0;
	if (order_reserve(&e->order[FRAME_CLASS_CONTROL]) != 0)
		return ERR_NOMEM;
	order_add(&e->order[FRAME_CLASS_CONTROL], (uint64_t)r->ticket, ORDER_CONTROL, r, call);
	r->ticket = 0;
	return 1;
}

void
regulator_stream_gone(struct regulator *r, const struct ulid *stream_id)
{
	const struct control *c;
	bool some = false;

	while ((c = controls_of_stream(&r->controls, stream_id)) != NULL) {
		struct control copy = *c;

		some = true;
		/* Where it can't be written, the next start finds a rule that fits no stream. */
		if (drop(r, &copy) != 0)
			log_warn("a rule about a stream that is closed stays in the database");
	}
	r->ticket = 0;
	if (some)
		regulator_apply(r);
}
