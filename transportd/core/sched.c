#include "transportd/core/sched.h"

#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "transportd/core/flows.h"
#include "transportd/core/frameq.h"

/* A turn may always send its next frame: no round in which nothing moves. */
enum { QUANTUM_BYTES = FRAME_MAX_BYTES };

/* Before each frame in a turn that many streams share. */
struct tag {
	struct account *account;
	struct tenant *tenant;
};

/*
 * What was sent on a lane that died goes before what waits.  Two queues of it per class, because a
 * lane may die while it still has such frames: when they move on they wait in `moved`, so that what
 * was in flight on that lane, which is older, comes before them in `resend` whether it is resent
 * before or after the move.
 */
struct lane {
	struct frameq resend[FRAME_CLASS_COUNT], moved[FRAME_CLASS_COUNT];
	struct frameq important[FRAME_CLASS_CLIENT]; /* the classes before client */
	struct turns round;                          /* those that have something; the first has its turn */
	struct turn striped, crowd;
	size_t bytes;
};

/* Room given out by a reservation. */
struct place {
	struct frameq *q; /* NULL: none */
	struct lane *lane;
	struct turn *turn; /* NULL: not of class client */
	struct account *account;
	struct tenant *tenant;
	size_t size;
};

struct sched {
	struct sched_limits limits;
	struct lane *lanes[SCHED_LANES]; /* NULL: never used */
	struct flows flows;
	struct frameq_pool pool;
	struct place place;
	size_t bytes, frames;
	size_t resent_bytes; /* part of bytes */
};

_Static_assert(
    sizeof(struct tag) + FRAME_MAX_BYTES <= FRAMEQ_RECORD_MAX_BYTES, "a frame with its tag is a record");
_Static_assert((int)SCHED_LANES <= (int)FLOW_NO_LANE, "lane ids fit");

struct sched *
sched_new(const struct sched_limits *limits, uint64_t seed)
{
	struct sched *s = mem_calloc(1, sizeof(*s));

	if (s == NULL)
		return NULL;
	s->limits = *limits;
	flows_init(&s->flows, seed);
	return s;
}

static void
lane_free(struct sched *s, struct lane *l)
{
	if (l == NULL)
		return;
	for (unsigned i = 0; i < FRAME_CLASS_COUNT; i++) {
		frameq_fini(&l->resend[i], &s->pool);
		frameq_fini(&l->moved[i], &s->pool);
	}
	for (unsigned i = 0; i < FRAME_CLASS_CLIENT; i++)
		frameq_fini(&l->important[i], &s->pool);
	frameq_fini(&l->striped.q, &s->pool);
	frameq_fini(&l->crowd.q, &s->pool);
	mem_free(l);
}

void
sched_free(struct sched *s)
{
	if (s == NULL)
		return;
	for (unsigned i = 0; i < SCHED_LANES; i++)
		lane_free(s, s->lanes[i]);
	flows_fini(&s->flows, &s->pool);
	frameq_pool_fini(&s->pool);
	mem_free(s);
}

void
sched_set_limits(struct sched *s, const struct sched_limits *limits)
{
	s->limits = *limits;
}

static struct lane *
lane_get(struct sched *s, unsigned lane)
{
	struct lane *l;

	MUST(lane < SCHED_LANES);
	if (s->lanes[lane] != NULL)
		return s->lanes[lane];
	l = mem_calloc(1, sizeof(*l));
	if (l == NULL)
		return NULL;
	TAILQ_INIT(&l->round);
	s->lanes[lane] = l;
	return l;
}

/* --- frames come --- */

/* A reservation that was never committed: as if it had not been. */
static void
forget_place(struct sched *s)
{
	if (s->place.q == NULL)
		return;
	frameq_abandon(s->place.q, &s->pool);
	if (s->place.tenant != NULL && s->place.tenant->bytes == 0)
		flows_tenant_drop(&s->flows, s->place.tenant);
	if (s->place.account != NULL && s->place.account->flow == NULL && s->place.account->bytes == 0)
		s->place.account->lane = FLOW_NO_LANE;
	s->place.q = NULL;
}

/* What the stream is counted on, NULL if that is a stream still to be made known.  As long as frames of
 * the crowd wait in its part, a stream stays there: it must not overtake itself in a turn of its own. */
static struct account *
account_of(struct sched *s, const struct sched_key *k)
{
	struct flow *f = flows_get(&s->flows, k->src, k->flow);
	struct account *crowd;

	if (f != NULL)
		return &f->account;
	crowd = flows_crowd(&s->flows, k->src, k->flow);
	return crowd->bytes != 0 ? crowd : NULL;
}

int
sched_lane(struct sched *s, const struct sched_key *k)
{
	struct account *a;

	if (k->class != FRAME_CLASS_CLIENT)
		return -1;
	a = account_of(s, k);
	return a == NULL || a->lane == FLOW_NO_LANE ? -1 : a->lane;
}

static struct tenant *
tenant_of(struct sched *s, const struct sched_key *k, const struct account *a)
{
	return flows_tenant(&s->flows, a != NULL ? a->flow : NULL, k->src, k->flow);
}

bool
sched_key_over(struct sched *s, const struct sched_key *k, size_t stream_bytes)
{
	struct account *a;
	struct tenant *t;

	if (k->class != FRAME_CLASS_CLIENT)
		return false;
	a = account_of(s, k);
	if (a != NULL && (a->bytes > stream_bytes || a->bytes > s->limits.stream_bytes / 2))
		return true;
	t = tenant_of(s, k, a);
	return t != NULL && t->bytes > s->limits.tenant_bytes / 2;
}

static int
check_client(const struct sched *s, const struct account *a, const struct tenant *t, size_t size)
{
	if (s->bytes + size > s->limits.link_bytes)
		return ERR_FULL;
	if ((t != NULL ? t->bytes : 0) + size > s->limits.tenant_bytes ||
	    (a != NULL ? a->bytes : 0) + size > s->limits.stream_bytes)
		return ERR_LIMIT;
	return 0;
}

/* Gives a stream that is not known a place among those that are, or in the crowd. */
static int
meet(struct sched *s, const struct sched_key *k, struct account **a)
{
	struct flow *f;
	int err;

	if (*a != NULL)
		return 0;
	if ((err = flows_add(&s->flows, k->src, k->flow, &f)) != 0)
		return err;
	*a = f != NULL ? &f->account : flows_crowd(&s->flows, k->src, k->flow);
	return 0;
}

/* The turn on the lane in which the frame waits. */
static struct turn *
choose_turn(struct lane *l, struct account *a, bool striped)
{
	if (striped)
		return &l->striped;
	return a->flow != NULL ? &a->flow->turn : &l->crowd;
}

/* Room for a frame that is counted on a stream and a tenant. */
static int
place_client(struct sched *s, unsigned lane, bool striped, struct place *p, uint8_t **out)
{
	struct tag tag = {p->account, p->tenant};
	size_t tag_bytes;
	uint8_t *room;

	if (!striped && p->account->lane != FLOW_NO_LANE)
		lane = p->account->lane;
	p->lane = lane_get(s, lane);
	if (p->lane == NULL)
		return ERR_NOMEM;
	p->turn = choose_turn(p->lane, p->account, striped);
	p->q = &p->turn->q;
	tag_bytes = p->turn->flow == NULL ? sizeof(tag) : 0;
	room = frameq_reserve(p->q, &s->pool, tag_bytes + p->size);
	if (room == NULL)
		return ERR_NOMEM;
	if (tag_bytes != 0)
		memcpy(room, &tag, tag_bytes);
	if (!striped)
		p->account->lane = (uint8_t)lane;
	*out = room + tag_bytes;
	s->place = *p;
	return 0;
}

static int
reserve_client(
    struct sched *s, const struct sched_key *k, unsigned lane, bool striped, size_t size, uint8_t **out)
{
	struct place p = {.account = account_of(s, k), .size = size};
	int err;

	p.tenant = tenant_of(s, k, p.account);
	if ((err = check_client(s, p.account, p.tenant, size)) != 0 || (err = meet(s, k, &p.account)) != 0)
		return err;
	if (p.tenant == NULL) {
		p.tenant = flows_tenant_add(&s->flows, k->src, k->flow);
		if (p.tenant == NULL)
			return ERR_NOMEM;
	}
	err = place_client(s, lane, striped, &p, out);
	if (err != 0 && p.tenant->bytes == 0)
		flows_tenant_drop(&s->flows, p.tenant);
	return err;
}

static int
reserve_important(struct sched *s, uint8_t class, unsigned lane, size_t size, uint8_t **out)
{
	struct place p = {.size = size};

	/* What is resent was let in once: it keeps no new control frame out. */
	if (s->bytes - s->resent_bytes + size > s->limits.link_bytes + s->limits.reserve_bytes)
		return ERR_FULL;
	p.lane = lane_get(s, lane);
	if (p.lane == NULL)
		return ERR_NOMEM;
	p.q = &p.lane->important[class];
	*out = frameq_reserve(p.q, &s->pool, size);
	if (*out == NULL)
		return ERR_NOMEM;
	s->place = p;
	return 0;
}

int
sched_reserve(struct sched *s, const struct sched_key *k, unsigned lane, size_t size, uint8_t **out)
{
	MUST(k->class < FRAME_CLASS_COUNT && lane < SCHED_LANES && size != 0 && size <= FRAME_MAX_BYTES);
	forget_place(s);
	if (k->class != FRAME_CLASS_CLIENT)
		return reserve_important(s, k->class, lane, size, out);
	return reserve_client(s, k, lane, false, size, out);
}

int
sched_reserve_striped(struct sched *s, const struct sched_key *k, unsigned lane, size_t size, uint8_t **out)
{
	MUST(lane < SCHED_LANES && size != 0 && size <= FRAME_MAX_BYTES);
	if (k->class != FRAME_CLASS_CLIENT)
		return sched_reserve(s, k, lane, size, out);
	forget_place(s);
	return reserve_client(s, k, lane, true, size, out);
}

static void
count(struct sched *s, struct lane *l, size_t size)
{
	l->bytes += size;
	s->bytes += size;
	s->frames++;
}

void
sched_commit(struct sched *s, size_t size)
{
	struct place *p = &s->place;
	struct turn *t = p->turn;

	MUST(p->q != NULL && size != 0 && size <= p->size);
	if (t == NULL) {
		frameq_commit(p->q, size);
	} else {
		/* First: an idle stream leaves the list of the idle ones. */
		flows_count(&s->flows, p->account, p->tenant, size);
		if (t->q.bytes == 0) {
			t->deficit = 0;
			t->served = false;
			TAILQ_INSERT_TAIL(&p->lane->round, t, entry);
		}
		frameq_commit(p->q, size + (t->flow == NULL ? sizeof(struct tag) : 0));
	}
	count(s, p->lane, size);
	p->q = NULL;
}

/* --- frames go --- */

/* Of a turn that is one stream's. */
static size_t
take_own(struct sched *s, struct turn *t, struct frameq_out *out)
{
	size_t moved = frameq_take(&t->q, &s->pool, out, t->deficit);

	t->deficit -= (uint32_t)moved;
	return moved;
}

/* Of a turn that is shared: each frame is counted on somebody else. */
static size_t
take_shared(struct sched *s, struct turn *t, struct frameq_out *out)
{
	size_t moved = 0;

	while (t->q.bytes != 0) {
		size_t size;
		const uint8_t *p = frameq_head(&t->q, &size);
		struct tag tag;

		size -= sizeof(tag);
		if (size > out->cap - out->used || size > t->deficit)
			break;
		memcpy(&tag, p, sizeof(tag));
		memcpy(out->data + out->used, p + sizeof(tag), size);
		frameq_pop(&t->q, &s->pool);
		flows_uncount(&s->flows, tag.account, tag.tenant, size);
		out->used += size;
		out->count++;
		t->deficit -= (uint32_t)size;
		moved += size;
	}
	return moved;
}

/* Why a turn stopped that has more: its next frame does not fit out. */
static bool
no_room(const struct turn *t, const struct frameq_out *out)
{
	size_t size;

	frameq_head(&t->q, &size);
	if (t->flow == NULL)
		size -= sizeof(struct tag);
	return size > out->cap - out->used;
}

/* The first of the round; false when the next frame has no room in out: its turn goes on next time, with
 * what it may still send. */
static bool
take_turn(struct sched *s, struct lane *l, struct turn *t, struct frameq_out *out)
{
	size_t moved;

	if (!t->served) {
		t->deficit += QUANTUM_BYTES;
		t->served = true;
	}
	moved = t->flow != NULL ? take_own(s, t, out) : take_shared(s, t, out);
	if (t->q.bytes == 0) {
		TAILQ_REMOVE(&l->round, t, entry);
	} else if (!no_room(t, out)) {
		t->served = false;
		TAILQ_REMOVE(&l->round, t, entry);
		TAILQ_INSERT_TAIL(&l->round, t, entry);
	}
	/* Last: a stream that is idle now joins the list of the idle ones. */
	if (t->flow != NULL && moved != 0)
		flows_uncount(&s->flows, &t->flow->account, t->flow->tenant, moved);
	return t->q.bytes == 0 || !t->served;
}

/* All of one queue; false when the next frame has no room in out. */
static bool
take_queue(struct sched *s, struct frameq *q, struct frameq_out *out)
{
	if (q->bytes != 0)
		frameq_take(q, &s->pool, out, SIZE_MAX);
	return q->bytes == 0;
}

static bool
take_resent(struct sched *s, struct lane *l, unsigned class, struct frameq_out *out)
{
	size_t before = out->used;
	bool all = take_queue(s, &l->resend[class], out) && take_queue(s, &l->moved[class], out);

	s->resent_bytes -= out->used - before;
	return all;
}

static bool
take_class(struct sched *s, struct lane *l, unsigned class, struct frameq_out *out)
{
	struct turn *t;

	if (!take_resent(s, l, class, out))
		return false;
	if (class != FRAME_CLASS_CLIENT)
		return take_queue(s, &l->important[class], out);
	while ((t = TAILQ_FIRST(&l->round)) != NULL)
		if (!take_turn(s, l, t, out))
			return false;
	return true;
}

size_t
sched_take(struct sched *s, unsigned lane, uint8_t *out, size_t cap, unsigned *frames)
{
	struct frameq_out o = {.data = out, .cap = cap};
	struct lane *l;

	MUST(lane < LANES_MAX);
	forget_place(s);
	l = s->lanes[lane];
	if (l != NULL && l->bytes != 0) {
		for (unsigned i = 0; i < FRAME_CLASS_COUNT; i++)
			if (!take_class(s, l, i, &o))
				break;
		l->bytes -= o.used;
		s->bytes -= o.used;
		s->frames -= o.count;
		if (s->bytes == 0)
			frameq_pool_trim(&s->pool);
	}
	*frames = o.count;
	return o.used;
}

/* --- lanes die --- */

int
sched_resend(struct sched *s, unsigned lane, uint8_t class, const uint8_t *frame, size_t size)
{
	struct lane *l;
	uint8_t *room;

	MUST(class < FRAME_CLASS_COUNT && size != 0 && size <= FRAME_MAX_BYTES);
	forget_place(s);
	l = lane_get(s, lane);
	if (l == NULL)
		return ERR_NOMEM;
	room = frameq_reserve(&l->resend[class], &s->pool, size);
	if (room == NULL)
		return ERR_NOMEM;
	memcpy(room, frame, size);
	frameq_commit(&l->resend[class], size);
	count(s, l, size);
	s->resent_bytes += size;
	return 0;
}

/* A turn that both lanes have: what came from the other goes behind. */
static void
merge_turn(struct lane *from, struct lane *to, struct turn *src, struct turn *dst)
{
	if (src->q.bytes == 0)
		return;
	TAILQ_REMOVE(&from->round, src, entry);
	if (dst->q.bytes == 0) {
		dst->deficit = 0;
		dst->served = false;
		TAILQ_INSERT_TAIL(&to->round, dst, entry);
	}
	frameq_append(&dst->q, &src->q);
}

static size_t
class_bytes(const struct lane *l, uint8_t class)
{
	return l->resend[class].bytes + l->moved[class].bytes + l->important[class].bytes;
}

static void
merge_class(struct lane *from, struct lane *to, uint8_t class)
{
	size_t bytes = class_bytes(from, class);

	frameq_append(&to->moved[class], &from->resend[class]);
	frameq_append(&to->moved[class], &from->moved[class]);
	frameq_append(&to->important[class], &from->important[class]);
	from->bytes -= bytes;
	to->bytes += bytes;
}

static void
merge_streams(struct lane *from, struct lane *to)
{
	size_t bytes = from->bytes;
	struct turn *t;

	for (unsigned c = 0; c < FRAME_CLASS_CLIENT; c++)
		bytes -= class_bytes(from, c);
	frameq_append(&to->moved[FRAME_CLASS_CLIENT], &from->resend[FRAME_CLASS_CLIENT]);
	frameq_append(&to->moved[FRAME_CLASS_CLIENT], &from->moved[FRAME_CLASS_CLIENT]);
	merge_turn(from, to, &from->striped, &to->striped);
	merge_turn(from, to, &from->crowd, &to->crowd);
	if ((t = TAILQ_FIRST(&from->round)) != NULL)
		t->served = false;
	TAILQ_CONCAT(&to->round, &from->round, entry);
	from->bytes -= bytes;
	to->bytes += bytes;
}

int
sched_move_class(struct sched *s, unsigned from, unsigned to, uint8_t class)
{
	struct lane *src, *dst;

	MUST(from < SCHED_LANES && to < SCHED_LANES && class < FRAME_CLASS_CLIENT);
	forget_place(s);
	src = s->lanes[from];
	if (from == to || src == NULL || class_bytes(src, class) == 0)
		return 0;
	if ((dst = lane_get(s, to)) == NULL)
		return ERR_NOMEM;
	merge_class(src, dst, class);
	return 0;
}

int
sched_move_streams(struct sched *s, unsigned from, unsigned to)
{
	struct lane *dst;

	MUST(from < SCHED_LANES && to < SCHED_LANES);
	forget_place(s);
	if (from == to)
		return 0;
	if (s->lanes[from] != NULL) {
		if ((dst = lane_get(s, to)) == NULL)
			return ERR_NOMEM;
		merge_streams(s->lanes[from], dst);
	}
	flows_move(&s->flows, (uint8_t)from, (uint8_t)to);
	return 0;
}

/* One stream with what it has queued; its turn comes at the end of the other lane's round. */
static void
move_stream(struct lane *from, struct lane *to, struct flow *f)
{
	size_t bytes = f->turn.q.bytes;

	if (bytes == 0)
		return;
	TAILQ_REMOVE(&from->round, &f->turn, entry);
	f->turn.served = false;
	TAILQ_INSERT_TAIL(&to->round, &f->turn, entry);
	from->bytes -= bytes;
	to->bytes += bytes;
}

int
sched_spread(struct sched *s, unsigned from, unsigned to)
{
	struct lane *src = s->lanes[from], *dst;
	bool second = false;

	MUST(from < SCHED_LANES && to < SCHED_LANES && from != to);
	forget_place(s);
	/* What is to be resent belongs to any of them, and must not be overtaken. */
	if (src == NULL || src->resend[FRAME_CLASS_CLIENT].bytes != 0 ||
	    src->moved[FRAME_CLASS_CLIENT].bytes != 0)
		return 0;
	if ((dst = lane_get(s, to)) == NULL)
		return ERR_NOMEM;
	for (struct keytab_node *n = NULL; (n = keytab_next(&s->flows.known, n)) != NULL;) {
		struct flow *f = flows_of(n);

		if (f->account.lane != from)
			continue;
		if (second) {
			f->account.lane = (uint8_t)to;
			move_stream(src, dst, f);
		}
		second = !second;
	}
	return 0;
}

void
sched_move(struct sched *s, unsigned from, unsigned to)
{
	struct lane *l;

	MUST(from < SCHED_LANES && to < SCHED_LANES);
	forget_place(s);
	if (from == to)
		return;
	flows_move(&s->flows, (uint8_t)from, (uint8_t)to);
	l = s->lanes[from];
	if (l == NULL)
		return;
	s->lanes[from] = NULL;
	if (s->lanes[to] == NULL) {
		/* Takes its place: nothing here may fail.  Only resent frames have to know that they moved.
		 */
		s->lanes[to] = l;
		for (unsigned i = 0; i < FRAME_CLASS_COUNT; i++) {
			frameq_append(&l->resend[i], &l->moved[i]);
			frameq_append(&l->moved[i], &l->resend[i]);
		}
		return;
	}
	merge_streams(l, s->lanes[to]);
	for (unsigned c = 0; c < FRAME_CLASS_CLIENT; c++)
		merge_class(l, s->lanes[to], c);
	lane_free(s, l);
}

/* --- figures --- */

bool
sched_lane_empty(const struct sched *s, unsigned lane)
{
	return sched_lane_bytes(s, lane) == 0;
}

size_t
sched_lane_bytes(const struct sched *s, unsigned lane)
{
	MUST(lane < SCHED_LANES);
	return s->lanes[lane] != NULL ? s->lanes[lane]->bytes : 0;
}

size_t
sched_bytes(const struct sched *s)
{
	return s->bytes;
}

size_t
sched_frames(const struct sched *s)
{
	return s->frames;
}

size_t
sched_memory(const struct sched *s)
{
	size_t lanes = 0;

	for (unsigned i = 0; i < SCHED_LANES; i++)
		lanes += s->lanes[i] != NULL ? sizeof(struct lane) : 0;
	return sizeof(*s) + lanes + s->pool.memory + flows_memory(&s->flows);
}

size_t
sched_flows(const struct sched *s)
{
	return s->flows.known.count;
}

bool
sched_high(const struct sched *s)
{
	return s->bytes > s->limits.link_bytes / 2;
}

bool
sched_low(const struct sched *s)
{
	return s->bytes < s->limits.link_bytes / 4;
}
