/*
 * daemon_impl: the steps of the checklist in daemon.c, each in its file.  For these files alone.
 */
#ifndef COMMON_OS_DAEMON_IMPL_H
#define COMMON_OS_DAEMON_IMPL_H

#include <stdio.h>

#include "common/os/daemon.h"

struct daemon_options {
	const char *conf_path;
	bool check; /* -n */
	bool debug; /* -d */
	bool trap;  /* -T */
};

/* daemon_options.c: true to go on; false: *status is how to exit. */
bool daemon_options_parse(
    struct daemon_options *o, const struct daemon_def *def, int argc, char **argv, int *status);

/* daemon_runtime.c: the runtime directory, the listening socket and who the siblings are. */
int daemon_runtime_open(struct daemon *d) MUST_USE;

/* daemon_signals.c: blocks the signals before anything can be interrupted, then takes them on the loop. */
struct daemon_signals;
struct daemon_signals *daemon_signals_new(struct daemon *d) MUST_USE;
void daemon_signals_free(struct daemon_signals *s);

/* daemon_reload.c: SIGHUP; and without what is in other files than the configuration's. */
void daemon_reload(struct daemon *d);
void daemon_configure(struct daemon *d);
/* Log level and node name, from the configuration or -d. */
void daemon_log_configure(const struct daemon *d);
int daemon_reload_paths(struct daemon *d) MUST_USE;

/* daemon_overlay.c: conf_load() with what all nodes share. */
struct conf *daemon_overlay_load(const struct daemon *d, FILE *err) MUST_USE;
void daemon_overlay_metrics(void);
void daemon_overlay_fini(struct daemon *d);

/* daemon_watchdog.c */
struct daemon_watchdog;
/* *out is NULL if the service manager watches nothing.  ERR_NOMEM. */
int daemon_watchdog_new(struct daemon *d, struct daemon_watchdog **out) MUST_USE;
void daemon_watchdog_free(struct daemon_watchdog *w);

#endif
