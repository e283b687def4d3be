/*
 * store_pg_read: the second connection: reads of batches, of the configuration's history, of where messages
 * are, of dead letters and of what failed, one at a time.
 */
#include <postgresql/libpq-fe.h>
#include <stdio.h>
#include <string.h>
#include <sys/queue.h>

#include "common/base/be.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/log.h"
#include "common/os/metrics.h"
#include "consensusd/pg_array.h"
#include "consensusd/store_pg.h"
#include "consensusd/store_pg_params.h"
#include "consensusd/store_pg_row.h"

static struct metric metric_reads = METRIC_COUNTER_INIT("mesh_store_reads_total", "Reads of batches", NULL);
static struct metric metric_read_failures =
    METRIC_COUNTER_INIT("mesh_store_read_failures_total", "Reads of batches that failed", NULL);

enum read_kind {
	READ_OUTBOX = STORE_OUTBOX,
	READ_INBOX = STORE_INBOX,
	READ_KEY,
	READ_PREFIX,
	READ_MESSAGE,
	READ_LETTERS,
	READ_LETTER,
	READ_BACKLOG,
	READ_IDS,
	READ_FAILURES,
	READ_KINDS
};

struct read_request {
	STAILQ_ENTRY(read_request) next;
	enum read_kind kind;
	struct ulid stream;
	uint64_t from_seq;
	uint64_t max_bytes;
	store_batch_fn *fn;
	/* Of the history, instead. */
	char key[STORE_CONFIG_KEY_SIZE];
	uint64_t limit;
	store_config_fn *config_fn;
	/* Of a message. */
	struct ulid message_id;
	store_message_fn *message_fn;
	/* Of dead letters: after is from_seq. */
	bool of_stream;
	store_letter_fn *letter_fn;
	/* Of what the outbox has. */
	store_backlog_fn *backlog_fn;
	struct store_backlog *backlog; /* STORE_BACKLOG_ROWS of them, owned */
	size_t backlog_count;
	/* Of the ids of a stream. */
	store_id_fn *id_fn;
	/* Of what failed above from_seq. */
	uint64_t node;
	store_failure_fn *failure_fn;
	void *arg;
};

struct store_reader {
	struct store_conn *conn;
	bool ready; /* statements are prepared */
	STAILQ_HEAD(, read_request) queue;
	size_t count;
	struct read_request *current; /* asked, not in the queue */
	int current_err;
};

/*
 * From the batch that holds from_seq on, 1024 at most.  The rows are numbered by their keys first and summed
 * up then, so that no payload beyond max_bytes is touched.
 */
#define READ(box)                                                                                            \
	"SELECT first_seq, last_seq, epoch, key_id, nonce, signature, message_ids, payloads FROM ("          \
	"SELECT b.*, sum(body_bytes) OVER (ORDER BY first_seq) AS upto FROM ("                               \
	"SELECT * FROM " box " WHERE stream_id = $1::uuid AND first_seq >= coalesce(("                       \
	"SELECT max(first_seq) FROM " box " WHERE stream_id = $1::uuid AND first_seq <= $2::bigint"          \
	" AND first_seq > $2::bigint - 4096),"                                                               \
	" $2::bigint) ORDER BY first_seq LIMIT 1025) AS b WHERE last_seq >= $2::bigint) AS c"                \
	" WHERE upto <= $3::bigint OR upto = body_bytes ORDER BY first_seq LIMIT 1024"

#define HISTORY(condition)                                                                                   \
	"SELECT key, value, version, index, node_id, round(extract(epoch FROM updated) * 1000)::bigint"      \
	" FROM config_changes WHERE " condition " ORDER BY updated DESC, index DESC LIMIT $2::bigint"

#define LETTERS(what, condition)                                                                             \
	"SELECT position, stream_id, message_id, seq, src_node, tenant_id, attempts::bigint, error,"         \
	" floor(extract(epoch FROM failed_at) * 1000)::bigint, octet_length(payload)::bigint, " what         \
	" FROM stream_dead_letters WHERE " condition

static const struct {
	const char *name, *sql;
} statements[READ_KINDS] = {
    [READ_OUTBOX] = {"read_outbox", READ("outbox")},
    [READ_INBOX] = {"read_inbox", READ("inbox")},
    [READ_KEY] = {"read_key", HISTORY("key = $1::text")},
    [READ_PREFIX] = {"read_prefix", HISTORY("starts_with(key, $1::text)")},
    [READ_MESSAGE] = {"read_message", store_message_sql},
    [READ_LETTERS] = {"read_letters",
	LETTERS("0::bigint, 0::bigint, NULL::bytea, NULL::bytea, NULL::bytea",
	    "position > $1::bigint AND ($2::uuid IS NULL OR stream_id = $2::uuid)"
	    " AND ($3::text = '' OR tenant_id = $3::text) ORDER BY position LIMIT $4::bigint")},
    [READ_LETTER] = {"read_letter",
	LETTERS("first_seq, epoch, key_id, nonce, payload", "seq = $1::bigint AND stream_id = $2::uuid")},
    [READ_BACKLOG] = {"read_backlog",
	"SELECT max(last_seq), sum(body_bytes)::bigint, floor(extract(epoch FROM min(created)) * "
	"1000)::bigint,"
	" floor(extract(epoch FROM max(created)) * 1000)::bigint FROM (SELECT last_seq, body_bytes, created,"
	" ntile(64) OVER (ORDER BY first_seq) AS part FROM outbox WHERE stream_id = $1::uuid) AS t"
	" GROUP BY part ORDER BY part"},
    [READ_IDS] = {"read_ids", "SELECT first_seq, message_ids FROM stream_ids WHERE stream_id = $1::uuid"
			      " AND first_seq >= $2::bigint ORDER BY first_seq LIMIT 1024"},
    [READ_FAILURES] = {"read_failures",
	"SELECT first_seq FROM delivery_log WHERE stream_id = $1::uuid AND dst_node = $2::bigint"
	" AND segment < -$3::bigint ORDER BY segment DESC LIMIT $4::bigint"},
};

_Static_assert(STORE_IDS_ROWS == 1024, "as the query has it");

static void reader_next(struct store_reader *r);

/* ---- one read ---- */

static void
request_free(struct read_request *q)
{
	if (q == NULL)
		return;
	mem_free(q->backlog);
	mem_free(q);
}

static void
read_end(struct store_reader *r, int err)
{
	struct read_request *q = r->current;

	r->current = NULL;
	if (err != 0)
		metric_inc(&metric_read_failures);
	if (q->config_fn != NULL)
		q->config_fn(q->arg, NULL, err);
	else if (q->message_fn != NULL)
		q->message_fn(q->arg, NULL, err);
	else if (q->letter_fn != NULL)
		q->letter_fn(q->arg, NULL, err);
	else if (q->backlog_fn != NULL)
		q->backlog_fn(q->arg, q->backlog, q->backlog_count, err);
	else if (q->id_fn != NULL)
		q->id_fn(q->arg, 0, NULL, err);
	else if (q->failure_fn != NULL)
		q->failure_fn(q->arg, 0, err);
	else
		q->fn(q->arg, NULL, err);
	request_free(q);
}

static int
column_copy(const PGresult *res, int row, int column, void *out, size_t size)
{
	if ((size_t)PQgetlength(res, row, column) != size)
		return ERR_FORMAT;
	memcpy(out, PQgetvalue(res, row, column), size);
	return 0;
}

/* A row as a batch. */
static int
batch_get(const PGresult *res, int row, const struct ulid *stream, struct batch **out)
{
	uint8_t first[8], last[8], epoch[8];
	struct batch *b;
	int err = pg_array_get_batch(PQgetvalue(res, row, 6), (size_t)PQgetlength(res, row, 6),
	    PQgetvalue(res, row, 7), (size_t)PQgetlength(res, row, 7), &b);

	if (err != 0)
		return err;
	if (column_copy(res, row, 0, first, 8) != 0 || column_copy(res, row, 1, last, 8) != 0 ||
	    column_copy(res, row, 2, epoch, 8) != 0 ||
	    column_copy(res, row, 3, b->key_id, sizeof(b->key_id)) != 0 ||
	    column_copy(res, row, 4, b->nonce, sizeof(b->nonce)) != 0 ||
	    column_copy(res, row, 5, b->signature, sizeof(b->signature)) != 0)
		err = ERR_FORMAT;
	b->stream_id = *stream;
	if (err == 0) {
		b->first_seq = be_load64(first);
		b->epoch = be_load64(epoch);
		err = batch_check(b);
	}
	if (err == 0 && batch_last_seq(b) != be_load64(last))
		err = ERR_FORMAT;
	if (err != 0) {
		batch_unref(b);
		return err;
	}
	*out = b;
	return 0;
}

static void
history_row(struct store_reader *r, const PGresult *res, int row)
{
	struct read_request *q = r->current;
	struct pg_row in = {.res = res, .row = row};
	char key[STORE_CONFIG_KEY_SIZE];
	struct store_config c = {.key = key};

	pg_row_text(&in, key, sizeof(key));
	if (pg_row_null(&in))
		in.column++;
	else
		c.json = pg_row_bytes(&in, &c.len);
	c.version = pg_row_int8(&in);
	c.index = pg_row_int8(&in);
	c.node = pg_row_int8(&in);
	c.unix_ms = pg_row_int8(&in);
	if (in.bad) {
		log_error("store: a row of config_changes makes no sense");
		r->current_err = ERR_FORMAT;
		return;
	}
	q->config_fn(q->arg, &c, 0);
}

static void
letter_row(struct store_reader *r, const PGresult *res, int row)
{
	struct read_request *q = r->current;
	struct pg_row in = {.res = res, .row = row};
	struct store_dead_letter l = {.position = pg_row_int8(&in)};

	pg_row_fixed(&in, l.stream_id.b, ULID_BYTES);
	pg_row_fixed(&in, l.message_id.b, ULID_BYTES);
	l.seq = pg_row_int8(&in);
	l.src_node = pg_row_int8(&in);
	pg_row_text(&in, l.tenant_id, sizeof(l.tenant_id));
	l.attempts = (uint32_t)pg_row_int8(&in);
	pg_row_text(&in, l.error, sizeof(l.error));
	l.failed_unix_ms = pg_row_int8(&in);
	l.bytes = pg_row_int8(&in);
	l.first_seq = pg_row_int8(&in);
	l.epoch = pg_row_int8(&in);
	if (q->kind == READ_LETTER) {
		pg_row_fixed(&in, l.key_id, sizeof(l.key_id));
		pg_row_fixed(&in, l.nonce, sizeof(l.nonce));
		l.sealed = pg_row_bytes(&in, &l.sealed_len);
	}
	if (in.bad) {
		log_error("store: a row of stream_dead_letters makes no sense");
		r->current_err = ERR_FORMAT;
		return;
	}
	q->letter_fn(q->arg, &l, 0);
}

static void
backlog_row(struct store_reader *r, const PGresult *res, int row)
{
	struct read_request *q = r->current;
	struct pg_row in = {.res = res, .row = row};
	struct store_backlog *b;

	if (q->backlog_count == STORE_BACKLOG_ROWS)
		return;
	b = &q->backlog[q->backlog_count++];
	b->last_seq = pg_row_int8(&in);
	b->bytes = pg_row_int8(&in);
	b->first_unix_ms = pg_row_int8(&in);
	b->last_unix_ms = pg_row_int8(&in);
	if (in.bad)
		r->current_err = ERR_FORMAT;
}

static void
ids_row(struct store_reader *r, const PGresult *res, int row)
{
	struct read_request *q = r->current;
	struct pg_row in = {.res = res, .row = row};
	uint64_t seq = pg_row_int8(&in);
	struct pg_array a;
	const uint8_t *p;
	struct ulid id;
	size_t len;
	int got;

	p = pg_row_bytes(&in, &len);
	got = in.bad ? ERR_FORMAT : pg_array_open(&a, p, len, PG_UUID, BATCH_MESSAGES_MAX);
	while (got >= 0 && (got = pg_array_next(&a, &p, &len)) == 1 && len == ULID_BYTES) {
		memcpy(id.b, p, ULID_BYTES);
		q->id_fn(q->arg, seq++, &id, 0);
	}
	if (got == 0)
		return;
	log_error("store: a row of stream_ids makes no sense");
	r->current_err = ERR_FORMAT;
}

static void
failure_row(struct store_reader *r, const PGresult *res, int row)
{
	struct pg_row in = {.res = res, .row = row};
	uint64_t seq = pg_row_int8(&in);

	if (in.bad || seq == 0)
		r->current_err = ERR_FORMAT;
	else
		r->current->failure_fn(r->current->arg, seq, 0);
}

static void
read_row(struct store_reader *r, const PGresult *res, int row)
{
	struct read_request *q = r->current;
	struct batch *b;
	int err;

	if (q->config_fn != NULL) {
		history_row(r, res, row);
		return;
	}
	if (q->backlog_fn != NULL) {
		backlog_row(r, res, row);
		return;
	}
	if (q->id_fn != NULL) {
		ids_row(r, res, row);
		return;
	}
	if (q->failure_fn != NULL) {
		failure_row(r, res, row);
		return;
	}
	if (q->message_fn != NULL) {
		r->current_err = store_message_row((const struct pg_result *)res, row, q->message_fn, q->arg);
		return;
	}
	if (q->letter_fn != NULL) {
		letter_row(r, res, row);
		return;
	}
	err = batch_get(res, row, &q->stream, &b);
	if (err != 0) {
		log_error("store: a row of %s makes no sense: %s", q->kind == READ_INBOX ? "inbox" : "outbox",
		    err_text(err));
		r->current_err = err;
		return;
	}
	q->fn(q->arg, b, 0);
}

static void
on_read(void *ctx, const struct pg_result *res)
{
	struct store_reader *r = ctx;
	char text[STORE_CONN_TROUBLE_BYTES];

	if (res == NULL) {
		/* The reads may have been failed meanwhile; the answer is nobody's then. */
		if (r->current != NULL)
			read_end(r, r->current_err);
		reader_next(r);
		return;
	}
	switch (PQresultStatus(res)) {
	case PGRES_SINGLE_TUPLE:
	case PGRES_TUPLES_OK:
		for (int i = 0; i < PQntuples(res) && r->current != NULL && r->current_err == 0; i++)
			read_row(r, res, i);
		break;
	default:
		store_conn_trouble(r->conn, res, text);
		log_warn("store: reading failed: %s", text);
		r->current_err = ERR_UNAVAIL;
	}
}

static int
read_send(struct store_reader *r, const struct read_request *q)
{
	struct pg_conn *pg = store_conn_pg(r->conn);
	struct pg_params p = {0};

	if (q->config_fn != NULL) {
		pg_params_text(&p, q->key);
		pg_params_int8(&p, q->limit);
	} else if (q->backlog_fn != NULL) {
		pg_params_bytes(&p, q->stream.b, ULID_BYTES);
	} else if (q->id_fn != NULL) {
		pg_params_bytes(&p, q->stream.b, ULID_BYTES);
		pg_params_int8(&p, q->from_seq);
	} else if (q->failure_fn != NULL) {
		pg_params_bytes(&p, q->stream.b, ULID_BYTES);
		pg_params_int8(&p, q->node);
		pg_params_int8(&p, q->from_seq);
		pg_params_int8(&p, q->limit);
	} else if (q->message_fn != NULL) {
		pg_params_bytes(&p, q->stream.b, ULID_BYTES);
		pg_params_int8(&p, q->from_seq);
		pg_params_bytes(&p, q->message_id.b, ULID_BYTES);
	} else if (q->letter_fn != NULL) {
		pg_params_int8(&p, q->from_seq);
		pg_params_bytes(&p, q->of_stream ? q->stream.b : NULL, q->of_stream ? ULID_BYTES : 0);
		if (q->kind == READ_LETTERS) {
			pg_params_text(&p, q->key);
			pg_params_int8(&p, q->limit);
		}
	} else {
		pg_params_bytes(&p, q->stream.b, ULID_BYTES);
		pg_params_int8(&p, q->from_seq);
		pg_params_int8(&p, q->max_bytes);
	}
	if (pg_params_send(pg, statements[q->kind].name, &p) != 0)
		return ERR_CLOSED;
	/* Row by row: the batches are in memory once. */
	return PQsetSingleRowMode(pg) != 0 ? 0 : ERR_CLOSED;
}

static void
read_start(struct store_reader *r)
{
	r->current = STAILQ_FIRST(&r->queue);
	STAILQ_REMOVE_HEAD(&r->queue, next);
	r->count--;
	r->current_err = 0;
	metric_inc(&metric_reads);
	if (read_send(r, r->current) != 0) {
		r->ready = false;
		store_conn_retry(r->conn);
		read_end(r, ERR_UNAVAIL);
		return;
	}
	store_conn_await(r->conn, on_read);
}

/* ---- the connection ---- */

static void
reader_next(struct store_reader *r)
{
	if (!r->ready || store_conn_busy(r->conn))
		return;
	if (!STAILQ_EMPTY(&r->queue))
		read_start(r);
}

static void
on_setup(void *ctx, const struct pg_result *res)
{
	struct store_reader *r = ctx;
	char text[STORE_CONN_TROUBLE_BYTES];

	if (res == NULL) {
		if (r->current_err != 0) {
			store_conn_retry(r->conn);
			return;
		}
		r->ready = true;
		store_conn_settled(r->conn);
		reader_next(r);
		return;
	}
	if (PQresultStatus(res) != PGRES_COMMAND_OK) {
		store_conn_trouble(r->conn, res, text);
		log_warn("store: the connection for reading: %s", text);
		r->current_err = ERR_UNAVAIL;
	}
}

static void
on_up(void *ctx)
{
	struct store_reader *r = ctx;
	char sql[16384];

	r->current_err = 0;
	snprintf(sql, sizeof(sql),
	    "SET search_path = mesh; SET timezone = 'UTC'; SET statement_timeout = '10s';"
	    " SET lock_timeout = '5s'; SET synchronous_commit = off; SET client_min_messages = warning;"
	    " SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET enable_hashjoin = off;"
	    " SET enable_mergejoin = off; SET enable_bitmapscan = off; SET jit = off");
	for (int i = 0; i < READ_KINDS; i++) {
		size_t n = strlen(sql);

		snprintf(
		    sql + n, sizeof(sql) - n, "; PREPARE %s AS %s", statements[i].name, statements[i].sql);
	}
	MUST(strlen(sql) + 1 < sizeof(sql));
	if (PQsendQuery(store_conn_pg(r->conn), sql) == 0)
		store_conn_retry(r->conn);
	else
		store_conn_await(r->conn, on_setup);
}

static void
on_down(void *ctx, const char *why)
{
	struct store_reader *r = ctx;

	if (r->ready)
		log_info("store: the connection for reading is gone: %s", why);
	r->ready = false;
	if (r->current != NULL)
		read_end(r, ERR_UNAVAIL);
}

static void
metrics_register(void)
{
	static bool done;

	if (done)
		return;
	done = true;
	metrics_add(&metric_reads);
	metrics_add(&metric_read_failures);
}

struct store_reader *
store_reader_new(struct loop *l, const char *conninfo, const char *user)
{
	struct store_reader *r = mem_calloc(1, sizeof(*r));
	const struct store_conn_callbacks cb = {.on_up = on_up, .on_down = on_down, .ctx = r};

	if (r == NULL)
		return NULL;
	metrics_register();
	STAILQ_INIT(&r->queue);
	r->conn = store_conn_new(l, conninfo, user, &cb);
	if (r->conn == NULL) {
		store_reader_free(r);
		return NULL;
	}
	return r;
}

void
store_reader_free(struct store_reader *r)
{
	struct read_request *q;

	if (r == NULL)
		return;
	store_conn_free(r->conn);
	while ((q = STAILQ_FIRST(&r->queue)) != NULL) {
		STAILQ_REMOVE_HEAD(&r->queue, next);
		request_free(q);
	}
	request_free(r->current);
	mem_free(r);
}

void
store_reader_fail(struct store_reader *r)
{
	if (r == NULL)
		return;
	if (r->current != NULL)
		read_end(r, ERR_UNAVAIL);
	/* Those that are added by the callbacks fail at once: the store is not ready. */
	while (!STAILQ_EMPTY(&r->queue)) {
		r->current = STAILQ_FIRST(&r->queue);
		STAILQ_REMOVE_HEAD(&r->queue, next);
		r->count--;
		read_end(r, ERR_UNAVAIL);
	}
}

static int
request_add(struct store_reader *r, const struct read_request *form)
{
	struct read_request *q;

	if (r->count == STORE_READS_MAX)
		return ERR_FULL;
	q = mem_dup(form, sizeof(*form));
	if (q == NULL)
		return ERR_NOMEM;
	STAILQ_INSERT_TAIL(&r->queue, q, next);
	r->count++;
	reader_next(r);
	return 0;
}

int
store_reader_add_history(
    struct store_reader *r, const char *key, bool prefix, size_t limit, store_config_fn *fn, void *arg)
{
	struct read_request q = {.kind = prefix ? READ_PREFIX : READ_KEY,
	    .limit = limit < STORE_HISTORY_MAX ? limit : STORE_HISTORY_MAX,
	    .config_fn = fn,
	    .arg = arg};

	if (strlen(key) >= sizeof(q.key))
		return ERR_RANGE;
	(void)pg_plain_text(key, q.key, sizeof(q.key));
	if (strcmp(key, q.key) != 0)
		return ERR_RANGE;
	return request_add(r, &q);
}

int
store_reader_add_backlog(struct store_reader *r, const struct ulid *stream, store_backlog_fn *fn, void *arg)
{
	const struct read_request q = {.kind = READ_BACKLOG,
	    .stream = *stream,
	    .backlog_fn = fn,
	    .backlog = mem_calloc(STORE_BACKLOG_ROWS, sizeof(*q.backlog)),
	    .arg = arg};
	int err = q.backlog != NULL ? request_add(r, &q) : ERR_NOMEM;

	if (err != 0)
		mem_free(q.backlog);
	return err;
}

int
store_reader_add_ids(
    struct store_reader *r, const struct ulid *stream, uint64_t from_seq, store_id_fn *fn, void *arg)
{
	const struct read_request q = {.kind = READ_IDS,
	    .stream = *stream,
	    .from_seq = from_seq > INT64_MAX ? INT64_MAX : from_seq,
	    .id_fn = fn,
	    .arg = arg};

	return request_add(r, &q);
}

int
store_reader_add_failures(struct store_reader *r, const struct ulid *stream, uint64_t node, uint64_t seq,
    size_t limit, store_failure_fn *fn, void *arg)
{
	const struct read_request q = {.kind = READ_FAILURES,
	    .stream = *stream,
	    .node = node,
	    .from_seq = seq > INT64_MAX ? INT64_MAX : seq,
	    .limit = limit,
	    .failure_fn = fn,
	    .arg = arg};

	return request_add(r, &q);
}

int
store_reader_add_message(struct store_reader *r, const struct ulid *stream, uint64_t seq,
    const struct ulid *message_id, store_message_fn *fn, void *arg)
{
	const struct read_request q = {.kind = READ_MESSAGE,
	    .stream = *stream,
	    .from_seq = seq > INT64_MAX ? INT64_MAX : seq,
	    .message_id = *message_id,
	    .message_fn = fn,
	    .arg = arg};

	return request_add(r, &q);
}

int
store_reader_add_letters(struct store_reader *r, const struct ulid *stream, const char *tenant, uint64_t seq,
    uint64_t after, size_t limit, store_letter_fn *fn, void *arg)
{
	struct read_request q = {.kind = seq != 0 ? READ_LETTER : READ_LETTERS,
	    .of_stream = stream != NULL,
	    .from_seq = seq != 0 ? seq : after,
	    .limit = limit < STORE_LETTERS_MAX ? limit : STORE_LETTERS_MAX,
	    .letter_fn = fn,
	    .arg = arg};

	_Static_assert((int)TENANT_TEXT_SIZE <= (int)STORE_CONFIG_KEY_SIZE, "room for a tenant");
	if (q.from_seq > INT64_MAX)
		q.from_seq = INT64_MAX;
	if (stream != NULL)
		q.stream = *stream;
	(void)pg_plain_text(tenant, q.key, sizeof(q.key));
	return request_add(r, &q);
}

int
store_reader_add(struct store_reader *r, enum store_box box, const struct ulid *stream, uint64_t from_seq,
    size_t max_bytes, store_batch_fn *fn, void *arg)
{
	const struct read_request q = {.kind = (enum read_kind)box,
	    .stream = *stream,
	    .from_seq = from_seq > INT64_MAX ? INT64_MAX : from_seq,
	    .max_bytes = max_bytes > INT32_MAX ? INT32_MAX : max_bytes,
	    .fn = fn,
	    .arg = arg};

	return request_add(r, &q);
}
