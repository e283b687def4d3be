/* cache_redis_answer: what is in an answer; see cache_redis.h. */
#include <hiredis/hiredis.h>

#include "consensusd/cache_redis.h"

size_t
cache_count(const struct redisReply *r)
{
	return r->type == REDIS_REPLY_ARRAY ? r->elements : 0;
}

bool
cache_text(const struct redisReply *r, size_t i, const char **text, size_t *len)
{
	const redisReply *x = r->element[i];

	if (x->type != REDIS_REPLY_STRING)
		return false;
	*text = x->str;
	*len = x->len;
	return true;
}

bool
cache_text_number(const struct redisReply *r, size_t i, uint64_t *out)
{
	const char *text;
	uint64_t v = 0;
	size_t len;

	if (!cache_text(r, i, &text, &len) || len == 0 || len > CACHE_DIGITS_MAX)
		return false;
	for (size_t k = 0; k < len; k++) {
		if (text[k] < '0' || text[k] > '9')
			return false;
		v = v * 10 + (uint64_t)(text[k] - '0');
	}
	*out = v;
	return true;
}

uint64_t
cache_number(const struct redisReply *r)
{
	return r->type == REDIS_REPLY_INTEGER && r->integer > 0 ? (uint64_t)r->integer : 0;
}
