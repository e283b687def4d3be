/* store_pg_conn: see store_pg_conn.h. */
#include "consensusd/store_pg_conn.h"

#include <postgresql/libpq-fe.h>
#include <stdio.h>
#include <string.h>

#include "common/base/backoff.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/os/crypto.h"
#include "common/os/log.h"
#include "common/os/loop.h"

enum conn_state { CONN_STOPPED, CONN_WAITING, CONN_CONNECTING, CONN_UP };

struct store_conn {
	struct loop *loop;
	char *conninfo, *user;
	struct store_conn_callbacks cb;
	enum conn_state state;
	PGconn *pg;
	struct loop_fd *fd;
	struct loop_timer *timer; /* back-off, or the limit of an attempt */
	struct backoff backoff;
	struct rng rng;
	store_result_fn *fn;  /* of the request under way, else NULL */
	unsigned long number; /* of the connection: callbacks may end it and a later one begin */
};

static void conn_start(struct store_conn *c);

/* The first line of a text; what follows are hints. */
static void
first_line(const char *text, char *out, size_t size)
{
	size_t n = strcspn(text, "\n");

	snprintf(out, size, "%.*s", (int)(n < size ? n : size - 1), text);
}

void
store_conn_trouble(
    const struct store_conn *c, const struct pg_result *res, char out[STORE_CONN_TROUBLE_BYTES])
{
	const char *text = NULL, *state = NULL;
	size_t n;

	if (res != NULL) {
		text = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
		state = PQresultErrorField(res, PG_DIAG_SQLSTATE);
	}
	if (text == NULL && c->pg != NULL)
		text = PQerrorMessage(c->pg);
	first_line(
	    text == NULL || text[0] == '\0' ? "connection lost" : text, out, STORE_CONN_TROUBLE_BYTES - 16);
	n = strlen(out);
	if (state != NULL)
		snprintf(out + n, STORE_CONN_TROUBLE_BYTES - n, " (%s)", state);
}

/* Closes what is open.  The watch goes before the descriptor does. */
static void
conn_close(struct store_conn *c)
{
	loop_fd_del(c->fd);
	c->fd = NULL;
	if (c->pg != NULL)
		PQfinish(c->pg);
	c->pg = NULL;
	c->fn = NULL;
	c->number++;
}

void
store_conn_retry(struct store_conn *c)
{
	conn_close(c);
	c->state = CONN_WAITING;
	loop_timer_arm_ms(c->timer, backoff_next_ms(&c->backoff, &c->rng));
}

static void
conn_lost(struct store_conn *c, const char *why)
{
	char text[STORE_CONN_TROUBLE_BYTES];

	if (why != NULL)
		snprintf(text, sizeof(text), "%s", why);
	else
		store_conn_trouble(c, NULL, text);
	store_conn_retry(c);
	c->cb.on_down(c->cb.ctx, text);
}

/* Hands out results as long as there are whole ones. */
static void
conn_pump(struct store_conn *c)
{
	unsigned long number = c->number;
	PGresult *res;

	while (c->number == number && !PQisBusy(c->pg) && c->fn != NULL) {
		store_result_fn *fn = c->fn;
		bool pipeline = PQpipelineStatus(c->pg) != PQ_PIPELINE_OFF, last;

		res = PQgetResult(c->pg);
		/* A query ends with NULL; in a pipeline that only parts its queries, and the end is a Sync.
		 */
		if (res == NULL && pipeline)
			continue;
		last = res == NULL || PQresultStatus(res) == PGRES_PIPELINE_SYNC;
		if (last && PQstatus(c->pg) == CONNECTION_BAD) {
			PQclear(res);
			break;
		}
		if (last)
			c->fn = NULL;
		fn(c->cb.ctx, last ? NULL : res);
		PQclear(res);
	}
	if (c->number == number && PQstatus(c->pg) == CONNECTION_BAD)
		conn_lost(c, NULL);
}

/* Writes what libpq has to write; reading goes on meanwhile, or both sides may wait for the other. */
static int
conn_flush(struct store_conn *c)
{
	int left = PQflush(c->pg);

	if (left < 0)
		return ERR_CLOSED;
	return loop_fd_mod(c->fd, left > 0 ? LOOP_READ | LOOP_WRITE : LOOP_READ);
}

static void
on_socket(void *arg, int fd, unsigned events)
{
	struct store_conn *c = arg;
	unsigned long number = c->number;

	(void)fd;
	if ((events & LOOP_READ) != 0) {
		if (PQconsumeInput(c->pg) == 0) {
			conn_lost(c, NULL);
			return;
		}
		conn_pump(c);
	}
	if (c->number == number && conn_flush(c) != 0)
		conn_lost(c, NULL);
}

static void on_connecting(void *arg, int fd, unsigned events);

static void
conn_up(struct store_conn *c)
{
	c->fd = loop_fd_add(c->loop, PQsocket(c->pg), LOOP_READ, on_socket, c);
	if (c->fd == NULL || PQsetnonblocking(c->pg, 1) != 0) {
		conn_lost(c, err_text(ERR_NOMEM));
		return;
	}
	loop_timer_disarm(c->timer);
	c->state = CONN_UP;
	c->cb.on_up(c->cb.ctx);
}

/* libpq may have changed the socket: it is watched anew after each step. */
static void
conn_watch(struct store_conn *c, PostgresPollingStatusType what)
{
	switch (what) {
	case PGRES_POLLING_READING:
	case PGRES_POLLING_WRITING:
		c->fd = loop_fd_add(c->loop, PQsocket(c->pg),
		    what == PGRES_POLLING_READING ? LOOP_READ : LOOP_WRITE, on_connecting, c);
		if (c->fd == NULL)
			conn_lost(c, err_text(ERR_NOMEM));
		break;
	case PGRES_POLLING_OK:
		conn_up(c);
		break;
	default:
		conn_lost(c, NULL);
	}
}

static void
on_connecting(void *arg, int fd, unsigned events)
{
	struct store_conn *c = arg;

	(void)fd;
	(void)events;
	loop_fd_del(c->fd);
	c->fd = NULL;
	conn_watch(c, PQconnectPoll(c->pg));
}

static void
on_notice(void *arg, const PGresult *res)
{
	const char *text = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);

	(void)arg;
	log_debug("store: PostgreSQL says: %s", text != NULL ? text : "?");
}

/*
 * In the sandbox there are no files: neither ~/.pgpass nor certificates nor /etc/passwd for a default
 * user are looked for.  A Unix socket needs no encryption.
 */
static PGconn *
pg_start(const struct store_conn *c)
{
	const char *keys[] = {"user", "dbname", "fallback_application_name", "client_encoding", "passfile",
	    "sslmode", "gssencmode", NULL};
	const char *values[] = {
	    c->user, c->conninfo, "consensusd", "UTF8", "/nonexistent", "disable", "disable", NULL};

	/* A default user comes before what conninfo says; nothing where there is none. */
	return c->user != NULL ? PQconnectStartParams(keys, values, 1)
			       : PQconnectStartParams(keys + 1, values + 1, 1);
}

static void
conn_start(struct store_conn *c)
{
	c->state = CONN_CONNECTING;
	c->number++;
	c->pg = pg_start(c);
	if (c->pg == NULL) {
		conn_lost(c, err_text(ERR_NOMEM));
		return;
	}
	if (PQstatus(c->pg) == CONNECTION_BAD) {
		conn_lost(c, NULL);
		return;
	}
	PQsetNoticeReceiver(c->pg, on_notice, NULL);
	loop_timer_arm_ms(c->timer, STORE_CONN_TIMEOUT_MS);
	conn_watch(c, PGRES_POLLING_WRITING);
}

static void
on_timer(void *arg)
{
	struct store_conn *c = arg;

	if (c->state == CONN_WAITING)
		conn_start(c);
	else if (c->state == CONN_CONNECTING)
		conn_lost(c, "no answer while connecting");
}

struct store_conn *
store_conn_new(struct loop *l, const char *conninfo, const char *user, const struct store_conn_callbacks *cb)
{
	struct store_conn *c = mem_calloc(1, sizeof(*c));
	uint64_t seed;

	if (c == NULL)
		return NULL;
	c->loop = l;
	c->cb = *cb;
	c->conninfo = mem_strdup(conninfo);
	c->user = user != NULL ? mem_strdup(user) : NULL;
	c->timer = loop_timer_new(l, on_timer, c);
	if (c->conninfo == NULL || (user != NULL && c->user == NULL) || c->timer == NULL) {
		store_conn_free(c);
		return NULL;
	}
	crypto_random(&seed, sizeof(seed));
	rng_seed(&c->rng, seed);
	backoff_init(&c->backoff, STORE_CONN_BACKOFF_MIN_MS, STORE_CONN_BACKOFF_MAX_MS);
	/* From the loop, so that no callback comes before this returns. */
	c->state = CONN_WAITING;
	loop_timer_arm_ms(c->timer, 0);
	return c;
}

void
store_conn_free(struct store_conn *c)
{
	if (c == NULL)
		return;
	conn_close(c);
	if (c->timer != NULL)
		loop_timer_free(c->timer);
	if (c->conninfo != NULL)
		crypto_wipe(c->conninfo, strlen(c->conninfo)); /* may hold a password */
	mem_free(c->conninfo);
	mem_free(c->user);
	mem_free(c);
}

struct pg_conn *
store_conn_pg(const struct store_conn *c)
{
	return c->state == CONN_UP ? c->pg : NULL;
}

void
store_conn_await(struct store_conn *c, store_result_fn *fn)
{
	MUST(c->state == CONN_UP && c->fn == NULL);
	c->fn = fn;
	/* A broken socket shows itself when it is read, from the loop. */
	if (conn_flush(c) != 0)
		(void)loop_fd_mod(c->fd, LOOP_READ | LOOP_WRITE);
}

bool
store_conn_busy(const struct store_conn *c)
{
	return c->fn != NULL;
}

void
store_conn_settled(struct store_conn *c)
{
	backoff_reset(&c->backoff);
}

void
store_conn_stop(struct store_conn *c)
{
	conn_close(c);
	c->state = CONN_STOPPED;
	loop_timer_disarm(c->timer);
}
