/* consensusd: see consensusd.h. */
#include "consensusd/consensusd.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <string.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/channel.h"
#include "common/os/conf.h"
#include "common/os/daemon.h"
#include "common/os/log.h"
#include "consensusd/api.h"
#include "consensusd/bulletin.h"
#include "consensusd/applier.h"
#include "consensusd/dbsink.h"
#include "consensusd/engine.h"
#include "consensusd/keyring.h"
#include "consensusd/memo.h"
#include "consensusd/router.h"
#include "consensusd/shared.h"
#include "consensusd/stats.h"
#include "consensusd/store.h"
#include "consensusd/transport.h"

/* The daemon's one context. */
struct consensusd {
	struct keyring *keyring;
	int sql_dir_fd, witness_fd;
	char *database_user; /* whom to connect as where the connection string names nobody */
	struct channel_server *server;
	struct engine engine;
};

static int
open_sql_dir(struct consensusd *c, const char *path)
{
	c->sql_dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (c->sql_dir_fd != -1)
		return 0;
	log_error("sql-dir %s: %s", path, strerror(errno));
	return ERR_IO;
}

/* libpq would look the name up, which the sandbox does not let it. */
static int
find_database_user(struct consensusd *c, const struct conf *conf)
{
	const struct passwd *pw = geteuid() != 0 ? getpwuid(geteuid()) : NULL;
	const char *name = pw != NULL ? pw->pw_name : conf_str(conf, "consensusd", "user");

	c->database_user = mem_strdup(name);
	return c->database_user != NULL ? 0 : ERR_NOMEM;
}

/* Made on the disk now: without it a start with replicas in the database would be refused. */
static int
make_witness(struct consensusd *c, int dir_fd, const char *user)
{
	const struct passwd *pw = geteuid() == 0 ? getpwnam(user) : NULL;

	c->witness_fd = openat(dir_fd, "consensusd.witness", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (c->witness_fd == -1)
		return -1;
	/* It may be started by root today and as its own user tomorrow. */
	if (pw != NULL && fchown(c->witness_fd, pw->pw_uid, pw->pw_gid) == -1)
		return -1;
	return fsync(dir_fd);
}

static int
open_witness(struct consensusd *c, const struct conf *conf)
{
	const char *path = conf_str(conf, "consensusd", "state-dir");
	int dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), err = 0;

	if (dir_fd == -1 || make_witness(c, dir_fd, conf_str(conf, "consensusd", "user")) == -1) {
		log_error("state-dir %s: consensusd.witness: %s", path, strerror(errno));
		err = ERR_IO;
	}
	if (dir_fd != -1)
		close(dir_fd);
	return err;
}

int
consensusd_open(struct daemon *d)
{
	struct consensusd *c = mem_calloc(1, sizeof(*c));
	const char *keyring = conf_str(d->conf, "consensusd", "keyring");
	const char *sql_dir = conf_str(d->conf, "consensusd", "sql-dir");
	int err;

	if (c == NULL)
		return ERR_NOMEM;
	d->ctx = c;
	c->sql_dir_fd = c->witness_fd = -1;
	c->keyring = keyring_open(keyring);
	if (c->keyring == NULL)
		return ERR_IO;
	err = open_sql_dir(c, sql_dir);
	if (err == 0)
		err = open_witness(c, d->conf);
	if (err == 0)
		err = find_database_user(c, d->conf);
	if (err == 0)
		err = sandbox_allow_path(&d->sandbox, keyring, SANDBOX_READ);
	if (err == 0)
		err = sandbox_allow_path(&d->sandbox, sql_dir, SANDBOX_READ);
	return err;
}

static int
serve(struct daemon *d, struct consensusd *c)
{
	const struct channel_conf conf = *api_channel_conf(c->engine.api);

	c->server = channel_serve(d->loop, d->listen_fd, d->def->name, &conf, 1);
	if (c->server == NULL)
		return ERR_NOMEM;
	d->listen_fd = -1;
	return daemon_allow_edge(d, c->server, conf.edge, "gatewayd");
}

static int
connect_siblings(struct daemon *d, struct engine *e)
{
	struct channel *transport = daemon_connect(d, "transportd", transport_channel_conf(e->transport));
	struct channel *router = daemon_connect(d, "routerd", router_channel_conf(e->router));

	transport_attach(e->transport, transport);
	router_attach(e->router, router);
	return transport != NULL && router != NULL ? 0 : ERR_NOMEM;
}

static void
on_applier_changed(void *ctx)
{
	struct engine *e = ctx;

	api_health_changed(e->api);
}

static int
open_database(struct consensusd *c, const struct conf *conf)
{
	struct engine *e = &c->engine;
	int err = engine_open_store(e, conf, c->sql_dir_fd, c->witness_fd, c->database_user);

	if (err != 0)
		return err;
	e->applier = applier_new(e->loop, conf, c->database_user, on_applier_changed, e);
	if (e->applier != NULL)
		e->dbsinks = dbsinks_new(e, conf, c->database_user);
	return e->dbsinks != NULL ? 0 : ERR_FORMAT;
}

/* Keys that name directives of consensusd. */
static int
on_shared(void *ctx, const uint8_t *body, size_t len)
{
	return daemon_overlay_set(ctx, body, len);
}

int
consensusd_start(struct daemon *d)
{
	struct consensusd *c = d->ctx;
	struct engine *e = &c->engine;
	int err;

	stats_init();
	err = engine_init(e, d->loop, c->keyring, d->conf);
	if (err == 0) {
		shared_own(e->shared, on_shared, d);
		e->api = api_new(e);
		if (e->api == NULL)
			err = ERR_NOMEM;
	}
	if (err == 0) {
		e->bulletin = bulletin_new(e);
		if (e->bulletin == NULL)
			err = ERR_NOMEM;
	}
	if (err == 0)
		err = serve(d, c);
	if (err == 0)
		err = connect_siblings(d, e);
	if (err == 0)
		err = memo_open(e, d->conf);
	if (err == 0)
		err = open_database(c, d->conf);
	if (err != 0)
		log_error("consensusd can't start: %s", err_text(err));
	return err;
}

void
consensusd_configure(struct daemon *d, const struct conf *fresh)
{
	struct consensusd *c = d->ctx;

	engine_configure(&c->engine, fresh);
	engine_wake(&c->engine);
}

void
consensusd_reload(struct daemon *d, const struct conf *fresh)
{
	struct consensusd *c = d->ctx;

	(void)fresh;
	/* It has logged what is wrong; the keys that there were stay. */
	if (keyring_reload(c->keyring) == 0)
		log_notice("keyring read again");
	engine_transport_up(&c->engine);
}

void
consensusd_fini(struct daemon *d)
{
	struct consensusd *c = d->ctx;

	if (c == NULL)
		return;
	channel_server_free(c->server);
	engine_fini(&c->engine);
	api_free(c->engine.api);
	keyring_free(c->keyring);
	if (c->sql_dir_fd != -1)
		close(c->sql_dir_fd);
	if (c->witness_fd != -1)
		close(c->witness_fd);
	mem_free(c->database_user);
	mem_free(c);
	d->ctx = NULL;
}
