/* transportd: links to neighbours, and forwarding between them. */
#include <libgen.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/channel.h"
#include "common/os/clock.h"
#include "common/os/conf.h"
#include "common/os/crypto.h"
#include "common/os/daemon.h"
#include "common/os/log.h"
#include "common/os/loop.h"
#include "transportd/conn_auth.h"
#include "transportd/core/fib.h"
#include "transportd/core/goaway.h"
#include "transportd/resolver.h"
#include "transportd/sandbox_calls.h"
#include "transportd/stats.h"
#include "transportd/tls.h"
#include "transportd/transport.h"
#include "transportd/ws.h"
#include "transportd/ws_loop.h"

/* LANES_OPEN: of a link, as descriptors are counted: three, one that replaces another, one more for bulk. */
enum { LANES_OPEN = 5, OTHER_FDS = 256, STOP_MS = 300, STOP_TICK_MS = 5, TLS_FILES = 4 };

/* What is queued and acknowledged comes and goes by the megabyte: a heap that shrinks and grows with it costs
 * a seventh of a relay's CPU, in system calls and in pages that are zeroed again. */
enum { HEAP_KEPT_BYTES = 4 << 20, HEAP_STEP_BYTES = 256 << 10 };

static const char *const tls_keys[TLS_FILES] = {"tls-cert", "tls-key", "tls-ca", "tls-crl"};

static struct loop *
make_loop(struct daemon *d)
{
	unsigned links = (unsigned)conf_int(d->conf, "transportd", "links-max");
	unsigned pending = (unsigned)conf_int(d->conf, "transportd", "pending-max");
	struct rlimit rl;

	/* libwebsockets sizes its tables by this limit; a replaced connection lives beside its successor. */
	if (getrlimit(RLIMIT_NOFILE, &rl) == 0) {
		rlim_t want = (rlim_t)links * LANES_OPEN + pending + OTHER_FDS;

		rl.rlim_cur = want < rl.rlim_max ? want : rl.rlim_max;
		if (rl.rlim_cur < want)
			log_warn("only %llu open files are allowed: links-max and pending-max need %llu",
			    (unsigned long long)rl.rlim_cur, (unsigned long long)want);
		(void)setrlimit(RLIMIT_NOFILE, &rl);
	}
	return ws_loop_new();
}

static int
load_tls(struct tls *t, const struct conf *c)
{
	struct tls_files files = {
	    .cert = conf_str(c, "transportd", "tls-cert"),
	    .key = conf_str(c, "transportd", "tls-key"),
	    .ca = conf_str(c, "transportd", "tls-ca"),
	    .crl = conf_str(c, "transportd", "tls-crl"),
	};

	return tls_load(t, &files);
}

/* The directories: a certificate is renewed by putting a new file in the place of the old one. */
static int
allow_tls_paths(struct daemon *d)
{
	static char dirs[TLS_FILES][4096];

	for (int i = 0; i < TLS_FILES; i++) {
		const char *path = conf_str(d->conf, "transportd", tls_keys[i]);
		int err;

		if (path == NULL)
			continue;
		snprintf(dirs[i], sizeof(dirs[i]), "%s", path);
		if ((err = sandbox_allow_path(&d->sandbox, dirname(dirs[i]), SANDBOX_READ)) != 0)
			return err;
	}
	return 0;
}

static void
on_alert(void *arg, int fd, bool sent, const char *text)
{
	struct transport *t = arg;

	if (t->ws != NULL)
		ws_on_alert(t->ws, fd, sent, text);
}

static void
on_dial(void *arg, int fd)
{
	struct transport *t = arg;

	ws_on_dial(t->ws, fd);
}

static int
listen_all(struct ws *w, const struct conf *c, const char *directive, bool proxied)
{
	int err = 0;

	for (size_t i = 0; i < conf_count(c, "transportd", directive) && err == 0; i++)
		err = ws_listen(w, conf_item(c, "transportd", directive, i), proxied);
	return err;
}

static int
open_network(struct transport *t, const struct conf *c)
{
	int err;

	t->tls = tls_new(on_alert, t);
	if (t->tls == NULL)
		return ERR_NOMEM;
	tls_on_dial(t->tls, on_dial);
	if ((err = load_tls(t->tls, c)) != 0)
		return err;
	t->ws = ws_new(t->loop, t->tls, &conn_events, t);
	if (t->ws == NULL)
		return ERR_CRYPTO;
	ws_set_limits(t->ws, t->set.pending_max, t->set.handshake_ms);
	err = listen_all(t->ws, c, "listen", false);
	return err != 0 ? err : listen_all(t->ws, c, "listen-proxied", true);
}

static int
on_open(struct daemon *d)
{
	struct transport *t = mem_calloc(1, sizeof(*t));
	uint64_t seed;
	int err;

	if (t == NULL)
		return ERR_NOMEM;
	d->ctx = t;
	t->daemon = d;
	t->loop = d->loop;
	links_init(&t->links);
	peers_init(&t->peers);
	holds_init(&t->holds);
	stats_init();
	settings_read(&t->set, d->conf);
	if ((err = crypto_init()) != 0)
		return err;
	crypto_random(&seed, sizeof(seed));
	rng_seed(&t->rng, seed);
	/* Before the keys are read: it must not have them. */
	t->resolver = resolver_new(conf_str(d->conf, "transportd", "user"));
	if (t->resolver == NULL)
		return ERR_IO;
	if ((err = allow_tls_paths(d)) != 0 || (err = peer_conf_allow(d)) != 0)
		return err;
	return open_network(t, d->conf);
}

static int
serve(struct transport *t)
{
	static const char *const siblings[] = {"routerd", "consensusd", "gatewayd", NULL};
	struct channel_conf confs[3];
	struct daemon *d = t->daemon;
	int err;

	router_conf(t, &confs[0]);
	consensus_conf(t, &confs[1]);
	gateway_conf(t, &confs[2]);
	t->server = channel_serve(t->loop, d->listen_fd, "transportd", confs, 3);
	d->listen_fd = -1;
	if (t->server == NULL)
		return ERR_NOMEM;
	if ((err = daemon_allow_users(d, t->server, siblings)) != 0 ||
	    (err = daemon_allow_edge(d, t->server, confs[0].edge, "routerd")) != 0 ||
	    (err = daemon_allow_edge(d, t->server, confs[1].edge, "consensusd")) != 0)
		return err;
	return daemon_allow_edge(d, t->server, confs[2].edge, "gatewayd");
}

static int
on_start(struct daemon *d)
{
	struct transport *t = d->ctx;
	int err;

	t->started_unix_ms = clock_unix_ms();
	t->fib = fib_new();
	t->relay = relay_new(t);
	if (t->fib == NULL || t->relay == NULL || paths_init(&t->paths) != 0)
		return ERR_NOMEM;
	advertise_read(d->conf, &t->advertised);
	if ((err = wishes_init(t)) != 0 || (err = consensus_init(t)) != 0 ||
	    (err = resolver_start(t->resolver, t->loop, peer_resolved, t)) != 0 || (err = serve(t)) != 0)
		return err;
	return peers_read(t, d->conf);
}

static void
on_configure(struct daemon *d, const struct conf *fresh)
{
	struct transport *t = d->ctx;

	settings_read(&t->set, fresh);
	ws_set_limits(t->ws, t->set.pending_max, t->set.handshake_ms);
	link_retune_all(t);
	advertise_read(fresh, &t->advertised);
	router_addresses(t);
	paths_retune(t);
	link_close_denied(t);
	if (peers_read(t, fresh) != 0)
		log_warn("not all peers could be taken from the configuration");
}

/* The files of the running configuration: their content may be new, other paths need a restart. */
static void
on_reload(struct daemon *d, const struct conf *fresh)
{
	struct transport *t = d->ctx;

	(void)fresh;
	if (load_tls(t->tls, d->conf) == 0) {
		log_info("certificate read again: %s", tls_own_uri(t->tls));
		conn_auth_reload(t);
	} else {
		log_warn("the certificate in use is kept");
	}
}

static void
on_stop_tick(void *arg)
{
	struct transport *t = arg;

	if (ws_idle(t->ws) || clock_unix_ms() > t->stop_unix_ms)
		loop_stop(t->loop);
	else
		loop_timer_arm_ms(t->stop_timer, STOP_TICK_MS);
}

/* Peers are told, so that they look for other ways at once. */
static void
on_stop(struct daemon *d)
{
	struct transport *t = d->ctx;

	t->stopping = true;
	t->stop_unix_ms = clock_unix_ms() + STOP_MS;
	ws_stop_listening(t->ws);
	conn_fail_all(t, GOAWAY_SHUTDOWN);
	t->stop_timer = loop_timer_new(t->loop, on_stop_tick, t);
	if (t->stop_timer == NULL)
		loop_stop(t->loop);
	else
		loop_timer_arm_ms(t->stop_timer, 1);
}

static void
on_fini(struct daemon *d)
{
	struct transport *t = d->ctx;

	if (t == NULL)
		return;
	channel_server_free(t->server);
	peers_free(t);
	wishes_fini(t);
	conn_fail_all(t, GOAWAY_SHUTDOWN);
	conn_free_all(t);
	ws_free(t->ws);
	tls_free(t->tls);
	resolver_free(t->resolver);
	consensus_fini(t);
	paths_fini(&t->paths);
	holds_fini(&t->holds);
	idset_fini(&t->evicted);
	barred_fini(&t->barred);
	relay_free(t->relay);
	fib_free(t->fib);
	loop_timer_free(t->stop_timer);
	mem_free(t);
	d->ctx = NULL;
}

static const struct daemon_def def = {
    .name = "transportd",
    .summary = "links to neighbour nodes, and forwarding between them",
    .calls = transportd_calls,
    .tcp_bind = false,
    .tcp_connect = true,
    .loop_new = make_loop,
    .open = on_open,
    .start = on_start,
    .configure = on_configure,
    .reload = on_reload,
    .stop = on_stop,
    .fini = on_fini,
};

int
main(int argc, char **argv)
{
	/* At worst the heap is as it would be. */
	(void)mallopt(M_TRIM_THRESHOLD, HEAP_KEPT_BYTES);
	(void)mallopt(M_TOP_PAD, HEAP_STEP_BYTES);
	return daemon_main(&def, argc, argv);
}
