#include "routerd/core/sync.h"

#include "common/base/err.h"
#include "common/base/mem.h"
#include "routerd/core/lsdb.h"

void
sync_init(struct sync *s)
{
	*s = (struct sync){.due = MONO_NEVER};
}

void
sync_fini(struct sync *s)
{
	mem_free(s->need);
	sync_init(s);
}

void
sync_start(struct sync *s, struct mono now)
{
	if (s->active)
		return;
	s->active = true;
	s->first = 0;
	s->need_count = 0;
	s->tries = 0;
	s->due = now;
}

void
sync_asked(struct sync *s, const struct linkstate_ask *ask, struct mono now)
{
	s->answer = true;
	s->asked = *ask;
	/* It is there: our own question need not wait any longer.  If it was sent once only its answer may be
	 * on its way; or the neighbour's links were up before it was, and it never got it. */
	if (s->active && s->need_count == 0 && s->tries > 1)
		s->due = now;
	else if (s->active && s->need_count == 0 && (ask->flags & LINKSTATE_FLAG_FIRST) != 0)
		s->due = mono_min(s->due, mono_add_us(now, SYNC_BEGUN_US));
	/* It has started anew, and others may have told it what they did not tell us. */
	if (s->synced && (ask->flags & LINKSTATE_FLAG_FIRST) != 0)
		sync_start(s, now);
}

static enum sync_result
finish(struct sync *s)
{
	mem_free(s->need);
	s->need = NULL;
	s->need_count = 0;
	s->active = false;
	s->due = MONO_NEVER;
	s->synced = true;
	return SYNC_FINISHED;
}

/* Nothing is wanted of this range any more. */
static enum sync_result
range_done(struct sync *s, struct mono now)
{
	if (s->last == UINT64_MAX)
		return finish(s);
	s->first = s->last + 1;
	s->tries = 0;
	s->due = now;
	return SYNC_NOTHING;
}

static bool
wanted(struct lsdb *db, const struct lsa_id *id, struct mono now)
{
	enum lsdb_verdict v = lsdb_judge(db, id, db->lifetime_us, now, now);

	return v == LSDB_NEWER || v == LSDB_LIMITED;
}

enum sync_result
sync_digest(struct sync *s, const struct linkstate_msg *m, struct lsdb *db, struct mono now)
{
	struct lsa_id id;

	if (!s->active || s->need_count != 0 || m->first != s->first)
		return SYNC_NOTHING;
	if ((m->flags & LINKSTATE_FLAG_SAME) != 0)
		return finish(s);
	/* Without memory the question is repeated later. */
	if (s->need == NULL && (s->need = mem_calloc(DIGEST_IDS_MAX, sizeof(*s->need))) == NULL)
		return SYNC_NOTHING;
	s->last = m->last;
	for (size_t i = 0; i < m->count; i++) {
		linkstate_id(m, i, &id);
		if (wanted(db, &id, now))
			s->need[s->need_count++] = id;
	}
	if (s->need_count == 0)
		return range_done(s, now);
	s->tries = 0;
	s->due = now;
	return SYNC_NOTHING;
}

enum sync_result
sync_settle(struct sync *s, struct lsdb *db, struct mono now)
{
	size_t kept = 0;

	if (!s->active || s->need_count == 0)
		return SYNC_NOTHING;
	for (size_t i = 0; i < s->need_count; i++)
		if (s->need[i].node != 0 && wanted(db, &s->need[i], now))
			s->need[kept++] = s->need[i];
	if (kept < s->need_count)
		s->tries = 1; /* progress: no reason to give up */
	s->need_count = kept;
	return kept == 0 ? range_done(s, now) : SYNC_NOTHING;
}

void
sync_refused(struct sync *s, uint64_t node)
{
	for (size_t i = 0; i < s->need_count; i++)
		if (s->need[i].node == node)
			s->need[i].node = 0;
}

/* Our summaries from asked.first on, as many as fit. */
static void
write_answer(struct sync *s, struct lsdb *db, struct linkstate_writer *w)
{
	uint8_t ids[DIGEST_IDS_MAX * LINKSTATE_ID_BYTES];
	struct lsdb_entry *e = lsdb_from(db, s->asked.first);
	uint64_t last = UINT64_MAX;
	size_t n = 0;

	s->answer = false;
	if (s->asked.count == db->count && s->asked.sum == db->sum) {
		linkstate_write_digest(w, LINKSTATE_FLAG_SAME, s->asked.first, UINT64_MAX, ids, 0);
		return;
	}
	for (; e != NULL && n < DIGEST_IDS_MAX; e = lsdb_next(db, e))
		linkstate_put_id(ids + LINKSTATE_ID_BYTES * n++, &e->lsa->id);
	if (e != NULL)
		last = e->node - 1;
	linkstate_write_digest(w, 0, s->asked.first, last, ids, n);
}

static void
write_question(struct sync *s, struct lsdb *db, struct linkstate_writer *w)
{
	struct linkstate_ask ask = {
	    .flags = s->synced ? 0 : LINKSTATE_FLAG_FIRST,
	    .first = s->first,
	    .count = (uint32_t)db->count,
	    .sum = db->sum,
	};

	if (s->need_count != 0)
		linkstate_write_request(w, s->need, s->need_count);
	else
		linkstate_write_ask(w, &ask);
}

static struct mono
retry_at(const struct sync *s, int64_t rto_us, struct mono now)
{
	for (unsigned i = 1; i < s->tries && rto_us < SYNC_RTO_MAX_US; i++)
		rto_us *= 2;
	return mono_add_us(now, rto_us < SYNC_RTO_MAX_US ? rto_us : SYNC_RTO_MAX_US);
}

enum sync_result
sync_write(struct sync *s, struct lsdb *db, struct linkstate_writer *w, int64_t rto_us, struct mono now,
    uint64_t *given_up)
{
	if (s->answer)
		write_answer(s, db, w);
	if (!s->active || mono_before(now, s->due))
		return SYNC_NOTHING;
	if (s->need_count != 0 && s->tries >= SYNC_NEED_TRIES) {
		*given_up += s->need_count;
		s->need_count = 0;
		return range_done(s, now);
	}
	if (s->need_count == 0 && s->synced && s->tries >= SYNC_CHECK_TRIES) {
		s->active = false;
		s->due = MONO_NEVER;
		return SYNC_NOTHING;
	}
	write_question(s, db, w);
	s->tries++;
	s->due = retry_at(s, rto_us, now);
	return SYNC_NOTHING;
}

struct mono
sync_next(const struct sync *s)
{
	if (s->answer)
		return MONO_ZERO;
	return s->active ? s->due : MONO_NEVER;
}
