/*
 * store_pg_keep: the third connection, which keeps house: it makes the room of cleared batches usable
 * again, and removes what nobody will ask for any more.
 *
 * The server's autovacuum comes once a minute at best.  At full speed gigabytes are cleared in that
 * time, and every page of them is written to disk; vacuuming after each 64 MB keeps to the same pages.
 */
#include <postgresql/libpq-fe.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/log.h"
#include "common/os/metrics.h"
#include "consensusd/store_pg.h"

enum {
	PRUNE_INTERVAL_MS = 3600000, /* between rounds */
	PRUNE_AGAIN_MS = 1000,       /* while a round found a full portion */
	PRUNE_STREAMS = 100,         /* a portion, as in the statement below */
};

static struct metric metric_pruned =
    METRIC_COUNTER_INIT("mesh_store_pruned_streams_total", "Closed streams removed from the database", NULL);
static struct metric metric_vacuums = METRIC_COUNTER_INIT(
    "mesh_store_vacuums_total", "Times outbox, inbox, stream_ids or raft_log was vacuumed", NULL);

/* No lock is waited for, and none is taken that a backup or a reader would notice. */
#define VACUUM(box) "VACUUM (SKIP_LOCKED, TRUNCATE off, INDEX_CLEANUP on) " box

static const char *const tasks[STORE_TASK_COUNT] = {
    [STORE_TASK_KEYS] = store_keys_sql,
    [STORE_TASK_VACUUM_OUTBOX] = VACUUM("outbox"),
    [STORE_TASK_VACUUM_INBOX] = VACUUM("inbox"),
    [STORE_TASK_VACUUM_RAFT] = VACUUM("raft_log"),
    [STORE_TASK_VACUUM_IDS] = VACUUM("stream_ids"),
    /* A stream that has been closed for so long that neither end will name it again. */
    [STORE_TASK_PRUNE] =
	"WITH old AS MATERIALIZED (SELECT stream_id FROM streams WHERE state = 2"
	" AND updated < now() - interval '30 days' ORDER BY updated LIMIT 100),"
	" a AS (DELETE FROM stream_offsets AS t USING old WHERE t.stream_id = old.stream_id),"
	" b AS (DELETE FROM delivery_log AS t USING old WHERE t.stream_id = old.stream_id),"
	" f AS (DELETE FROM delivery_gaps AS t USING old WHERE t.stream_id = old.stream_id),"
	" c AS (DELETE FROM outbox AS t USING old WHERE t.stream_id = old.stream_id),"
	" d AS (DELETE FROM inbox AS t USING old WHERE t.stream_id = old.stream_id),"
	" g AS (DELETE FROM stream_attempts AS t USING old WHERE t.stream_id = old.stream_id),"
	/* Ids of messages of a closed stream are of use for a while only. */
	" h AS (DELETE FROM stream_ids AS t USING streams AS s WHERE t.stream_id = s.stream_id"
	" AND s.state = 2 AND s.updated < now() - interval '1 day'),"
	/* And a subscriber that has not moved for so long. */
	" e AS (DELETE FROM update_positions WHERE updated < now() - interval '30 days'"
	" AND subscriber <> '')"
	" DELETE FROM streams AS t USING old WHERE t.stream_id = old.stream_id RETURNING 1",
};

struct store_keeper {
	const struct store_callbacks *cb;
	struct store_conn *conn;
	bool ready;
	bool due[STORE_TASK_COUNT];
	enum store_task current;
	int found; /* rows that the task returned */
	struct loop_timer *prune_timer;
	bool failed; /* setting up */
};

static void keeper_next(struct store_keeper *k);

static void
task_end(struct store_keeper *k)
{
	if (k->current == STORE_TASK_KEYS)
		return;
	if (k->current != STORE_TASK_PRUNE) {
		metric_inc(&metric_vacuums);
		return;
	}
	metric_add(&metric_pruned, k->found);
	loop_timer_arm_ms(k->prune_timer, k->found == PRUNE_STREAMS ? PRUNE_AGAIN_MS : PRUNE_INTERVAL_MS);
}

static void
on_task(void *ctx, const struct pg_result *res)
{
	struct store_keeper *k = ctx;
	char text[STORE_CONN_TROUBLE_BYTES];

	if (res == NULL) {
		task_end(k);
		keeper_next(k);
		return;
	}
	switch (PQresultStatus(res)) {
	case PGRES_COMMAND_OK:
		break;
	case PGRES_TUPLES_OK:
		k->found = PQntuples(res);
		if (k->current == STORE_TASK_KEYS)
			store_keys_gone(res, k->cb);
		break;
	default:
		/* It comes round again. */
		store_conn_trouble(k->conn, res, text);
		log_warn("store: keeping house failed: %s", text);
	}
}

static void
keeper_next(struct store_keeper *k)
{
	int task = 0;

	if (!k->ready || store_conn_busy(k->conn))
		return;
	while (task < STORE_TASK_COUNT && !k->due[task])
		task++;
	if (task == STORE_TASK_COUNT)
		return;
	k->due[task] = false;
	k->current = (enum store_task)task;
	k->found = 0;
	if (PQsendQuery(store_conn_pg(k->conn), tasks[task]) == 0) {
		k->ready = false;
		store_conn_retry(k->conn);
		return;
	}
	store_conn_await(k->conn, on_task);
}

void
store_keeper_ask(struct store_keeper *k, enum store_task task)
{
	k->due[task] = true;
	keeper_next(k);
}

static void
on_prune_timer(void *arg)
{
	struct store_keeper *k = arg;

	store_keeper_ask(k, STORE_TASK_PRUNE);
	/* Not right after the database was away: what waits to be written may need keys that it has. */
	if (k->ready)
		store_keeper_ask(k, STORE_TASK_KEYS);
}

/* ---- the connection ---- */

static void
on_setup(void *ctx, const struct pg_result *res)
{
	struct store_keeper *k = ctx;

	if (res != NULL) {
		k->failed |= PQresultStatus(res) != PGRES_COMMAND_OK;
		return;
	}
	if (k->failed) {
		store_conn_retry(k->conn);
		return;
	}
	k->ready = true;
	store_conn_settled(k->conn);
	keeper_next(k);
}

static void
on_up(void *ctx)
{
	struct store_keeper *k = ctx;

	k->failed = false;
	if (PQsendQuery(store_conn_pg(k->conn),
		"SET search_path = mesh; SET lock_timeout = '5s'; SET synchronous_commit = off;"
		" SET client_min_messages = error; SET jit = off") == 0)
		store_conn_retry(k->conn);
	else
		store_conn_await(k->conn, on_setup);
}

static void
on_down(void *ctx, const char *why)
{
	struct store_keeper *k = ctx;

	(void)why; /* the writer tells */
	k->ready = false;
	k->due[STORE_TASK_KEYS] = false;
	loop_timer_arm_ms(k->prune_timer, PRUNE_INTERVAL_MS);
}

static void
metrics_register(void)
{
	static bool done;

	if (done)
		return;
	done = true;
	metrics_add(&metric_pruned);
	metrics_add(&metric_vacuums);
}

struct store_keeper *
store_keeper_new(
    struct loop *l, const char *conninfo, const char *user, const struct store_callbacks *callbacks)
{
	struct store_keeper *k = mem_calloc(1, sizeof(*k));
	const struct store_conn_callbacks cb = {.on_up = on_up, .on_down = on_down, .ctx = k};

	if (k == NULL)
		return NULL;
	metrics_register();
	k->cb = callbacks;
	k->prune_timer = loop_timer_new(l, on_prune_timer, k);
	k->conn = k->prune_timer != NULL ? store_conn_new(l, conninfo, user, &cb) : NULL;
	if (k->conn == NULL) {
		store_keeper_free(k);
		return NULL;
	}
	loop_timer_arm_ms(k->prune_timer, PRUNE_INTERVAL_MS);
	return k;
}

void
store_keeper_free(struct store_keeper *k)
{
	if (k == NULL)
		return;
	store_conn_free(k->conn);
	if (k->prune_timer != NULL)
		loop_timer_free(k->prune_timer);
	mem_free(k);
}
