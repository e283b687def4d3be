/* client: see client.h. */
#include "meshctl/client.h"

#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/channel.h"
#include "common/os/clock.h"
#include "common/os/loop.h"
#include "meshctl/command.h"
#include "meshctl/out.h"
#include "meshctl/target.h"
#include "proto/ipc.pb.h"
#include "proto/messages.h"
#include "proto/pb.h"

#define EDGE_DEF "proto/control_gateway.def"
#define EDGE_HANDLERS control_handlers
#include "proto/edge_client.h"

enum { RETRY_STEP_MS = 100 };

struct client_call {
	struct client *client;
	uint32_t id;
	const struct client_call_ops *ops;
	void *arg;
};

struct client {
	struct loop *loop;
	struct channel *channel;
	struct loop_timer *timer; /* client_unary's limit, and hello's */
	int signal_fd;
	struct loop_fd *signal_watch;
	sigset_t old_signals;
	struct client_call *calls[CLIENT_CALLS_MAX];
	uint32_t next_id;
	int64_t timeout_ms;
	bool up, lost, interrupted, timed_out, quiet;
	int lost_err;
	void (*on_drain)(void *arg);
	void *drain_arg;
	char path[TARGET_PATH_SIZE];
};

/* --- calls --- */

static struct client_call **
slot_of(struct client *c, uint32_t id)
{
	for (size_t i = 0; i < CLIENT_CALLS_MAX; i++)
		if (c->calls[i] != NULL && c->calls[i]->id == id)
			return &c->calls[i];
	return NULL;
}

static void
call_end(struct client_call **slot, uint32_t status, const char *message)
{
	struct client_call *call = *slot;

	*slot = NULL;
	call->ops->on_status(call->arg, status, message);
	mem_free(call);
}

static int
on_message_in(void *ctx, struct channel *ch, struct imsg *m)
{
	struct client_call **slot = slot_of(ctx, m->peerid);

	(void)ch;
	/* The call may have been cancelled while this was on its way. */
	if (slot != NULL && (*slot)->ops->on_message != NULL)
		(*slot)->ops->on_message((*slot)->arg, m->body, m->len);
	return 0;
}

static int
on_status(void *ctx, struct channel *ch, struct imsg *m)
{
	struct client_call **slot = slot_of(ctx, m->peerid);
	mesh_ipc_CallStatus status = mesh_ipc_CallStatus_init_zero;
	int r = pb_unpack(m->body, m->len, mesh_ipc_CallStatus_fields, &status);

	(void)ch;
	if (r == 0 && slot != NULL)
		call_end(slot, status.code, status.message);
	return r;
}

static int
on_hold(void *ctx, struct channel *ch, struct imsg *m)
{
	struct client_call **slot = slot_of(ctx, m->peerid);
	mesh_ipc_Hold hold = mesh_ipc_Hold_init_zero;
	int r = pb_unpack(m->body, m->len, mesh_ipc_Hold_fields, &hold);

	(void)ch;
	if (r == 0 && slot != NULL && (*slot)->ops->on_hold != NULL)
		(*slot)->ops->on_hold((*slot)->arg, hold.hold);
	return r;
}

struct client_call *
client_call(struct client *c, const char *method, const void *request, size_t len,
    const struct client_call_ops *ops, void *arg)
{
	uint8_t head[1 + 255];
	struct iovec iov[2] = {{.iov_base = head}, {.iov_base = (void *)(uintptr_t)request, .iov_len = len}};
	struct client_call *call = mem_calloc(1, sizeof(*call));
	size_t i = 0, name = strlen(method);

	MUST(name <= 255 && len <= CLIENT_MESSAGE_MAX_BYTES - sizeof(head));
	head[0] = (uint8_t)name;
	memcpy(head + 1, method, name);
	iov[0].iov_len = 1 + name;
	while (i < CLIENT_CALLS_MAX && c->calls[i] != NULL)
		i++;
	MUST(i < CLIENT_CALLS_MAX);
	if (call == NULL || channel_sendv(c->channel, CG_CALL, c->next_id, -1, iov, 2) != 0) {
		out_error("the connection to the node is lost");
		mem_free(call);
		return NULL;
	}
	*call = (struct client_call){.client = c, .id = c->next_id++, .ops = ops, .arg = arg};
	c->calls[i] = call;
	return call;
}

int
client_call_send(struct client_call *call, const void *data, size_t len)
{
	return channel_send(call->client->channel, CG_MESSAGE_OUT, call->id, data, len);
}

int
client_call_half_close(struct client_call *call)
{
	return channel_send(call->client->channel, CG_HALF_CLOSE, call->id, NULL, 0);
}

void
client_call_cancel(struct client_call *call)
{
	struct client_call **slot = slot_of(call->client, call->id);

	/* When the connection is gone, so is the call. */
	(void)!channel_send(call->client->channel, CG_CANCEL, call->id, NULL, 0);
	*slot = NULL;
	mem_free(call);
}

/* --- the connection --- */

static int
on_up(void *ctx, struct channel *ch)
{
	struct client *c = ctx;

	(void)ch;
	c->up = true;
	loop_stop(c->loop);
	return 0;
}

static void
on_down(void *ctx, struct channel *ch, int err)
{
	struct client *c = ctx;

	(void)ch;
	c->lost = true;
	c->lost_err = err;
	for (size_t i = 0; i < CLIENT_CALLS_MAX; i++)
		if (c->calls[i] != NULL)
			call_end(&c->calls[i], CLIENT_UNAVAILABLE, "the connection to the node is lost");
	loop_stop(c->loop);
}

static void
on_channel_drain(void *ctx, struct channel *ch)
{
	struct client *c = ctx;

	(void)ch;
	if (c->on_drain != NULL)
		c->on_drain(c->drain_arg);
}

static void
on_timer(void *arg)
{
	struct client *c = arg;

	c->timed_out = true;
	loop_stop(c->loop);
}

static void
on_signal(void *arg, int fd, unsigned events)
{
	struct client *c = arg;
	struct signalfd_siginfo info;

	(void)events;
	if (read(fd, &info, sizeof(info)) != sizeof(info))
		return;
	c->interrupted = true;
	loop_stop(c->loop);
}

/* From now on SIGINT and SIGTERM end the loop, so that what was received is written and acknowledged. */
static int
signals_init(struct client *c)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	if (sigprocmask(SIG_BLOCK, &set, &c->old_signals) != 0)
		return ERR_IO;
	c->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (c->signal_fd < 0)
		return ERR_IO;
	c->signal_watch = loop_fd_add(c->loop, c->signal_fd, LOOP_READ, on_signal, c);
	return c->signal_watch != NULL ? 0 : ERR_NOMEM;
}

static struct client *
client_new(const struct ctl *ctl)
{
	struct client *c = mem_calloc(1, sizeof(*c));

	if (c == NULL)
		return NULL;
	c->signal_fd = -1;
	c->next_id = 1;
	c->timeout_ms = ctl->timeout_ms;
	c->loop = loop_event_new();
	if (c->loop != NULL)
		c->timer = loop_timer_new(c->loop, on_timer, c);
	if (c->timer != NULL && signals_init(c) == 0)
		return c;
	client_free(c);
	return NULL;
}

void
client_free(struct client *c)
{
	if (c == NULL)
		return;
	for (size_t i = 0; i < CLIENT_CALLS_MAX; i++)
		mem_free(c->calls[i]);
	channel_free(c->channel);
	loop_fd_del(c->signal_watch);
	if (c->signal_fd >= 0) {
		close(c->signal_fd);
		sigprocmask(SIG_SETMASK, &c->old_signals, NULL);
	}
	if (c->timer != NULL)
		loop_timer_free(c->timer);
	if (c->loop != NULL)
		loop_free(c->loop);
	mem_free(c);
}

/* Runs the loop for at most ms; true if the time was up. */
static bool
run_for(struct client *c, int64_t ms)
{
	c->timed_out = false;
	loop_timer_arm_ms(c->timer, ms);
	(void)loop_run(c->loop);
	loop_timer_disarm(c->timer);
	return c->timed_out;
}

/* One attempt to connect and say hello. */
static int
client_attempt(struct client *c, bool quiet)
{
	const struct channel_conf conf = {.edge = &edge_control_gateway,
	    .handlers = control_handlers,
	    .handler_count = sizeof(control_handlers) / sizeof(control_handlers[0]),
	    .on_up = on_up,
	    .on_down = on_down,
	    .on_fail = on_down,
	    .on_drain = on_channel_drain,
	    .ctx = c};
	int fd, code = target_connect(c->path, quiet, &fd);

	if (code != CODE_OK)
		return code;
	c->lost = c->up = false;
	channel_free(c->channel);
	c->channel = channel_attach(c->loop, fd, CHANNEL_CLIENT, "meshctl", &conf);
	if (c->channel == NULL)
		return CODE_FAILED;
	if (run_for(c, c->timeout_ms) && !c->up) {
		out_error("%s: the node accepts connections but does not answer", c->path);
		return CODE_TIMEOUT;
	}
	if (c->up)
		return CODE_OK;
	if (c->interrupted)
		return CODE_INTERRUPTED;
	if (quiet && c->lost_err == ERR_CLOSED)
		return CODE_UNREACHABLE;
	out_error(
	    "%s: the node ended the connection: %s (meshctl and gatewayd must be of one release, and this "
	    "user allowed to connect)",
	    c->path, err_text(c->lost_err));
	return c->lost_err == ERR_CLOSED ? CODE_UNREACHABLE : CODE_REFUSED;
}

int
client_open(const struct ctl *ctl, int64_t retry_ms, struct client **out)
{
	struct mono end = mono_add_ms(clock_mono(), retry_ms);
	struct client *c = client_new(ctl);
	int code = CODE_FAILED;

	*out = NULL;
	if (c == NULL)
		out_error("out of memory");
	else
		code = target_find(ctl, c->path);
	while (code == CODE_OK) {
		bool quiet = mono_before(clock_mono(), end);

		code = client_attempt(c, quiet);
		if (code != CODE_UNREACHABLE || !quiet)
			break;
		run_for(c, RETRY_STEP_MS);
		code = c->interrupted ? CODE_INTERRUPTED : CODE_OK;
	}
	if (code == CODE_OK)
		*out = c;
	else
		client_free(c);
	return code;
}

struct loop *
client_loop(struct client *c)
{
	return c->loop;
}

void
client_run(struct client *c)
{
	if (!c->lost && !c->interrupted)
		(void)loop_run(c->loop);
}

void
client_stop(struct client *c)
{
	loop_stop(c->loop);
}

bool
client_lost(const struct client *c)
{
	return c->lost;
}

bool
client_interrupted(const struct client *c)
{
	return c->interrupted;
}

void
client_on_drain(struct client *c, void (*fn)(void *arg), void *arg)
{
	c->on_drain = fn;
	c->drain_arg = arg;
}

bool
client_full(const struct client *c)
{
	return channel_full(c->channel);
}

/* --- one request, one answer --- */

void
client_quiet(struct client *c, bool quiet)
{
	c->quiet = quiet;
}

struct unary {
	struct client *client;
	struct buf *reply;
	const char *method;
	int err; /* of storing the answer */
	int code;
	bool done;
};

static void
unary_message(void *arg, const uint8_t *data, size_t len)
{
	struct unary *u = arg;

	if (u->err == 0)
		u->err = buf_put_bytes(u->reply, data, len);
}

static void
unary_status(void *arg, uint32_t status, const char *message)
{
	struct unary *u = arg;
	const char *name = strrchr(u->method, '/') + 1;

	u->done = true;
	u->code = u->client->quiet && status == CLIENT_UNAVAILABLE ? CODE_UNREACHABLE
								   : client_code(name, status, message);
	if (u->code == CODE_OK && u->err != 0) {
		out_error("%s: the answer: %s", name, err_text(u->err));
		u->code = CODE_FAILED;
	}
	client_stop(u->client);
}

int
client_unary(struct client *c, const char *method, const struct buf *request, struct buf *reply)
{
	static const struct client_call_ops ops = {.on_message = unary_message, .on_status = unary_status};
	struct unary u = {.client = c, .reply = reply, .method = method};
	bool before = c->interrupted; /* what is to be finished after a signal ends only with a second one */
	struct client_call *call = client_call(c, method, request != NULL ? buf_head(request) : NULL,
	    request != NULL ? buf_left(request) : 0, &ops, &u);

	if (call == NULL)
		return CODE_UNREACHABLE;
	c->interrupted = false;
	while (!u.done && !c->interrupted && !run_for(c, c->timeout_ms) && !c->lost)
		;
	if (u.done) {
		c->interrupted |= before;
		return u.code;
	}
	client_call_cancel(call);
	if (c->interrupted)
		return CODE_INTERRUPTED;
	out_error("%s: no answer within %lld ms", strrchr(method, '/') + 1, (long long)c->timeout_ms);
	return CODE_TIMEOUT;
}

int
client_code(const char *what, uint32_t status, const char *message)
{
	/* gRPC's codes 0 to 16 */
	static const uint8_t codes[] = {CODE_OK, CODE_INTERRUPTED, CODE_FAILED, CODE_REFUSED, CODE_TIMEOUT,
	    CODE_NOTFOUND, CODE_REFUSED, CODE_REFUSED, CODE_REFUSED, CODE_REFUSED, CODE_REFUSED, CODE_REFUSED,
	    CODE_FAILED, CODE_FAILED, CODE_UNREACHABLE, CODE_FAILED, CODE_REFUSED};

	if (status == CLIENT_OK)
		return CODE_OK;
	out_error("%s: %s", what, message[0] != '\0' ? message : "the node gave no reason");
	return status < sizeof(codes) ? codes[status] : CODE_FAILED;
}
