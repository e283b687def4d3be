/* ws_client: dialling. */
#include "transportd/ws_impl.h" /* libwebsockets brings OpenSSL, which comes before err.h */

#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "transportd/stats.h"
#include "transportd/ws_loop.h"

static bool
subprotocol_agreed(struct lws *wsi)
{
	char name[32];

	return lws_hdr_copy(wsi, name, sizeof(name), WSI_TOKEN_PROTOCOL) > 0 &&
	       strcmp(name, WS_SUBPROTOCOL) == 0;
}

static void
note_error(struct ws_conn *c, const char *text, size_t len)
{
	/* What TLS said before is more to the point. */
	if (c->why[0] != '\0' || text == NULL)
		return;
	/* libwebsockets' words for everything that ends before the answer. */
	if (strncasecmp(text, "closed before", 13) == 0)
		snprintf(c->why, sizeof(c->why), "connection refused, or closed during the handshake");
	else
		snprintf(c->why, sizeof(c->why), "%.*s", (int)(len < 100 ? len : 100), text);
}

static void
note_status(struct ws_conn *c, struct lws *wsi)
{
	unsigned status = lws_http_client_http_response(wsi);

	if (c->why[0] == '\0' && status != 0)
		snprintf(c->why, sizeof(c->why), "the peer answered with HTTP %u%s", status,
		    status == HTTP_STATUS_SERVICE_UNAVAILABLE ? " (not ready)" : "");
}

int
ws_client_callback(struct ws_conn *c, struct lws *wsi, enum lws_callback_reasons reason, void *in, size_t len)
{
	switch (reason) {
	case LWS_CALLBACK_CLIENT_FILTER_PRE_ESTABLISH:
		if (subprotocol_agreed(wsi))
			return 0;
		note_error(c, "the peer does not speak " WS_SUBPROTOCOL, 64);
		return -1;
	case LWS_CALLBACK_CLIENT_ESTABLISHED:
		ws_tune(lws_get_socket_fd(wsi));
		if (c->closing || ws_io_begin(c) != 0)
			return -1;
		if (c->user != NULL)
			c->ws->events->opened(c->user);
		return 0;
	case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
		note_status(c, wsi);
		note_error(c, in, len);
		return 0;
	default:
		return 0;
	}
}

static struct lws *
connect_to(struct ws_conn *c, const char *ip, uint16_t port)
{
	struct lws_client_connect_info info = {
	    .context = ws_loop_context(c->ws->loop),
	    .vhost = c->ws->vhost,
	    .address = ip,
	    .port = port,
	    .path = WS_PATH,
	    .host = c->address,
	    .origin = c->address,
	    .protocol = WS_SUBPROTOCOL,
	    .local_protocol_name = WS_SUBPROTOCOL,
	    .alpn = "http/1.1",
	    .ssl_connection =
		LCCSCF_USE_SSL | LCCSCF_SKIP_SERVER_CERT_HOSTNAME_CHECK | LCCSCF_HTTP_NO_FOLLOW_REDIRECT,
	    .retry_and_idle_policy = &ws_no_pings,
	    .opaque_user_data = c,
	    .pwsi = &c->wsi,
	};

	return lws_client_connect_via_info(&info);
}

struct ws_conn *
ws_dial(struct ws *w, const char *ip, uint16_t port, void *user)
{
	char address[WS_ADDRESS_SIZE];
	struct ws_conn *c;
	struct lws *wsi;

	snprintf(address, sizeof(address), strchr(ip, ':') != NULL ? "[%s]:%u" : "%s:%u", ip, port);
	c = ws_conn_new(w, true, address);
	if (c == NULL)
		return NULL;
	stat_inc(STAT_DIALLED);
	c->starting = true;
	wsi = connect_to(c, ip, port);
	c->starting = false;
	if (wsi == NULL || c->wsi == NULL) {
		ws_conn_end(c);
		return NULL;
	}
	c->user = user;
	return c;
}
