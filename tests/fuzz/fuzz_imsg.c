/*
 * Whatever a sibling sends: imsg cuts it into messages within the limit or gives an error, and a
 * channel handles only messages that its edge's table has, of the sizes and with the descriptors named there.
 */
#include "tests/fuzz/fuzz.h"

#include <sys/socket.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/os/channel.h"
#include "common/os/imsg.h"
#include "common/os/log.h"
#include "common/os/loop.h"
#include "proto/messages.h"

enum { INPUT_MAX_BYTES = 60000, HANDLERS = 64 };

static void
pair_open(int fd[2], const uint8_t *data, size_t size)
{
	FUZZ_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd) == 0);
	FUZZ_CHECK(write(fd[0], data, size) == (ssize_t)size);
	shutdown(fd[0], SHUT_WR);
}

static void
fuzz_framing(const uint8_t *data, size_t size)
{
	enum { LIMIT = 4096 };
	struct imsg_queue *q;
	struct imsg m;
	size_t taken = 0;
	int fd[2], r;

	pair_open(fd, data, size);
	q = imsg_queue_new(fd[1], 0);
	FUZZ_CHECK(q != NULL);
	imsg_limit(q, LIMIT);
	do {
		while ((r = imsg_next(q, &m)) == 1) {
			FUZZ_CHECK(m.len <= LIMIT && m.fd == -1);
			FUZZ_CHECK(memcmp(m.body, data + taken + IMSG_HDR_BYTES, m.len) == 0);
			taken += IMSG_HDR_BYTES + m.len;
			imsg_done(&m);
		}
		FUZZ_CHECK(r == 0 || r == ERR_FORMAT || r == ERR_LIMIT);
		if (r == 0)
			r = imsg_read(q);
	} while (r == 0);
	FUZZ_CHECK(taken <= size);
	imsg_queue_free(q);
	close(fd[0]);
	close(fd[1]);
}

static int
on_any(void *ctx, struct channel *ch, struct imsg *m)
{
	const struct msg_def *def = &edge_consensus_transport.msgs[m->type];

	(void)ctx;
	FUZZ_CHECK(def->name != NULL && def->dir == MSG_DIR_DOWN);
	FUZZ_CHECK(m->len >= def->min_bytes && m->len <= def->max_bytes);
	FUZZ_CHECK((m->fd != -1) == (def->fd == MSG_WITHFD));
	FUZZ_CHECK(channel_up(ch));
	return 0;
}

static int
on_up(void *ctx, struct channel *ch)
{
	(void)ctx;
	FUZZ_CHECK(channel_up(ch));
	return 0;
}

static void
on_down(void *ctx, struct channel *ch, int err)
{
	(void)ctx;
	FUZZ_CHECK(err != 0 && !channel_up(ch));
}

static void
on_timer(void *arg)
{
	loop_stop(arg);
}

static void
fuzz_channel(struct loop *l, struct loop_timer *t, const uint8_t *data, size_t size)
{
	channel_handler *handlers[HANDLERS];
	const struct channel_conf conf = {.edge = &edge_consensus_transport,
	    .handlers = handlers,
	    .handler_count = HANDLERS,
	    .on_up = on_up,
	    .on_down = on_down};
	struct channel *ch;
	int fd[2];

	for (size_t i = 0; i < HANDLERS; i++)
		handlers[i] = on_any;
	pair_open(fd, data, size);
	ch = channel_attach(l, fd[1], CHANNEL_SERVER, "fuzz", &conf);
	FUZZ_CHECK(ch != NULL);
	for (int i = 0; i < 4; i++) {
		loop_timer_arm_ms(t, 0);
		FUZZ_CHECK(loop_run(l) == 0);
	}
	channel_free(ch);
	close(fd[0]);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct loop *l;
	static struct loop_timer *t;

	if (l == NULL) {
		log_set_level(LOG_ERROR);
		l = loop_event_new();
		FUZZ_CHECK(l != NULL);
		t = loop_timer_new(l, on_timer, l);
		FUZZ_CHECK(t != NULL);
	}
	if (size > INPUT_MAX_BYTES)
		return 0;
	fuzz_framing(data, size);
	fuzz_channel(l, t, data, size);
	return 0;
}
