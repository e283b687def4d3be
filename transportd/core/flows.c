#include "transportd/core/flows.h"

#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "transportd/core/limits.h"

void
flows_init(struct flows *fl, uint64_t seed)
{
	memset(fl, 0, sizeof(*fl));
	keytab_init(&fl->known, seed);
	keytab_init(&fl->tenants, seed);
	TAILQ_INIT(&fl->idle);
	for (unsigned i = 0; i < FLOWS_CROWD; i++)
		fl->crowd[i].lane = FLOW_NO_LANE;
}

/* The node is the first member of both. */
struct flow *
flows_of(struct keytab_node *n)
{
	return (struct flow *)n;
}

void
flows_fini(struct flows *fl, struct frameq_pool *pool)
{
	struct keytab_node *n;

	while ((n = keytab_next(&fl->known, NULL)) != NULL) {
		frameq_fini(&flows_of(n)->turn.q, pool);
		keytab_del(&fl->known, n);
		mem_free(n);
	}
	while ((n = keytab_next(&fl->tenants, NULL)) != NULL) {
		keytab_del(&fl->tenants, n);
		mem_free(n);
	}
	mem_free(fl->spare);
}

struct flow *
flows_get(struct flows *fl, uint64_t src, uint32_t id)
{
	struct keytab_node *n;

	if (fl->last != NULL && fl->last->node.src == src && fl->last->node.id == id)
		return fl->last;
	n = keytab_get(&fl->known, src, id);
	if (n == NULL)
		return NULL;
	fl->last = flows_of(n);
	return fl->last;
}

/* The place of a new one: fresh memory, or the stream idle for longest.  NULL: all are busy. */
static int
make_room(struct flows *fl, struct flow **out)
{
	struct turn *oldest = TAILQ_FIRST(&fl->idle);

	*out = NULL;
	if (fl->known.count < LINK_FLOWS_MAX) {
		*out = mem_calloc(1, sizeof(**out));
		return *out != NULL ? 0 : ERR_NOMEM;
	}
	if (oldest == NULL)
		return 0;
	TAILQ_REMOVE(&fl->idle, oldest, entry);
	*out = oldest->flow;
	keytab_del(&fl->known, &oldest->flow->node);
	return 0;
}

int
flows_add(struct flows *fl, uint64_t src, uint32_t id, struct flow **out)
{
	int err = make_room(fl, out);
	struct flow *f = *out;

	if (f == NULL)
		return err;
	memset(f, 0, sizeof(*f));
	f->node.src = src;
	f->node.id = id;
	f->account.flow = f->turn.flow = f;
	f->account.lane = FLOW_NO_LANE;
	keytab_add(&fl->known, &f->node);
	TAILQ_INSERT_TAIL(&fl->idle, &f->turn, entry);
	fl->last = f;
	return 0;
}

struct account *
flows_crowd(struct flows *fl, uint64_t src, uint32_t id)
{
	return &fl->crowd[keytab_hash(&fl->known, src, id) >> 16 & (FLOWS_CROWD - 1)];
}

void
flows_move(struct flows *fl, uint8_t from, uint8_t to)
{
	for (struct keytab_node *n = NULL; (n = keytab_next(&fl->known, n)) != NULL;)
		if (flows_of(n)->account.lane == from)
			flows_of(n)->account.lane = to;
	for (unsigned i = 0; i < FLOWS_CROWD; i++)
		if (fl->crowd[i].lane == from)
			fl->crowd[i].lane = to;
}

struct tenant *
flows_tenant(const struct flows *fl, const struct flow *f, uint64_t src, uint32_t id)
{
	if (f != NULL && f->account.bytes != 0)
		return f->tenant;
	return (struct tenant *)keytab_get(&fl->tenants, src, id >> 16);
}

struct tenant *
flows_tenant_add(struct flows *fl, uint64_t src, uint32_t id)
{
	struct tenant *t = fl->spare;

	if (t == NULL)
		t = mem_calloc(1, sizeof(*t));
	if (t == NULL)
		return NULL;
	fl->spare = NULL;
	t->node.src = src;
	t->node.id = id >> 16;
	keytab_add(&fl->tenants, &t->node);
	return t;
}

void
flows_tenant_drop(struct flows *fl, struct tenant *t)
{
	MUST(t->bytes == 0);
	keytab_del(&fl->tenants, &t->node);
	if (fl->spare == NULL)
		fl->spare = t;
	else
		mem_free(t);
}

void
flows_count(struct flows *fl, struct account *a, struct tenant *t, size_t bytes)
{
	if (a->flow != NULL && a->bytes == 0) {
		TAILQ_REMOVE(&fl->idle, &a->flow->turn, entry);
		a->flow->tenant = t;
	}
	a->bytes += bytes;
	t->bytes += bytes;
}

void
flows_uncount(struct flows *fl, struct account *a, struct tenant *t, size_t bytes)
{
	MUST(bytes <= a->bytes && bytes <= t->bytes);
	a->bytes -= bytes;
	t->bytes -= bytes;
	if (t->bytes == 0)
		flows_tenant_drop(fl, t);
	if (a->bytes != 0)
		return;
	if (a->flow != NULL)
		TAILQ_INSERT_TAIL(&fl->idle, &a->flow->turn, entry);
	else
		a->lane = FLOW_NO_LANE;
}

size_t
flows_memory(const struct flows *fl)
{
	return keytab_memory(&fl->known) + keytab_memory(&fl->tenants) +
	       fl->known.count * sizeof(struct flow) +
	       (fl->tenants.count + (fl->spare != NULL)) * sizeof(struct tenant);
}
