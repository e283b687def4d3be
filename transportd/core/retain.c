#include "transportd/core/retain.h"

#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/frame.h"
#include "common/base/mem.h"
#include "transportd/core/wsframe.h"

/* In front of each message; then come WSFRAME_HEADROOM bytes and the message. */
struct note {
	uint32_t len;
	uint32_t frames;
	uint8_t mask[4];
	bool masked;
};

/* Messages lie one after the other from rpos to wpos. */
struct retain_block {
	struct retain_block *next;
	uint64_t first; /* counted frames sent before the message at rpos */
	uint32_t rpos, wpos, cap;
	uint32_t last; /* where the last message begins */
	bool reserved; /* somebody writes at wpos */
	uint8_t data[];
};

/* A lane that has little in flight makes do with a small block: one message and some heartbeats. */
enum {
	FRONT_BYTES = sizeof(struct note) + WSFRAME_HEADROOM,
	SLOT_BYTES = FRONT_BYTES + FRAME_MESSAGE_MAX_BYTES,
	SMALL_BYTES = SLOT_BYTES + 4096 - sizeof(struct retain_block),
	LARGE_BYTES = 4 * SLOT_BYTES,
};

void
retain_init(struct retain *r)
{
	memset(r, 0, sizeof(*r));
}

static void
block_free(struct retain *r, struct retain_block *b)
{
	r->memory -= sizeof(*b) + b->cap;
	mem_free(b);
}

static void
spare_free(struct retain *r)
{
	if (r->spare != NULL)
		block_free(r, r->spare);
	r->spare = NULL;
}

void
retain_fini(struct retain *r)
{
	while (r->head != NULL) {
		struct retain_block *b = r->head;

		r->head = b->next;
		block_free(r, b);
	}
	spare_free(r);
	MUST(r->memory == 0);
	retain_init(r);
}

static struct retain_block *
block_get(struct retain *r)
{
	uint32_t cap = r->tail != NULL ? LARGE_BYTES : SMALL_BYTES;
	struct retain_block *b = r->spare;

	if (b != NULL) {
		r->spare = NULL;
		cap = b->cap;
	} else {
		b = mem_reallocarray(NULL, 1, sizeof(*b) + cap);
		if (b == NULL)
			return NULL;
		r->memory += sizeof(*b) + cap;
	}
	memset(b, 0, sizeof(*b));
	b->cap = cap;
	b->first = r->sent_frames;
	return b;
}

/* The head block has no message left. */
static void
drop_head(struct retain *r)
{
	struct retain_block *b = r->head;

	if (b == r->tail) {
		/* Nothing is in flight: one small block is enough for as long as that is so. */
		spare_free(r);
		b->rpos = b->wpos = 0;
		if (b->cap == SMALL_BYTES)
			return;
		r->head = r->tail = NULL;
		block_free(r, b);
		return;
	}
	r->head = b->next;
	if (r->spare == NULL && b->cap == LARGE_BYTES)
		r->spare = b;
	else
		block_free(r, b);
}

static struct note
note_at(const struct retain_block *b, uint32_t pos)
{
	struct note n;

	memcpy(&n, b->data + pos, sizeof(n));
	return n;
}

/*
 * A message without counted frames is not sent again, and nobody says that it has arrived.  It may
 * still be on its way to the socket while it is the last one: it stays until the next one is begun.
 */
static bool
uncounted_last(const struct retain *r, const struct retain_block *b)
{
	return b == r->tail && b->rpos != b->wpos && note_at(b, b->last).frames == 0;
}

/* Forgets what is acknowledged. */
static void
forget(struct retain *r)
{
	struct retain_block *b;

	while ((b = r->head) != NULL) {
		if (b->rpos != b->wpos) {
			struct note n = note_at(b, b->rpos);

			if (b->first + n.frames > r->acked_frames ||
			    (b->rpos == b->last && uncounted_last(r, b)))
				return;
			b->first += n.frames;
			b->rpos += FRONT_BYTES + n.len;
			r->bytes -= n.frames != 0 ? n.len : 0;
		}
		if (b->rpos == b->wpos) {
			if (b == r->tail && (b->reserved || b->wpos == 0))
				return;
			drop_head(r);
		}
	}
}

uint8_t *
retain_reserve(struct retain *r)
{
	struct retain_block *b = r->tail;

	if (b != NULL && !b->reserved) {
		if (uncounted_last(r, b))
			b->wpos = b->last;
		forget(r);
		b = r->tail;
	}
	if (b == NULL || b->cap - b->wpos < SLOT_BYTES) {
		b = block_get(r);
		if (b == NULL)
			return NULL;
		if (r->tail != NULL)
			r->tail->next = b;
		else
			r->head = b;
		r->tail = b;
	}
	b->reserved = true;
	return b->data + b->wpos + FRONT_BYTES;
}

void
retain_commit(struct retain *r, size_t len, unsigned frames, const uint8_t *mask)
{
	struct retain_block *b = r->tail;
	struct note n = {.len = (uint32_t)len, .frames = frames, .masked = mask != NULL};

	MUST(b != NULL && b->reserved && len <= FRAME_MESSAGE_MAX_BYTES);
	if (mask != NULL)
		memcpy(n.mask, mask, sizeof(n.mask));
	memcpy(b->data + b->wpos, &n, sizeof(n));
	b->last = b->wpos;
	b->wpos += FRONT_BYTES + n.len;
	b->reserved = false;
	r->sent_frames += frames;
	r->bytes += frames != 0 ? len : 0;
}

int
retain_ack(struct retain *r, uint64_t frames)
{
	if (frames < r->acked_frames || frames > r->sent_frames)
		return ERR_RANGE;
	r->acked_frames = frames;
	forget(r);
	return 0;
}

struct walk {
	uint64_t skip; /* counted frames still to be passed over */
	int (*fn)(void *arg, uint8_t class, const uint8_t *raw, size_t size);
	void *arg;
};

/* One message, in the clear.  Its bytes are what a relay was given to send: not taken on trust. */
static int
walk_message(struct walk *w, const uint8_t *p, const struct note *n)
{
	uint32_t seen = 0;
	struct buf in;

	buf_view(&in, p, n->len);
	while (buf_left(&in) != 0) {
		const uint8_t *raw = buf_head(&in);
		struct frame f;
		int err = frame_decode(&in, &f);

		if (err != 0)
			return err;
		if (frame_is_link_local(f.type))
			continue;
		if (++seen > n->frames)
			return ERR_FORMAT;
		if (w->skip != 0)
			w->skip--;
		else if ((err = w->fn(w->arg, f.class, raw, (size_t)(buf_head(&in) - raw))) != 0)
			return err;
	}
	return seen == n->frames ? 0 : ERR_FORMAT;
}

static int
walk_block(struct walk *w, struct retain_block *b)
{
	for (uint32_t pos = b->rpos; pos != b->wpos;) {
		struct note n = note_at(b, pos);
		uint8_t *p = b->data + pos + FRONT_BYTES;
		int err;

		if (n.frames <= w->skip) {
			w->skip -= n.frames;
		} else {
			if (n.masked) {
				wsframe_mask(p, n.len, n.mask);
				n.masked = false;
				memcpy(b->data + pos, &n, sizeof(n));
			}
			if ((err = walk_message(w, p, &n)) != 0)
				return err;
		}
		pos += FRONT_BYTES + n.len;
	}
	return 0;
}

int
retain_each(struct retain *r, uint64_t frames,
    int (*fn)(void *arg, uint8_t class, const uint8_t *raw, size_t size), void *arg)
{
	struct walk w = {.fn = fn, .arg = arg};
	int err;

	if (frames < r->acked_frames || frames > r->sent_frames)
		return ERR_RANGE;
	if (r->head == NULL)
		return 0;
	w.skip = frames - r->head->first;
	for (struct retain_block *b = r->head; b != NULL; b = b->next)
		if ((err = walk_block(&w, b)) != 0)
			return err;
	return 0;
}
