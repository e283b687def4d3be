/* envelope: see envelope.h. */
#include "consensusd/core/envelope.h"

#include <stdbool.h>
#include <string.h>

#include "common/base/be.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"

_Static_assert(ENVELOPE_FRAGMENTS_MAX <= UINT16_MAX, "count has 2 bytes");

struct envelope_partial {
	TAILQ_ENTRY(envelope_partial) entry;
	uint64_t node, number;
	struct mono since;
	uint8_t class;
	uint16_t count, got;
	size_t bytes, last_len;
	uint8_t *parts[]; /* count of them; NULL: not here yet */
};

/* --- messages --- */

int
envelope_put(struct buf *out, uint8_t kind, size_t len)
{
	uint8_t *p;
	int err;

	if (len > ENVELOPE_PACKET_MAX_BYTES)
		return ERR_LIMIT;
	if ((err = buf_reserve(out, ENVELOPE_MESSAGE_BYTES, &p)) != 0)
		return err;
	p[0] = kind;
	be_store32(p + 1, (uint32_t)len);
	buf_commit(out, ENVELOPE_MESSAGE_BYTES);
	return 0;
}

int
envelope_get(struct buf *in, struct envelope_message *out)
{
	struct buf at = *in;
	uint32_t len;
	int err;

	if ((err = buf_get_u8(&at, &out->kind)) != 0 || (err = buf_get_u32(&at, &len)) != 0 ||
	    (err = buf_get_ref(&at, len, &out->body)) != 0)
		return err;
	out->len = len;
	*in = at;
	return 0;
}

/* --- fragments --- */

uint16_t
envelope_count(size_t len)
{
	MUST(len > 0 && len <= ENVELOPE_PACKET_MAX_BYTES);
	return (uint16_t)((len + ENVELOPE_FULL_BYTES - 1) / ENVELOPE_FULL_BYTES);
}

void
envelope_cut(struct envelope_fragment *f, const uint8_t *packet, size_t len, uint16_t index)
{
	size_t at = (size_t)index * ENVELOPE_FULL_BYTES;

	f->count = envelope_count(len);
	MUST(index < f->count);
	f->index = index;
	f->bytes = packet + at;
	f->len = len - at < ENVELOPE_FULL_BYTES ? len - at : ENVELOPE_FULL_BYTES;
}

int
envelope_put_fragment(struct buf *out, const struct envelope_fragment *f)
{
	uint8_t *p;
	int err = buf_reserve(out, ENVELOPE_FRAGMENT_BYTES + f->len, &p);

	if (err != 0)
		return err;
	p[0] = ENVELOPE_VERSION;
	p[1] = f->class;
	be_store64(p + 2, f->number);
	be_store16(p + 10, f->index);
	be_store16(p + 12, f->count);
	memcpy(p + ENVELOPE_FRAGMENT_BYTES, f->bytes, f->len);
	buf_commit(out, ENVELOPE_FRAGMENT_BYTES + f->len);
	return 0;
}

int
envelope_get_fragment(const uint8_t *data, size_t len, struct envelope_fragment *out)
{
	if (len == 0)
		return ERR_SHORT;
	if (data[0] != ENVELOPE_VERSION)
		return ERR_VERSION;
	if (len <= ENVELOPE_FRAGMENT_BYTES)
		return ERR_SHORT;
	out->class = data[1];
	out->number = be_load64(data + 2);
	out->index = be_load16(data + 10);
	out->count = be_load16(data + 12);
	out->bytes = data + ENVELOPE_FRAGMENT_BYTES;
	out->len = len - ENVELOPE_FRAGMENT_BYTES;
	if (out->count > ENVELOPE_FRAGMENTS_MAX || out->len > ENVELOPE_FULL_BYTES)
		return ERR_LIMIT;
	if (out->index >= out->count || (out->index + 1 < out->count && out->len != ENVELOPE_FULL_BYTES))
		return ERR_FORMAT;
	return 0;
}

/* --- putting together --- */

void
envelope_init(struct envelope *e, size_t max_bytes)
{
	*e = (struct envelope){.max_bytes = max_bytes};
	TAILQ_INIT(&e->partials);
}

static void
forget(struct envelope *e, struct envelope_partial *p)
{
	TAILQ_REMOVE(&e->partials, p, entry);
	e->count--;
	e->bytes -= p->bytes;
	for (unsigned i = 0; i < p->count; i++)
		mem_free(p->parts[i]);
	mem_free(p);
}

static void
drop(struct envelope *e, struct envelope_partial *p)
{
	e->dropped++;
	forget(e, p);
}

void
envelope_fini(struct envelope *e)
{
	while (!TAILQ_EMPTY(&e->partials))
		forget(e, TAILQ_FIRST(&e->partials));
}

static struct envelope_partial *
find(struct envelope *e, uint64_t node, const struct envelope_fragment *f)
{
	struct envelope_partial *p;

	TAILQ_FOREACH (p, &e->partials, entry) {
		if (p->node == node && p->number == f->number && p->class == f->class)
			return p;
	}
	return NULL;
}

/* Room for one more packet of a node: its oldest gives way to it, or that of all. */
static void
make_room(struct envelope *e, uint64_t node)
{
	struct envelope_partial *p, *oldest = NULL;
	unsigned of_node = 0;

	TAILQ_FOREACH (p, &e->partials, entry) {
		if (p->node != node)
			continue;
		if (oldest == NULL)
			oldest = p;
		of_node++;
	}
	if (of_node >= ENVELOPE_NODE_MAX_COUNT)
		drop(e, oldest);
	else if (e->count >= ENVELOPE_PARTIALS_MAX)
		drop(e, TAILQ_FIRST(&e->partials));
}

static struct envelope_partial *
start(struct envelope *e, uint64_t node, const struct envelope_fragment *f, struct mono now)
{
	struct envelope_partial *p;

	make_room(e, node);
	p = mem_calloc(1, sizeof(*p) + f->count * sizeof(p->parts[0]));
	if (p == NULL)
		return NULL;
	p->node = node;
	p->number = f->number;
	p->class = f->class;
	p->count = f->count;
	p->since = now;
	p->bytes = sizeof(*p) + f->count * sizeof(p->parts[0]);
	e->bytes += p->bytes;
	e->count++;
	TAILQ_INSERT_TAIL(&e->partials, p, entry);
	return p;
}

static size_t
part_len(const struct envelope_partial *p, unsigned index)
{
	return index + 1 < p->count ? ENVELOPE_FULL_BYTES : p->last_len;
}

/* Whether f says the same as what came before of its packet. */
static bool
agrees(const struct envelope_partial *p, const struct envelope_fragment *f)
{
	if (f->count != p->count)
		return false;
	return p->parts[f->index] == NULL ||
	       (f->len == part_len(p, f->index) && memcmp(p->parts[f->index], f->bytes, f->len) == 0);
}

static int
keep(struct envelope *e, struct envelope_partial *p, const struct envelope_fragment *f)
{
	uint8_t *copy = mem_dup(f->bytes, f->len);

	if (copy == NULL)
		return ERR_NOMEM;
	p->parts[f->index] = copy;
	if (f->index + 1 == p->count)
		p->last_len = f->len;
	p->got++;
	p->bytes += f->len;
	e->bytes += f->len;
	return 0;
}

static uint8_t *
join(const struct envelope_partial *p, size_t *len)
{
	uint8_t *packet;

	*len = (size_t)(p->count - 1) * ENVELOPE_FULL_BYTES + p->last_len;
	packet = mem_calloc(1, *len);
	if (packet == NULL)
		return NULL;
	for (unsigned i = 0; i < p->count; i++)
		memcpy(packet + (size_t)i * ENVELOPE_FULL_BYTES, p->parts[i], part_len(p, i));
	return packet;
}

/* The oldest of all go until the limit is kept; p, which has just grown, may be one of them. */
static void
shrink(struct envelope *e)
{
	while (e->bytes > e->max_bytes && e->count > 0)
		drop(e, TAILQ_FIRST(&e->partials));
}

static int
add_whole(const struct envelope_fragment *f, uint8_t **packet, size_t *len)
{
	*packet = mem_dup(f->bytes, f->len);
	*len = f->len;
	return *packet != NULL ? 0 : ERR_NOMEM;
}

int
envelope_add(struct envelope *e, uint64_t node, const struct envelope_fragment *f, struct mono now,
    uint8_t **packet, size_t *len)
{
	struct envelope_partial *p;
	int err;

	*packet = NULL;
	*len = 0;
	if (f->count == 1)
		return add_whole(f, packet, len);
	p = find(e, node, f);
	if (p != NULL && !agrees(p, f)) {
		drop(e, p);
		p = NULL;
	}
	if (p == NULL && (p = start(e, node, f, now)) == NULL)
		return ERR_NOMEM;
	if (p->parts[f->index] != NULL)
		return 0;
	if ((err = keep(e, p, f)) != 0)
		return err;
	if (p->got < p->count) {
		shrink(e);
		return 0;
	}
	*packet = join(p, len);
	forget(e, p);
	return *packet != NULL ? 0 : ERR_NOMEM;
}

void
envelope_expire(struct envelope *e, struct mono now)
{
	while (e->count > 0 && !mono_before(now, envelope_next(e)))
		drop(e, TAILQ_FIRST(&e->partials));
}

struct mono
envelope_next(const struct envelope *e)
{
	const struct envelope_partial *p = TAILQ_FIRST(&e->partials);

	return p != NULL ? mono_add_ms(p->since, ENVELOPE_WAIT_MS) : MONO_NEVER;
}
