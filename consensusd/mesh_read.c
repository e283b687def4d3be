/*
 * mesh: reads that see all that was committed before they were asked for; see mesh.h.
 *
 * The leader is asked for an index at which that is so, and makes sure that it leads; an answer that does not
 * come is asked for again.
 */
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/clock.h"
#include "consensusd/mesh_impl.h"

struct reading {
	struct timed timer; /* first: see timed */
	TAILQ_ENTRY(reading) entry;
	struct mesh *mesh;
	uint64_t id; /* that raft_read() gives back */
	struct mono over;
	mesh_done_fn *fn;
	void *ctx;
};

static void
reading_end(struct reading *r, int err, const char *text)
{
	struct mesh *m = r->mesh;
	const struct mesh_outcome o = {.err = err, .text = text, .index = mcg_index(m->mcg)};
	mesh_done_fn *fn = r->fn;
	void *ctx = r->ctx;

	engine_at_cancel(m->engine, &r->timer);
	TAILQ_REMOVE(&m->readings, r, entry);
	m->reading_count--;
	mem_free(r);
	if (fn != NULL)
		fn(ctx, &o);
}

static int
ask(struct reading *r)
{
	struct mesh *m = r->mesh;

	engine_at(m->engine, &r->timer, mono_min(r->over, mono_add_ms(clock_mono(), MESH_AGAIN_MS)));
	return group_read(m->group, r->id);
}

static void
on_timer(void *arg)
{
	struct reading *r = arg;

	if (r->mesh->group == NULL)
		reading_end(
		    r, mesh_absent(r->mesh), "this node has no replica of the control group any more");
	else if (!mono_before(clock_mono(), r->over))
		reading_end(r, ERR_TIMEOUT, "no leader of the control group has answered in time");
	else
		(void)!ask(r); /* again later */
}

int
mesh_read(struct mesh *m, uint32_t timeout_ms, mesh_done_fn *fn, void *ctx)
{
	struct reading *r;
	int err;

	if (m->group == NULL)
		return mesh_absent(m);
	if (m->reading_count >= MESH_READINGS_MAX)
		return ERR_FULL;
	if ((r = mem_calloc(1, sizeof(*r))) == NULL)
		return ERR_NOMEM;
	*r = (struct reading){.timer = {.fn = on_timer, .arg = r},
	    .mesh = m,
	    .id = ++m->last_reading,
	    .over = mono_add_ms(clock_mono(), timeout_ms),
	    .fn = fn,
	    .ctx = ctx};
	TAILQ_INSERT_TAIL(&m->readings, r, entry);
	m->reading_count++;
	if ((err = ask(r)) == 0)
		return 0;
	r->fn = NULL;
	reading_end(r, 0, "");
	return err;
}

/* The state has it: one that was asked for twice is answered once. */
void
mesh_readable(struct mesh *m, uint64_t id)
{
	struct reading *r;

	TAILQ_FOREACH (r, &m->readings, entry) {
		if (r->id == id) {
			reading_end(r, 0, "");
			return;
		}
	}
}

void
mesh_readings_forget(struct mesh *m, const void *ctx)
{
	struct reading *r;

	TAILQ_FOREACH (r, &m->readings, entry)
		if (r->ctx == ctx)
			r->fn = NULL;
}

void
mesh_readings_fini(struct mesh *m)
{
	while (!TAILQ_EMPTY(&m->readings))
		reading_end(TAILQ_FIRST(&m->readings), ERR_CLOSED, MESH_CLOSED_TEXT);
}
