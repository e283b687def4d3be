/* app: an application at a target: what it gets goes into its journal, and then it says so.  When it begins
 * again, it says how far its journal goes. */
#include <string.h>

#include "common/base/be.h"
#include "tests/streamsim/world.h"

void
app_got(struct world *w, unsigned n, const struct batch_record *rec)
{
	struct app *a = &w->node[n].app;
	const struct truth *t = &w->truth[rec->seq];

	if (rec->seq != a->journal + a->pending + 1)
		world_fail(w, "application %u has %llu and gets %llu", n,
		    (unsigned long long)(a->journal + a->pending), (unsigned long long)rec->seq);
	if (be_load64(rec->message_id) != t->publisher + 1 || be_load64(rec->message_id + 8) != t->number)
		world_fail(w, "application %u gets another message at %llu", n, (unsigned long long)rec->seq);
	for (uint32_t i = 0; i < rec->sealed_len; i += 37)
		if (rec->sealed[i] != (t->number & 0xff))
			world_fail(w, "application %u gets another content at %llu", n,
			    (unsigned long long)rec->seq);
	a->pending++;
	world_note(w, rec->seq * 16 + n);
	if (!a->committing)
		world_push(
		    w, w->now + 50 + world_below(w, (unsigned)a->slow_us), WORLD_APP, n, a->life, NULL);
	a->committing = true;
}

void
app_committed(struct world *w, unsigned n)
{
	struct app *a = &w->node[n].app;

	a->journal += a->pending;
	a->pending = 0;
	a->committing = false;
	if (target_ack(w->node[n].target, a->journal) != 0)
		world_fail(w, "application %u acknowledges what it never got", n);
}

void
app_crash(struct world *w, unsigned n)
{
	struct app *a = &w->node[n].app;

	if (!a->up)
		return;
	/* Its transaction may have been committed, and nobody was told. */
	if (a->committing && world_chance(w, 500))
		a->journal += a->pending;
	a->pending = 0;
	a->committing = a->up = false;
	a->life++;
	target_attend(w->node[n].target, false);
	w->sums.app_crashes++;
}

void
app_start(struct world *w, unsigned n)
{
	struct app *a = &w->node[n].app;

	if (a->up || w->node[n].target == NULL)
		return;
	a->up = true;
	a->life++;
	target_resume(w->node[n].target, a->journal);
	target_attend(w->node[n].target, true);
}
