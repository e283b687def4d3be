#include "transportd/core/forward.h"

#include <limits.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "transportd/core/fib.h"

/* May the path be taken by a frame that came from this neighbour (0: starts here)? */
static bool
usable(const struct forward *fw, const struct fib_path *p, uint64_t from)
{
	if (!fw->alive(fw->arg, p->hops[0]))
		return false;
	for (unsigned i = 0; i < p->hop_count; i++)
		if (p->hops[i] == from || p->hops[i] == fw->self)
			return false;
	return true;
}

static void
take(struct forward_way *way, const struct fib_path *p)
{
	way->next = p->hops[0];
	way->visit = p->hops + 1;
	way->visit_count = (uint8_t)(p->hop_count - 1);
	way->path_id = p->path_id;
}

static enum forward_verdict
fail(struct forward_way *way, enum unreach_reason reason)
{
	way->reason = reason;
	return FORWARD_FAIL;
}

/* The least bad usable path of at most hops_max hops, the best of them. */
static enum forward_verdict
choose(const struct forward *fw, uint64_t dst, uint8_t class, uint64_t from, unsigned hops_max,
    struct forward_way *way)
{
	const struct fib_paths *paths = fib_get(fw->fib, dst, class);
	const struct fib_path *best = NULL;
	unsigned least = UINT_MAX;
	bool too_long = false;

	if (paths == NULL)
		return fail(way, UNREACH_NO_ROUTE);
	for (uint32_t i = 0; i < paths->count && least != 0; i++) {
		const struct fib_path *p = &paths->path[i];
		unsigned badness;

		if (!usable(fw, p, from))
			continue;
		if (p->hop_count > hops_max) {
			too_long = true;
			continue;
		}
		badness = fw->badness != NULL && paths->count > 1 ? fw->badness(fw->arg, dst, p->path_id) : 0;
		if (best == NULL || badness < least) {
			best = p;
			least = badness;
		}
	}
	if (best == NULL)
		return fail(way, too_long ? UNREACH_TTL : UNREACH_NO_LINK);
	take(way, best);
	return FORWARD_SEND;
}

enum forward_verdict
forward_start(const struct forward *fw, uint64_t dst, uint8_t class, struct forward_way *way)
{
	*way = (struct forward_way){0};
	return choose(fw, dst, class, 0, FIB_HOPS_MAX, way);
}

enum forward_verdict
forward_over(const struct forward *fw, uint64_t dst, uint8_t class, uint32_t path_id, struct forward_way *way)
{
	const struct fib_paths *paths = fib_get(fw->fib, dst, class);
	const struct fib_path *p = paths != NULL ? fib_paths_find(paths, path_id) : NULL;

	*way = (struct forward_way){0};
	if (p == NULL)
		return fail(way, UNREACH_NO_ROUTE);
	if (!usable(fw, p, 0))
		return fail(way, UNREACH_NO_LINK);
	take(way, p);
	return FORWARD_SEND;
}

enum forward_verdict
forward_back(const struct forward *fw, uint64_t dst, uint8_t class, uint64_t via, struct forward_way *way)
{
	const struct fib_paths *paths = fib_get(fw->fib, dst, class);

	*way = (struct forward_way){.next = via};
	if (dst == via && fw->alive(fw->arg, via))
		return FORWARD_SEND;
	for (uint32_t i = 0; paths != NULL && i < paths->count; i++)
		if (paths->path[i].hops[0] == via && usable(fw, &paths->path[i], 0)) {
			take(way, &paths->path[i]);
			return FORWARD_SEND;
		}
	return forward_start(fw, dst, class, way);
}

enum forward_verdict
forward_relay(const struct forward *fw, uint64_t from, const struct frame *f, struct forward_way *way)
{
	*way = (struct forward_way){.path_id = f->path_id};
	if (f->visit_count == 0)
		return FORWARD_LOCAL;
	/* What is left after this hop must be at least the next one. */
	if (f->ttl < 2)
		return fail(way, UNREACH_TTL);
	if (f->visit[0] == fw->self || frame_dst(f) == fw->self)
		return fail(way, UNREACH_LOOP);
	if (fw->alive(fw->arg, f->visit[0])) {
		way->next = f->visit[0];
		way->visit = f->visit + 1;
		way->visit_count = (uint8_t)(f->visit_count - 1);
		return FORWARD_SEND;
	}
	way->repaired = true;
	return choose(fw, frame_dst(f), f->class, from, f->ttl - 1u, way);
}

int
unreach_encode(const struct unreach *u, struct buf *out)
{
	int err;

	if ((err = buf_put_u64(out, u->destination)) != 0 || (err = buf_put_u8(out, u->reason)) != 0)
		return err;
	if ((err = buf_put_u8(out, u->original)) != 0 || u->path_id == 0)
		return err;
	return buf_put_u32(out, u->path_id);
}

int
unreach_decode(const void *payload, size_t len, struct unreach *out)
{
	struct buf in;
	int err;

	buf_view(&in, payload, len);
	if ((err = buf_get_u64(&in, &out->destination)) != 0 || (err = buf_get_u8(&in, &out->reason)) != 0 ||
	    (err = buf_get_u8(&in, &out->original)) != 0)
		return err;
	out->path_id = 0;
	if (len == UNREACH_SHORT_BYTES)
		return 0;
	if ((err = buf_get_u32(&in, &out->path_id)) != 0)
		return err;
	return out->path_id != 0 ? buf_end(&in) : ERR_FORMAT;
}

bool
unreach_allowed(struct unreach_limit *l, uint64_t src, uint64_t dst, uint32_t path_id, struct mono now)
{
	uint64_t pair = (dst ^ (src << 1 | src >> 63) ^ (uint64_t)path_id << 24) * 0x9e3779b97f4a7c15ULL;
	size_t i = (size_t)(pair >> 32) % UNREACH_SLOTS;

	if (l->slots[i].pair == pair && mono_before(now, l->slots[i].until))
		return false;
	l->slots[i].pair = pair;
	l->slots[i].until = mono_add_ms(now, UNREACH_INTERVAL_MS);
	return true;
}
