/* listeners: see listeners.h. */
#include "gatewayd/listeners.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/be.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/channel.h"
#include "common/os/conf.h"
#include "common/os/daemon.h"
#include "common/os/log.h"
#include "common/os/loop.h"
#include "gatewayd/conns.h"
#include "gatewayd/gateway.h"
#include "gatewayd/limits.h"
#include "gatewayd/tls.h"

enum { LISTEN_BACKLOG = 512, ADDRESS_SIZE = 320, ACCEPT_RETRY_MS = 100 };

struct listener {
	struct listeners *all;
	int fd;
	bool local; /* the Unix socket */
	struct loop_fd *watch;
};

struct listeners {
	struct gateway *gw;
	struct tls_server *tls;
	struct loop_timer *retry; /* accepting again after descriptors ran out */
	struct listener items[LISTEN_MAX + 1];
	size_t count;
};

static int
listener_add(struct listeners *ls, int fd, bool local)
{
	if (ls->count == sizeof(ls->items) / sizeof(ls->items[0])) {
		log_error("more than %d addresses to listen on", LISTEN_MAX);
		close(fd);
		return ERR_LIMIT;
	}
	ls->items[ls->count++] = (struct listener){.all = ls, .fd = fd, .local = local};
	return 0;
}

/* One bound and listening socket for an address that is resolved already. */
static int
tcp_bind(const struct addrinfo *ai)
{
	bool any =
	    ai->ai_family == AF_INET6 &&
	    IN6_IS_ADDR_UNSPECIFIED(&((const struct sockaddr_in6 *)(const void *)ai->ai_addr)->sin6_addr);
	int on = 1, only = !any, fd;

	fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd == -1)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (ai->ai_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof(only));
	/* Inherited by what is accepted. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (bind(fd, ai->ai_addr, ai->ai_addrlen) == 0 && listen(fd, LISTEN_BACKLOG) == 0)
		return fd;
	on = errno;
	close(fd);
	errno = on;
	return -1;
}

/* Splits "host:port", "[v6]:port" or "*:port"; conf has checked the form. */
static void
address_split(const char *text, char host[ADDRESS_SIZE], const char **port)
{
	const char *colon = strrchr(text, ':');
	size_t len = colon != NULL ? (size_t)(colon - text) : strlen(text);

	*port = colon != NULL ? colon + 1 : "";
	if (len >= 2 && text[0] == '[' && text[len - 1] == ']') {
		text++;
		len -= 2;
	}
	snprintf(host, ADDRESS_SIZE, "%.*s", (int)len, text);
}

/* Binds every address of the list, of one family or (AF_UNSPEC) of all; how many. */
static int
tcp_bind_all(struct listeners *ls, const struct addrinfo *list, int family)
{
	int count = 0, fd;

	for (const struct addrinfo *ai = list; ai != NULL; ai = ai->ai_next) {
		if (family != AF_UNSPEC && ai->ai_family != family)
			continue;
		if ((fd = tcp_bind(ai)) != -1 && listener_add(ls, fd, false) == 0)
			count++;
	}
	return count;
}

static int
tcp_open(struct listeners *ls, const char *address)
{
	struct addrinfo hints = {.ai_flags = AI_PASSIVE, .ai_socktype = SOCK_STREAM}, *list;
	char host[ADDRESS_SIZE];
	const char *port;
	bool any;
	int rc;

	address_split(address, host, &port);
	any = strcmp(host, "*") == 0;
	rc = getaddrinfo(any ? NULL : host, port, &hints, &list);
	if (rc != 0) {
		log_error("listen %s: %s", address, gai_strerror(rc));
		return ERR_IO;
	}
	/* An IPv6 socket for "*" takes IPv4 as well. */
	rc = tcp_bind_all(ls, list, any ? AF_INET6 : AF_UNSPEC);
	if (rc == 0 && any)
		rc = tcp_bind_all(ls, list, AF_INET);
	freeaddrinfo(list);
	if (rc > 0)
		return 0;
	log_error("listen %s: %s", address, strerror(errno));
	return ERR_IO;
}

/* Started by root, the socket belongs to the daemon's user and to the group of its directory: whoever is
 * in that may call. */
static int
local_own(const struct listeners *ls, const char *path)
{
	char dir[ADDRESS_SIZE];
	struct stat st;
	size_t len = (size_t)(strrchr(path, '/') - path);

	if (geteuid() != 0)
		return 0;
	snprintf(dir, sizeof(dir), "%.*s", (int)(len > 0 ? len : 1), path);
	if (stat(dir, &st) == 0 && chown(path, daemon_user(ls->gw->daemon, "gatewayd"), st.st_gid) == 0)
		return 0;
	log_error("grpc-socket %s: its owner can't be set: %s", path, strerror(errno));
	return ERR_IO;
}

static int
local_open(struct listeners *ls, const char *path)
{
	int fd = channel_listen_fd(path);

	if (fd < 0) {
		log_error("grpc-socket %s: %s", path, strerror(errno));
		return ERR_IO;
	}
	if (local_own(ls, path) != 0) {
		close(fd);
		return ERR_IO;
	}
	return listener_add(ls, fd, true);
}

static struct tls_server *
tls_load(const struct conf *c)
{
	const struct tls_files files = {
	    .cert = conf_str(c, "gatewayd", "tls-cert"),
	    .key = conf_str(c, "gatewayd", "tls-key"),
	    .client_ca = conf_str(c, "gatewayd", "client-ca"),
	};
	char error[TLS_ERROR_SIZE];
	struct tls_server *s;

	if (files.cert == NULL || files.key == NULL) {
		log_error("gatewayd: listen needs tls-cert and tls-key");
		return NULL;
	}
	if (files.client_ca == NULL && conf_str(c, "gatewayd", "token-file") == NULL) {
		log_error("gatewayd: listen needs client-ca or token-file: nobody could prove who they are");
		return NULL;
	}
	if ((s = tls_server_new(&files, error)) == NULL)
		log_error("gatewayd: TLS: %s", error);
	return s;
}

static int
all_open(struct listeners *ls, const struct conf *c)
{
	const char *local = conf_str(c, "gatewayd", "grpc-socket");
	size_t count = conf_count(c, "gatewayd", "listen");
	int rc = 0;

	if (count > 0 && (ls->tls = tls_load(c)) == NULL)
		return ERR_AUTH;
	for (size_t i = 0; i < count && rc == 0; i++)
		rc = tcp_open(ls, conf_item(c, "gatewayd", "listen", i));
	if (rc == 0 && local != NULL)
		rc = local_open(ls, local);
	return rc;
}

struct listeners *
listeners_open(struct gateway *gw, const struct conf *c)
{
	struct listeners *ls = mem_calloc(1, sizeof(*ls));

	if (ls == NULL) {
		log_error("out of memory");
		return NULL;
	}
	ls->gw = gw;
	if (all_open(ls, c) == 0)
		return ls;
	listeners_free(ls);
	return NULL;
}

/* "127.0.0.1:4711" or "[::1]:4711".  Not getnameinfo(): of link-local addresses it asks the interface's
 * name, with calls that the sandbox does not have. */
static void
peer_text(const struct sockaddr_storage *sa, char *out, size_t size)
{
	char host[INET6_ADDRSTRLEN] = "?";
	struct sockaddr_in6 v6;
	struct sockaddr_in v4;

	if (sa->ss_family == AF_INET6) {
		memcpy(&v6, sa, sizeof(v6));
		inet_ntop(AF_INET6, &v6.sin6_addr, host, sizeof(host));
		snprintf(out, size, "[%s]:%u", host, (unsigned)be_load16((const uint8_t *)&v6.sin6_port));
	} else {
		memcpy(&v4, sa, sizeof(v4));
		inet_ntop(AF_INET, &v4.sin_addr, host, sizeof(host));
		snprintf(out, size, "%s:%u", host, (unsigned)be_load16((const uint8_t *)&v4.sin_port));
	}
}

/* The socket's mode and group decide who can connect; the uid is known by name for the log. */
static void
local_who(int fd, struct principal *who)
{
	struct ucred cred = {.uid = (uid_t)-1};
	socklen_t len = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) != 0)
		return;
	who->kind = PRINCIPAL_LOCAL;
	snprintf(who->name, sizeof(who->name), "uid %lu", (unsigned long)cred.uid);
}

/* Out of descriptors: the connection stays in the backlog, so polling on would spin. */
static void
accept_pause(struct listeners *ls, int error)
{
	log_warn(
	    "API connections can't be accepted: %s; trying again in %d ms", strerror(error), ACCEPT_RETRY_MS);
	for (size_t i = 0; i < ls->count; i++)
		loop_fd_mod(ls->items[i].watch, 0);
	loop_timer_arm_ms(ls->retry, ACCEPT_RETRY_MS);
}

static void
on_retry(void *arg)
{
	struct listeners *ls = arg;

	for (size_t i = 0; i < ls->count; i++)
		loop_fd_mod(ls->items[i].watch, LOOP_READ);
}

/* False: nothing waits any more. */
static bool
accept_one(struct listener *l)
{
	struct sockaddr_storage sa = {0};
	socklen_t len = sizeof(sa);
	struct principal who = {0};
	char peer[ADDRESS_SIZE];
	int fd = accept4(l->fd, (struct sockaddr *)&sa, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd == -1) {
		if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
			accept_pause(l->all, errno);
		return false;
	}
	if (l->local) {
		local_who(fd, &who);
		snprintf(peer, sizeof(peer), "%s", who.name);
	} else
		peer_text(&sa, peer, sizeof(peer));
	conns_add(l->all->gw->conns, fd, l->local ? NULL : l->all->tls, &who, peer);
	return true;
}

static void
on_accept(void *arg, int fd, unsigned events)
{
	(void)fd, (void)events;
	for (unsigned i = 0; i < ACCEPT_TURN_COUNT; i++)
		if (!accept_one(arg))
			return;
}

int
listeners_start(struct listeners *ls)
{
	if ((ls->retry = loop_timer_new(ls->gw->loop, on_retry, ls)) == NULL)
		return ERR_NOMEM;
	for (size_t i = 0; i < ls->count; i++) {
		struct listener *l = &ls->items[i];

		l->watch = loop_fd_add(ls->gw->loop, l->fd, LOOP_READ, on_accept, l);
		if (l->watch == NULL)
			return ERR_NOMEM;
	}
	return 0;
}

void
listeners_reload(struct listeners *ls, const struct conf *c)
{
	struct tls_server *fresh;

	if (ls->tls == NULL)
		return;
	if ((fresh = tls_load(c)) == NULL) {
		log_warn("the old certificates stay in use");
		return;
	}
	tls_server_free(ls->tls);
	ls->tls = fresh;
	log_notice("certificates read again: new connections use them");
}

void
listeners_stop(struct listeners *ls)
{
	for (size_t i = 0; i < ls->count; i++) {
		loop_fd_del(ls->items[i].watch);
		close(ls->items[i].fd);
	}
	ls->count = 0;
}

void
listeners_free(struct listeners *ls)
{
	if (ls == NULL)
		return;
	listeners_stop(ls);
	loop_timer_free(ls->retry);
	tls_server_free(ls->tls);
	mem_free(ls);
}
