/* app: an application at a target: what it gets goes into its journal, and then it says so.  When it begins
 * again, it says how far its journal goes.  Some messages it can't process, at once or ever. */
#include <string.h>

#include "common/base/be.h"
#include "tests/streamsim/world.h"

enum { HARD_OF_1000 = 300, LATE_OF_1000 = 4, TRIES_MAX = 4 };

/* How often processing this message fails; by its name, so that it is so after a crash, too. */
static uint32_t
failures(const struct world *w, unsigned n, uint64_t seq)
{
	const struct truth *t = &w->truth[seq];
	uint32_t h = (t->publisher * 7919 + t->number) * 2654435761u + n * 40503u;

	if (h % 1000 >= w->poison || w->calm)
		return 0;
	/* One that always fails ends as a dead letter, however that comes. */
	return (h >> 12) % 1000 < HARD_OF_1000 ? UINT32_MAX : 1 + (h >> 22) % TRIES_MAX;
}

static void
check_content(struct world *w, unsigned n, const struct batch_record *rec)
{
	const struct truth *t = &w->truth[rec->seq];

	if (be_load64(rec->message_id) != t->publisher + 1 || be_load64(rec->message_id + 8) != t->number)
		world_fail(w, "application %u gets another message at %llu", n, (unsigned long long)rec->seq);
	for (uint32_t i = 0; i < rec->sealed_len; i += 37)
		if (rec->sealed[i] != (t->number & 0xff))
			world_fail(w, "application %u gets another content at %llu", n,
			    (unsigned long long)rec->seq);
}

/* Of its transaction the message goes, or all from it on: they come again. */
static void
leave_out(struct app *a, uint64_t seq, bool alone)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < a->open_count; i++)
		if (a->open[i] < seq || (alone && a->open[i] > seq))
			a->open[kept++] = a->open[i];
	a->open_count = kept;
	if (!alone)
		a->pending = seq - 1;
}

static void
refuse(struct world *w, unsigned n, uint64_t seq)
{
	struct app *a = &w->node[n].app;
	struct app_message *m = &a->messages[seq];
	bool hard = failures(w, n, seq) == UINT32_MAX;
	bool ask = hard && (w->policy.max_attempts == 0 ? m->attempts >= TRIES_MAX : world_chance(w, 100));

	if (m->attempts == 0 || m->life != w->node[n].life) {
		m->life = w->node[n].life;
		m->attempts_now = 0;
	}
	m->attempts++;
	m->attempts_now++;
	m->asked = m->asked || ask;
	if (w->policy.max_attempts != 0 && m->attempts_now > w->policy.max_attempts)
		world_fail(w, "application %u gets %llu for the %uth time", n, (unsigned long long)seq,
		    m->attempts_now);
	leave_out(a, seq, failed_nack(w, n, seq, ask));
}

static void
work(struct world *w, unsigned n)
{
	struct app *a = &w->node[n].app;

	if (!a->committing)
		world_push(
		    w, w->now + 50 + world_below(w, (unsigned)a->slow_us), WORLD_APP, n, a->life, NULL);
	a->committing = true;
}

void
app_got(struct world *w, unsigned n, const struct batch_record *rec)
{
	struct app *a = &w->node[n].app;
	struct app_message *m = &a->messages[rec->seq];

	if (rec->seq <= a->pending || rec->seq <= a->told)
		world_fail(w, "application %u has %llu and gets %llu", n, (unsigned long long)a->pending,
		    (unsigned long long)rec->seq);
	check_passed(w, n, rec->seq);
	check_stay(w, n, rec->seq);
	check_content(w, n, rec);
	if (w->now < m->retry_at && m->life == w->node[n].life)
		world_fail(w, "application %u gets %llu before it is time", n, (unsigned long long)rec->seq);
	world_note(w, rec->seq * 16 + n);
	a->pending = rec->seq;
	a->open[a->open_count++] = rec->seq;
	if (!m->done && m->attempts < failures(w, n, rec->seq))
		refuse(w, n, rec->seq);
	else if (w->poison != 0 && world_chance(w, LATE_OF_1000) && !a->messages[a->open[0]].done)
		refuse(w, n, a->open[0]);
	if (a->open_count > 0)
		work(w, n);
}

/* The transaction is committed. */
static uint64_t
settle(struct world *w, unsigned n)
{
	struct app *a = &w->node[n].app;
	uint64_t last = 0;

	for (unsigned i = 0; i < a->open_count; i++) {
		w->sums.applied += !a->messages[a->open[i]].done;
		a->messages[a->open[i]].done = true;
		last = a->open[i];
	}
	a->open_count = 0;
	return last;
}

void
app_committed(struct world *w, unsigned n)
{
	struct app *a = &w->node[n].app;
	uint64_t last = settle(w, n);

	a->committing = false;
	if (last == 0)
		return;
	if (target_ack(w->node[n].target, last) != 0)
		world_fail(w, "application %u acknowledges what it never got", n);
	failed_pass(w, n);
}

void
app_crash(struct world *w, unsigned n)
{
	struct app *a = &w->node[n].app;

	if (!a->up)
		return;
	/* Its transaction may have been committed, and nobody was told. */
	if (a->committing && world_chance(w, 500))
		(void)settle(w, n);
	a->open_count = 0;
	a->committing = a->up = false;
	a->life++;
	target_attend(w->node[n].target, false);
	w->sums.app_crashes++;
}

/* Up to where it is done: what it refused counts when the tables have it. */
static uint64_t
position(struct world *w, unsigned n)
{
	const struct node *o = &w->node[n];
	uint64_t seq = o->app.journal, first = o->row.first[n - 1];

	if (first > seq + 1)
		seq = first - 1; /* as a new target */

	/* It may have done what this node has forgotten. */
	while (seq + 1 < SEQ_MAX && (seq + 1 <= o->rows.last_seq || o->target->early) &&
	       (o->app.messages[seq + 1].done || rows_gap(&o->rows, 0, seq + 1) != NULL ||
		   rows_has_letter(&o->rows, seq + 1)))
		seq++;
	return seq;
}

void
app_start(struct world *w, unsigned n)
{
	struct app *a = &w->node[n].app;

	if (a->up || w->node[n].target == NULL || w->node[n].removing || w->policy.handler == POLICY_DISCARD)
		return;
	a->up = true;
	a->life++;
	a->journal = a->told = a->pending = position(w, n);
	w->sums.resumed += a->journal >= w->node[n].target->expected_seq;
	/* It need not be told what lies below that, and may be told again what lies behind. */
	a->counted_life = 0;
	if (a->counted > a->told || a->counted + 1 < w->node[n].row.first[n - 1])
		a->counted = a->told;
	target_resume(w->node[n].target, a->journal);
	target_attend(w->node[n].target, true);
}
