/* store_pg_witness: see store_pg_witness.h. */
#include "consensusd/store_pg_witness.h"

#include <postgresql/libpq-fe.h>
#include <string.h>

#include "common/base/err.h"
#include "common/os/log.h"
#include "common/os/metrics.h"
#include "consensusd/hash.h"
#include "consensusd/pg_array.h"
#include "consensusd/store_pg.h"
#include "consensusd/store_pg_row.h"

static struct metric metric_failures = METRIC_COUNTER_INIT(
    "mesh_store_witness_failures_total", "Times the file that witnesses promises could not be written", NULL);

struct store_promise {
	UT_hash_handle hh;
	uint8_t group[STORE_GROUP_BYTES];
	uint64_t term, vote;
};

void
store_promises_init(struct store *s, const struct store_conf *conf)
{
	static bool done;

	s->promises.fd = conf->witness_fd;
	s->promises.trust = conf->trust_database;
	if (done)
		return;
	done = true;
	metrics_add(&metric_failures);
}

void
store_promises_fini(struct store *s)
{
	struct store_promise *p, *next;

	HASH_ITER (hh, s->promises.known, p, next) {
		HASH_DEL(s->promises.known, p);
		mem_free(p);
	}
}

/* ---- terms and votes ---- */

bool
store_promise_note(struct store *s, const uint8_t group[STORE_GROUP_BYTES], uint64_t term, uint64_t vote)
{
	struct store_promise *p;
	bool same;

	HASH_FIND(hh, s->promises.known, group, STORE_GROUP_BYTES, p);
	if (p == NULL) {
		/* Without memory each is taken for new, which only costs time. */
		if (HASH_COUNT(s->promises.known) >= STORE_GROUPS_MAX ||
		    (p = mem_calloc(1, sizeof(*p))) == NULL)
			return true;
		memcpy(p->group, group, STORE_GROUP_BYTES);
		HASH_ADD(hh, s->promises.known, group, STORE_GROUP_BYTES, p);
		if (!HASH_ADDED(p)) {
			mem_free(p);
			return true;
		}
	}
	same = p->term == term && p->vote == vote;
	p->term = term;
	p->vote = vote;
	return !same;
}

void
store_promise_forget(struct store *s, const uint8_t group[STORE_GROUP_BYTES])
{
	struct store_promise *p;

	HASH_FIND(hh, s->promises.known, group, STORE_GROUP_BYTES, p);
	if (p == NULL)
		return;
	HASH_DEL(s->promises.known, p);
	mem_free(p);
}

/* ---- the file ---- */

static int
note_put(struct store *s, const struct witness_note *note, bool sync)
{
	struct store_promises *p = &s->promises;
	int err = witness_put(&p->witness, note, sync);

	if (err != 0) {
		metric_inc(&metric_failures);
		if (!p->failing)
			log_error(
			    "store: the witness in state-dir can't be written: a database that goes back in "
			    "time will not be noticed");
	}
	p->failing = err != 0;
	return err;
}

void
store_promises_confirm(struct store *s, uint64_t number, bool sync)
{
	struct witness_note note = s->promises.witness.note;

	if (s->promises.fd == -1 || !s->promises.checked || !s->promises.witness.present)
		return;
	/* What was refused stays so: its number is the one that is missing. */
	if (note.refused)
		return;
	note.number = s->base + number;
	(void)!note_put(s, &note, sync); /* it was said; the next one tries again */
}

/* ---- the comparison ---- */

/* The database has less than was promised: said at each start from now on. */
static void
refuse(struct store *s, const char *why)
{
	struct witness_note note = s->promises.witness.note;

	store_roll_back(s, "%s", why);
	note.refused = true;
	if (!s->promises.witness.note.refused)
		(void)!note_put(s, &note, true); /* it will be found again */
}

static void
begin(struct store *s, const uint8_t database[WITNESS_DATABASE_BYTES])
{
	struct witness_note note = {.number = s->base};

	memcpy(note.database, database, sizeof(note.database));
	/* Without it the next start would find replicas and no witness. */
	if (note_put(s, &note, true) != 0)
		store_setup_fail(s, true, "the witness in state-dir can't be written");
}

int
store_renew_witness(struct store *s)
{
	struct witness_note note = {.number = s->base};

	if (s->promises.fd == -1 || !s->promises.checked)
		return 0;
	memcpy(note.database, s->promises.database, sizeof(note.database));
	return note_put(s, &note, true);
}

/* There is no note: right for a database without replicas, and only for that. */
static void
compare_without(struct store *s, const uint8_t database[WITNESS_DATABASE_BYTES], bool has_groups)
{
	const char *what = s->promises.witness.unreadable ? "is damaged" : "is missing";

	if (has_groups && !s->promises.trust) {
		store_roll_back(s,
		    "the witness of the database in state-dir %s: whether the database is older than what "
		    "this node has promised is not known; see trust-database in mesh.conf(5)",
		    what);
		return;
	}
	if (has_groups)
		log_warn("store: the witness of the database in state-dir %s; the database is trusted, as "
			 "trust-database says",
		    what);
	begin(s, database);
}

static void
compare(struct store *s, const uint8_t database[WITNESS_DATABASE_BYTES], bool has_groups)
{
	const struct witness *w = &s->promises.witness;

	if (!w->present)
		compare_without(s, database, has_groups);
	else if (w->note.refused)
		refuse(s,
		    "the database was found to be older than what this node has promised, or another one: "
		    "it must begin anew as another node");
	else if (memcmp(database, w->note.database, sizeof(w->note.database)) != 0)
		refuse(s, "this is not the database that this node's promises were written to");
	else if (s->base < w->note.number)
		refuse(s,
		    "the database is older than what this node has promised: it was restored from a backup");
}

int
store_promises_ask(struct store *s)
{
	static const char sql[] =
	    "SELECT d.id, (SELECT count(*) FROM (SELECT 1 FROM raft_groups LIMIT 1) AS g)"
	    " FROM database_identity d";
	struct store_promises *p = &s->promises;

	if (p->fd == -1 || p->checked)
		return 1;
	if (witness_init(&p->witness, p->fd) != 0) {
		store_setup_fail(s, true, "the witness in state-dir can't be read");
		return ERR_IO;
	}
	return PQsendQueryParams(store_conn_pg(s->writer), sql, 0, NULL, NULL, NULL, NULL, 1) != 0
		   ? 0
		   : ERR_CLOSED;
}

void
store_promises_answer(struct store *s, const struct pg_result *res)
{
	uint8_t database[WITNESS_DATABASE_BYTES];
	struct pg_row r = {.res = res};
	bool has_groups;

	if (PQntuples(res) != 1) {
		store_setup_fail(s, true, "table database_identity has no row");
		return;
	}
	pg_row_fixed(&r, database, sizeof(database));
	has_groups = pg_row_int8(&r) != 0;
	if (r.bad) {
		store_setup_fail(s, true, "table database_identity has a row that makes no sense");
		return;
	}
	s->promises.checked = true;
	memcpy(s->promises.database, database, sizeof(database));
	compare(s, database, has_groups);
}
