/*
 * The cache against a Redis server of its own, on a Unix socket in a temporary directory, which is killed
 * in the middle; and against servers that lie.
 */
#include "tests/unit/consensusd/redis_server.h"

#include <sys/socket.h>
#include <sys/un.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/log.h"
#include "common/os/loop.h"
#include "consensusd/cache_ids.h"
#include "consensusd/limits.h"
#include "consensusd/stats.h"

enum { DEADLINE_MS = 20000, IDS = 3000 };

struct user {
	struct loop *loop;
	struct loop_timer *alarm;
	struct cache *cache;
	struct cache_ids cached;
	struct redis_server server;
	bool (*until)(struct user *u);
	unsigned ups, downs, recalls, ok;
	unsigned until_downs;
	char why[128];
	struct cache_id ids[IDS];
	size_t count;
	/* A server that lies. */
	int listener, peer;
	struct loop_fd *listening;
	const char *lie;
	size_t lie_len;
};

static struct user user;

/* --- the server --- */

static void
server_start(struct user *u)
{
	redis_server_start(&u->server);
}

static void
server_kill(struct user *u)
{
	redis_server_kill(&u->server);
}

static long
cli(struct user *u, const char *command)
{
	return redis_server_cli(&u->server, 1, command);
}

/* --- the user --- */

static void
on_alarm(void *arg)
{
	struct user *u = arg;

	fail_msg("deadline: %u ups, %u downs (%s)", u->ups, u->downs, u->why);
}

static void
check(struct user *u)
{
	if (u->until != NULL && u->until(u))
		loop_stop(u->loop);
}

static void
run(struct user *u, bool (*until)(struct user *u))
{
	if (until(u))
		return;
	u->until = until;
	loop_timer_arm_ms(u->alarm, DEADLINE_MS);
	assert_int_equal(loop_run(u->loop), 0);
	loop_timer_disarm(u->alarm);
	u->until = NULL;
}

static void
on_up(void *ctx)
{
	struct user *u = ctx;

	u->ups++;
	check(u);
}

static void
on_down(void *ctx, const char *why)
{
	struct user *u = ctx;

	u->downs++;
	snprintf(u->why, sizeof(u->why), "%s", why);
	check(u);
}

static void
on_recalled(void *ctx, const struct ulid *stream, const struct cache_id *ids, size_t count, bool ok)
{
	struct user *u = ctx;

	(void)stream;
	assert_true(count <= IDS);
	if (count > 0)
		memcpy(u->ids, ids, count * sizeof(*ids));
	u->count = count;
	u->recalls++;
	u->ok += ok;
	check(u);
}

/* A new cache, which has no reason yet to pause before it connects. */
static void
cache_again(struct user *u)
{
	const struct cache_callbacks cb = {on_up, on_down, u};

	cache_free(u->cache);
	u->cache = cache_new(u->loop, u->server.path, 1, &cb);
	assert_non_null(u->cache);
	u->cached.cache = u->cache;
	u->cached.fn = on_recalled;
	u->cached.ctx = u;
	u->until_downs = u->downs + 1;
}

static struct user *
user_new(void)
{
	struct user *u = &user;

	*u = (struct user){.listener = -1, .peer = -1};
	redis_server_init(&u->server);
	u->loop = loop_event_new();
	assert_non_null(u->loop);
	u->alarm = loop_timer_new(u->loop, on_alarm, u);
	cache_again(u);
	return u;
}

static void
user_free(struct user *u)
{
	cache_free(u->cache);
	loop_fd_del(u->listening);
	if (u->peer != -1)
		close(u->peer);
	if (u->listener != -1)
		close(u->listener);
	loop_timer_free(u->alarm);
	loop_free(u->loop);
	redis_server_fini(&u->server);
}

static bool
is_up(struct user *u)
{
	return cache_up(u->cache);
}

static bool
is_down(struct user *u)
{
	return !cache_up(u->cache);
}

static bool
is_recalled(struct user *u)
{
	return u->recalls > 0;
}

static bool
is_recalled_or_down(struct user *u)
{
	return u->recalls > 0 || u->downs >= u->until_downs;
}

static bool
is_lost_again(struct user *u)
{
	return u->downs >= u->until_downs;
}

static struct ulid
ulid_of(uint64_t n)
{
	static const uint8_t random[10];
	struct ulid id;

	ulid_make(&id, n, random);
	return id;
}

static int
add(struct user *u, uint64_t stream, uint64_t first, size_t count)
{
	static struct cache_id ids[IDS];
	const struct ulid s = ulid_of(stream);

	assert_true(count <= IDS);
	for (size_t i = 0; i < count; i++)
		ids[i] = (struct cache_id){ulid_of(first + i + 1000000), first + i};
	return cache_ids_add(&u->cached, &s, ids, count);
}

/* Asks, and waits for the answer; returns how many ids came. */
static size_t
recall(struct user *u, uint64_t stream, uint64_t last)
{
	const struct ulid s = ulid_of(stream);

	u->recalls = u->ok = 0;
	assert_int_equal(cache_ids_recall(&u->cached, &s, last), 0);
	run(u, is_recalled);
	return u->count;
}

static void
check_ids(const struct user *u, uint64_t first, size_t count)
{
	assert_int_equal(u->count, count);
	for (size_t i = 0; i < count; i++) {
		const struct ulid id = ulid_of(first + i + 1000000);

		assert_int_equal(u->ids[i].seq, first + i);
		assert_memory_equal(u->ids[i].id.b, id.b, ULID_BYTES);
	}
}

/* --- a server that works --- */

static void
test_ids_are_remembered(void **state)
{
	struct user *u = user_new();
	char command[128], text[ULID_TEXT_SIZE];
	struct ulid s = ulid_of(1);
	long ttl;

	(void)state;
	server_start(u);
	run(u, is_up);
	assert_int_equal(recall(u, 1, 0), 0);
	/* More than go into one command; streams are apart. */
	assert_int_equal(add(u, 1, 1, 1300), 0);
	assert_int_equal(add(u, 1, 1301, 1), 0);
	assert_int_equal(add(u, 2, 7, 3), 0);
	recall(u, 1, UINT64_C(1) << 40);
	check_ids(u, 1, 1301);
	recall(u, 2, 9);
	check_ids(u, 7, 3);
	/* What is above the last seq is of another time: gone, not only left out. */
	recall(u, 1, 1000);
	check_ids(u, 1, 1000);
	recall(u, 1, 2000);
	check_ids(u, 1, 1000);
	ulid_format(text, &s);
	snprintf(command, sizeof(command), "ttl inbox_dedupe:%s", text);
	ttl = cli(u, command);
	assert_true(ttl > CACHE_TTL_S - 60 && ttl <= CACHE_TTL_S);
	assert_int_equal(cache_ids_remove(&u->cached, &s), 0);
	assert_int_equal(recall(u, 1, 2000), 0);
	user_free(u);
}

static void
test_only_the_newest_are_kept(void **state)
{
	struct user *u = user_new();
	char command[128], text[ULID_TEXT_SIZE];
	const struct ulid s = ulid_of(1);

	(void)state;
	server_start(u);
	run(u, is_up);
	for (uint64_t first = 1; first <= CACHE_STREAM_IDS + 5000; first += 1000) {
		assert_int_equal(add(u, 1, first, 1000), 0);
		recall(u, 2, 0); /* the answers so far are in */
	}
	ulid_format(text, &s);
	snprintf(command, sizeof(command), "zcard inbox_dedupe:%s", text);
	assert_int_equal(cli(u, command), CACHE_STREAM_IDS);
	user_free(u);
}

static void
test_seq_beyond_a_score_is_left_out(void **state)
{
	struct user *u = user_new();
	const uint64_t most = UINT64_C(1) << 53;

	(void)state;
	server_start(u);
	run(u, is_up);
	assert_int_equal(add(u, 1, most - 1, 4), 0);
	assert_int_equal(add(u, 1, most + 10, 4), 0);
	recall(u, 1, most);
	check_ids(u, most - 1, 2);
	user_free(u);
}

static void
test_foreign_members_are_left_out(void **state)
{
	struct user *u = user_new();
	char command[256], text[ULID_TEXT_SIZE];
	struct ulid s = ulid_of(1);
	int64_t before = stats.redis_rejected.value;

	(void)state;
	server_start(u);
	run(u, is_up);
	assert_int_equal(add(u, 1, 1, 2), 0);
	recall(u, 1, 100);
	ulid_format(text, &s);
	snprintf(command, sizeof(command),
	    "zadd inbox_dedupe:%s 3 hello 4 01ARZ3NDEKTSV4RRFFQ69G5FAVX 1.5 01ARZ3NDEKTSV4RRFFQ69G5FAV"
	    " -3 01ARZ3NDEKTSV4RRFFQ69G5FAW",
	    text);
	assert_int_equal(cli(u, command), 4);
	recall(u, 1, 100);
	check_ids(u, 1, 2);
	assert_int_equal(stats.redis_rejected.value - before, 4);
	/* A key of another type refuses; the connection goes on. */
	s = ulid_of(2);
	ulid_format(text, &s);
	snprintf(command, sizeof(command), "set inbox_dedupe:%s x", text);
	cli(u, command);
	recall(u, 2, 100);
	assert_int_equal(u->ok, 0);
	assert_true(cache_up(u->cache));
	user_free(u);
}

static void
test_away_and_back(void **state)
{
	struct user *u = user_new();

	(void)state;
	assert_int_equal(add(u, 1, 1, 1), ERR_UNAVAIL);
	u->until_downs = 2;
	run(u, is_lost_again); /* nobody listens */
	server_start(u);
	run(u, is_up);
	for (unsigned round = 0; round < 3; round++) {
		const struct ulid s = ulid_of(1);

		/* Killed with commands in the air, and a question that may be answered before that or not. */
		for (uint64_t i = 0; i < 20; i++)
			assert_int_equal(add(u, 1, i * 100 + 1, 100), 0);
		u->recalls = 0;
		u->until_downs = u->downs + 1;
		assert_int_equal(cache_ids_recall(&u->cached, &s, 5000), 0);
		kill(u->server.pid, round == 1 ? SIGSTOP : SIGCONT);
		if (round == 0)
			run(u, is_recalled_or_down);
		server_kill(u);
		run(u, is_down);
		assert_int_equal(add(u, 1, 9000, 1), ERR_UNAVAIL);
		server_start(u);
		run(u, is_up);
		assert_int_equal(recall(u, 1, 5000), 0); /* it came back empty */
		assert_int_equal(add(u, 1, 1, 5), 0);
		recall(u, 1, 5000);
		check_ids(u, 1, 5);
	}
	user_free(u);
}

static void
test_slow_server_is_not_waited_for(void **state)
{
	struct user *u = user_new();
	unsigned taken = 0;
	int err = 0;

	(void)state;
	server_start(u);
	run(u, is_up);
	kill(u->server.pid, SIGSTOP);
	while (taken < CACHE_PENDING_MAX && (err = add(u, 1, taken + 1, 1)) == 0)
		taken++;
	assert_int_equal(err, ERR_FULL);
	assert_int_equal(taken, CACHE_PENDING_MAX / 3);
	assert_int_equal(add(u, 1, 1, IDS), ERR_FULL);
	kill(u->server.pid, SIGCONT);
	/* Room again as soon as it answers. */
	u->recalls = 0;
	while ((err = cache_ids_recall(&u->cached, &(struct ulid){{0}}, 0)) == 0)
		;
	assert_int_equal(err, ERR_FULL);
	run(u, is_up);
	server_kill(u);
	u->until_downs = 1;
	run(u, is_lost_again);
	user_free(u);
}

/* --- servers that lie --- */

static void
on_listener(void *arg, int fd, unsigned events)
{
	struct user *u = arg;

	(void)events;
	if (u->peer != -1)
		close(u->peer);
	u->peer = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (u->peer != -1 && u->lie_len > 0)
		(void)!send(u->peer, u->lie, u->lie_len, MSG_NOSIGNAL);
	if (u->peer != -1 && u->lie_len == 0) {
		close(u->peer);
		u->peer = -1;
	}
}

static void
liar_start(struct user *u)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", u->server.path);
	u->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(u->listener, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(u->listener, 4), 0);
	u->listening = loop_fd_add(u->loop, u->listener, LOOP_READ, on_listener, u);
	assert_non_null(u->listening);
}

#define LIE(text)                                                                                            \
	{                                                                                                    \
		text, sizeof(text) - 1                                                                       \
	}

static const struct {
	const char *text;
	size_t len;
} lies[] = {
    LIE(""),
    LIE("\r\n"),
    LIE("\0\0\0\0"),
    LIE("HTTP/1.1 400 Bad Request\r\n\r\n"),
    LIE(":1\r\n"),
    LIE("$-1\r\n"),
    LIE("*0\r\n"),
    LIE("$2\r\nOK\r\n"),
    LIE("+QUEUED\r\n"),
    LIE("-NOAUTH Authentication required.\r\n"),
    LIE("-\r\n"),
    LIE("*1000000000\r\n"),
    LIE("*-2\r\n"),
    LIE("*99999999999999999999\r\n"),
    LIE("$99999999999999999999\r\n"),
    LIE("*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n"),
    /* Right at first, and then more than was asked. */
    LIE("+OK\r\n+OK\r\n"),
    LIE("+OK\r\n*2\r\n$1\r\na\r\n$1\r\n1\r\n"),
    LIE("+OK\r\n-ERR max number of clients reached\r\n"),
};

static void
test_liars_are_dropped(void **state)
{
	struct user *u = user_new();

	(void)state;
	liar_start(u);
	for (size_t i = 0; i < COUNT(lies); i++) {
		u->lie = lies[i].text;
		u->lie_len = lies[i].len;
		cache_again(u);
		run(u, is_lost_again);
	}
	user_free(u);
}

static void
test_endless_answers_are_dropped(void **state)
{
	static char line[CACHE_UNREAD_MAX_BYTES + 65536], bulk[CACHE_UNREAD_MAX_BYTES + 65536];
	struct user *u = user_new();

	(void)state;
	liar_start(u);
	memset(line, 'x', sizeof(line));
	line[0] = '+';
	memset(bulk, 'x', sizeof(bulk));
	memcpy(bulk, "$2000000000\r\n", 13);
	u->lie = line;
	u->lie_len = sizeof(line);
	cache_again(u);
	run(u, is_lost_again);
	u->lie = bulk;
	cache_again(u);
	run(u, is_lost_again);
	assert_string_equal(u->why, "its answer is too long");
	user_free(u);
}

/* What is asked for is checked as well: a wrong answer to a recall. */
static void
test_wrong_answers_are_dropped(void **state)
{
	static const char *const answers[] = {"+OK\r\n:0\r\n:0\r\n:0\r\n",
	    "+OK\r\n:0\r\n:0\r\n*1\r\n$1\r\na\r\n", "+OK\r\n*0\r\n", "+OK\r\n:0\r\n*0\r\n",
	    "+OK\r\n:0\r\n:0\r\n*2\r\n*0\r\n*0\r\n", "+OK\r\n:0\r\n:0\r\n*-1\r\n"};
	struct user *u = user_new();

	(void)state;
	liar_start(u);
	for (size_t i = 0; i < COUNT(answers); i++) {
		const struct ulid s = ulid_of(1);

		u->lie = "+OK\r\n";
		u->lie_len = 5;
		cache_again(u);
		run(u, is_up);
		assert_int_equal(cache_ids_recall(&u->cached, &s, 1), 0);
		assert_int_not_equal(send(u->peer, answers[i] + 5, strlen(answers[i] + 5), MSG_NOSIGNAL), -1);
		run(u, is_lost_again);
		assert_int_equal(u->recalls, 0);
	}
	user_free(u);
}

static void
test_silent_server_is_given_up(void **state)
{
	struct user *u = user_new();

	(void)state;
	liar_start(u);
	u->lie = "+";
	u->lie_len = 1;
	cache_again(u);
	run(u, is_lost_again);
	assert_string_equal(u->why, "it does not answer");
	user_free(u);
}

static void
test_failing_allocations(void **state)
{
	const struct cache_callbacks cb = {on_up, on_down, &user};
	struct user *u = user_new();
	unsigned failed = 0;

	(void)state;
	for (size_t n = 1;; n++) {
		struct cache *c;

		mem_fail_at(n);
		c = cache_new(u->loop, u->server.path, 0, &cb);
		mem_fail_at(0);
		if (c != NULL) {
			cache_free(c);
			break;
		}
		failed++;
	}
	assert_true(failed >= 3);
	server_start(u);
	run(u, is_up);
	assert_int_equal(add(u, 1, 1, 3), 0);
	recall(u, 1, 3);
	check_ids(u, 1, 3);
	/* Without memory for the answer nothing is known, and that is said. */
	mem_fail_at(1);
	assert_int_equal(recall(u, 1, 3), 0);
	mem_fail_at(0);
	assert_int_equal(u->ok, 0);
	user_free(u);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_ids_are_remembered),
	    cmocka_unit_test(test_only_the_newest_are_kept),
	    cmocka_unit_test(test_seq_beyond_a_score_is_left_out),
	    cmocka_unit_test(test_foreign_members_are_left_out),
	    cmocka_unit_test(test_away_and_back),
	    cmocka_unit_test(test_slow_server_is_not_waited_for),
	    cmocka_unit_test(test_liars_are_dropped),
	    cmocka_unit_test(test_endless_answers_are_dropped),
	    cmocka_unit_test(test_wrong_answers_are_dropped),
	    cmocka_unit_test(test_silent_server_is_given_up),
	    cmocka_unit_test(test_failing_allocations),
	};

	signal(SIGPIPE, SIG_IGN);
	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
