#include "routerd/core/origin.h"

#include "common/base/err.h"

void
origin_init(struct origin *o)
{
	*o = (struct origin){.changed = true, .wait_us = METRIC_INTERVAL_US};
	bucket_init(&o->rate, ORIGIN_BURST, ORIGIN_INTERVAL_US, MONO_ZERO);
	buf_init(&o->text, LSA_MAX_BYTES);
}

void
origin_fini(struct origin *o)
{
	buf_fini(&o->text);
}

void
origin_identity(struct origin *o, uint64_t node, uint64_t incarnation)
{
	o->newest.node = node;
	if (incarnation > o->newest.incarnation) {
		o->newest.incarnation = incarnation;
		o->newest.seq = 0;
	}
	o->changed = true;
}

bool
origin_seen(struct origin *o, const struct lsa_id *id)
{
	if (lsa_compare(id, &o->newest) < 0)
		return false;
	o->newest = *id;
	o->changed = true;
	return true;
}

struct mono
origin_due(const struct origin *o)
{
	struct mono due = o->refresh_at;

	if (o->in_flight)
		return MONO_NEVER;
	if (o->changed)
		due = bucket_next(&o->rate);
	else if (o->moved || o->leapt)
		due = mono_min(due, mono_add_us(o->made, o->leapt ? METRIC_INTERVAL_US : o->wait_us));
	return mono_before(due, o->retry_at) ? o->retry_at : due;
}

void
origin_hasten(struct origin *o, struct mono at)
{
	o->refresh_at = mono_min(o->refresh_at, at);
}

/* An LSA about measurements: if it comes as soon as it may, they have not come to rest since the last.  What
 * leapt is a mean on its way to where it comes to rest: the rest of it is told soon. */
static void
tell(struct origin *o, struct mono now)
{
	int64_t wait_us = METRIC_INTERVAL_US;

	if (!o->leapt && mono_before(now, mono_add_us(o->told, 2 * o->wait_us)))
		wait_us = 2 * o->wait_us;
	o->wait_us = wait_us < METRIC_INTERVAL_MAX_US ? wait_us : METRIC_INTERVAL_MAX_US;
	o->told = now;
}

/* The id above newest; the last seq of an incarnation is followed by the next incarnation. */
static void
raise_id(struct lsa_id *id)
{
	if (id->seq == UINT64_MAX) {
		id->incarnation++;
		id->seq = 0;
	}
	id->seq++;
}

int
origin_make(struct origin *o, struct lsa *lsa, struct mono now, struct mono refresh_at)
{
	struct lsa_id id = o->newest;
	int err;

	raise_id(&id);
	lsa->id = id;
	buf_reset(&o->text);
	if ((err = lsa_encode_unsigned(lsa, &o->text)) != 0)
		return err;
	bucket_take(&o->rate, now);
	if (!o->changed && (o->moved || o->leapt))
		tell(o, now);
	o->newest = id;
	o->changed = o->moved = o->leapt = false;
	o->in_flight = true;
	o->ticket++;
	o->made = now;
	o->refresh_at = refresh_at;
	return 0;
}

int
origin_signed(struct origin *o, uint32_t ticket, const uint8_t sig[LSA_SIG_BYTES])
{
	int err;

	if (!o->in_flight || ticket != o->ticket)
		return ERR_STALE;
	if ((err = buf_put_bytes(&o->text, sig, LSA_SIG_BYTES)) == 0)
		o->in_flight = false;
	return err;
}

void
origin_failed(struct origin *o, struct mono retry_at)
{
	o->in_flight = false;
	o->changed = true;
	o->retry_at = retry_at;
}
