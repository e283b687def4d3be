/* store_pg_flush: see store_pg_flush.h. */
#include "consensusd/store_pg_flush.h"

#include <postgresql/libpq-fe.h>
#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "consensusd/pg_array.h"
#include "consensusd/store_pg_params.h"
#include "consensusd/store_pg_rows.h"

enum { YEAR_9999_MS_HIGH = 253402300, EXTRA_SIZE = 80 };

struct store_flush *
store_flush_new(uint64_t number, uint64_t seed)
{
	struct store_flush *f = mem_calloc(1, sizeof(*f));

	if (f == NULL)
		return NULL;
	f->number = number;
	f->bytes = sizeof(*f);
	store_marks_init(&f->processed, seed);
	store_marks_init(&f->ids_cleared, seed);
	for (int box = 0; box < STORE_BOXES; box++)
		store_marks_init(&f->cleared[box], seed);
	return f;
}

void
store_flush_free(struct store_flush *f)
{
	if (f == NULL)
		return;
	for (size_t i = 0; i < f->stream_count; i++)
		mem_free((void *)(uintptr_t)f->streams[i].meta);
	mem_free(f->streams);
	for (size_t i = 0; i < f->node_count; i++)
		store_node_free(&f->nodes[i]);
	mem_free(f->nodes);
	mem_free(f->links);
	for (int box = 0; box < STORE_BOXES; box++) {
		for (size_t i = 0; i < f->batch_count[box]; i++)
			batch_unref(f->batches[box][i].batch);
		mem_free(f->batches[box]);
		store_marks_fini(&f->cleared[box]);
	}
	store_marks_fini(&f->processed);
	store_letters_fini(&f->letters);
	store_marks_fini(&f->skipped);
	store_marks_fini(&f->ids);
	store_marks_fini(&f->ids_cleared);
	store_rafts_fini(&f->rafts);
	store_control_fini(&f->control);
	store_rules_fini(&f->rules);
	store_keys_fini(&f->keys);
	mem_free(f);
}

bool
store_flush_is_full(const struct store_flush *f, uint8_t class, size_t max_bytes)
{
	size_t bytes = 0, rows = 0;

	for (int i = 0; i <= class; i++) {
		bytes += f->class_bytes[i];
		rows += f->class_rows[i];
	}
	return bytes >= max_bytes || rows >= STORE_FLUSH_MAX_ROWS;
}

/* Room for one more element of size bytes in an array. */
static int
grow(void *array, size_t *cap, size_t count, size_t size)
{
	void **p = array, *bigger;
	size_t n = *cap == 0 ? 4 : *cap * 2;

	if (count < *cap)
		return 0;
	bigger = mem_reallocarray(*p, n, size);
	if (bigger == NULL)
		return ERR_NOMEM;
	*p = bigger;
	*cap = n;
	return 0;
}

void
store_flush_took(struct store_flush *f, size_t rows, size_t bytes)
{
	f->bytes += bytes;
	f->rows += rows;
}

static void
took(struct store_flush *f, size_t bytes)
{
	store_flush_took(f, 1, bytes);
}

int
store_flush_add_stream(struct store_flush *f, const struct store_stream *row)
{
	struct store_stream copy = *row;

	if (grow(&f->streams, &f->stream_cap, f->stream_count, sizeof(*row)) != 0)
		return ERR_NOMEM;
	copy.meta = mem_dup(row->meta, row->meta_len);
	if (copy.meta == NULL)
		return ERR_NOMEM;
	f->streams[f->stream_count++] = copy;
	took(f, sizeof(copy) + row->meta_len);
	return 0;
}

int
store_flush_add_node(struct store_flush *f, const struct store_node *row)
{
	size_t bytes;

	if (grow(&f->nodes, &f->node_cap, f->node_count, sizeof(struct flush_node)) != 0 ||
	    store_node_copy(&f->nodes[f->node_count], row, &bytes) != 0)
		return ERR_NOMEM;
	f->node_count++;
	took(f, bytes);
	return 0;
}

int
store_flush_add_topology(struct store_flush *f, const struct store_link *links, size_t count)
{
	struct store_link *copy = mem_dup(links, count * sizeof(*links));

	if (copy == NULL)
		return ERR_NOMEM;
	/* The newest one is the topology. */
	mem_free(f->links);
	f->links = copy;
	f->link_count = count;
	f->has_topology = true;
	took(f, count * sizeof(*links));
	return 0;
}

/* Adds one that stays as it is. */
static int
list_mark(struct store_flush *f, struct store_marks *list, const struct store_mark *m)
{
	if (grow(&list->items, &list->cap, list->count, sizeof(*m)) != 0)
		return ERR_NOMEM;
	list->items[list->count++] = *m;
	took(f, sizeof(*m));
	return 0;
}

int
store_flush_add_batch(struct store_flush *f, enum store_box box, struct batch *b, uint64_t src_node)
{
	const struct store_mark ids = {.stream_id = b->stream_id, .first_seq = b->first_seq};

	if (grow(&f->batches[box], &f->batch_cap[box], f->batch_count[box], sizeof(struct flush_batch)) != 0)
		return ERR_NOMEM;
	if (b->by_id && list_mark(f, &f->ids, &ids) != 0)
		return ERR_NOMEM;
	f->batches[box][f->batch_count[box]++] = (struct flush_batch){batch_ref(b), src_node};
	took(f, sizeof(*b) + b->body_len);
	return 0;
}

static int
add_mark(struct store_flush *f, struct store_marks *marks, const struct store_mark *m)
{
	size_t before = marks->count;
	int err = store_marks_add(marks, &m->stream_id, m->node_id, m->src_node, m->first_seq, m->last_seq);

	if (err == 0 && marks->count > before)
		took(f, sizeof(*m));
	return err;
}

int
store_flush_add_processed(struct store_flush *f, const struct store_mark *m)
{
	return add_mark(f, &f->processed, m);
}

int
store_flush_add_letters(struct store_flush *f, const struct store_letter *rows, size_t count)
{
	if (store_letters_add(&f->letters, rows, count) != 0)
		return ERR_NOMEM;
	store_flush_took(f, count, count * sizeof(struct flush_letter));
	return 0;
}

int
store_flush_add_skipped(struct store_flush *f, const struct store_mark *m)
{
	return list_mark(f, &f->skipped, m);
}

int
store_flush_add_cleared(struct store_flush *f, enum store_box box, const struct ulid *stream,
    uint64_t from_seq, uint64_t upto_seq)
{
	struct store_mark m = {.stream_id = *stream, .first_seq = from_seq, .last_seq = upto_seq};

	return add_mark(f, &f->cleared[box], &m);
}

int
store_flush_add_ids_cleared(
    struct store_flush *f, const struct ulid *stream, uint64_t from_seq, uint64_t upto_seq)
{
	struct store_mark m = {.stream_id = *stream, .first_seq = from_seq, .last_seq = upto_seq};

	return add_mark(f, &f->ids_cleared, &m);
}

/* ---- statements ---- */

enum statement {
	STMT_MARKER,
	STMT_STREAM,
	STMT_PROGRESS,
	STMT_SKIPPED,
	STMT_CLEAR_OUTBOX,
	STMT_CLEAR_INBOX,
	STMT_IDS,
	STMT_CLEAR_IDS,
	STMT_COUNT
};

#define CLEAR(box)                                                                                           \
	"DELETE FROM " box " AS b USING unnest($1::uuid[], $2::bigint[], $3::bigint[])"                      \
	" AS c(stream_id, since, upto) WHERE b.stream_id = c.stream_id"                                      \
	" AND b.first_seq > c.since AND b.first_seq <= c.upto AND b.last_seq <= c.upto"

static const struct {
	const char *name, *sql;
} statements[STMT_COUNT] = {
    /* The marker must be where the flush before left it: otherwise the NULL fails this transaction. */
    [STMT_MARKER] = {"marker",
	"UPDATE flush_marker SET incarnation = $2::bigint, updated = now(),"
	" flush = CASE WHEN instance = $3::text::uuid AND flush = $1::bigint - 1 THEN $1::bigint END"},
    [STMT_STREAM] = {"stream",
	"INSERT INTO streams (stream_id, tenant_id, src_node, dst_nodes, qos, priority, epoch, state,"
	" close_seq, source_key, key_id, signed_meta, created, meta)"
	" VALUES ($1::uuid, $2::text, $3::bigint, $4::bigint[], $5::text, $6::bigint, $7::bigint, $8::bigint,"
	" $9::bigint, $10::bytea, $11::bytea, $12::bytea,"
	" timestamptz 'epoch' + $13::bigint * interval '1 millisecond', $14::text::jsonb)"
	" ON CONFLICT (stream_id) DO UPDATE SET dst_nodes = EXCLUDED.dst_nodes, qos = EXCLUDED.qos,"
	" priority = EXCLUDED.priority, epoch = EXCLUDED.epoch, state = EXCLUDED.state,"
	" close_seq = EXCLUDED.close_seq, source_key = EXCLUDED.source_key, key_id = EXCLUDED.key_id,"
	" signed_meta = EXCLUDED.signed_meta, meta = streams.meta || EXCLUDED.meta, updated = now()"
	/* Ids come from other nodes, too: one can't have another's row. */
	" WHERE streams.src_node = EXCLUDED.src_node"},
    [STMT_PROGRESS] = {"progress",
	"WITH p AS MATERIALIZED (SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[],"
	" $5::bigint[]) AS t(stream_id, node_id, src_node, first_seq, last_seq)), o AS ("
	"INSERT INTO stream_offsets AS f (stream_id, node_id, committed_seq)"
	" SELECT stream_id, node_id, last_seq FROM p ON CONFLICT (stream_id, node_id) DO UPDATE SET"
	" committed_seq = greatest(f.committed_seq, EXCLUDED.committed_seq), updated = now())"
	" INSERT INTO delivery_log AS d (stream_id, dst_node, segment, src_node, first_seq, last_seq)"
	" SELECT stream_id, node_id, g, src_node, greatest(first_seq, (g << 16) + 1),"
	" least(last_seq, (g + 1) << 16)"
	" FROM p, generate_series((first_seq - 1) >> 16, (last_seq - 1) >> 16) AS g"
	" ON CONFLICT (stream_id, dst_node, segment) DO UPDATE SET"
	" first_seq = least(d.first_seq, EXCLUDED.first_seq),"
	" last_seq = greatest(d.last_seq, EXCLUDED.last_seq), updated = now()"},
    [STMT_SKIPPED] = {"skipped",
	"WITH p AS MATERIALIZED (SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[],"
	" $5::bigint[]) AS t(stream_id, node_id, src_node, first_seq, last_seq)), o AS ("
	"INSERT INTO stream_offsets AS f (stream_id, node_id, committed_seq)"
	" SELECT stream_id, 0, max(last_seq) FROM p WHERE node_id = 0 GROUP BY stream_id"
	" ON CONFLICT (stream_id, node_id) DO UPDATE SET"
	" committed_seq = greatest(f.committed_seq, EXCLUDED.committed_seq), updated = now())"
	" INSERT INTO delivery_gaps AS g (stream_id, dst_node, first_seq, last_seq, src_node, err)"
	" SELECT stream_id, node_id, first_seq, max(last_seq), min(src_node), 'given up by the source'"
	" FROM p WHERE node_id <> 0 GROUP BY stream_id, node_id, first_seq"
	" ON CONFLICT (stream_id, dst_node, first_seq) DO UPDATE SET"
	" last_seq = greatest(g.last_seq, EXCLUDED.last_seq), updated = now()"},
    [STMT_CLEAR_OUTBOX] = {"clear_outbox", CLEAR("outbox")},
    [STMT_CLEAR_INBOX] = {"clear_inbox", CLEAR("inbox")},
    /* They came with the rows of this flush. */
    [STMT_IDS] = {"ids", "INSERT INTO stream_ids (stream_id, first_seq, last_seq, message_ids)"
			 " SELECT o.stream_id, o.first_seq, o.last_seq, o.message_ids"
			 " FROM unnest($1::uuid[], $2::bigint[]) AS c(stream_id, first_seq)"
			 " JOIN outbox AS o ON o.stream_id = c.stream_id AND o.first_seq = c.first_seq"},
    [STMT_CLEAR_IDS] = {"clear_ids", CLEAR("stream_ids")},
};

int
store_flush_prepare(struct pg_conn *pg)
{
	for (int i = 0; i < STMT_COUNT; i++)
		if (PQsendPrepare(pg, statements[i].name, statements[i].sql, 0, NULL) == 0)
			return ERR_CLOSED;
	if (store_nodes_prepare(pg) != 0 || store_rows_prepare(pg) != 0 || store_rafts_prepare(pg) != 0 ||
	    store_control_prepare(pg) != 0 || store_rules_prepare(pg) != 0 ||
	    store_letters_prepare(pg) != 0 || store_keys_prepare(pg) != 0)
		return ERR_CLOSED;
	return PQpipelineSync(pg) != 0 ? 0 : ERR_CLOSED;
}

/* ---- rows and marks ---- */

static int
send_marker(const struct store_flush *f, struct pg_conn *pg, const char *instance, uint64_t incarnation)
{
	struct pg_params p = {0};

	pg_params_int8(&p, f->number);
	pg_params_int8(&p, incarnation);
	pg_params_text(&p, instance);
	return pg_params_send(pg, statements[STMT_MARKER].name, &p);
}

/* What is merged into the column meta. */
static void
stream_extra(const struct store_stream *row, char out[EXTRA_SIZE])
{
	const char *striping = row->striping ? "\"striping\": \"on\"" : "";

	if (row->first_seq > 1)
		snprintf(out, EXTRA_SIZE, "{%s%s\"first_seq\": %llu}", striping, row->striping ? ", " : "",
		    (unsigned long long)row->first_seq);
	else
		snprintf(out, EXTRA_SIZE, "{%s}", striping);
}

static int
send_stream(const struct store_stream *row, struct pg_conn *pg, struct buf *scratch)
{
	const uint64_t year_9999_ms = YEAR_9999_MS_HIGH * UINT64_C(1000000);
	struct pg_params p = {0};
	char tenant[sizeof(row->tenant_id)], qos[sizeof(row->qos)], extra[EXTRA_SIZE];
	int err;

	buf_reset(scratch);
	err = pg_array_begin(scratch, PG_INT8, (uint32_t)row->dst_count);
	for (size_t i = 0; i < row->dst_count && err == 0; i++)
		err = pg_array_put_int8(scratch, (int64_t)row->dst_nodes[i]);
	if (err != 0)
		return err;
	pg_params_bytes(&p, row->stream_id.b, ULID_BYTES);
	pg_params_text(&p, pg_plain_text(row->tenant_id, tenant, sizeof(tenant)));
	pg_params_int8(&p, row->src_node);
	pg_params_bytes(&p, buf_head(scratch), buf_left(scratch));
	pg_params_text(&p, pg_plain_text(row->qos, qos, sizeof(qos)));
	pg_params_int8(&p, (uint64_t)(int64_t)row->priority);
	pg_params_int8(&p, row->epoch);
	pg_params_int8(&p, row->state);
	pg_params_int8(&p, row->close_seq);
	pg_params_bytes(&p, row->source_key, sizeof(row->source_key));
	pg_params_bytes(&p, row->key_id, sizeof(row->key_id));
	pg_params_bytes(&p, row->meta, row->meta_len);
	/* PostgreSQL's time ends, too, and this comes from another node. */
	pg_params_int8(&p, row->created_unix_ms < year_9999_ms ? row->created_unix_ms : year_9999_ms);
	stream_extra(row, extra);
	pg_params_text(&p, extra);
	return pg_params_send(pg, statements[STMT_STREAM].name, &p);
}

/* ---- marks, a column at a time ---- */

enum column { COL_STREAM, COL_NODE, COL_SRC, COL_FIRST, COL_LAST };

static uint64_t
mark_word(const struct store_mark *m, enum column col)
{
	switch (col) {
	case COL_NODE:
		return m->node_id;
	case COL_SRC:
		return m->src_node;
	case COL_FIRST:
		return m->first_seq;
	default:
		return m->last_seq;
	}
}

static int
put_column(struct buf *out, const struct store_marks *marks, enum column col)
{
	int err = pg_array_begin(out, col == COL_STREAM ? PG_UUID : PG_INT8, (uint32_t)marks->count);

	for (size_t i = 0; i < marks->count && err == 0; i++) {
		const struct store_mark *m = &marks->items[i];

		err = col == COL_STREAM ? pg_array_put(out, m->stream_id.b, ULID_BYTES)
					: pg_array_put_int8(out, (int64_t)mark_word(m, col));
	}
	return err;
}

static int
send_marks(const struct store_marks *marks, enum statement stmt, const enum column *cols, size_t col_count,
    struct pg_conn *pg, struct buf *scratch)
{
	struct pg_params p = {0};
	size_t ends[PG_PARAMS_MAX], at = 0;
	int err = 0;

	if (marks->count == 0)
		return 0;
	buf_reset(scratch);
	for (size_t i = 0; i < col_count && err == 0; i++) {
		err = put_column(scratch, marks, cols[i]);
		ends[i] = buf_left(scratch);
	}
	if (err != 0)
		return err;
	for (size_t i = 0; i < col_count; i++) {
		pg_params_bytes(&p, buf_head(scratch) + at, ends[i] - at);
		at = ends[i];
	}
	return pg_params_send(pg, statements[stmt].name, &p);
}

static int
send_rows(const struct store_flush *f, struct pg_conn *pg, struct buf *scratch)
{
	int err = 0;

	for (size_t i = 0; i < f->stream_count && err == 0; i++)
		err = send_stream(&f->streams[i], pg, scratch);
	for (size_t i = 0; i < f->node_count && err == 0; i++)
		err = store_node_send(&f->nodes[i], pg);
	if (err == 0 && f->has_topology)
		err = store_topology_send(f->links, f->link_count, pg, scratch);
	return err;
}

int
store_flush_send(const struct store_flush *f, struct pg_conn *pg, struct buf *scratch, uint32_t row_type,
    const char *instance, uint64_t incarnation)
{
	static const enum column progress[] = {COL_STREAM, COL_NODE, COL_SRC, COL_FIRST, COL_LAST};
	static const enum column clear[] = {COL_STREAM, COL_FIRST, COL_LAST};
	static const enum column ids[] = {COL_STREAM, COL_FIRST};
	int err = send_marker(f, pg, instance, incarnation);

	if (err == 0)
		err = send_rows(f, pg, scratch);
	for (int box = 0; box < STORE_BOXES && err == 0; box++)
		err = store_rows_send(
		    (enum store_box)box, f->batches[box], f->batch_count[box], row_type, pg, scratch);
	if (err == 0)
		err = send_marks(&f->ids, STMT_IDS, ids, 2, pg, scratch);
	if (err == 0)
		err = store_rafts_send(&f->rafts, pg, scratch);
	if (err == 0)
		err = store_control_send(&f->control, pg, scratch);
	if (err == 0)
		err = store_rules_send(&f->rules, pg);
	if (err == 0)
		err = store_keys_send(&f->keys, pg);
	if (err == 0)
		err = send_marks(&f->processed, STMT_PROGRESS, progress, 5, pg, scratch);
	if (err == 0)
		err = store_letters_send(&f->letters, pg);
	if (err == 0)
		err = send_marks(&f->skipped, STMT_SKIPPED, progress, 5, pg, scratch);
	if (err == 0)
		err = send_marks(&f->cleared[STORE_OUTBOX], STMT_CLEAR_OUTBOX, clear, 3, pg, scratch);
	if (err == 0)
		err = send_marks(&f->cleared[STORE_INBOX], STMT_CLEAR_INBOX, clear, 3, pg, scratch);
	if (err == 0)
		err = send_marks(&f->ids_cleared, STMT_CLEAR_IDS, clear, 3, pg, scratch);
	if (err != 0)
		return err;
	return PQpipelineSync(pg) != 0 ? 0 : ERR_CLOSED;
}
