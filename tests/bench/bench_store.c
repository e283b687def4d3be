/*
 * How fast the store is, beside what the machine allows: `bench NAME VALUE UNIT`, one a line.
 *
 * usage: bench_store [SECONDS [NAME]]     seconds per figure, 2 if not given; all, or one of the table
 * below; run from the top of the tree
 */
#include <inttypes.h>

#include "common/base/be.h"
#include "common/base/err.h"
#include "common/base/frame.h"
#include "common/base/mem.h"
#include "common/os/crypto.h"
#include "common/os/loop.h"
#include "consensusd/core/raft_entry.h"
#include "consensusd/keyring.h"
#include "consensusd/seal.h"
#include "consensusd/store.h"
#include "tests/bench/cpu.h"
#include "tests/pg_server.h"
#include "tests/unit/consensusd/keyring_dir.h"

enum {
	PAYLOAD = 256,
	BATCH = 512,
	SYNC_BLOCKS = 1024, /* of 8 KiB */
	NODE = 1,
	PEER = 2,
	LATENCIES_MAX = 1 << 20,
	CHAINS_MAX = 1 << 18,
	CLEAR_EVERY = 16, /* batches: clearing is lazy */
	RAFT_GROUPS = 1000,
	RAFT_ENTRIES = 64,    /* that the one group gets in each flush */
	RAFT_KEEP = 64 * 100, /* entries of a log; older ones go from time to time */
};

static struct pg_server server;
static double seconds_each = 2;

static void
print(const char *name, double value, const char *unit)
{
	printf("bench %s %.*f %s\n", name, value < 100 ? 2 : 0, value, unit);
	fflush(stdout);
}

/* ---- what the machine allows ---- */

static void
limit_fdatasync(void)
{
	static const char block[8192];
	char path[96];
	double start;
	long n = 0;
	int fd;

	snprintf(path, sizeof(path), "%s/sync", server.dir);
	fd = open(path, O_WRONLY | O_CREAT, 0600);
	MUST(fd != -1);
	/* As in a write-ahead log, the space is there already. */
	for (int i = 0; i < SYNC_BLOCKS; i++)
		MUST(pwrite(fd, block, sizeof(block), i * 8192) == sizeof(block));
	MUST(fsync(fd) == 0);
	for (start = pg_seconds(); pg_seconds() - start < seconds_each; n++)
		MUST(pwrite(fd, block, sizeof(block), n % SYNC_BLOCKS * 8192) == sizeof(block) &&
		     fdatasync(fd) == 0);
	print("limit_fdatasync", (double)n / (pg_seconds() - start), "1/s");
	close(fd);
}

/* Rows of 256 bytes, a thousand a transaction, one transaction after the other. */
static void
limit_pg_rows(void)
{
	PGconn *pg = PQconnectdb(server.conninfo);
	double start;
	long n = 0;

	PQclear(PQexec(pg, "CREATE TABLE rows (id bigserial PRIMARY KEY, payload bytea)"));
	PQclear(PQexec(pg, "PREPARE put AS INSERT INTO rows (payload) SELECT decode(repeat('ab', 256), 'hex')"
			   " FROM generate_series(1, 1000)"));
	for (start = pg_seconds(); pg_seconds() - start < seconds_each; n += 1000) {
		PGresult *res = PQexec(pg, "EXECUTE put");

		MUST(PQresultStatus(res) == PGRES_COMMAND_OK);
		PQclear(res);
	}
	print("limit_pg_rows", (double)n / (pg_seconds() - start), "rows/s");
	PQclear(PQexec(pg, "DROP TABLE rows"));
	PQfinish(pg);
}

static int
compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* What no message from one node to another can be quicker than, since each waits for two of them, one after
 * the other: the source's outbox, the target's offset.  Nothing else runs meanwhile. */
static void
limit_pg_commits(void)
{
	static double took[CHAINS_MAX];
	PGconn *pg = PQconnectdb(server.conninfo);
	double start;
	size_t n = 0;

	PQclear(PQexec(pg, "CREATE TABLE chain (id bigserial PRIMARY KEY, payload bytea)"));
	PQclear(PQexec(
	    pg, "PREPARE one AS INSERT INTO chain (payload) VALUES (decode(repeat('ab', 320), 'hex'))"));
	for (start = pg_seconds(); pg_seconds() - start < seconds_each && n < CHAINS_MAX; n++) {
		double begin = pg_seconds();

		for (int i = 0; i < 2; i++) {
			PGresult *res = PQexec(pg, "EXECUTE one");

			MUST(PQresultStatus(res) == PGRES_COMMAND_OK);
			PQclear(res);
		}
		took[n] = pg_seconds() - begin;
	}
	qsort(took, n, sizeof(took[0]), compare_doubles);
	print("limit_pg_commits_p50", took[n / 2] * 1e3, "ms");
	print("limit_pg_commits_p99", took[n * 99 / 100] * 1e3, "ms");
	PQclear(PQexec(pg, "DROP TABLE chain"));
	PQfinish(pg);
}

static void
seal_speed(void)
{
	static uint8_t payload[PAYLOAD];
	struct seal_message msgs[BATCH] = {{.payload_len = 0}};
	struct keyring_dir dir;
	struct keyring *k;
	struct ulid stream = {{1}};
	uint8_t key[CRYPTO_PUBKEY_BYTES], plain[PAYLOAD + 32];
	double start;
	long n = 0;

	keyring_dir_init(&dir, KEY_A "\n");
	keyring_dir_put(&dir, "tenants/acme.key", KEY_B "\n", 0600);
	k = keyring_open(dir.path);
	MUST(k != NULL);
	crypto_key_public(keyring_node_key(k), key);
	for (int i = 0; i < BATCH; i++)
		msgs[i] = (struct seal_message){.payload = payload, .payload_len = PAYLOAD};
	for (start = pg_seconds(); pg_seconds() - start < seconds_each; n += BATCH) {
		struct batch *b;

		MUST(seal_batch(k, &stream, "acme", 1, 1, msgs, BATCH, &b) == 0);
		batch_unref(b);
	}
	print("seal_256B", (double)n / (pg_seconds() - start), "msg/s");
	n = 0;
	for (start = pg_seconds(); pg_seconds() - start < seconds_each; n += BATCH) {
		struct batch *b;
		struct batch_iter it;
		struct batch_record rec;
		const uint8_t *h, *p;
		size_t hl, pl;

		MUST(seal_batch(k, &stream, "acme", 1, 1, msgs, BATCH, &b) == 0);
		MUST(seal_verify(k, "acme", key, b) == 0);
		batch_iter_init(&it, b);
		while (batch_next(&it, &rec) != 0)
			MUST(seal_open(k, "acme", b, &rec, plain, &h, &hl, &p, &pl) == 0);
		batch_unref(b);
	}
	print("seal_verify_open_256B", (double)n / (pg_seconds() - start), "msg/s");
	keyring_free(k);
	keyring_dir_fini(&dir);
}

static void
limit_aead(void)
{
	static uint8_t block[16384 + CRYPTO_TAG_BYTES];
	uint8_t nonce[CRYPTO_NONCE_BYTES] = {0}, key[CRYPTO_KEY_BYTES] = {1};
	double start;
	long n = 0;

	for (start = pg_seconds(); pg_seconds() - start < seconds_each; n += 16384)
		MUST(crypto_seal(block, block, 16384, NULL, 0, nonce, key) == 0);
	print("limit_aead", (double)n / (pg_seconds() - start) / 1e6, "MB/s");
}

/* ---- the store ---- */

struct run {
	struct loop *loop;
	struct store *store;
	struct loop_timer *timer; /* ends the run */
	struct loop_defer more;
	enum store_box box;
	uint32_t batch_messages;
	size_t payload, window; /* bytes not durable */
	struct batch *form;     /* the batch that is put, with changing seq: a copy each */
	uint64_t next_seq, durable_seq, cleared_seq;
	struct {
		int64_t ticket;
		uint64_t last_seq;
		double put_at;
	} * pending;
	size_t pending_first, pending_end;
	uint32_t *latency_us;
	bool with_progress, over;
	size_t read_bytes;
};

static struct batch *
batch_make(const struct run *r)
{
	struct batch *b = batch_new(r->form->body_len);

	MUST(b != NULL);
	b->stream_id = r->form->stream_id;
	b->first_seq = r->next_seq;
	b->count = r->batch_messages;
	memcpy(b->body, r->form->body, b->body_len);
	return b;
}

static struct batch *
form_make(struct run *r)
{
	size_t record = BATCH_RECORD_HDR_BYTES + r->payload;
	struct batch *b = batch_new(record * r->batch_messages);

	MUST(b != NULL);
	crypto_random(b->body, b->body_len);
	for (uint32_t i = 0; i < r->batch_messages; i++)
		be_store32(b->body + i * record + ULID_BYTES, (uint32_t)r->payload);
	crypto_random(b->stream_id.b, ULID_BYTES);
	return b;
}

static void
put_one(struct run *r)
{
	struct batch *b = batch_make(r);
	int64_t ticket = r->box == STORE_INBOX ? store_put_inbox(r->store, FRAME_CLASS_CLIENT, b, PEER)
					       : store_put_outbox(r->store, FRAME_CLASS_CLIENT, b);

	MUST(ticket > 0);
	r->next_seq += b->count;
	r->pending[r->pending_end].ticket = ticket;
	r->pending[r->pending_end].last_seq = r->next_seq - 1;
	r->pending[r->pending_end++].put_at = pg_seconds();
	batch_unref(b);
}

static void
on_more(void *arg)
{
	struct run *r = arg;

	while (!r->over && r->pending_end < LATENCIES_MAX &&
	       (r->pending_end - r->pending_first) * r->form->body_len < r->window)
		put_one(r);
}

static void
progress(struct run *r, uint64_t from)
{
	const struct ulid *id = &r->form->stream_id;
	uint64_t behind = r->durable_seq - r->cleared_seq;

	MUST(store_put_processed(r->store, FRAME_CLASS_CLIENT, id, NODE, PEER, from, r->durable_seq) > 0);
	if (behind < (uint64_t)CLEAR_EVERY * r->batch_messages)
		return;
	r->cleared_seq = r->durable_seq;
	if (r->box == STORE_INBOX)
		MUST(store_put_inbox_clear(r->store, FRAME_CLASS_CLIENT, id, r->durable_seq) > 0);
	else
		MUST(store_put_outbox_clear(r->store, FRAME_CLASS_CLIENT, id, r->durable_seq) > 0);
}

static void
on_durable(void *ctx, uint64_t ticket)
{
	struct run *r = ctx;
	double now = pg_seconds();
	uint64_t from = r->durable_seq + 1;

	while (r->pending_first < r->pending_end && r->pending[r->pending_first].ticket <= (int64_t)ticket) {
		r->latency_us[r->pending_first] =
		    (uint32_t)((now - r->pending[r->pending_first].put_at) * 1e6);
		r->durable_seq = r->pending[r->pending_first++].last_seq;
	}
	if (r->with_progress && r->durable_seq >= from)
		progress(r, from);
	loop_defer_add(r->loop, &r->more);
}

static void
on_ready(void *ctx)
{
	struct run *r = ctx;

	loop_stop(r->loop);
}

static void
on_trouble(void *ctx, const char *why)
{
	(void)ctx;
	fprintf(stderr, "bench_store: %s\n", why);
	exit(1);
}

static void
on_node(void *ctx, uint64_t node_id, const char *addresses)
{
	(void)ctx;
	(void)node_id;
	(void)addresses;
}

static void
on_stream(void *ctx, const struct store_stream *row)
{
	(void)ctx;
	(void)row;
}

static void
on_offset(void *ctx, const struct store_offset *row)
{
	(void)ctx;
	(void)row;
}

static int
on_raft(void *ctx, const struct store_raft_state *row)
{
	(void)ctx;
	for (size_t i = 0; i < row->entry_count; i++)
		raft_entry_unref(row->entries[i]);
	return 0;
}

static void
on_over(void *arg)
{
	struct run *r = arg;

	r->over = true;
	loop_stop(r->loop);
}

static const struct store_callbacks callbacks = {.on_ready = on_ready,
    .on_lost = on_trouble,
    .on_durable = on_durable,
    .on_load_node = on_node,
    .on_load_stream = on_stream,
    .on_load_offset = on_offset,
    .on_load_raft = on_raft,
    .on_rolled_back = on_trouble,
    .on_fatal = on_trouble};

/* A loop and a store that is ready; ctx begins with a struct run. */
static void
run_open(struct run *r, const struct store_callbacks *form, void *ctx)
{
	struct store_callbacks cb = *form;
	struct store_conf conf = {.conninfo = server.conninfo,
	    .migrate = true,
	    .memory_max = 256 << 20,
	    .node_id = NODE,
	    .witness_fd = -1};

	cb.ctx = ctx;
	r->loop = loop_event_new();
	r->timer = loop_timer_new(r->loop, on_over, r);
	conf.sql_dir_fd = open("etc/sql", O_RDONLY | O_DIRECTORY);
	r->store = store_new(r->loop, &conf, &cb);
	MUST(r->store != NULL);
	close(conf.sql_dir_fd);
	loop_run(r->loop); /* until it is ready */
}

static void
run_init(struct run *r, enum store_box box, uint32_t batch_messages, size_t payload, size_t window)
{
	*r = (struct run){.box = box,
	    .batch_messages = batch_messages,
	    .payload = payload,
	    .window = window,
	    .next_seq = 1};
	r->more = (struct loop_defer){.fn = on_more, .arg = r};
	r->form = form_make(r);
	r->pending = mem_calloc(LATENCIES_MAX, sizeof(*r->pending));
	r->latency_us = mem_calloc(LATENCIES_MAX, sizeof(*r->latency_us));
	MUST(r->pending != NULL && r->latency_us != NULL);
	run_open(r, &callbacks, r);
}

static void
run_fini(struct run *r)
{
	loop_defer_del(&r->more);
	store_free(r->store);
	loop_timer_free(r->timer);
	loop_free(r->loop);
	batch_unref(r->form);
	mem_free(r->pending);
	mem_free(r->latency_us);
}

/* Runs; messages durable per second. */
static double
run(struct run *r)
{
	double start = pg_seconds();

	loop_timer_arm_ms(r->timer, (int64_t)(seconds_each * 1000));
	loop_defer_add(r->loop, &r->more);
	loop_run(r->loop);
	return (double)r->durable_seq / (pg_seconds() - start);
}

static int
compare(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static double
percentile_ms(struct run *r, double share)
{
	qsort(r->latency_us, r->pending_first, sizeof(*r->latency_us), compare);
	return r->latency_us[(size_t)((double)(r->pending_first - 1) * share)] / 1e3;
}

static void
store_rate(const char *name, enum store_box box, uint32_t batch_messages, size_t payload, size_t window)
{
	char cpu_name[64];
	struct run r;
	double rate, ours, theirs;

	run_init(&r, box, batch_messages, payload, window);
	r.with_progress = true;
	ours = cpu_of(getpid());
	theirs = cpu_of_tree(server.pid);
	rate = run(&r);
	ours = cpu_of(getpid()) - ours;
	theirs = cpu_of_tree(server.pid) - theirs;
	if (payload >= 65536)
		print(name, rate * (double)payload / 1e6, "MB/s");
	else
		print(name, rate, "msg/s");
	snprintf(cpu_name, sizeof(cpu_name), "%s_cpu_client", name);
	print(cpu_name, ours * 1e6 / (double)r.durable_seq, "us/msg");
	snprintf(cpu_name, sizeof(cpu_name), "%s_cpu_server", name);
	print(cpu_name, theirs * 1e6 / (double)r.durable_seq, "us/msg");
	run_fini(&r);
}

static void
store_latency(void)
{
	struct run r;

	run_init(&r, STORE_OUTBOX, 1, PAYLOAD, 1);
	run(&r);
	print("store_put_p50", percentile_ms(&r, .5), "ms");
	print("store_put_p99", percentile_ms(&r, .99), "ms");
	run_fini(&r);
}

static void read_more(struct run *r);

static void
on_read(void *arg, struct batch *b, int err)
{
	struct run *r = arg;

	MUST(err == 0);
	if (b != NULL) {
		r->read_bytes += b->body_len;
		r->next_seq = batch_last_seq(b) + 1;
		batch_unref(b);
		return;
	}
	if (r->next_seq > r->durable_seq)
		loop_stop(r->loop);
	else
		read_more(r);
}

static void
read_more(struct run *r)
{
	MUST(store_read(r->store, STORE_OUTBOX, &r->form->stream_id, r->next_seq, 1 << 20, on_read, r) == 0);
}

static void
store_read_rate(void)
{
	struct run r;
	double start;

	run_init(&r, STORE_OUTBOX, BATCH, PAYLOAD, 4 << 20);
	run(&r);
	r.next_seq = 1;
	start = pg_seconds();
	read_more(&r);
	loop_run(r.loop);
	print("store_read", (double)r.durable_seq / (pg_seconds() - start), "msg/s");
	run_fini(&r);
}

/* ---- state of replicas ---- */

struct raft_run {
	struct run run; /* of which it uses loop and store */
	unsigned groups, entries;
	uint64_t last; /* of each log */
	struct raft_entry *e[RAFT_ENTRIES];
	uint64_t durable, rows;
};

/* A put for each group: new entries, and now and then the old ones go. */
static void
raft_put_all(struct raft_run *r)
{
	struct store_raft row = {.replica = 1,
	    .term = 1,
	    .commit = r->last,
	    .cut = UINT64_MAX,
	    .entries = r->e,
	    .entry_count = r->entries};

	if (r->last % RAFT_KEEP == 0)
		row.keep = r->last + 1;
	for (unsigned i = 0; i < r->entries; i++) {
		r->e[i]->index = r->last + 1 + i;
		r->e[i]->term = 1;
	}
	for (unsigned g = 0; g < r->groups; g++) {
		be_store32(row.group, g);
		MUST(store_put_raft(r->run.store, &row) > 0);
	}
	r->last += r->entries;
	r->rows += (uint64_t)r->groups * r->entries;
}

static void
on_raft_durable(void *ctx, uint64_t ticket)
{
	struct raft_run *r = ctx;

	(void)ticket;
	r->durable = r->rows;
	/* The entries are the same ones: none is referenced any more. */
	if (!r->run.over)
		raft_put_all(r);
}

static void
raft_rate(const char *name, unsigned groups, unsigned entries)
{
	struct store_callbacks cb = callbacks;
	struct raft_run r = {.groups = groups, .entries = entries};
	uint8_t payload[PAYLOAD] = {0};
	double start, theirs;
	char cpu_name[64];

	cb.on_durable = on_raft_durable;
	for (unsigned i = 0; i < entries; i++)
		MUST((r.e[i] = raft_entry_new(RAFT_DATA, 1, 1, payload, PAYLOAD)) != NULL);
	run_open(&r.run, &cb, &r);
	theirs = cpu_of_tree(server.pid);
	start = pg_seconds();
	loop_timer_arm_ms(r.run.timer, (int64_t)(seconds_each * 1000));
	raft_put_all(&r);
	loop_run(r.run.loop);
	print(name, (double)r.durable / (pg_seconds() - start), "rows/s");
	snprintf(cpu_name, sizeof(cpu_name), "%s_cpu_server", name);
	print(cpu_name, (cpu_of_tree(server.pid) - theirs) * 1e6 / (double)r.durable, "us/row");
	for (unsigned g = 0; g < groups; g++) {
		uint8_t id[STORE_GROUP_BYTES] = {0};

		be_store32(id, g);
		MUST(store_put_raft_drop(r.run.store, id) > 0);
	}
	store_free(r.run.store);
	loop_timer_free(r.run.timer);
	loop_free(r.run.loop);
	for (unsigned i = 0; i < entries; i++)
		raft_entry_unref(r.e[i]);
}

static void
raft_1(void)
{
	raft_rate("store_raft_1", 1, RAFT_ENTRIES);
}

static void
raft_single(void)
{
	raft_rate("store_raft_single", 1, 1);
}

static void
raft_1000(void)
{
	raft_rate("store_raft_1000", RAFT_GROUPS, 1);
}

static void
source_1(void)
{
	store_rate("store_source_1", STORE_OUTBOX, 1, PAYLOAD, 64 * 1024);
}

static void
source_16(void)
{
	store_rate("store_source_16", STORE_OUTBOX, 16, PAYLOAD, 512 * 1024);
}

static void
source_512(void)
{
	store_rate("store_source_512", STORE_OUTBOX, BATCH, PAYLOAD, 4 << 20);
}

static void
target_512(void)
{
	store_rate("store_target_512", STORE_INBOX, BATCH, PAYLOAD, 4 << 20);
}

static void
source_64kib(void)
{
	store_rate("store_source_64KiB", STORE_OUTBOX, 4, 65536, 8 << 20);
}

static const struct {
	const char *name;
	void (*fn)(void);
} benches[] = {
    {"limit_fdatasync", limit_fdatasync},
    {"limit_pg_rows", limit_pg_rows},
    {"limit_pg_commits", limit_pg_commits},
    {"limit_aead", limit_aead},
    {"seal", seal_speed},
    {"store_put", store_latency},
    {"store_source_1", source_1},
    {"store_source_16", source_16},
    {"store_source_512", source_512},
    {"store_target_512", target_512},
    {"store_source_64KiB", source_64kib},
    {"store_read", store_read_rate},
    {"store_raft_single", raft_single},
    {"store_raft_1", raft_1},
    {"store_raft_1000", raft_1000},
};

int
main(int argc, char **argv)
{
	if (argc > 1)
		seconds_each = atof(argv[1]);
	signal(SIGPIPE, SIG_IGN);
	MUST(crypto_init() == 0);
	pg_server_init(&server);
	pg_server_start(&server, NULL);
	for (size_t i = 0; i < sizeof(benches) / sizeof(benches[0]); i++)
		if (argc < 3 || strcmp(argv[2], benches[i].name) == 0)
			benches[i].fn();
	pg_server_fini(&server);
	return 0;
}
