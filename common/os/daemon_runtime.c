/* daemon_runtime: the runtime directory and who the siblings are. */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/os/channel.h"
#include "common/os/conf.h"
#include "common/os/daemon_impl.h"
#include "common/os/log.h"

#define SHARED_GROUP "mesh" /* all daemons' users are in it, so that they reach each other's sockets */

static void
users_find(struct daemon *d)
{
	for (size_t i = 0; conf_table[i].section != NULL && d->user_count < DAEMON_USERS_MAX; i++) {
		const struct conf_directive *row = &conf_table[i];
		const struct passwd *pw;
		const char *user;

		if (row->block != NULL || strcmp(row->key, "user") != 0)
			continue;
		user = conf_str(d->conf, row->section, "user");
		pw = user != NULL ? getpwnam(user) : NULL;
		d->users[d->user_count++] = (struct daemon_user){.section = row->section,
		    .uid = pw != NULL ? pw->pw_uid : (uid_t)-1,
		    .gid = pw != NULL ? pw->pw_gid : (gid_t)-1};
	}
}

uid_t
daemon_user(const struct daemon *d, const char *section)
{
	for (size_t i = 0; i < d->user_count; i++)
		if (strcmp(d->users[i].section, section) == 0)
			return d->users[i].uid;
	return (uid_t)-1;
}

static int
directory_fail(const struct daemon *d, const char *what)
{
	log_error("runtime-dir %s: %s: %s", d->runtime_dir, what, strerror(errno));
	return ERR_IO;
}

/* The siblings' common group; on a machine without it, that of our user, which then serves all. */
static gid_t
shared_group(const struct daemon *d)
{
	const struct group *gr = getgrnam(SHARED_GROUP);

	if (gr != NULL)
		return gr->gr_gid;
	for (size_t i = 0; i < d->user_count; i++)
		if (strcmp(d->users[i].section, d->def->name) == 0)
			return d->users[i].gid;
	return (gid_t)-1;
}

/* An existing one is left as it is: its owner and mode are the administrator's. */
static int
directory_make(struct daemon *d)
{
	if (mkdir(d->runtime_dir, 0750) == -1)
		return errno == EEXIST ? 0 : directory_fail(d, "can't be created");
	/* Siblings started at the same moment may be first, too: mode and group are the same from each. */
	if (geteuid() == 0 && chown(d->runtime_dir, (uid_t)-1, shared_group(d)) == -1)
		return directory_fail(d, "group can't be set");
	if (chmod(d->runtime_dir, 0750) == -1)
		return directory_fail(d, "mode can't be set");
	return 0;
}

/* The socket belongs to our user, and to the directory's group: siblings are in it. */
static int
socket_own(const struct daemon *d, const char *path)
{
	uid_t uid = daemon_user(d, d->def->name);
	struct stat st;

	if (geteuid() != 0)
		return 0;
	if (stat(d->runtime_dir, &st) == -1 || chown(path, uid, st.st_gid) == -1)
		return directory_fail(d, "owner of the socket can't be set");
	return 0;
}

int
daemon_runtime_open(struct daemon *d)
{
	const char *dir = conf_str(d->conf, "mesh", "runtime-dir");
	char path[sizeof(d->runtime_dir) + 64];
	int r;

	if (strlen(dir) >= sizeof(d->runtime_dir)) {
		log_error("runtime-dir %s: longer than %zu bytes, so Unix sockets in it can't be named", dir,
		    sizeof(d->runtime_dir) - 1);
		return ERR_LIMIT;
	}
	snprintf(d->runtime_dir, sizeof(d->runtime_dir), "%s", dir);
	users_find(d);
	r = directory_make(d);
	if (r != 0)
		return r;
	daemon_socket_path(d, d->def->name, path, sizeof(path));
	d->listen_fd = channel_listen_fd(path);
	if (d->listen_fd >= 0)
		return socket_own(d, path);
	d->listen_fd = -1;
	log_error("%s: %s%s", path, strerror(errno),
	    errno == EADDRINUSE ? ": another process serves it (is the daemon running already?)" : "");
	return ERR_IO;
}

void
daemon_socket_path(const struct daemon *d, const char *name, char *out, size_t size)
{
	snprintf(out, size, "%s/%s.sock", d->runtime_dir, name);
}

int
daemon_allow_users(const struct daemon *d, struct channel_server *s, const char *const *sections)
{
	int r = 0;

	for (; *sections != NULL && r == 0; sections++) {
		uid_t uid = daemon_user(d, *sections);

		if (uid != (uid_t)-1)
			r = channel_server_allow(s, &uid, 1);
	}
	return r;
}

int
daemon_allow_edge(
    const struct daemon *d, struct channel_server *s, const struct edge *edge, const char *section)
{
	const char *const sections[] = {section, NULL};

	/* Without such a user nobody but root and our own user comes in at all. */
	channel_server_reserve(s, edge, daemon_user(d, section));
	return daemon_allow_users(d, s, sections);
}

struct channel *
daemon_connect(const struct daemon *d, const char *sibling, const struct channel_conf *conf)
{
	char path[sizeof(d->runtime_dir) + 64];
	struct channel *ch;

	daemon_socket_path(d, sibling, path, sizeof(path));
	ch = channel_connect(d->loop, path, d->def->name, conf);
	if (ch != NULL)
		channel_expect(ch, daemon_user(d, sibling));
	return ch;
}
