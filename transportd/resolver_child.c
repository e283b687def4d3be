/* resolver_child: keeps the channel to transportd, and forks a worker for each query. */
#include <bsd/sys/queue.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/channel.h"
#include "common/os/log.h"
#include "common/os/loop.h"
#include "proto/messages.h"
#include "transportd/resolver.h"
#include "transportd/resolver_impl.h"

#define EDGE_DEF "proto/resolver.def"
#define EDGE_HANDLERS handlers
#include "proto/edge_server.h"

struct query {
	LIST_ENTRY(query) entry;
	struct keeper *keeper;
	uint32_t id;
	int fd; /* what the worker writes to */
	struct loop_fd *watch;
};

LIST_HEAD(queries, query);

struct keeper {
	struct loop *loop;
	struct channel *ch;
	struct queries queries;
	unsigned count;
};

static void
query_free(struct query *q)
{
	LIST_REMOVE(q, entry);
	q->keeper->count--;
	loop_fd_del(q->watch);
	close(q->fd);
	mem_free(q);
}

/* "Not found": whatever else it was, the next attempt asks again. */
static int
answer_none(struct keeper *k, uint32_t id)
{
	static const uint8_t none[1] = {0};

	return channel_send(k->ch, RS_ADDRESSES, id, none, sizeof(none));
}

/* The worker has written its answer, or is dead. */
static void
on_answer(void *arg, int fd, unsigned events)
{
	struct query *q = arg;
	struct keeper *k = q->keeper;
	uint8_t mem[RESOLVER_ANSWER_MAX_BYTES];
	ssize_t n = read(fd, mem, sizeof(mem));
	int err;

	(void)events;
	if (n == -1 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0 && resolver_answer_check(mem, (size_t)n) == 0)
		err = channel_send(k->ch, RS_ADDRESSES, q->id, mem, (size_t)n);
	else
		err = answer_none(k, q->id);
	query_free(q);
	/* transportd asks RESOLVES_AT_ONCE at most, so this means that it is gone. */
	if (err != 0)
		loop_stop(k->loop);
}

static struct query *
query_new(struct keeper *k, uint32_t id, int fd)
{
	struct query *q = mem_calloc(1, sizeof(*q));

	if (q == NULL)
		return NULL;
	q->watch = loop_fd_add(k->loop, fd, LOOP_READ, on_answer, q);
	if (q->watch == NULL) {
		mem_free(q);
		return NULL;
	}
	q->keeper = k;
	q->id = id;
	q->fd = fd;
	LIST_INSERT_HEAD(&k->queries, q, entry);
	k->count++;
	return q;
}

/* Only the worker holds the other end then, so its death is the end of the file. */
static int
fork_worker(struct keeper *k, uint32_t id, const char *host)
{
	int fds[2];
	pid_t pid;

	if (k->count >= RESOLVES_AT_ONCE)
		return ERR_LIMIT;
	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) == -1)
		return ERR_IO;
	pid = fork();
	if (pid == 0)
		resolver_work(fds[1], host);
	close(fds[1]);
	if (pid != -1 && query_new(k, id, fds[0]) != NULL)
		return 0;
	close(fds[0]);
	return ERR_NOMEM;
}

static int
on_resolve(void *ctx, struct channel *ch, struct imsg *m)
{
	struct keeper *k = ctx;
	char host[PEER_HOST_SIZE];
	struct buf in;
	int err;

	(void)ch;
	buf_view(&in, m->body, m->len);
	if ((err = buf_get_str8(&in, host, sizeof(host))) != 0 || (err = buf_end(&in)) != 0)
		return err;
	err = fork_worker(k, m->peerid, host);
	if (err == 0)
		return 0;
	log_warn("resolver: no process for a query: %s", err_text(err));
	return answer_none(k, m->peerid);
}

static int
on_up(void *ctx, struct channel *ch)
{
	(void)ctx;
	(void)ch;
	return 0;
}

static void
on_down(void *ctx, struct channel *ch, int err)
{
	(void)ch;
	(void)err;
	loop_stop(((struct keeper *)ctx)->loop);
}

static int
enter_sandbox(const char *user)
{
	struct sandbox s = {.calls = resolver_calls, .tcp_connect = true};
	int err;

	resolver_warm_up();
	if ((err = resolver_allow_files(&s)) != 0 || (err = sandbox_drop(user)) != 0)
		return err;
	return sandbox_enter(&s);
}

/* Everything that the parent had open, but for standard error. */
static int
keep_only(int fd)
{
	if (dup2(fd, 3) == -1)
		return -1;
	return close_range(4, ~0U, 0);
}

static void
set_signals(void)
{
	sigset_t none;

	(void)prctl(PR_SET_PDEATHSIG, SIGTERM);
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)signal(SIGTERM, SIG_DFL);
	(void)signal(SIGALRM, SIG_DFL);
	(void)signal(SIGINT, SIG_IGN); /* a terminal's interrupt is for the parent, which ends us */
	(void)signal(SIGHUP, SIG_IGN);
	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGCHLD, SIG_IGN); /* nobody waits for workers: their pipes tell */
}

int
resolver_child_main(int fd, const char *user)
{
	struct keeper k = {.queries = LIST_HEAD_INITIALIZER(k.queries)};
	struct channel_conf conf = {
	    .edge = &edge_resolver,
	    .handlers = handlers,
	    .handler_count = sizeof(handlers) / sizeof(handlers[0]),
	    .on_up = on_up,
	    .on_down = on_down,
	    .ctx = &k,
	};

	(void)prctl(PR_SET_NAME, "resolver");
	log_set_level(LOG_WARNING); /* the parent tells what matters */
	set_signals();
	if (keep_only(fd) == -1 || (k.loop = loop_event_new()) == NULL)
		return 1;
	k.ch = channel_attach(k.loop, 3, CHANNEL_SERVER, "resolver", &conf);
	if (k.ch == NULL || enter_sandbox(user) != 0)
		return 1;
	(void)loop_run(k.loop);
	while (!LIST_EMPTY(&k.queries))
		query_free(LIST_FIRST(&k.queries));
	channel_free(k.ch);
	loop_free(k.loop);
	return 0;
}
