/* pending: see pending.h. */
#include "consensusd/core/pending.h"

#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "consensusd/core/batch.h"
#include "consensusd/core/limits.h"

enum { PENDING_CAP_MIN = 16 };

static void
pending_free(struct pending *p)
{
	buf_fini(&p->data);
	mem_free(p->messages);
	mem_free(p);
}

void
pending_pool_fini(struct pending_pool *pool)
{
	struct pending *p;

	while ((p = pool->first) != NULL) {
		pool->first = p->next;
		pending_free(p);
	}
	pool->count = 0;
}

struct pending *
pending_get(struct pending_pool *pool)
{
	struct pending *p = pool->first;

	if (p != NULL) {
		pool->first = p->next;
		pool->count--;
		p->next = NULL;
		return p;
	}
	p = mem_calloc(1, sizeof(*p));
	if (p != NULL)
		buf_init(&p->data, BATCH_BODY_MAX_BYTES);
	return p;
}

void
pending_put(struct pending_pool *pool, struct pending *p)
{
	if (p == NULL)
		return;
	if (pool->count >= PENDING_POOL_MAX || p->data.cap > PENDING_KEEP_BYTES) {
		pending_free(p);
		return;
	}
	buf_reset(&p->data);
	p->count = 0;
	p->by_id = false;
	p->next = pool->first;
	pool->first = p;
	pool->count++;
}

static int
grow(struct pending *p)
{
	uint32_t cap = p->cap == 0 ? PENDING_CAP_MIN : p->cap * 2;
	struct pending_message *m = mem_reallocarray(p->messages, cap, sizeof(*m));

	if (m == NULL)
		return ERR_NOMEM;
	p->messages = m;
	p->cap = cap;
	return 0;
}

int
pending_add(struct pending *p, const struct ulid *message_id, const void *headers, size_t headers_len,
    const void *payload, size_t payload_len)
{
	struct pending_message m = {
	    .message_id = *message_id,
	    .offset = p->data.wpos,
	    .headers_len = (uint32_t)headers_len,
	    .payload_len = (uint32_t)payload_len,
	};
	uint8_t *room;
	int err;

	if (p->count >= BATCH_MESSAGES_MAX)
		return ERR_LIMIT;
	if (p->count == p->cap && grow(p) != 0)
		return ERR_NOMEM;
	err = buf_reserve(&p->data, headers_len + payload_len, &room);
	if (err != 0)
		return err;
	if (headers_len > 0)
		memcpy(room, headers, headers_len);
	if (payload_len > 0)
		memcpy(room + headers_len, payload, payload_len);
	buf_commit(&p->data, headers_len + payload_len);
	p->messages[p->count++] = m;
	return 0;
}

const uint8_t *
pending_headers(const struct pending *p, uint32_t i)
{
	return buf_head(&p->data) + p->messages[i].offset;
}

const uint8_t *
pending_payload(const struct pending *p, uint32_t i)
{
	return pending_headers(p, i) + p->messages[i].headers_len;
}

size_t
pending_bytes(const struct pending *p)
{
	return buf_left(&p->data);
}
