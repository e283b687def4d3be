/* source: ids by which publishers alone know their messages: after a restart, and beyond the window. */
#include <string.h>

#include "common/base/err.h"
#include "common/os/clock.h"
#include "common/os/log.h"
#include "consensusd/source_impl.h"
#include "consensusd/stats.h"

/* --- after a restart --- */

/* One that there is no memory for is read again, later, with all that this read gave. */
static void
take(struct source *s, uint64_t seq, const struct ulid *id)
{
	if (s->ids_short || seq > s->loaded_seq)
		return;
	if (stream_load_id(s->stream, &s->engine->ids, id, seq) == 0)
		s->ids_next = seq + 1;
	else
		s->ids_short = true;
}

static void
on_id(void *arg, uint64_t seq, const struct ulid *id, int err)
{
	struct engine_read *r = arg;
	struct source *s = source_find(r->engine, &r->stream_id);

	if (id != NULL) {
		if (s != NULL)
			take(s, seq, id);
		return;
	}
	engine_read_free(r);
	if (s == NULL)
		return;
	s->ids_reading = false;
	if (err != 0 || s->ids_short) {
		/* Again when the database is back, or somebody asks: from where a batch begins. */
		idwindow_cut(&s->stream->ids, s->ids_read);
		s->ids_next = s->ids_read;
		return;
	}
	s->ids_known = s->ids_next == s->ids_read;
	s->ids_again = MONO_ZERO;
	source_read_ids(s);
}

void
source_read_ids(struct source *s)
{
	struct mono now = clock_mono();
	struct engine_read *r;

	if (s->ids_known || s->ids_reading || mono_before(now, s->ids_again))
		return;
	s->ids_again = mono_add_ms(now, SOURCE_IDS_AGAIN_MS);
	r = engine_read_new(s->engine, &s->row.stream_id, 0);
	if (r == NULL)
		return;
	s->ids_read = s->ids_next;
	s->ids_short = false;
	s->ids_reading = true;
	if (store_read_ids(s->engine->store, &r->stream_id, s->ids_next, on_id, r) == 0)
		return;
	s->ids_reading = false;
	engine_read_free(r);
}

bool
source_knows_ids(const struct source *s)
{
	return s->ids_known;
}

/* --- what was given up --- */

/* What can't be written now is due again with more. */
void
source_prune_ids(struct engine *e)
{
	struct idwindow *w;

	while ((w = idwindows_due(&e->ids)) != NULL) {
		const struct source *s = w->owner;

		if (store_put_ids_clear(
			e->store, s->class, &s->row.stream_id, w->pruned_seq, w->forgotten_seq) > 0)
			w->pruned_seq = w->forgotten_seq;
	}
	metric_set(&stats.ids, e->ids.total);
	if (e->ids.given_up == e->ids_told)
		return;
	if (e->ids_told == 0)
		log_warn("there are more message ids than dedupe-max: streams with many forget their oldest");
	metric_add(&stats.ids_given_up, (int64_t)(e->ids.given_up - e->ids_told));
	e->ids_told = e->ids.given_up;
}
