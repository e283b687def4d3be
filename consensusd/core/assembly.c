/* assembly: see assembly.h. */
#include "consensusd/core/assembly.h"

#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "consensusd/core/batch.h"
#include "consensusd/core/budget.h"
#include "consensusd/core/limits.h"

void
assembly_init(struct assembly *a, struct budget *budget, size_t message_max)
{
	*a = (struct assembly){.message_max = message_max, .budget = budget};
	TAILQ_INIT(&a->items);
}

void
assembly_done(struct assembly *a, struct assembly_item *item)
{
	TAILQ_REMOVE(&a->items, item, entry);
	a->count--;
	budget_sub(a->budget, buf_left(&item->payload));
	buf_fini(&item->headers);
	buf_fini(&item->payload);
	mem_free(item);
}

void
assembly_fini(struct assembly *a)
{
	struct assembly_item *item;

	while ((item = TAILQ_FIRST(&a->items)) != NULL)
		assembly_done(a, item);
}

static struct assembly_item *
find(struct assembly *a, const struct assembly_key *key)
{
	struct assembly_item *item;

	/* From the newest: chunks of a message mostly follow each other. */
	TAILQ_FOREACH_REVERSE(item, &a->items, assembly_list, entry)
	{
		if (item->key.seq == key->seq && item->key.call == key->call &&
		    ulid_compare(&item->key.message_id, &key->message_id) == 0 &&
		    ulid_compare(&item->key.stream_id, &key->stream_id) == 0)
			return item;
	}
	return NULL;
}

static struct assembly_item *
item_new(struct assembly *a, const struct assembly_key *key, uint32_t total)
{
	struct assembly_item *item = mem_calloc(1, sizeof(*item));

	if (item == NULL)
		return NULL;
	item->key = *key;
	item->total = total;
	buf_init(&item->headers, a->message_max);
	buf_init(&item->payload, a->message_max);
	TAILQ_INSERT_TAIL(&a->items, item, entry);
	a->count++;
	return item;
}

static int
begin(struct assembly *a, const struct assembly_key *key, const struct assembly_chunk *c,
    struct assembly_item **out)
{
	*out = find(a, key);
	if (*out != NULL && c->index == 0) {
		assembly_done(a, *out);
		*out = NULL;
	}
	if (*out != NULL)
		return 0;
	if (c->index != 0)
		return ERR_GAP;
	if (a->count >= ASSEMBLY_MAX || budget_over(a->budget))
		return ERR_FULL;
	*out = item_new(a, key, c->total);
	return *out != NULL ? 0 : ERR_NOMEM;
}

static int
append(struct assembly *a, struct assembly_item *item, const struct assembly_chunk *c)
{
	int err = 0;

	if (c->total != item->total)
		return ERR_FORMAT;
	if (c->digest != NULL && item->has_digest &&
	    memcmp(c->digest, item->digest, sizeof(item->digest)) != 0)
		return ERR_FORMAT;
	if (c->index != item->next)
		return ERR_GAP;
	if (c->index == 0 && c->headers_len > 0)
		err = buf_put_bytes(&item->headers, c->headers, c->headers_len);
	if (err == 0 && c->payload_len > 0)
		err = buf_put_bytes(&item->payload, c->payload, c->payload_len);
	if (err == 0 && c->digest != NULL) {
		memcpy(item->digest, c->digest, sizeof(item->digest));
		item->has_digest = true;
	}
	if (err == 0)
		budget_add(a->budget, c->payload_len);
	return err;
}

int
assembly_add(struct assembly *a, const struct assembly_key *key, const struct assembly_chunk *c,
    struct mono now, struct assembly_item **out)
{
	struct assembly_item *item;
	int err;

	*out = NULL;
	if (c->total > ASSEMBLY_CHUNKS_MAX || c->index >= c->total)
		return ERR_LIMIT;
	err = begin(a, key, c, &item);
	if (err != 0)
		return err;
	err = append(a, item, c);
	if (err != 0) {
		assembly_done(a, item);
		return err;
	}
	item->next++;
	item->last = now;
	TAILQ_REMOVE(&a->items, item, entry);
	TAILQ_INSERT_TAIL(&a->items, item, entry);
	if (item->next == item->total)
		*out = item;
	return 0;
}

void
assembly_call_ended(struct assembly *a, uint64_t call)
{
	struct assembly_item *item, *next;

	for (item = TAILQ_FIRST(&a->items); item != NULL; item = next) {
		next = TAILQ_NEXT(item, entry);
		if (call != 0 && item->key.call == call)
			assembly_done(a, item);
	}
}

size_t
assembly_expire(struct assembly *a, struct mono now)
{
	struct assembly_item *item;
	size_t n = 0;

	while ((item = TAILQ_FIRST(&a->items)) != NULL &&
	       mono_before(mono_add_ms(item->last, ASSEMBLY_IDLE_MS), now)) {
		assembly_done(a, item);
		n++;
	}
	return n;
}
