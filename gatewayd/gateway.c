/* gateway: the life of the daemon; see gateway.h. */
#include "gatewayd/gateway.h"

#include <string.h>
#include <sys/resource.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/clock.h"
#include "common/os/conf.h"
#include "common/os/daemon.h"
#include "common/os/log.h"
#include "common/os/loop.h"
#include "gatewayd/auth.h"
#include "gatewayd/call.h"
#include "gatewayd/conns.h"
#include "gatewayd/control.h"
#include "gatewayd/events.h"
#include "gatewayd/gateway_metrics.h"
#include "gatewayd/health.h"
#include "gatewayd/limits.h"
#include "gatewayd/listeners.h"

static void
limits_read(struct gateway_limits *out, const struct conf *c)
{
	*out = (struct gateway_limits){
	    .message_max_bytes = (size_t)conf_int(c, "gatewayd", "message-max"),
	    .connections_max = (size_t)conf_int(c, "gatewayd", "connections-max"),
	    .calls_max = (uint32_t)conf_int(c, "gatewayd", "calls-max"),
	    .keepalive_us = conf_int(c, "gatewayd", "keepalive"),
	    .drain_us = conf_int(c, "gatewayd", "drain-timeout"),
	};
}

int
gateway_memory(struct gateway *gw, size_t *was, size_t now)
{
	if (now > *was && gw->memory_bytes + (now - *was) > MEMORY_MAX_BYTES)
		return ERR_LIMIT;
	gw->memory_bytes = gw->memory_bytes - *was + now;
	*was = now;
	return 0;
}

void
gateway_drain_check(struct gateway *gw)
{
	/* The timer ends what meshctl has open, then the loop. */
	if (gw->draining && conns_count(gw->conns) == 0)
		loop_timer_arm_ms(gw->drain_timer, 0);
}

static const char stopping[] = "the node's API is stopping; connect again";

/* A connection is a descriptor: as many as are allowed, plus the siblings and the listeners. */
static void
descriptors_raise(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) != 0 || r.rlim_cur == r.rlim_max)
		return;
	r.rlim_cur = r.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &r) != 0)
		log_warn("the limit of open files could not be raised");
}

static int
parts_new(struct gateway *gw)
{
	request_table_init(&gw->requests, REQUESTS_MAX);
	api_consensus_init(&gw->backends[BACKEND_CONSENSUS], gw);
	api_router_init(&gw->backends[BACKEND_ROUTER], gw);
	api_transport_init(&gw->backends[BACKEND_TRANSPORT], gw);
	for (unsigned i = 0; i < BACKEND_COUNT; i++)
		LIST_INIT(&gw->backends[i].requests);
	gw->calls = calls_new(gw);
	gw->events = events_new();
	gw->health = health_new();
	gw->auth = auth_new();
	gw->conns = conns_new(gw);
	if (gw->calls == NULL || gw->events == NULL || gw->health == NULL || gw->auth == NULL ||
	    gw->conns == NULL) {
		log_error("out of memory");
		return ERR_NOMEM;
	}
	return 0;
}

static char *
text_dup(const char *text, size_t len)
{
	char *copy = mem_calloc(len + 1, 1);

	if (copy != NULL)
		memcpy(copy, text, len);
	return copy;
}

/* Files that a reload reads again; by their directories, because a new file takes the place of the old and
 * Landlock's rule is about the old one. */
static int
paths_allow(struct gateway *gw)
{
	static const char *const keys[GATEWAY_FILES] = {"tls-cert", "tls-key", "client-ca", "token-file"};
	struct daemon *d = gw->daemon;

	for (size_t i = 0; i < GATEWAY_FILES; i++) {
		const char *path = conf_str(d->conf, "gatewayd", keys[i]);
		const char *slash;

		if (path == NULL)
			continue;
		/* The configuration's paths are absolute. */
		slash = strrchr(path, '/');
		MUST(slash != NULL);
		gw->dirs[i] = slash == path ? text_dup("/", 1) : text_dup(path, (size_t)(slash - path));
		if (gw->dirs[i] == NULL || sandbox_allow_path(&d->sandbox, gw->dirs[i], SANDBOX_READ) != 0) {
			log_error("%s %s can't be allowed in the sandbox", keys[i], path);
			return ERR_FULL;
		}
	}
	return 0;
}

int
gateway_open(struct daemon *d)
{
	struct gateway *gw = mem_calloc(1, sizeof(*gw));
	const char *tokens = conf_str(d->conf, "gatewayd", "token-file");
	int rc;

	if (gw == NULL)
		return ERR_NOMEM;
	d->ctx = gw;
	gw->daemon = d;
	gw->loop = d->loop;
	gw->started_us = clock_mono().us;
	limits_read(&gw->limits, d->conf);
	gateway_metrics_init();
	descriptors_raise();
	if ((rc = parts_new(gw)) != 0)
		return rc;
	if (tokens != NULL && (rc = auth_load_tokens(gw->auth, tokens)) != 0)
		return rc;
	if ((gw->listeners = listeners_open(gw, d->conf)) == NULL)
		return ERR_IO;
	return paths_allow(gw);
}

/* The time to finish is over: what is open ends, and has a moment to be told so. */
static void
on_drain_timer(void *arg)
{
	struct gateway *gw = arg;

	if (calls_count(gw->calls) == 0 || gw->drained) {
		loop_stop(gw->loop);
		return;
	}
	gw->drained = true;
	calls_finish_all(gw->calls, GRPC_UNAVAILABLE, stopping);
	loop_timer_arm_ms(gw->drain_timer, LINGER_MS);
}

int
gateway_start(struct daemon *d)
{
	struct gateway *gw = d->ctx;
	int fd = d->listen_fd, rc;

	d->listen_fd = -1;
	gw->control = control_new(gw, fd);
	gw->drain_timer = loop_timer_new(gw->loop, on_drain_timer, gw);
	if (gw->control == NULL || gw->drain_timer == NULL)
		return ERR_NOMEM;
	for (unsigned i = 0; i < BACKEND_COUNT; i++)
		if ((rc = backend_start(&gw->backends[i])) != 0)
			return rc;
	return listeners_start(gw->listeners);
}

void
gateway_configure(struct daemon *d, const struct conf *fresh)
{
	struct gateway *gw = d->ctx;

	limits_read(&gw->limits, fresh);
}

void
gateway_reload(struct daemon *d, const struct conf *fresh)
{
	struct gateway *gw = d->ctx;
	const char *tokens = conf_str(d->conf, "gatewayd", "token-file");

	(void)fresh;
	/* The paths are those of the start (a changed one needs a restart); what they hold is read again. */
	if (tokens != NULL && auth_load_tokens(gw->auth, tokens) != 0)
		log_warn("the old tokens stay valid");
	listeners_reload(gw->listeners, d->conf);
}

/* Calls without an end are ended, clients are asked to finish the others in time. */
void
gateway_stop(struct daemon *d)
{
	struct gateway *gw = d->ctx;

	if (gw->draining)
		return;
	gw->draining = true;
	listeners_stop(gw->listeners);
	calls_finish_endless(gw->calls, GRPC_UNAVAILABLE, stopping);
	loop_timer_arm_ms(gw->drain_timer, gw->limits.drain_us / 1000);
	conns_drain(gw->conns);
	gateway_drain_check(gw);
}

void
gateway_fini(struct daemon *d)
{
	struct gateway *gw = d->ctx;

	if (gw == NULL)
		return;
	listeners_free(gw->listeners);
	control_free(gw->control);
	conns_free(gw->conns);
	for (unsigned i = 0; i < BACKEND_COUNT; i++)
		backend_fini(&gw->backends[i]);
	loop_timer_free(gw->drain_timer);
	events_free(gw->events);
	health_free(gw->health);
	auth_free(gw->auth);
	calls_free(gw->calls);
	request_table_fini(&gw->requests);
	for (size_t i = 0; i < GATEWAY_FILES; i++)
		mem_free(gw->dirs[i]);
	mem_free(gw);
	d->ctx = NULL;
}
