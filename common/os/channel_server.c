/* channel_server: accepting connections, and who may make them; see channel.h. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/channel_impl.h"
#include "common/os/log.h"

enum { LISTEN_BACKLOG = 32, ACCEPT_RETRY_MS = 100 };

struct server_edge {
	struct channel_conf conf;
	uid_t only; /* (uid_t)-1: everybody who may connect */
};

struct channel_server {
	struct loop *loop;
	int fd;
	struct loop_fd *watch;
	struct loop_timer *timer; /* accepting again after descriptors ran out */
	char self[CHANNEL_NAME_SIZE];
	struct server_edge edges[CHANNEL_EDGES_MAX];
	size_t edge_count;
	uid_t allowed[CHANNEL_ALLOWED_MAX];
	size_t allowed_count;
	LIST_HEAD(, channel) peers;
	size_t peer_count;
};

int
channel_peer_uid(int fd, uid_t *out)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	*out = (uid_t)-1;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) == -1)
		return ERR_IO;
	*out = cred.uid;
	return 0;
}

static bool
uid_allowed(const struct channel_server *s, uid_t uid)
{
	if (uid == 0 || uid == geteuid())
		return true;
	for (size_t i = 0; i < s->allowed_count; i++)
		if (s->allowed[i] == uid)
			return true;
	return false;
}

int
channel_server_choose(struct channel *ch, const char *edge)
{
	const struct channel_server *s = ch->server;

	for (size_t i = 0; i < s->edge_count; i++) {
		const struct server_edge *e = &s->edges[i];

		if (strcmp(e->conf.edge->name, edge) != 0)
			continue;
		if (e->only != (uid_t)-1 && ch->uid != e->only && ch->uid != 0 && ch->uid != geteuid())
			return ERR_DENIED;
		ch->conf = e->conf;
		return 0;
	}
	return ERR_UNKNOWN;
}

void
channel_server_ended(struct channel *ch)
{
	LIST_REMOVE(ch, entry);
	ch->server->peer_count--;
	channel_destroy(ch);
}

/* True if the connection was taken over. */
static bool
peer_add(struct channel_server *s, int fd, uid_t uid)
{
	struct channel *ch = channel_new(s->loop, CHANNEL_SERVER, s->self);

	if (ch == NULL)
		return false;
	ch->server = s;
	ch->uid = uid;
	if (channel_start(ch, fd) != 0) {
		channel_destroy(ch);
		return true;
	}
	LIST_INSERT_HEAD(&s->peers, ch, entry);
	s->peer_count++;
	return true;
}

static void
peer_admit(struct channel_server *s, int fd)
{
	uid_t uid;

	if (channel_peer_uid(fd, &uid) != 0 || !uid_allowed(s, uid)) {
		log_warn("refused a connection of user %u: mesh.conf names no daemon that runs as it",
		    (unsigned)uid);
	} else if (s->peer_count >= CHANNEL_PEERS_MAX) {
		log_warn(
		    "refused a connection of user %u: %d are open already", (unsigned)uid, CHANNEL_PEERS_MAX);
	} else if (peer_add(s, fd, uid)) {
		return;
	} else {
		log_warn("refused a connection of user %u: %s", (unsigned)uid, err_text(ERR_NOMEM));
	}
	metric_inc(&channel_metrics.refused);
	close(fd);
}

static void
on_accept(void *arg, int fd, unsigned events)
{
	struct channel_server *s = arg;
	int peer = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	(void)events;
	if (peer != -1) {
		peer_admit(s, peer);
		return;
	}
	if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
		return;
	/* Out of descriptors or memory: the connection stays in the backlog, so polling on would spin. */
	log_warn("can't accept connections: %s; trying again in %d ms", strerror(errno), ACCEPT_RETRY_MS);
	if (loop_fd_mod(s->watch, 0) == 0)
		loop_timer_arm_ms(s->timer, ACCEPT_RETRY_MS);
}

static void
on_accept_again(void *arg)
{
	struct channel_server *s = arg;

	if (loop_fd_mod(s->watch, LOOP_READ) != 0)
		loop_timer_arm_ms(s->timer, ACCEPT_RETRY_MS);
}

struct channel_server *
channel_serve(
    struct loop *l, int listen_fd, const char *self, const struct channel_conf *confs, size_t conf_count)
{
	struct channel_server *s;

	MUST(conf_count <= CHANNEL_EDGES_MAX);
	s = mem_calloc(1, sizeof(*s));
	if (s == NULL)
		return NULL;
	s->loop = l;
	s->fd = listen_fd;
	snprintf(s->self, sizeof(s->self), "%s", self);
	for (size_t i = 0; i < conf_count; i++)
		s->edges[i] = (struct server_edge){.conf = confs[i], .only = (uid_t)-1};
	s->edge_count = conf_count;
	LIST_INIT(&s->peers);
	s->timer = loop_timer_new(l, on_accept_again, s);
	if (s->timer != NULL)
		s->watch = loop_fd_add(l, listen_fd, LOOP_READ, on_accept, s);
	if (s->watch == NULL) {
		loop_timer_free(s->timer);
		mem_free(s);
		return NULL;
	}
	return s;
}

int
channel_server_allow(struct channel_server *s, const uid_t *uids, size_t count)
{
	if (count > CHANNEL_ALLOWED_MAX - s->allowed_count)
		return ERR_FULL;
	for (size_t i = 0; i < count; i++)
		s->allowed[s->allowed_count++] = uids[i];
	return 0;
}

void
channel_server_reserve(struct channel_server *s, const struct edge *edge, uid_t uid)
{
	for (size_t i = 0; i < s->edge_count; i++)
		if (s->edges[i].conf.edge == edge)
			s->edges[i].only = uid;
}

void
channel_server_free(struct channel_server *s)
{
	struct channel *ch;

	if (s == NULL)
		return;
	while ((ch = LIST_FIRST(&s->peers)) != NULL) {
		LIST_REMOVE(ch, entry);
		MUST(!ch->busy);
		(void)imsg_flush(ch->queue); /* the last answers, if the socket takes them */
		channel_reset(ch);
		if (ch->told_up)
			ch->conf.on_down(ch->conf.ctx, ch, ERR_CLOSED);
		channel_destroy(ch);
	}
	loop_fd_del(s->watch);
	loop_timer_free(s->timer);
	close(s->fd);
	mem_free(s);
}

/* --- the listening socket --- */

/* Whether somebody accepts there. */
static bool
is_served(const struct sockaddr_un *sun)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	bool served;

	if (fd == -1)
		return true;
	served = connect(fd, (const struct sockaddr *)sun, sizeof(*sun)) == 0 || errno != ECONNREFUSED;
	close(fd);
	return served;
}

static int
stale_remove(const struct sockaddr_un *sun)
{
	struct stat st;

	if (lstat(sun->sun_path, &st) == -1)
		return errno == ENOENT ? 0 : ERR_IO;
	if (!S_ISSOCK(st.st_mode) || is_served(sun)) {
		errno = EADDRINUSE;
		return ERR_IO;
	}
	return unlink(sun->sun_path) == -1 ? ERR_IO : 0;
}

static int
socket_bind(int fd, const struct sockaddr_un *sun)
{
	mode_t old = umask(0117); /* 0660 from the first moment on */
	int r = bind(fd, (const struct sockaddr *)sun, sizeof(*sun));

	umask(old);
	return r == 0 && listen(fd, LISTEN_BACKLOG) == 0 ? 0 : ERR_IO;
}

int
channel_listen_fd(const char *path)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int fd, saved;

	if (strlen(path) >= sizeof(sun.sun_path)) {
		errno = ENAMETOOLONG;
		return ERR_IO;
	}
	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path);
	if (stale_remove(&sun) != 0)
		return ERR_IO;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd == -1)
		return ERR_IO;
	if (socket_bind(fd, &sun) == 0)
		return fd;
	saved = errno;
	close(fd);
	errno = saved;
	return ERR_IO;
}
