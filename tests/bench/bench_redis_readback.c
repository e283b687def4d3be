/*
 * What a source has to read again, from PostgreSQL and from Redis, side by side: `bench NAME VALUE UNIT`.
 *
 * usage: bench_redis_readback [SECONDS]     per figure, 2 if not given; run from the top of the tree
 *
 * readback_{postgres,redis}_N            MB/s of bodies, N flows at once, in pieces of 1 MB as flows want
 * them readback_..._cpu_server                ms of the server's processor time for each MB
 * readback_..._cpu_client                and of ours; with Redis, the batch is checked by its mark, or
 * (signed) by its signature, as after a restart spill_cpu_server, spill_cpu_client     the price: for each MB
 * that is written to Redis, needed later or not
 */
#include <inttypes.h>

#include "common/base/be.h"
#include "common/base/err.h"
#include "common/base/frame.h"
#include "common/base/mem.h"
#include "common/os/crypto.h"
#include "common/os/log.h"
#include "common/os/loop.h"
#include "consensusd/cache_redis.h"
#include "consensusd/core/parcel.h"
#include "consensusd/keyring.h"
#include "consensusd/seal.h"
#include "consensusd/store.h"
#include "tests/bench/cpu.h"
#include "tests/pg_server.h"
#include "tests/unit/consensusd/keyring_dir.h"

enum {
	PAYLOAD = 256,
	MESSAGES = 512,
	STREAMS = 8,
	BATCHES = 64, /* of each: 9 MB */
	PIECE_BYTES = 1 << 20,
	PIECE_COUNT = 7, /* as many batches have that */
	NODE = 1,
};

/* A flow that reads its stream over and over. */
struct flow_read {
	struct bench *bench;
	struct ulid stream;
	uint64_t next_seq;
};

struct bench {
	struct loop *loop;
	struct loop_timer *timer;
	struct store *store;
	struct cache *cache;
	struct keyring *keyring;
	uint8_t public_key[CRYPTO_PUBKEY_BYTES], mark_key[CRYPTO_KEY_BYTES];
	struct flow_read flows[STREAMS];
	struct batch *batches[STREAMS][BATCHES];
	bool over, signed_only;
	size_t bytes, flows_left;
	int64_t last_ticket;
	unsigned answers, wanted;
};

static struct pg_server server;
static pid_t redis_pid;
static char redis_path[128];
static double seconds_each = 2;

static void
print(const char *name, const char *what, unsigned n, double value, const char *unit)
{
	printf("bench %s_%u%s %.2f %s\n", name, n, what, value, unit);
	fflush(stdout);
}

/* ---- setting up ---- */

static void
redis_start(void)
{
	snprintf(redis_path, sizeof(redis_path), "%s/redis.sock", server.dir);
	redis_pid = fork();
	MUST(redis_pid != -1);
	if (redis_pid == 0) {
		int fd = open("/dev/null", O_WRONLY);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		pg_become_unprivileged();
		dup2(fd, STDOUT_FILENO);
		execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", redis_path, "--save",
		    "", "--appendonly", "no", (char *)NULL);
		_exit(127);
	}
}

static void
on_up(void *ctx)
{
	struct bench *b = ctx;

	loop_stop(b->loop);
}

static void
on_down(void *ctx, const char *why)
{
	(void)ctx;
	(void)why; /* it is starting */
}

static void
on_ready(void *ctx)
{
	struct bench *b = ctx;

	loop_stop(b->loop);
}

static void
on_trouble(void *ctx, const char *why)
{
	(void)ctx;
	fprintf(stderr, "%s\n", why);
	abort();
}

static void
on_durable(void *ctx, uint64_t ticket)
{
	struct bench *b = ctx;

	if ((int64_t)ticket >= b->last_ticket)
		loop_stop(b->loop);
}

static void
on_node(void *ctx, uint64_t node, const char *addresses)
{
	(void)ctx;
	(void)node;
	(void)addresses;
}

static void
on_stream(void *ctx, const struct store_stream *s)
{
	(void)ctx;
	(void)s;
}

static void
on_offset(void *ctx, const struct store_offset *o)
{
	(void)ctx;
	(void)o;
}

static int
on_raft(void *ctx, const struct store_raft_state *r)
{
	(void)ctx;
	(void)r;
	return 0;
}

static void
store_start(struct bench *b)
{
	const struct store_callbacks cb = {.on_ready = on_ready,
	    .on_lost = on_trouble,
	    .on_durable = on_durable,
	    .on_load_node = on_node,
	    .on_load_stream = on_stream,
	    .on_load_offset = on_offset,
	    .on_load_raft = on_raft,
	    .on_rolled_back = on_trouble,
	    .on_fatal = on_trouble,
	    .ctx = b};
	struct store_conf conf = {.conninfo = server.conninfo,
	    .migrate = true,
	    .memory_max = 512 << 20,
	    .node_id = NODE,
	    .witness_fd = -1};

	conf.sql_dir_fd = open("etc/sql", O_RDONLY | O_DIRECTORY);
	b->store = store_new(b->loop, &conf, &cb);
	MUST(b->store != NULL);
	close(conf.sql_dir_fd);
	loop_run(b->loop);
}

static void
make_batches(struct bench *b)
{
	static uint8_t payload[PAYLOAD];
	struct seal_message msgs[MESSAGES];

	for (size_t i = 0; i < MESSAGES; i++)
		msgs[i] = (struct seal_message){.payload = payload, .payload_len = PAYLOAD};
	for (size_t s = 0; s < STREAMS; s++) {
		b->flows[s] = (struct flow_read){.bench = b};
		crypto_random(b->flows[s].stream.b, ULID_BYTES);
		for (uint64_t i = 0; i < BATCHES; i++)
			MUST(seal_batch(b->keyring, &b->flows[s].stream, "acme", i * MESSAGES + 1, 1, msgs,
				 MESSAGES, &b->batches[s][i]) == 0);
	}
}

static void
put_store(struct bench *b)
{
	for (size_t s = 0; s < STREAMS; s++) {
		for (size_t i = 0; i < BATCHES; i++) {
			b->last_ticket = store_put_outbox(b->store, FRAME_CLASS_CLIENT, b->batches[s][i]);
			MUST(b->last_ticket > 0);
		}
	}
	loop_run(b->loop);
}

/* ---- Redis ---- */

static void
key_of(char key[CACHE_KEY_SIZE], const struct ulid *stream)
{
	char text[ULID_TEXT_SIZE];

	ulid_format(text, stream);
	snprintf(key, CACHE_KEY_SIZE, "queue:stream:%s", text);
}

static void
mark_of(const struct bench *b, uint8_t mark[PARCEL_MARK_BYTES], const struct ulid *stream, const void *p,
    size_t len)
{
	crypto_mac(mark, b->mark_key, "bench", stream->b, ULID_BYTES, (const uint8_t *)p + PARCEL_MARK_BYTES,
	    len - PARCEL_MARK_BYTES);
}

static void
on_put(void *ctx, const uint8_t about[CACHE_ABOUT_BYTES], const struct redisReply *r)
{
	struct bench *b = ctx;

	(void)about;
	MUST(r != NULL);
	if (++b->answers == b->wanted)
		loop_stop(b->loop);
}

static void
put_redis(struct bench *b, size_t s, size_t i)
{
	const struct batch *x = b->batches[s][i];
	const struct cache_question q = {.kind = CACHE_NUMBER, .fn = on_put, .ctx = b};
	size_t size = PARCEL_HEAD_BYTES + x->body_len;
	uint8_t *parcel = mem_calloc(1, size);
	char key[CACHE_KEY_SIZE], score[CACHE_NUMBER_SIZE];

	MUST(parcel != NULL);
	parcel_put(parcel, x);
	mark_of(b, parcel, &x->stream_id, parcel, size);
	key_of(key, &x->stream_id);
	snprintf(score, sizeof(score), "%" PRIu64, x->first_seq);
	cache_begin(b->cache, "ZADD", key);
	cache_arg(b->cache, score);
	cache_arg_bytes(b->cache, parcel, size);
	MUST(cache_ask(b->cache, &q) == 0);
	mem_free(parcel);
}

/* As many at once as may be; what it costs is printed. */
static void
put_all_redis(struct bench *b)
{
	double ours = cpu_of(getpid()), theirs = cpu_of(redis_pid);
	size_t bytes = 0;

	for (size_t s = 0; s < STREAMS; s++) {
		for (size_t i = 0; i < BATCHES; i += 16) {
			b->answers = 0;
			b->wanted = 16;
			for (size_t k = 0; k < 16; k++) {
				put_redis(b, s, i + k);
				bytes += b->batches[s][i + k]->body_len;
			}
			loop_run(b->loop);
		}
	}
	printf("bench spill_cpu_server %.2f ms/MB\n", (cpu_of(redis_pid) - theirs) * 1e9 / (double)bytes);
	printf("bench spill_cpu_client %.2f ms/MB\n", (cpu_of(getpid()) - ours) * 1e9 / (double)bytes);
}

/* ---- reading ---- */

static void
on_over(void *arg)
{
	struct bench *b = arg;

	b->over = true;
}

/* The flow goes on with its next piece, from the beginning after the end; false: time is up. */
static bool
next(struct flow_read *f)
{
	struct bench *b = f->bench;

	if (f->next_seq > BATCHES * MESSAGES)
		f->next_seq = 1;
	if (!b->over)
		return true;
	if (--b->flows_left == 0)
		loop_stop(b->loop);
	return false;
}

static void read_store(struct flow_read *f);

static void
on_read(void *arg, struct batch *x, int err)
{
	struct flow_read *f = arg;

	MUST(err == 0);
	if (x == NULL) {
		read_store(f);
		return;
	}
	f->bench->bytes += x->body_len;
	f->next_seq = batch_last_seq(x) + 1;
	batch_unref(x);
}

static void
read_store(struct flow_read *f)
{
	if (next(f))
		MUST(store_read(f->bench->store, STORE_OUTBOX, &f->stream, f->next_seq, PIECE_BYTES, on_read,
			 f) == 0);
}

static void read_redis(struct flow_read *f);

static void
take(struct flow_read *f, const uint8_t *data, size_t len)
{
	struct bench *b = f->bench;
	uint8_t mark[PARCEL_MARK_BYTES];
	struct batch *x;

	MUST(parcel_get(data, len, &f->stream, &x) == 0 && x->first_seq == f->next_seq);
	mark_of(b, mark, &f->stream, data, len);
	MUST(crypto_equal(mark, data, sizeof(mark)));
	/* Another process's mark does not fit: both are looked at. */
	if (b->signed_only)
		MUST(seal_verify(b->keyring, "acme", b->public_key, x) == 0);
	b->bytes += x->body_len;
	f->next_seq = batch_last_seq(x) + 1;
	batch_unref(x);
}

static void
on_list(void *ctx, const uint8_t about[CACHE_ABOUT_BYTES], const struct redisReply *r)
{
	struct bench *b = ctx;
	struct flow_read *f = &b->flows[be_load64(about)];
	const char *text;
	size_t len;

	MUST(r != NULL && cache_count(r) > 0);
	for (size_t i = 0; i < cache_count(r); i++) {
		MUST(cache_text(r, i, &text, &len));
		take(f, (const uint8_t *)text, len);
	}
	read_redis(f);
}

static void
read_redis(struct flow_read *f)
{
	struct cache_question q = {.kind = CACHE_LIST,
	    .elements_max = PIECE_COUNT,
	    .element_max_bytes = 512 * 1024,
	    .fn = on_list,
	    .ctx = f->bench};
	char key[CACHE_KEY_SIZE], low[CACHE_NUMBER_SIZE], limit[CACHE_NUMBER_SIZE];

	if (!next(f))
		return;
	be_store64(q.about, (uint64_t)(f - f->bench->flows));
	key_of(key, &f->stream);
	snprintf(low, sizeof(low), "%" PRIu64, f->next_seq);
	snprintf(limit, sizeof(limit), "%d", PIECE_COUNT);
	cache_begin(f->bench->cache, "ZRANGEBYSCORE", key);
	cache_arg(f->bench->cache, low);
	cache_arg(f->bench->cache, "+inf");
	cache_arg(f->bench->cache, "LIMIT");
	cache_arg(f->bench->cache, "0");
	cache_arg(f->bench->cache, limit);
	MUST(cache_ask(f->bench->cache, &q) == 0);
}

static void
read_rate(struct bench *b, const char *name, unsigned flows, pid_t pid, void (*fn)(struct flow_read *))
{
	double start = pg_seconds(), ours = cpu_of(getpid()), theirs = cpu_of_tree(pid);

	b->over = false;
	b->bytes = 0;
	b->flows_left = flows;
	loop_timer_arm_ms(b->timer, (int64_t)(seconds_each * 1000));
	for (unsigned i = 0; i < flows; i++) {
		b->flows[i].next_seq = 1;
		fn(&b->flows[i]);
	}
	loop_run(b->loop);
	print(name, "", flows, (double)b->bytes / 1e6 / (pg_seconds() - start), "MB/s");
	print(name, "_cpu_server", flows, (cpu_of_tree(pid) - theirs) * 1e9 / (double)b->bytes, "ms/MB");
	print(name, "_cpu_client", flows, (cpu_of(getpid()) - ours) * 1e9 / (double)b->bytes, "ms/MB");
}

static void
read_all(struct bench *b)
{
	static const unsigned flows[] = {1, STREAMS};

	for (size_t i = 0; i < 2; i++) {
		read_rate(b, "readback_postgres", flows[i], server.pid, read_store);
		b->signed_only = false;
		read_rate(b, "readback_redis", flows[i], redis_pid, read_redis);
		b->signed_only = true;
		read_rate(b, "readback_redis_signed", flows[i], redis_pid, read_redis);
	}
}

int
main(int argc, char **argv)
{
	static struct bench bench;
	const struct cache_callbacks cb = {on_up, on_down, &bench};
	struct keyring_dir dir;

	if (argc > 1)
		seconds_each = atof(argv[1]);
	signal(SIGPIPE, SIG_IGN);
	log_set_level(LOG_ERROR);
	MUST(crypto_init() == 0);
	pg_server_init(&server);
	pg_server_start(&server, NULL);
	redis_start();
	keyring_dir_init(&dir, KEY_A "\n");
	keyring_dir_put(&dir, "tenants/acme.key", KEY_B "\n", 0600);
	bench.keyring = keyring_open(dir.path);
	MUST(bench.keyring != NULL);
	crypto_key_public(keyring_node_key(bench.keyring), bench.public_key);
	crypto_random(bench.mark_key, sizeof(bench.mark_key));
	bench.loop = loop_event_new();
	bench.timer = loop_timer_new(bench.loop, on_over, &bench);
	bench.cache = cache_new(bench.loop, redis_path, 0, &cb);
	MUST(bench.cache != NULL);
	loop_run(bench.loop);
	store_start(&bench);
	make_batches(&bench);
	put_store(&bench);
	put_all_redis(&bench);
	read_all(&bench);
	kill(redis_pid, SIGKILL);
	waitpid(redis_pid, NULL, 0);
	cache_free(bench.cache);
	store_free(bench.store);
	loop_timer_free(bench.timer);
	loop_free(bench.loop);
	for (size_t i = 0; i < STREAMS * BATCHES; i++)
		batch_unref(bench.batches[i / BATCHES][i % BATCHES]);
	keyring_free(bench.keyring);
	keyring_dir_fini(&dir);
	unlink(redis_path);
	pg_server_fini(&server);
	return 0;
}
