/*
 * applier_user: an applier on a PostgreSQL server of its own, a log of updates for it, and what it said.
 */
#ifndef TESTS_UNIT_CONSENSUSD_APPLIER_USER_H
#define TESTS_UNIT_CONSENSUSD_APPLIER_USER_H

#include "tests/unit/unit.h"

#include "common/base/buf.h"
#include "common/base/mem.h"
#include "common/os/conf.h"
#include "common/os/crypto.h"
#include "common/os/log.h"
#include "common/os/loop.h"
#include "consensusd/applier.h"
#include "proto/mesh.pb.h"
#include "proto/pb.h"
#include "tests/pg_server.h"

enum { WAIT_SECONDS = 60, UPDATES_MAX = 4096, LIST_MAX = 64 };

static struct pg_server server;

struct logged { /* an update; payload NULL: at this index there is something else */
	uint8_t *payload;
	size_t len;
};

struct user {
	struct loop *loop;
	struct loop_timer *poll;
	struct applier *applier;
	PGconn *pg; /* to look at the database without the applier */
	struct logged log[UPDATES_MAX];
	uint64_t last;
	uint64_t applied; /* as it was told */
	int failures, changes;
	struct applier_failure failure;
	/* Of lists. */
	int answers, answer_err;
	size_t letter_count;
	struct {
		uint64_t position;
		uint32_t attempts;
		bool blocking;
		char table[64], key[256], row[256], error[512];
	} letters[LIST_MAX];
	bool (*until)(struct user *u);
	bool met;
	double deadline;
};

static inline bool
on_next(void *ctx, uint64_t after, struct applier_update *out)
{
	struct user *u = ctx;

	for (uint64_t i = after + 1; i <= u->last; i++) {
		if (u->log[i].payload == NULL)
			continue;
		*out = (struct applier_update){.index = i,
		    .id = {{(uint8_t)(i >> 8), (uint8_t)i}},
		    .node = 77,
		    .unix_ms = 1700000000000,
		    .payload = u->log[i].payload,
		    .len = u->log[i].len};
		return true;
	}
	return false;
}

static inline void
on_applied(void *ctx, uint64_t position)
{
	((struct user *)ctx)->applied = position;
}

static inline void
on_failed(void *ctx, const struct applier_failure *f)
{
	struct user *u = ctx;

	u->failures++;
	u->failure = *f;
}

static inline void
on_changed(void *ctx)
{
	((struct user *)ctx)->changes++;
}

static inline void
copy(char *out, size_t size, const char *text, size_t len)
{
	snprintf(out, size, "%.*s", (int)len, text);
}

static inline void
on_letters(void *ctx, uint64_t handle, int err, const char *why, const struct applier_letter *l, size_t count)
{
	struct user *u = ctx;

	assert_int_equal(handle, 4711);
	assert_true(err == 0 || why[0] != '\0');
	u->answers++;
	u->answer_err = err;
	u->letter_count = count;
	for (size_t i = 0; i < count && i < LIST_MAX; i++) {
		u->letters[i].position = l[i].position;
		u->letters[i].attempts = l[i].attempts;
		u->letters[i].blocking = l[i].blocking;
		assert_true(l[i].failed_unix_ms > 1600000000000);
		copy(u->letters[i].table, sizeof(u->letters[i].table), l[i].table, l[i].table_len);
		copy(u->letters[i].key, sizeof(u->letters[i].key), l[i].key, l[i].key_len);
		copy(u->letters[i].row, sizeof(u->letters[i].row), l[i].row, l[i].row_len);
		copy(u->letters[i].error, sizeof(u->letters[i].error), l[i].error, l[i].error_len);
	}
}

/* ---- the log ---- */

static inline void
log_bytes(struct user *u, const void *payload, size_t len)
{
	assert_true(u->last + 1 < UPDATES_MAX);
	u->log[++u->last] = (struct logged){mem_dup(payload, len), len};
}

static inline void
log_sized(struct user *u, const char *table, const char *operation, const char *key, size_t key_len,
    const char *row, size_t row_len)
{
	mesh_v1_DBUpdate m = mesh_v1_DBUpdate_init_zero;
	struct pb_slice k = {(const uint8_t *)key, key_len}, r = {(const uint8_t *)row, row_len};
	struct buf out;

	snprintf(m.table, sizeof(m.table), "%s", table);
	snprintf(m.operation, sizeof(m.operation), "%s", operation);
	pb_slice_encode(&m.key, &k);
	pb_slice_encode(&m.row, &r);
	buf_init(&out, 16 << 20);
	assert_int_equal(pb_pack(&out, mesh_v1_DBUpdate_fields, &m), 0);
	log_bytes(u, buf_head(&out), buf_left(&out));
	buf_fini(&out);
	if (u->applier != NULL)
		applier_wake(u->applier);
}

static inline void
log_update(struct user *u, const char *table, const char *operation, const char *key, const char *row)
{
	log_sized(u, table, operation, key, strlen(key), row, strlen(row));
}

/* ---- waiting ---- */

static inline void
on_poll(void *arg)
{
	struct user *u = arg;

	u->met = u->until(u);
	if (u->met || pg_seconds() > u->deadline)
		loop_stop(u->loop);
	else
		loop_timer_arm_ms(u->poll, 1);
}

static inline void
wait_until(struct user *u, bool (*until)(struct user *u))
{
	char why[512];

	u->until = until;
	u->deadline = pg_seconds() + WAIT_SECONDS;
	loop_timer_arm_ms(u->poll, 0);
	assert_int_equal(loop_run(u->loop), 0);
	if (!u->met)
		print_error("gave up waiting at %llu of %llu: %s %s\n", (unsigned long long)u->applied,
		    (unsigned long long)u->last, applier_trouble(u->applier, why, sizeof(why)),
		    u->failure.error);
	assert_true(u->met);
}

static inline bool
is_through(struct user *u)
{
	return u->applied == u->last && applier_position(u->applier) == u->last;
}

static inline bool
is_failed(struct user *u)
{
	return u->failures > 0;
}

static inline bool
is_answered(struct user *u)
{
	return u->answers > 0;
}

/* ---- the database ---- */

/* The server ended, or is about to: to be asked again. */
static inline bool
is_gone(PGconn *pg, const PGresult *res)
{
	const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);

	return PQstatus(pg) != CONNECTION_OK ||
	       (PQresultStatus(res) == PGRES_FATAL_ERROR && (state == NULL || strncmp(state, "57P", 3) == 0));
}

/* The first column of the first row, in a static buffer. */
static inline const char *
ask(struct user *u, const char *sql)
{
	static char text[4096];
	double deadline = pg_seconds() + WAIT_SECONDS;
	char conninfo[256];
	PGresult *res;

	/* The user's name is that of our schema, which would come first. */
	snprintf(conninfo, sizeof(conninfo),
	    "%s options='-c search_path=public -c client_min_messages=warning'", server.conninfo);
	if (u->pg == NULL)
		u->pg = PQconnectdb(conninfo);
	for (;;) {
		res = PQexec(u->pg, sql);
		if (!is_gone(u->pg, res) || pg_seconds() > deadline)
			break;
		PQclear(res);
		pg_pause_ms(5);
		PQreset(u->pg);
	}
	if (PQresultStatus(res) != PGRES_TUPLES_OK && PQresultStatus(res) != PGRES_COMMAND_OK) {
		print_error("%s: %s\n", sql, PQerrorMessage(u->pg));
		fail();
	}
	snprintf(text, sizeof(text), "%s", PQntuples(res) > 0 ? PQgetvalue(res, 0, 0) : "");
	PQclear(res);
	return text;
}

/* The schema as its files make it. */
static inline void
migrate(void)
{
	PGconn *pg = PQconnectdb(server.conninfo);
	static char sql[512 * 1024];
	glob_t g;

	assert_int_equal(glob("etc/sql/*.sql", 0, NULL, &g), 0);
	for (size_t i = 0; i < g.gl_pathc; i++) {
		FILE *f = fopen(g.gl_pathv[i], "r");
		size_t n;
		PGresult *res;

		assert_non_null(f);
		n = (size_t)snprintf(sql, sizeof(sql), "BEGIN;\n");
		n += fread(sql + n, 1, sizeof(sql) - n - 16, f);
		fclose(f);
		snprintf(sql + n, sizeof(sql) - n, "\nCOMMIT");
		res = PQexec(pg, sql);
		if (PQresultStatus(res) != PGRES_COMMAND_OK)
			print_error("%s: %s\n", g.gl_pathv[i], PQerrorMessage(pg));
		assert_int_equal(PQresultStatus(res), PGRES_COMMAND_OK);
		PQclear(res);
	}
	globfree(&g);
	PQfinish(pg);
}

/* ---- the applier ---- */

static inline struct conf *
conf_of(const char *rules)
{
	char path[] = "/tmp/mesh-applier-XXXXXX";
	int fd = mkstemp(path);
	FILE *f = fdopen(fd, "w");
	struct conf *c;

	assert_non_null(f);
	fprintf(f,
	    "mesh { id 01ARZ3NDEKTSV4RRFFQ69G5FAV; node-name a }\n"
	    "consensusd {\nkeyring \"/nonexistent\"\ndatabase \"%s\"\n%s\n}\n",
	    server.conninfo, rules);
	fclose(f);
	c = conf_load(path, "consensusd", stderr);
	unlink(path);
	assert_non_null(c);
	return c;
}

static inline void
applier_start(struct user *u, const char *rules)
{
	const struct applier_callbacks cb = {
	    .next = on_next, .applied = on_applied, .failed = on_failed, .ctx = u};
	struct conf *conf = conf_of(rules);

	u->applier = applier_new(u->loop, conf, NULL, on_changed, u);
	assert_non_null(u->applier);
	applier_attach(u->applier, &cb);
	applier_open(u->applier);
	conf_free(conf);
}

static inline void
applier_stop(struct user *u)
{
	applier_free(u->applier);
	u->applier = NULL;
}

static inline void
reload(struct user *u, const char *rules)
{
	struct conf *conf = conf_of(rules);

	applier_configure(u->applier, conf);
	conf_free(conf);
}

/* A fresh start: no position, no letters, tables as sql makes them in a schema that was emptied. */
static inline struct user *
user_new(const char *rules, const char *sql)
{
	struct user *u = calloc(1, sizeof(*u));

	u->loop = loop_event_new();
	u->poll = loop_timer_new(u->loop, on_poll, u);
	ask(u, "DROP SCHEMA public CASCADE; CREATE SCHEMA public; DELETE FROM mesh.handler_positions;"
	       " DELETE FROM mesh.dead_letters");
	ask(u, sql);
	if (rules != NULL)
		applier_start(u, rules);
	return u;
}

static inline void
user_free(struct user *u)
{
	applier_free(u->applier);
	loop_timer_free(u->poll);
	loop_free(u->loop);
	for (uint64_t i = 0; i <= u->last; i++)
		mem_free(u->log[i].payload);
	if (u->pg != NULL)
		PQfinish(u->pg);
	free(u);
}

static inline void
list(struct user *u, uint64_t after, uint32_t limit)
{
	u->answers = 0;
	assert_int_equal(applier_list(u->applier, after, limit, on_letters, u, 4711), 0);
	wait_until(u, is_answered);
}

static inline void
resolve(struct user *u, uint64_t position, bool discard)
{
	u->answers = 0;
	assert_int_equal(applier_resolve(u->applier, position, discard, on_letters, u, 4711), 0);
	wait_until(u, is_answered);
}

static inline int
setup(void **state)
{
	(void)state;
	signal(SIGPIPE, SIG_IGN);
	MUST(crypto_init() == 0);
	log_set_level(LOG_ERROR); /* of what is refused there are warnings */
	pg_server_init(&server);
	pg_server_start(&server, NULL);
	migrate();
	return 0;
}

static inline int
teardown(void **state)
{
	(void)state;
	pg_server_fini(&server);
	return 0;
}

#endif
