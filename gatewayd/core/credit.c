/* credit: see credit.h. */
#include "gatewayd/core/credit.h"

static int64_t
room(const struct credit *c)
{
	size_t largest = c->largest > c->newer ? c->largest : c->newer;
	int64_t n = largest > 0 ? (int64_t)(CREDIT_QUEUE_BYTES / largest) : CREDIT_COUNT_MIN;

	if (n < CREDIT_COUNT_MIN)
		return CREDIT_COUNT_MIN;
	return n > CREDIT_COUNT_MAX ? CREDIT_COUNT_MAX : n;
}

static int64_t
pass_on(struct credit *c, int64_t want)
{
	int64_t n = want;

	if (n <= 0)
		return 0;
	if (!c->unlimited) {
		n = c->owed < n ? c->owed : n;
		c->owed -= n;
	}
	c->open += n;
	return n;
}

int64_t
credit_grant(struct credit *c, int64_t messages)
{
	if (!c->granted && messages == 0)
		c->unlimited = true;
	c->granted = true;
	if (__builtin_add_overflow(c->owed, messages, &c->owed))
		c->owed = INT64_MAX;
	return pass_on(c, room(c) - c->open);
}

void
credit_use(struct credit *c, size_t len)
{
	if (c->open > 0)
		c->open--;
	if (len > c->newer)
		c->newer = len;
	if (++c->span < CREDIT_SPAN_COUNT)
		return;
	c->span = 0;
	c->largest = c->newer;
	c->newer = 0;
}

int64_t
credit_refill(struct credit *c)
{
	int64_t n = room(c);

	if (!c->granted || c->open > n / 2)
		return 0;
	return pass_on(c, n - c->open);
}
