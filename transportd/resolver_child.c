/* resolver_child: the process that asks the system's resolver. */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/os/channel.h"
#include "common/os/log.h"
#include "common/os/loop.h"
#include "common/os/sandbox.h"
#include "proto/messages.h"
#include "transportd/resolver.h"

#define EDGE_DEF "proto/resolver.def"
#define EDGE_HANDLERS handlers
#include "proto/edge_server.h"

static const struct sandbox_call calls[] = {
    SANDBOX_CALL("socket", "questions to name servers, and which address families there are (netlink)"),
    SANDBOX_CALL("bind", "the netlink socket"),
    SANDBOX_CALL("getsockname", "which of several addresses is nearest"),
    SANDBOX_CALL("setsockopt", "errors of UDP sockets are wanted at once"),
    SANDBOX_CALL("sendmmsg", "two questions at once"),
    SANDBOX_CALL("recvfrom", "answers"),
    SANDBOX_CALL("ioctl", "size of an answer"),
    SANDBOX_CALL("lseek", "reading /etc/hosts"),
    SANDBOX_CALL("pread64", "the same"),
    SANDBOX_CALL("uname", "the domain to search in"),
    SANDBOX_CALL("getuid", "the same"),
    SANDBOX_CALL("fcntl", "resolver library"),
    {.name = NULL},
};

/* Those that exist may be read. */
static const char *const files[] = {
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/host.conf",
    "/etc/services",
    "/run/systemd/resolve",
};

static int
put_address(struct buf *out, const struct addrinfo *ai)
{
	char text[INET6_ADDRSTRLEN];
	const void *addr =
	    ai->ai_family == AF_INET
		? (const void *)&((const struct sockaddr_in *)(const void *)ai->ai_addr)->sin_addr
		: (const void *)&((const struct sockaddr_in6 *)(const void *)ai->ai_addr)->sin6_addr;

	if (inet_ntop(ai->ai_family, addr, text, sizeof(text)) == NULL)
		return ERR_FORMAT;
	return buf_put_str8(out, text);
}

static int
reply(struct channel *ch, uint32_t query, const struct addrinfo *list)
{
	uint8_t mem[1024], count = 0;
	struct buf out;

	buf_init_fixed(&out, mem, sizeof(mem));
	if (buf_put_u8(&out, 0) != 0)
		return ERR_LIMIT;
	for (; list != NULL && count < RESOLVED_MAX; list = list->ai_next)
		if ((list->ai_family == AF_INET || list->ai_family == AF_INET6) &&
		    put_address(&out, list) == 0)
			count++;
	mem[0] = count;
	return channel_send(ch, RS_ADDRESSES, query, mem, buf_left(&out));
}

static int
on_resolve(void *ctx, struct channel *ch, struct imsg *m)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
	char host[PEER_HOST_SIZE];
	struct buf in;
	int err;

	(void)ctx;
	buf_view(&in, m->body, m->len);
	if ((err = buf_get_str8(&in, host, sizeof(host))) != 0 || (err = buf_end(&in)) != 0)
		return err;
	if (getaddrinfo(host, NULL, &hints, &list) != 0)
		list = NULL;
	err = reply(ch, m->peerid, list);
	if (list != NULL)
		freeaddrinfo(list);
	return err;
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
	loop_stop(ctx);
}

static int
enter_sandbox(const char *user)
{
	struct sandbox s = {.calls = calls, .tcp_connect = true};
	struct addrinfo *list = NULL;
	int err;

	/* Whatever the name service loads, it loads now. */
	if (getaddrinfo("localhost", NULL, NULL, &list) == 0)
		freeaddrinfo(list);
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		if (access(files[i], R_OK) == 0 &&
		    (err = sandbox_allow_path(&s, files[i], SANDBOX_READ)) != 0)
			return err;
	if ((err = sandbox_drop(user)) != 0)
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

int
resolver_child_main(int fd, const char *user)
{
	struct channel_conf conf = {
	    .edge = &edge_resolver,
	    .handlers = handlers,
	    .handler_count = sizeof(handlers) / sizeof(handlers[0]),
	    .on_up = on_up,
	    .on_down = on_down,
	};
	struct channel *ch;
	struct loop *l;
	sigset_t none;

	(void)prctl(PR_SET_NAME, "resolver");
	log_set_level(LOG_WARNING); /* the parent tells what matters */
	(void)prctl(PR_SET_PDEATHSIG, SIGTERM);
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)signal(SIGTERM, SIG_DFL);
	(void)signal(SIGINT, SIG_IGN); /* a terminal's interrupt is for the parent, which ends us */
	(void)signal(SIGHUP, SIG_IGN);
	(void)signal(SIGPIPE, SIG_IGN);
	if (keep_only(fd) == -1 || (l = loop_event_new()) == NULL)
		return 1;
	conf.ctx = l;
	ch = channel_attach(l, 3, CHANNEL_SERVER, "resolver", &conf);
	if (ch == NULL || enter_sandbox(user) != 0)
		return 1;
	(void)loop_run(l);
	channel_free(ch);
	loop_free(l);
	return 0;
}
