/*
 * pathstate: the paths that transportd has left, and why.
 *
 * transportd has rerouted already when it says so: here it is kept for those who ask, counted, and told to
 * those who watch, if the path was in use.  What is kept ends when transportd returns to the path, forgets
 * it, or goes away.
 */
#include "routerd/pathstate.h"

#include "common/base/err.h"
#include "common/base/id.h"
#include "common/base/mem.h"
#include "common/os/clock.h"
#include "common/os/log.h"
#include "common/os/metrics.h"
#include "routerd/report.h"
#include "routerd/routerd.h"

enum {
	EVENT_BURST = 64,      /* events of paths */
	EVENT_US = 100 * 1000, /* then one per this: a relay that fails takes many paths with it */
	PATHSTATES_MAX = 8192, /* as many paths as transportd looks after; more: not kept, counted */
};

struct pathstates {
	struct pathstate_tree tree;
	size_t count;
	struct bucket rate;
};

static struct metric left =
    METRIC_COUNTER_INIT("mesh_router_paths_left_total", "paths that transportd has left", NULL);
static struct metric returned =
    METRIC_COUNTER_INIT("mesh_router_paths_returned_total", "paths that transportd has returned to", NULL);
static struct metric untold = METRIC_COUNTER_INIT("mesh_router_path_events_limited_total",
    "paths left of which watchers were not told because there were too many", NULL);
static struct metric unkept = METRIC_COUNTER_INIT("mesh_router_path_states_dropped_total",
    "states of paths that could not be kept, for there are too many, or memory is out", NULL);

static int
compare(const struct pathstate *a, const struct pathstate *b)
{
	if (a->said.destination != b->said.destination)
		return a->said.destination < b->said.destination ? -1 : 1;
	return (a->said.path_id > b->said.path_id) - (a->said.path_id < b->said.path_id);
}

RB_GENERATE_INTERNAL(pathstate_tree, pathstate, link, compare, __attribute__((unused)) static)

static struct pathstate *
find(struct routerd *d, uint64_t destination, uint32_t path_id)
{
	struct pathstate key = {.said = {.destination = destination, .path_id = path_id}};

	return RB_FIND(pathstate_tree, &d->pathstates->tree, &key);
}

const struct pathstate *
pathstate_get(struct routerd *d, uint64_t destination, uint32_t path_id)
{
	return find(d, destination, path_id);
}

const char *
pathstate_name(mesh_ipc_PathStateCode state)
{
	static const char *const names[] = {"up", "slow", "suspect", "forgotten"};

	return (size_t)state < sizeof(names) / sizeof(names[0]) ? names[state] : "?";
}

/* --- what is kept --- */

/* The path with this id, whatever class it is for; NULL: it is in the FIB no more. */
static const struct spf_path *
path_by_id(struct routerd *d, uint64_t destination, uint32_t path_id)
{
	const struct fib_route *r = fib_get(router_fib(d->router), destination);

	for (size_t p = 0; r != NULL && p < COST_PROFILES_MAX; p++)
		for (uint32_t i = 0; r->paths[p] != NULL && i < r->paths[p]->count; i++)
			if (r->paths[p]->path[i].path_id == path_id)
				return &r->paths[p]->path[i].path;
	return NULL;
}

/* Where it leads: later it may be in the FIB no more. */
static void
place(struct routerd *d, struct pathstate *p)
{
	const struct spf_path *path = path_by_id(d, p->said.destination, p->said.path_id);

	if (path == NULL)
		return;
	p->via = path->hops[0];
	p->hops = path->hop_count;
}

static void
drop(struct routerd *d, struct pathstate *p)
{
	RB_REMOVE(pathstate_tree, &d->pathstates->tree, p);
	d->pathstates->count--;
	mem_free(p);
}

static struct pathstate *
keep(struct routerd *d, const mesh_ipc_PathState *said)
{
	struct pathstate *p = find(d, said->destination, said->path_id);

	if (p == NULL) {
		if (d->pathstates->count == PATHSTATES_MAX || (p = mem_calloc(1, sizeof(*p))) == NULL) {
			metric_inc(&unkept);
			return NULL;
		}
		p->said = *said;
		RB_INSERT(pathstate_tree, &d->pathstates->tree, p);
		d->pathstates->count++;
	}
	p->said = *said;
	place(d, p);
	p->since_unix_ms = clock_unix_ms();
	return p;
}

/* --- who is told --- */

static void
log_state(const mesh_ipc_PathState *said)
{
	char id[NODEID_TEXT_SIZE];
	struct log_ctx ctx = {.peer = id};

	nodeid_format(id, said->destination);
	log_at(LOG_INFO, &ctx, "path %u is %s%s%s", (unsigned)said->path_id, pathstate_name(said->state),
	    said->reason[0] != '\0' ? ": " : "", said->reason);
}

/* One that is left is worth an event if something was lately sent on it. */
static void
tell_left(struct routerd *d, struct pathstate *p)
{
	struct mono now = clock_mono();

	if (!p->said.used || p->told)
		return;
	if (!bucket_ready(&d->pathstates->rate, now)) {
		metric_inc(&untold);
		return;
	}
	bucket_take(&d->pathstates->rate, now);
	p->told = true;
	api_gateway_path(d, p);
}

void
pathstate_told(struct routerd *d, const mesh_ipc_PathState *said)
{
	struct pathstate *p;

	log_state(said);
	if (said->state == mesh_ipc_PathStateCode_PATH_SLOW ||
	    said->state == mesh_ipc_PathStateCode_PATH_SUSPECT) {
		metric_inc(&left);
		if ((p = keep(d, said)) != NULL)
			tell_left(d, p);
		return;
	}
	if (said->state == mesh_ipc_PathStateCode_PATH_UP)
		metric_inc(&returned);
	if ((p = find(d, said->destination, said->path_id)) == NULL)
		return;
	p->said = *said;
	/* Who heard that it was left hears how that ends. */
	if (p->told)
		api_gateway_path(d, p);
	drop(d, p);
}

/* --- life --- */

void
pathstate_clear(struct routerd *d)
{
	struct pathstate *p;

	while ((p = RB_MIN(pathstate_tree, &d->pathstates->tree)) != NULL)
		drop(d, p);
}

int
pathstate_init(struct routerd *d)
{
	struct pathstates *ps = mem_calloc(1, sizeof(*ps));

	if ((d->pathstates = ps) == NULL)
		return ERR_NOMEM;
	RB_INIT(&ps->tree);
	bucket_init(&ps->rate, EVENT_BURST, EVENT_US, clock_mono());
	metrics_add(&left);
	metrics_add(&returned);
	metrics_add(&untold);
	metrics_add(&unkept);
	return 0;
}

void
pathstate_fini(struct routerd *d)
{
	if (d->pathstates == NULL)
		return;
	pathstate_clear(d);
	mem_free(d->pathstates);
	d->pathstates = NULL;
}
