/* imsg: framing, descriptors and limits over a socketpair. */
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/imsg.h"

struct pair {
	int fd[2];
	struct imsg_queue *a, *b; /* a writes, b reads */
};

static void
pair_open(struct pair *p)
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, p->fd), 0);
	p->a = imsg_queue_new(p->fd[0], 1024);
	p->b = imsg_queue_new(p->fd[1], 1024);
	assert_non_null(p->a);
	assert_non_null(p->b);
}

static void
pair_close(struct pair *p)
{
	imsg_queue_free(p->a);
	imsg_queue_free(p->b);
	close(p->fd[0]);
	close(p->fd[1]);
}

static int
push(struct imsg_queue *q, uint32_t type, int fd, const void *body, size_t len)
{
	struct iovec iov = {.iov_base = (void *)(uintptr_t)body, .iov_len = len};

	return imsg_push(q, type, type + 1, fd, &iov, 1);
}

/* The next message, reading and (other side) writing as needed. */
static void
receive(struct pair *p, struct imsg *m)
{
	int r;

	while ((r = imsg_next(p->b, m)) == 0) {
		(void)imsg_flush(p->a);
		assert_int_equal(imsg_read(p->b), 0);
	}
	assert_int_equal(r, 1);
}

static void
test_many_sizes(void **state)
{
	static const size_t sizes[] = {
	    0, 1, 15, 300, 65519, 65520, 65521, 65536, 200000, 1000000, IMSG_BODY_MAX_BYTES, 3};
	uint8_t *body = malloc(IMSG_BODY_MAX_BYTES);
	struct pair p;
	struct imsg m;

	(void)state;
	pair_open(&p);
	for (size_t i = 0; i < IMSG_BODY_MAX_BYTES; i++)
		body[i] = (uint8_t)(i * 7 + i / 251);
	for (uint32_t i = 0; i < COUNT(sizes); i++)
		assert_int_equal(push(p.a, i, -1, body, sizes[i]), 0);
	assert_true(imsg_full(p.a));
	for (uint32_t i = 0; i < COUNT(sizes); i++) {
		receive(&p, &m);
		assert_int_equal(m.type, i);
		assert_int_equal(m.peerid, i + 1);
		assert_int_equal(m.pid, getpid());
		assert_int_equal(m.fd, -1);
		assert_int_equal(m.len, sizes[i]);
		assert_memory_equal(m.body, body, m.len);
		imsg_done(&m);
	}
	assert_int_equal(imsg_queued_bytes(p.a), 0);
	assert_false(imsg_full(p.a));
	assert_int_equal(imsg_next(p.b, &m), 0);
	assert_int_equal(imsg_read(p.b), ERR_AGAIN);
	pair_close(&p);
	free(body);
}

static bool
fd_is_open(int fd)
{
	return fcntl(fd, F_GETFD) != -1;
}

/* Descriptors arrive with their own messages, whatever else shares the system call. */
static void
test_descriptors(void **state)
{
	char path[][32] = {"/dev/null", "/dev/zero"};
	struct stat sent[2], got;
	struct pair p;
	struct imsg m;
	int fds[2];

	(void)state;
	pair_open(&p);
	for (int i = 0; i < 2; i++) {
		fds[i] = open(path[i], O_RDONLY);
		assert_int_equal(fstat(fds[i], &sent[i]), 0);
	}
	assert_int_equal(push(p.a, 1, -1, "one", 3), 0);
	assert_int_equal(push(p.a, 2, fds[0], "two", 3), 0);
	assert_int_equal(push(p.a, 3, -1, "three", 5), 0);
	assert_int_equal(push(p.a, 4, fds[1], NULL, 0), 0);
	for (uint32_t i = 1; i <= 4; i++) {
		receive(&p, &m);
		assert_int_equal(m.type, i);
		assert_int_equal(m.fd != -1, i % 2 == 0);
		if (m.fd != -1) {
			assert_int_equal(fstat(m.fd, &got), 0);
			assert_int_equal(got.st_rdev, sent[i / 2 - 1].st_rdev);
			assert_true(fcntl(m.fd, F_GETFD) & FD_CLOEXEC);
		}
		imsg_done(&m);
	}
	/* Sent ones were closed here, and the received ones by imsg_done(). */
	assert_false(fd_is_open(fds[0]));
	pair_close(&p);
}

/* Descriptors that nobody claims are closed with the queue, on both sides. */
static void
test_descriptors_closed(void **state)
{
	struct pair p;
	int before, after;

	(void)state;
	before = dup(0);
	close(before);
	pair_open(&p);
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(push(p.a, i, open("/dev/null", O_RDONLY), "x", 1), 0);
	(void)imsg_flush(p.a);
	assert_int_equal(imsg_read(p.b), 0);
	assert_int_equal(push(p.a, 9, open("/dev/null", O_RDONLY), "never sent", 10), 0);
	pair_close(&p);
	after = dup(0);
	close(after);
	assert_int_equal(before, after);
}

static void
raw_write(const struct pair *p, const void *data, size_t len)
{
	assert_int_equal(write(p->fd[0], data, len), len);
}

static void
test_bad_headers(void **state)
{
	static const struct {
		uint32_t header[4];
		int err;
	} bad[] = {
	    {{1, 0, 0, 0}, ERR_FORMAT},
	    {{1, 15, 0, 0}, ERR_FORMAT},
	    {{1, 16 + IMSG_BODY_MAX_BYTES + 1, 0, 0}, ERR_LIMIT},
	    {{1, 0x7fffffff, 0, 0}, ERR_LIMIT},
	    {{1, 0x80000000u | 16, 0, 0}, ERR_FORMAT}, /* a descriptor that did not come */
	    {{1, 0x80000000u | 15, 0, 0}, ERR_FORMAT},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(bad); i++) {
		struct pair p;
		struct imsg m;

		pair_open(&p);
		raw_write(&p, bad[i].header, sizeof(bad[i].header));
		assert_int_equal(imsg_read(p.b), 0);
		assert_int_equal(imsg_next(p.b, &m), bad[i].err);
		pair_close(&p);
	}
}

static void
test_limit(void **state)
{
	const uint32_t header[4] = {1, 16 + 513, 0, 0};
	struct pair p;
	struct imsg m;

	(void)state;
	pair_open(&p);
	imsg_limit(p.b, 512);
	assert_int_equal(push(p.a, 1, -1, header, sizeof(header)), 0);
	receive(&p, &m);
	raw_write(&p, header, sizeof(header));
	assert_int_equal(imsg_read(p.b), 0);
	assert_int_equal(imsg_next(p.b, &m), ERR_LIMIT);
	assert_int_equal(push(p.a, 1, -1, "", IMSG_BODY_MAX_BYTES + 1), ERR_LIMIT);
	pair_close(&p);
}

static void
send_fds(int sock, int count)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(64 * sizeof(int))];
	} control = {0};
	struct iovec iov = {.iov_base = (char[]){"x"}, .iov_len = 1};
	struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control};
	struct cmsghdr *c;
	int fds[64] = {0};

	mh.msg_controllen = CMSG_SPACE((size_t)count * sizeof(int));
	c = CMSG_FIRSTHDR(&mh);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN((size_t)count * sizeof(int));
	memcpy(CMSG_DATA(c), fds, (size_t)count * sizeof(int));
	assert_int_equal(sendmsg(sock, &mh, 0), 1);
}

/* A peer that sends descriptors which no message announces can't make us hold them all. */
static void
test_descriptor_flood(void **state)
{
	struct pair p;
	int r = 0;

	(void)state;
	pair_open(&p);
	send_fds(p.fd[0], 64);
	assert_int_equal(imsg_read(p.b), ERR_FORMAT);
	pair_close(&p);
	pair_open(&p);
	for (int i = 0; i <= IMSG_FDS_MAX && r == 0; i++) {
		send_fds(p.fd[0], 1);
		r = imsg_read(p.b);
	}
	assert_int_equal(r, ERR_FORMAT);
	pair_close(&p);
}

static void
test_closed(void **state)
{
	struct pair p;
	struct imsg m;

	(void)state;
	pair_open(&p);
	assert_int_equal(push(p.a, 1, -1, "last", 4), 0);
	assert_int_equal(imsg_flush(p.a), 0);
	shutdown(p.fd[0], SHUT_RDWR);
	assert_int_equal(imsg_read(p.b), 0);
	assert_int_equal(imsg_next(p.b, &m), 1);
	assert_int_equal(imsg_read(p.b), ERR_CLOSED);
	assert_int_equal(push(p.a, 1, -1, "", 1), 0);
	assert_int_equal(imsg_flush(p.a), ERR_CLOSED);
	pair_close(&p);
}

/* A reader that has stopped: the queue grows and nothing is lost when it goes on. */
static void
test_stopped_reader(void **state)
{
	enum { MESSAGES = 20000 };
	struct pair p;
	struct imsg m;
	uint32_t body;

	(void)state;
	pair_open(&p);
	for (uint32_t i = 0; i < MESSAGES; i++) {
		uint32_t parts[16] = {i};

		assert_int_equal(push(p.a, i, -1, parts, sizeof(parts)), 0);
		if (i % 100 == 0)
			(void)imsg_flush(p.a);
	}
	assert_int_equal(imsg_flush(p.a), ERR_AGAIN);
	for (uint32_t i = 0; i < MESSAGES; i++) {
		receive(&p, &m);
		memcpy(&body, m.body, sizeof(body));
		assert_int_equal(m.type, i);
		assert_int_equal(body, i);
	}
	pair_close(&p);
}

/* Whichever allocation fails: the message is queued whole or not at all. */
static void
test_no_memory(void **state)
{
	static uint8_t body[300000];
	bool done = false;

	(void)state;
	for (unsigned long k = 1; !done; k++) {
		struct pair p;
		struct imsg m;
		int r, fd = open("/dev/null", O_RDONLY);

		pair_open(&p);
		mem_fail_at(k);
		r = push(p.a, 7, fd, body, sizeof(body));
		done = r == 0;
		if (r != 0) {
			assert_int_equal(r, ERR_NOMEM);
			assert_int_equal(imsg_queued_bytes(p.a), 0);
			assert_int_equal(push(p.a, 7, fd, body, sizeof(body)), 0);
		}
		while (imsg_next(p.b, &m) == 0) {
			(void)imsg_flush(p.a);
			r = imsg_read(p.b);
			assert_true(r == 0 || r == ERR_NOMEM);
		}
		assert_int_equal(m.len, sizeof(body));
		done = done && mem_count() < k;
		imsg_done(&m);
		mem_fail_at(0);
		pair_close(&p);
		assert_true(k < 1000);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_many_sizes),
	    cmocka_unit_test(test_descriptors),
	    cmocka_unit_test(test_descriptors_closed),
	    cmocka_unit_test(test_bad_headers),
	    cmocka_unit_test(test_limit),
	    cmocka_unit_test(test_descriptor_flood),
	    cmocka_unit_test(test_closed),
	    cmocka_unit_test(test_stopped_reader),
	    cmocka_unit_test(test_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
