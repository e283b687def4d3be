/* idcache: see idcache.h. */
#include "consensusd/core/idcache.h"

#include <string.h>

#include "common/base/be.h"
#include "common/base/err.h"
#include "common/base/mem.h"

void
idcache_init(struct idcache *c, uint32_t max, uint64_t seed)
{
	MUST(max > 0 && (max & (max - 1)) == 0);
	*c = (struct idcache){.max = max, .seed = seed};
}

void
idcache_fini(struct idcache *c)
{
	mem_free(c->entries);
	mem_free(c->buckets);
	*c = (struct idcache){.max = c->max, .seed = c->seed};
}

static uint64_t
mix(uint64_t h, uint64_t v)
{
	h = (h ^ v) * 0x9e3779b97f4a7c15u;
	return h ^ h >> 32;
}

static uint32_t *
bucket_of(const struct idcache *c, const struct ulid *stream_id, const struct ulid *message_id)
{
	uint64_t h = mix(c->seed, be_load64(stream_id->b + 8));

	h = mix(h, be_load64(message_id->b));
	h = mix(h, be_load64(message_id->b + 8) ^ c->seed);
	return &c->buckets[h & (c->max - 1)];
}

static bool
same(const struct idcache_entry *e, const struct ulid *stream_id, const struct ulid *message_id)
{
	return memcmp(e->message_id.b, message_id->b, ULID_BYTES) == 0 &&
	       memcmp(e->stream_id.b, stream_id->b, ULID_BYTES) == 0;
}

/* The link (bucket or next) that points at the entry, or at nothing. */
static uint32_t *
link_to(const struct idcache *c, const struct ulid *stream_id, const struct ulid *message_id)
{
	uint32_t *link = bucket_of(c, stream_id, message_id);

	while (*link != 0 && !same(&c->entries[*link - 1], stream_id, message_id))
		link = &c->entries[*link - 1].next;
	return link;
}

static void
entry_free(struct idcache *c, uint32_t *link)
{
	struct idcache_entry *e = &c->entries[*link - 1];

	*link = e->next;
	e->seq = 0;
	e->next = 0;
}

static int
allocate(struct idcache *c)
{
	struct idcache_entry *entries = mem_calloc(c->max, sizeof(*entries));
	uint32_t *buckets = mem_calloc(c->max, sizeof(*buckets));

	if (entries == NULL || buckets == NULL) {
		mem_free(entries);
		mem_free(buckets);
		return ERR_NOMEM;
	}
	c->entries = entries;
	c->buckets = buckets;
	return 0;
}

int
idcache_add_new(struct idcache *c, const struct ulid *stream_id, const struct ulid *message_id, uint64_t seq)
{
	struct idcache_entry *e;
	uint32_t *bucket;

	MUST(seq != 0);
	if (c->entries == NULL && allocate(c) != 0)
		return ERR_NOMEM;
	c->newest = (c->newest + 1) & (c->max - 1);
	e = &c->entries[c->newest];
	if (e->seq != 0)
		entry_free(c, link_to(c, &e->stream_id, &e->message_id));
	bucket = bucket_of(c, stream_id, message_id);
	*e = (struct idcache_entry){.stream_id = *stream_id, .message_id = *message_id, .seq = seq};
	e->next = *bucket;
	*bucket = c->newest + 1;
	return 0;
}

int
idcache_add(struct idcache *c, const struct ulid *stream_id, const struct ulid *message_id, uint64_t seq)
{
	uint32_t *link = c->entries != NULL ? link_to(c, stream_id, message_id) : NULL;

	if (link == NULL || *link == 0)
		return idcache_add_new(c, stream_id, message_id, seq);
	MUST(seq != 0);
	c->entries[*link - 1].seq = seq;
	return 0;
}

bool
idcache_full(const struct idcache *c)
{
	return c->entries != NULL && c->entries[(c->newest + 1) & (c->max - 1)].seq != 0;
}

bool
idcache_find(
    const struct idcache *c, const struct ulid *stream_id, const struct ulid *message_id, uint64_t *seq)
{
	uint32_t link;

	if (c->entries == NULL)
		return false;
	link = *link_to(c, stream_id, message_id);
	if (link == 0)
		return false;
	*seq = c->entries[link - 1].seq;
	return true;
}

void
idcache_del(struct idcache *c, const struct ulid *stream_id, const struct ulid *message_id)
{
	uint32_t *link;

	if (c->entries == NULL)
		return;
	link = link_to(c, stream_id, message_id);
	if (*link != 0)
		entry_free(c, link);
}
