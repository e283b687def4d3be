/* ws_client: dialling. */
#include "transportd/ws_impl.h" /* libwebsockets brings OpenSSL, which comes before err.h */

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/id.h"
#include "common/base/mem.h"
#include "common/os/clock.h"
#include "transportd/dial.h"
#include "transportd/stats.h"
#include "transportd/tls_dial.h"
#include "transportd/tls_token.h"
#include "transportd/token.h"
#include "transportd/ws_loop.h"

/* What is needed until the upgrade. */
struct ws_dialling {
	struct tls_dial *tls;
	char proxy[WS_ADDRESS_SIZE]; /* "" there is none */
	bool has_auth;
	char audience[NODEID_TEXT_SIZE]; /* of the token, "" there is none */
	int64_t token_lifetime_s;
};

static bool
subprotocol_agreed(struct lws *wsi)
{
	char name[32];

	return lws_hdr_copy(wsi, name, sizeof(name), WSI_TOKEN_PROTOCOL) > 0 &&
	       strcmp(name, WS_SUBPROTOCOL) == 0;
}

static const char *
proxy_advice(unsigned status, bool has_auth)
{
	switch (status) {
	case 407:
		return has_auth ? ": check proxy-auth" : ": set proxy-auth";
	case 403:
	case 405:
		return ": it does not let this node connect there";
	case 502:
	case 503:
	case 504:
		return ": it can't reach the peer";
	default:
		return "";
	}
}

static void
note_error(struct ws_conn *c, const char *text, size_t len)
{
	/* libwebsockets' words for all that ends in TCP, in TLS (which has spoken itself), before the answer.
	 */
	static const struct {
		const char *begin, *meaning;
	} words[] = {
	    {"Unable to connect", "connection refused, or no way to the address"},
	    {"connect S", "connection closed during the TLS handshake"},
	    {"closed before", "connection refused, or closed during the handshake"},
	};

	/* What TLS said before is more to the point. */
	if (c->why[0] != '\0' || text == NULL)
		return;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strncasecmp(text, words[i].begin, strlen(words[i].begin)) == 0) {
			snprintf(c->why, sizeof(c->why), "%s", words[i].meaning);
			return;
		}
	}
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

/* A proxy that did not open its tunnel is the reason for whatever came of it. */
static void
note_proxy(struct ws_conn *c)
{
	const struct ws_dialling *d = c->dialling;
	bool closed = false;
	const struct tunnel *t = d != NULL ? tls_dial_tunnel(d->tls, &closed) : NULL;

	if (t == NULL || t->state == TUNNEL_OPEN)
		return;
	if (t->state == TUNNEL_REFUSED)
		snprintf(c->why, sizeof(c->why), "the proxy at %s answered %u%s", d->proxy, t->status,
		    proxy_advice(t->status, d->has_auth));
	else
		snprintf(c->why, sizeof(c->why), "the proxy at %s %s", d->proxy,
		    t->state == TUNNEL_GARBAGE ? "does not answer as HTTP has it"
		    : closed                   ? "closed the connection before it had answered"
					       : "has not answered");
}

/* ERR_CRYPTO and others of tls_token_make(): nothing to show. */
static int
append_token(struct ws_conn *c, struct lws *wsi, unsigned char **p, size_t room)
{
	const struct ws_dialling *d = c->dialling;
	char value[7 + TOKEN_MAX_BYTES + 1] = "Bearer ";
	int len;

	if (d == NULL || d->audience[0] == '\0')
		return 0;
	len = tls_token_make(
	    c->ws->tls, d->audience, (int64_t)(clock_unix_ms() / 1000), d->token_lifetime_s, value + 7);
	if (len < 0) {
		snprintf(c->why, sizeof(c->why), "no token can be made: %s", err_text(len));
		return len;
	}
	ws_set_token(c, value + 7, (size_t)len);
	return lws_add_http_header_by_token(
	    wsi, WSI_TOKEN_HTTP_AUTHORIZATION, (unsigned char *)value, 7 + len, p, *p + room);
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
	case LWS_CALLBACK_CLIENT_APPEND_HANDSHAKE_HEADER:
		return append_token(c, wsi, in, len) != 0 ? -1 : 0;
	case LWS_CALLBACK_CLIENT_ESTABLISHED:
		ws_tune(lws_get_socket_fd(wsi));
		if (c->dialling != NULL)
			tls_dial_end(c->dialling->tls, lws_get_ssl(wsi));
		ws_dialling_free(c);
		if (c->closing || ws_io_begin(c) != 0)
			return -1;
		if (c->user != NULL)
			c->ws->events->opened(c->user);
		return 0;
	case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
		note_proxy(c);
		note_status(c, wsi);
		note_error(c, in, len);
		return 0;
	default:
		return 0;
	}
}

/* --- before the connection --- */

void
ws_dialling_free(struct ws_conn *c)
{
	if (c->dialling == NULL)
		return;
	tls_dial_free(c->dialling->tls);
	mem_free(c->dialling);
	c->dialling = NULL;
}

static bool
is_numeric(const char *host)
{
	struct in6_addr ip;

	return inet_pton(AF_INET, host, &ip) == 1 || inet_pton(AF_INET6, host, &ip) == 1;
}

static void
put_address(char *out, size_t size, const char *host, uint16_t port)
{
	snprintf(out, size, strchr(host, ':') != NULL ? "[%s]:%u" : "%s:%u", host, port);
}

/* The whole request; "" without a proxy.  False if it is too long. */
static bool
connect_request(const struct dial_way *way, char *out, size_t size)
{
	const char *auth = way->proxy_auth;
	char target[PEER_HOST_SIZE + 8];
	int n;

	out[0] = '\0';
	if (!way->via_proxy)
		return true;
	put_address(target, sizeof(target), way->target_host, way->target_port);
	n = snprintf(out, size, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n%s%s%s\r\n", target, target,
	    auth[0] != '\0' ? "Proxy-Authorization: Basic " : "", auth, auth[0] != '\0' ? "\r\n" : "");
	return n >= 0 && (size_t)n < size;
}

static struct tls_dial *
prepare_tls(const struct dial_way *way)
{
	const char *name = way->sni[0] != '\0' ? way->sni : way->target_host;
	char connect[1024];
	struct tls_dial_conf conf = {
	    .sni = is_numeric(name) ? "" : name,
	    .check = way->check_name ? name : "",
	    .authorities = way->authorities,
	    .anonymous = way->token,
	    .connect = connect,
	};

	return connect_request(way, connect, sizeof(connect)) ? tls_dial_new(&conf) : NULL;
}

/* ERR_NOMEM. */
static int
prepare(struct ws_conn *c, const struct dial_way *way)
{
	struct ws_dialling *d = mem_calloc(1, sizeof(*d));

	if (d == NULL)
		return ERR_NOMEM;
	c->dialling = d;
	d->tls = prepare_tls(way);
	if (d->tls == NULL)
		return ERR_NOMEM;
	if (way->via_proxy)
		put_address(d->proxy, sizeof(d->proxy), way->ip, way->port);
	d->has_auth = way->proxy_auth[0] != '\0';
	if (way->token)
		nodeid_format(d->audience, way->node);
	d->token_lifetime_s = way->token_lifetime_s;
	return 0;
}

static struct lws *
connect_to(struct ws_conn *c, const struct dial_way *way)
{
	char target[PEER_HOST_SIZE + 8];
	struct lws_client_connect_info info = {
	    .context = ws_loop_context(c->ws->loop),
	    .vhost = c->ws->vhost,
	    .address = way->ip,
	    .port = way->port,
	    .path = WS_PATH,
	    .host = way->host[0] != '\0' ? way->host : target,
	    .origin = target,
	    .protocol = WS_SUBPROTOCOL,
	    .local_protocol_name = WS_SUBPROTOCOL,
	    .alpn = "http/1.1",
	    .ssl_connection =
		LCCSCF_USE_SSL | LCCSCF_SKIP_SERVER_CERT_HOSTNAME_CHECK | LCCSCF_HTTP_NO_FOLLOW_REDIRECT,
	    .retry_and_idle_policy = &ws_no_pings,
	    .opaque_user_data = c,
	    .pwsi = &c->wsi,
	};

	put_address(target, sizeof(target), way->target_host, way->target_port);
	return lws_client_connect_via_info(&info);
}

/* What is shown to people: the peer's address, and the proxy's behind it. */
static void
describe(const struct dial_way *way, char out[WS_ADDRESS_SIZE])
{
	char via[PEER_IP_SIZE + 8];

	put_address(out, WS_ADDRESS_SIZE, way->via_proxy ? way->target_host : way->ip,
	    way->via_proxy ? way->target_port : way->port);
	if (!way->via_proxy)
		return;
	put_address(via, sizeof(via), way->ip, way->port);
	snprintf(out + strlen(out), WS_ADDRESS_SIZE - strlen(out), " via %s", via);
}

struct ws_conn *
ws_dial(struct ws *w, const struct dial_way *way, void *user)
{
	char address[WS_ADDRESS_SIZE];
	struct ws_conn *c;
	struct lws *wsi = NULL;

	describe(way, address);
	c = ws_conn_new(w, true, address);
	if (c == NULL)
		return NULL;
	stat_inc(STAT_DIALLED);
	c->starting = true;
	if (prepare(c, way) == 0)
		wsi = connect_to(c, way);
	c->starting = false;
	if (wsi == NULL || c->wsi == NULL) {
		ws_conn_end(c);
		return NULL;
	}
	c->user = user;
	return c;
}

void
ws_on_dial(struct ws *w, int fd)
{
	struct ws_conn *c;

	LIST_FOREACH (c, &w->conns, entry)
		if (c->wsi != NULL && c->dialling != NULL && lws_get_socket_fd(c->wsi) == fd)
			tls_dial_begin(c->dialling->tls, lws_get_ssl(c->wsi));
}
