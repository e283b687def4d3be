/* dbline: see dbline.h.  Here: its life, and what failures mean. */
#include "consensusd/dbline.h"

#include <stdio.h>
#include <string.h>

#include "common/base/err.h"
#include "common/os/conf.h"
#include "common/os/log.h"

/* ---- updates ---- */

int
dbline_make(
    struct dbline *l, const char *tenant, const uint8_t *payload, size_t len, char why[APPLIER_WHY_SIZE])
{
	struct applier_change c;

	if (applier_change_read(&c, payload, len) != 0) {
		snprintf(why, APPLIER_WHY_SIZE, "what the update carries is no DBUpdate");
		return ERR_FORMAT;
	}
	c.tenant = tenant;
	return applier_statement_make(&l->statement, l->rules, &c, why);
}

enum dbline_blame
dbline_blame(const struct dbline *l, size_t count, size_t *which)
{
	const struct dbline_answer *x = &l->answer;

	*which = 0;
	if (x->failed_at < DBLINE_FIRST_STATEMENT)
		return DBLINE_POSITION;
	*which = x->failed_at - DBLINE_FIRST_STATEMENT;
	/* At COMMIT: a constraint that is checked at the end.  One of them has broken it. */
	if (*which >= count && x->failed_at + 1 == x->asked)
		*which = count == 1 ? 0 : 1;
	if (*which >= count)
		return DBLINE_NOBODY;
	return *which > 0 ? DBLINE_LATER : DBLINE_FIRST;
}

/* ---- the connection ---- */

static void
down(struct dbline *l, const char *why)
{
	/* Attempts go on; their reason is told once. */
	if (strncmp(l->lost, why, sizeof(l->lost) - 1) != 0)
		log_info("%s: no connection: %s", l->what, why);
	snprintf(l->lost, sizeof(l->lost), "%s", why);
	l->state = DBLINE_DOWN;
	l->cb.down(l->cb.ctx, why);
}

void
dbline_reconnect(struct dbline *l, const char *why)
{
	char text[STORE_CONN_TROUBLE_BYTES];

	snprintf(text, sizeof(text), "%s", why); /* it may go with the connection */
	store_conn_retry(l->conn);
	down(l, text);
}

static void
on_up(void *ctx)
{
	struct dbline *l = ctx;

	l->state = DBLINE_SETUP;
	dbline_setup(l, l->cb.up);
}

static void
on_down(void *ctx, const char *why)
{
	down(ctx, why);
}

void
dbline_settled(struct dbline *l)
{
	store_conn_settled(l->conn);
	l->lost[0] = '\0';
	dbline_idle(l);
}

bool
dbline_up(const struct dbline *l)
{
	return l->state != DBLINE_DOWN && l->state != DBLINE_SETUP;
}

/* ---- one after the other ---- */

void
dbline_idle(struct dbline *l)
{
	l->state = DBLINE_IDLE;
	loop_defer_add(l->loop, &l->wake);
}

void
dbline_wake(struct dbline *l)
{
	if (l->state == DBLINE_IDLE)
		loop_defer_add(l->loop, &l->wake);
}

static void
on_wake(void *arg)
{
	struct dbline *l = arg;

	if (l->state == DBLINE_IDLE)
		l->cb.go_on(l->cb.ctx);
}

/* ---- its life ---- */

int
dbline_init(struct dbline *l, struct loop *loop, const struct conf *conf, const char *user, const char *what,
    const struct applier_rules *rules, const struct dbline_callbacks *cb)
{
	const struct store_conn_callbacks conn = {.on_up = on_up, .on_down = on_down, .ctx = l};

	*l = (struct dbline){.loop = loop, .rules = rules, .cb = *cb, .what = what};
	l->wake.fn = on_wake;
	l->wake.arg = l;
	applier_statement_init(&l->statement);
	l->conn = store_conn_new(loop, conf_str(conf, "consensusd", "database"), user, &conn);
	if (l->conn == NULL)
		return ERR_NOMEM;
	store_conn_stop(l->conn);
	return 0;
}

void
dbline_fini(struct dbline *l)
{
	if (l->loop == NULL)
		return;
	store_conn_free(l->conn);
	loop_defer_del(&l->wake);
	applier_statement_fini(&l->statement);
	*l = (struct dbline){0};
}

void
dbline_open(struct dbline *l)
{
	if (l->open)
		return;
	l->open = true;
	store_conn_retry(l->conn);
}
