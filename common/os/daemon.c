/* daemon: the checklist; see daemon.h. */
#include "common/os/daemon.h"

#include <errno.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/clock.h"
#include "common/os/conf.h"
#include "common/os/crypto.h"
#include "common/os/daemon_impl.h"
#include "common/os/log.h"
#include "common/os/loop.h"
#include "common/os/metrics.h"
#include "common/os/notify.h"

static struct metric build_info =
    METRIC_GAUGE_INIT("mesh_build_info", "Version of the daemon.", "version=\"" MESH_VERSION "\"");
static struct metric start_time =
    METRIC_GAUGE_INIT("mesh_daemon_start_time_seconds", "When the daemon started, Unix time.", NULL);

static void
metrics_start(void)
{
	metrics_add(&build_info);
	metrics_add(&start_time);
	daemon_overlay_metrics();
	metric_set(&build_info, 1);
	metric_set(&start_time, (int64_t)(clock_unix_ms() / 1000));
}

/* Its path is kept absolute: the daemon leaves the directory it was started in. */
static int
step_config(struct daemon *d, const struct daemon_options *o)
{
	d->conf = conf_load(o->conf_path, d->def->name, stderr);
	if (d->conf == NULL)
		return ERR_FORMAT;
	d->conf_path = mem_strdup(conf_file(d->conf, 0));
	return d->conf_path != NULL ? 0 : ERR_NOMEM;
}

static void
step_log(struct daemon *d, const struct daemon_options *o)
{
	d->debug = o->debug;
	log_init(d->def->name, conf_str(d->conf, "mesh", "node-name"));
	if (o->debug)
		log_set_level(LOG_DEBUG);
	daemon_log_configure(d);
	log_info("%s %s starts", d->def->name, mesh_version);
}

/* Everything that needs rights, or files that the sandbox hides. */
static int
step_open(struct daemon *d, struct daemon_signals **signals)
{
	int r = daemon_runtime_open(d);

	if (r != 0)
		return r;
	notify_open();
	d->loop = d->def->loop_new != NULL ? d->def->loop_new(d) : loop_event_new();
	if (d->loop == NULL) {
		log_error("event loop: %s", err_text(ERR_NOMEM));
		return ERR_NOMEM;
	}
	*signals = daemon_signals_new(d);
	if (*signals == NULL)
		return ERR_NOMEM;
	return d->def->open != NULL ? d->def->open(d) : 0;
}

static int
step_drop(const struct daemon *d)
{
	const struct passwd *pw;

	if (geteuid() != 0) {
		pw = getpwuid(geteuid());
		log_notice(
		    "not root: keeping user %s", pw != NULL ? pw->pw_name : "of a number without a name");
	}
	if (chdir("/") == -1)
		log_debug("chdir /: %s", strerror(errno));
	return sandbox_drop(conf_str(d->conf, d->def->name, "user"));
}

static int
step_sandbox(struct daemon *d, const struct daemon_options *o)
{
	int r = daemon_reload_paths(d);

	if (r != 0)
		return r;
	d->sandbox.calls = d->def->calls;
	d->sandbox.tcp_bind = d->def->tcp_bind;
	d->sandbox.tcp_connect = d->def->tcp_connect;
	d->sandbox.trap = o->trap;
	return sandbox_enter(&d->sandbox);
}

static int
step_run(struct daemon *d)
{
	struct daemon_watchdog *watchdog = NULL;
	int r = d->def->start != NULL ? d->def->start(d) : 0;

	if (r == 0)
		r = daemon_watchdog_new(d, &watchdog);
	if (r == 0) {
		notify_ready();
		log_notice("ready");
		r = loop_run(d->loop);
		notify_stopping();
	}
	daemon_watchdog_free(watchdog);
	return r;
}

/* From the configuration on; the reverse is below. */
static int
checklist(struct daemon *d, const struct daemon_options *o)
{
	struct daemon_signals *signals = NULL;
	int r = step_open(d, &signals);

	if (r == 0)
		r = step_drop(d);
	if (r == 0)
		r = step_sandbox(d, o);
	if (r == 0)
		r = step_run(d);
	if (d->def->fini != NULL)
		d->def->fini(d);
	daemon_signals_free(signals);
	daemon_overlay_fini(d);
	loop_free(d->loop);
	if (d->listen_fd != -1)
		close(d->listen_fd);
	if (r != 0)
		log_error("%s ends: %s", d->def->name, err_text(r));
	else
		log_notice("stopped");
	return r == 0 ? DAEMON_OK : DAEMON_FAILED;
}

static void
daemon_fini(struct daemon *d)
{
	conf_free(d->conf);
	for (size_t i = 0; i < d->conf_dir_count; i++)
		mem_free(d->conf_dirs[i]);
	mem_free(d->conf_path);
}

int
daemon_main(const struct daemon_def *def, int argc, char **argv)
{
	struct daemon d = {.def = def, .listen_fd = -1};
	struct daemon_options o;
	int status;

	log_init(def->name, NULL);
	if (!daemon_options_parse(&o, def, argc, argv, &status))
		return status;
	if (crypto_init() != 0) {
		log_error("libsodium can't start: %s", err_text(ERR_CRYPTO));
		return DAEMON_FAILED;
	}
	if (step_config(&d, &o) != 0) {
		status = DAEMON_USAGE;
	} else if (o.check) {
		conf_print(d.conf, stdout);
		status = fflush(stdout) == 0 ? DAEMON_OK : DAEMON_FAILED;
	} else {
		step_log(&d, &o);
		metrics_start();
		status = checklist(&d, &o);
	}
	daemon_fini(&d);
	return status;
}
