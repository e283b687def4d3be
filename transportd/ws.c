#include "transportd/ws_impl.h" /* libwebsockets brings OpenSSL, which comes before err.h */

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/clock.h"
#include "common/os/crypto.h"
#include "common/os/log.h"
#include "transportd/core/limits.h"
#include "transportd/stats.h"
#include "transportd/tls.h"
#include "transportd/ws_loop.h"

enum {
	CLOSE_GRACE_MS = 1000,      /* for the close frame to leave */
	NOTSENT_BYTES = 128 * 1024, /* unsent bytes in the kernel: more only adds delay */
};

/* --- connections --- */

static void
not_pending(struct ws_conn *c)
{
	if (!c->pending)
		return;
	c->pending = false;
	c->ws->pending_count--;
	stat_set(STAT_PENDING, c->ws->pending_count);
}

void
ws_conn_expire(struct ws_conn *c, const char *why)
{
	not_pending(c);
	if (!c->closing && c->user != NULL && c->open) {
		c->ws->events->expired(c->user);
		return;
	}
	if (c->why[0] == '\0')
		snprintf(c->why, sizeof(c->why), "%s", why);
	ws_doom(c);
}

static void
on_deadline(void *arg)
{
	ws_conn_expire(arg, "no handshake within the time allowed");
}

struct ws_conn *
ws_conn_new(struct ws *w, bool dialled, const char *address)
{
	struct ws_conn *c = mem_calloc(1, sizeof(*c));

	if (c == NULL)
		return NULL;
	c->deadline = loop_timer_new(w->loop, on_deadline, c);
	if (c->deadline == NULL) {
		mem_free(c);
		return NULL;
	}
	c->ws = w;
	c->dialled = dialled;
	snprintf(c->address, sizeof(c->address), "%s", address);
	c->pending = true;
	ws_serve(c, true);
	w->pending_count++;
	stat_set(STAT_PENDING, w->pending_count);
	LIST_INSERT_HEAD(&w->conns, c, entry);
	loop_timer_arm_ms(c->deadline, w->handshake_ms);
	return c;
}

/* Strangers can make any number of these: one line a second tells enough. */
static void
log_refused(struct ws_conn *c)
{
	int64_t now_us = clock_mono().us;

	if (now_us - c->ws->refuse_logged_us < REFUSE_LOG_INTERVAL_MS * INT64_C(1000))
		return;
	c->ws->refuse_logged_us = now_us;
	log_notice("connection from %s ended before the link handshake: %s", c->address,
	    c->why[0] != '\0' ? c->why
	    : c->secured      ? "no request of at most 16 KiB came"
			      : "closed by the peer");
}

void
ws_conn_end(struct ws_conn *c)
{
	not_pending(c);
	ws_serve(c, false);
	LIST_REMOVE(c, entry);
	loop_timer_free(c->deadline);
	ws_io_end(c);
	ws_dialling_free(c);
	c->wsi = NULL;
	if (c->user != NULL) {
		c->ws->events->closed(c->user, c->why[0] != '\0' ? c->why : "closed by the peer");
	} else if (!c->dialled && !c->open) {
		if (!c->counted)
			stat_inc(c->plain || c->secured ? STAT_REFUSED_HTTP : STAT_REFUSED_TLS);
		log_refused(c);
	}
	mem_free(c);
}

void
ws_proven(struct ws_conn *c)
{
	not_pending(c);
	loop_timer_disarm(c->deadline);
}

void
ws_tune(int fd)
{
	int one = 1, lowat = NOTSENT_BYTES;

	/* Without these it works too, only slower. */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &lowat, sizeof(lowat));
}

void
ws_on_alert(struct ws *w, int fd, bool sent, const char *text)
{
	struct ws_conn *c;

	LIST_FOREACH (c, &w->conns, entry) {
		if (c->wsi == NULL || lws_get_socket_fd(c->wsi) != fd)
			continue;
		c->secured = text == NULL;
		if (text != NULL)
			snprintf(c->why, sizeof(c->why), "TLS: %s: %s",
			    sent ? "refused the peer's certificate or parameters" : "the peer refused ours",
			    text);
		return;
	}
}

/* --- the end --- */

void
ws_serve(struct ws_conn *c, bool served)
{
	if (c->served != served)
		ws_loop_serve(c->ws->loop, served);
	c->served = served;
}

void
ws_doom(struct ws_conn *c)
{
	if (c->wsi == NULL)
		return;
	ws_serve(c, true);
	lws_set_timeout(c->wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_ASYNC);
}

void
ws_kill(struct ws_conn *c)
{
	c->user = NULL;
	c->closing = true;
	ws_doom(c);
}

void *
ws_session(struct ws_conn *c)
{
	return c->wsi != NULL ? lws_get_ssl(c->wsi) : NULL;
}

const char *
ws_address(const struct ws_conn *c)
{
	return c->address;
}

unsigned
ws_pending_count(const struct ws *w)
{
	return w->pending_count;
}

/* --- libwebsockets --- */

static int
on_conn(struct ws_conn *c, struct lws *wsi, enum lws_callback_reasons reason, void *in, size_t len)
{
	if (reason == LWS_CALLBACK_WSI_DESTROY) {
		lws_set_opaque_user_data(wsi, NULL);
		c->wsi = NULL;
		if (!c->starting)
			ws_conn_end(c);
		return 0;
	}
	return c->dialled ? ws_client_callback(c, wsi, reason, in, len)
			  : ws_server_callback(c, wsi, reason, in, len);
}

static int
on_lws(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len)
{
	struct ws_conn *c;

	switch (reason) {
	case LWS_CALLBACK_OPENSSL_LOAD_EXTRA_SERVER_VERIFY_CERTS:
	case LWS_CALLBACK_OPENSSL_LOAD_EXTRA_CLIENT_VERIFY_CERTS: {
		struct ws *w = lws_vhost_user(lws_get_vhost(wsi));

		return tls_apply(w->tls, user) != 0;
	}
	case LWS_CALLBACK_PROTOCOL_INIT:
	case LWS_CALLBACK_PROTOCOL_DESTROY:
	case LWS_CALLBACK_GET_THREAD_ID:
		return 0; /* the wsi is not a connection */
	case LWS_CALLBACK_OPENSSL_PERFORM_CLIENT_CERT_VERIFICATION:
		return !len; /* never admits what OpenSSL did not */
	default:
		break;
	}
	c = wsi != NULL ? lws_get_opaque_user_data(wsi) : NULL;
	return c != NULL ? on_conn(c, wsi, reason, in, len) : 0;
}

static const struct lws_protocols protocols[] = {
    {
	.name = WS_SUBPROTOCOL,
	.callback = on_lws,
	.rx_buffer_size = 16640, /* a message arrives in one piece */
	.tx_packet_size = 17000, /* and leaves in one */
    },
    {.name = NULL},
};

const lws_retry_bo_t ws_no_pings = {0};

static struct lws_vhost *
vhost_new(struct ws *w)
{
	struct lws_context_creation_info info = {
	    .port = CONTEXT_PORT_NO_LISTEN_SERVER,
	    .protocols = protocols,
	    .vhost_name = WS_SUBPROTOCOL,
	    .options = LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT | LWS_SERVER_OPTION_CREATE_VHOST_SSL_CTX |
		       LWS_SERVER_OPTION_DISABLE_OS_CA_CERTS |
		       LWS_SERVER_OPTION_REQUIRE_VALID_OPENSSL_CLIENT_CERT,
	    .alpn = "http/1.1", /* a peer that negotiated h2 would hang */
	    .retry_and_idle_policy = &ws_no_pings,
	    .keepalive_timeout = 1,
	    .user = w,
	};

	return lws_create_vhost(ws_loop_context(w->loop), &info);
}

struct ws *
ws_new(struct loop *l, struct tls *t, const struct ws_events *events, void *ctx)
{
	struct ws *w = mem_calloc(1, sizeof(*w));

	if (w == NULL)
		return NULL;
	w->loop = l;
	w->tls = t;
	w->events = events;
	w->ctx = ctx;
	w->handshake_ms = 10000;
	w->pending_max = 64;
	w->masks_used = sizeof(w->masks);
	w->refuse_logged_us = -REFUSE_LOG_INTERVAL_MS * INT64_C(1000);
	crypto_random(&w->source_key, sizeof(w->source_key));
	LIST_INIT(&w->conns);
	w->vhost = vhost_new(w);
	if (w->vhost == NULL) {
		log_error("TLS contexts can't be set up; check tls-cert, tls-key and tls-ca");
		mem_free(w);
		return NULL;
	}
	return w;
}

void
ws_set_limits(struct ws *w, unsigned pending_max, int64_t handshake_ms)
{
	w->pending_max = pending_max;
	w->handshake_ms = handshake_ms;
}

bool
ws_idle(const struct ws *w)
{
	return LIST_EMPTY(&w->conns);
}

void
ws_free(struct ws *w)
{
	struct ws_conn *c;

	if (w == NULL)
		return;
	ws_stop_listening(w);
	LIST_FOREACH (c, &w->conns, entry)
		c->user = NULL;
	/* Ends all connections of the host, each with WSI_DESTROY. */
	lws_vhost_destroy(w->vhost);
	mem_free(w);
}
