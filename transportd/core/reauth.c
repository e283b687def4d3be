#include "transportd/core/reauth.h"

#include "transportd/core/goaway.h"

struct row {
	enum reauth_state next;
	uint16_t code; /* to end the connection with */
};

/* clang-format off: a table of states (down) and events (across) */
static const struct row table[REAUTH_STATE_COUNT][REAUTH_EVENT_COUNT] = {
    /*                    SHOWN                         LAPSED */
    [REAUTH_OWED] = {{REAUTH_PROVEN, GOAWAY_NONE}, {REAUTH_ENDED, GOAWAY_TOKEN}},
    [REAUTH_PROVEN] = {{REAUTH_PROVEN, GOAWAY_NONE}, {REAUTH_ENDED, GOAWAY_EXPIRED}},
    [REAUTH_ENDED] = {{REAUTH_ENDED, GOAWAY_NONE}, {REAUTH_ENDED, GOAWAY_NONE}},
};
/* clang-format on */

static uint16_t
step(struct reauth *r, enum reauth_event event)
{
	const struct row *row = &table[r->state][event];

	r->state = row->next;
	return row->code;
}

void
reauth_init(struct reauth *r, struct mono until)
{
	*r = (struct reauth){.state = REAUTH_PROVEN, .until = until, .send_at = MONO_NEVER};
}

void
reauth_init_owed(struct reauth *r, struct mono deadline)
{
	*r = (struct reauth){.state = REAUTH_OWED, .until = deadline, .send_at = MONO_NEVER};
}

struct mono
reauth_map(struct mono now, int64_t now_unix_s, int64_t unix_s)
{
	int64_t us;

	if (__builtin_sub_overflow(unix_s, now_unix_s, &us) || __builtin_mul_overflow(us, 1000000, &us))
		return unix_s > now_unix_s ? MONO_NEVER : MONO_ZERO;
	return mono_add_us(now, us);
}

void
reauth_due(struct reauth *r, struct mono at)
{
	r->send_at = mono_min(r->send_at, at);
}

void
reauth_sent(struct reauth *r, struct mono now, int64_t life_us, unsigned jitter)
{
	int64_t sixth = life_us / 6;

	r->send_at = life_us == 0 ? MONO_NEVER : mono_add_us(now, 4 * sixth - sixth * (int64_t)jitter / 1000);
}

/* A bucket of REAUTH_BURST tokens, one more in each interval. */
bool
reauth_takes(struct reauth *r, struct mono now)
{
	struct mono full = mono_add_ms(now, -(int64_t)REAUTH_INTERVAL_MS * REAUTH_BURST), next;

	if (mono_before(r->earned, full))
		r->earned = full;
	next = mono_add_ms(r->earned, REAUTH_INTERVAL_MS);
	if (mono_before(now, next))
		return false;
	r->earned = next;
	return true;
}

void
reauth_shown(struct reauth *r, struct mono until)
{
	/* An older proof that is good for longer stays good; what was owed is not one. */
	if (r->state != REAUTH_PROVEN || mono_before(r->until, until))
		r->until = until;
	(void)step(r, REAUTH_EV_SHOWN);
}

enum reauth_effect
reauth_step(struct reauth *r, struct mono now, uint16_t *code)
{
	if (r->state == REAUTH_ENDED)
		return REAUTH_NOTHING;
	if (!mono_before(now, r->until)) {
		*code = step(r, REAUTH_EV_LAPSED);
		return REAUTH_END;
	}
	if (mono_before(now, r->send_at))
		return REAUTH_NOTHING;
	r->send_at = mono_add_ms(now, REAUTH_RETRY_MS); /* unless it is sent */
	return REAUTH_SEND;
}

struct mono
reauth_next(const struct reauth *r)
{
	return r->state == REAUTH_ENDED ? MONO_NEVER : mono_min(r->until, r->send_at);
}

const char *
reauth_state_name(enum reauth_state state)
{
	static const char *const names[] = {
#define X(name, text) text,
	    REAUTH_STATES(X)
#undef X
	};

	return state < REAUTH_STATE_COUNT ? names[state] : "?";
}

const char *
reauth_event_name(enum reauth_event event)
{
	static const char *const names[] = {
#define X(name, text) text,
	    REAUTH_EVENTS(X)
#undef X
	};

	return event < REAUTH_EVENT_COUNT ? names[event] : "?";
}
