/* ws_server: listening, and who is let in by HTTP. */
#include "transportd/ws_impl.h" /* libwebsockets brings OpenSSL, which comes before err.h */

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/be.h"
#include "common/base/err.h"
#include "common/os/log.h"
#include "transportd/stats.h"

enum { BACKLOG = 256, ACCEPTS_PER_TURN = 16, REST_MS = 200 };

/* --- HTTP --- */

static int
answer(struct ws_conn *c, struct lws *wsi, unsigned status, const char *text)
{
	snprintf(c->why, sizeof(c->why), "HTTP %u: %s", status, text);
	if (!c->counted)
		stat_inc(STAT_REFUSED_HTTP);
	c->counted = true;
	/* 1: the answer is written, the transaction is over. */
	return lws_return_http_status(wsi, status, text) != 0 ? -1 : 1;
}

/* RFC 6750 section 3; the same text for people in the body. */
static int
unauthorized(struct ws_conn *c, struct lws *wsi, const char *text)
{
	bool shown = lws_hdr_total_length(wsi, WSI_TOKEN_HTTP_AUTHORIZATION) != 0;
	uint8_t mem[LWS_PRE + 1024], *start = mem + LWS_PRE, *p = start, *end = mem + sizeof(mem) - 1;
	char challenge[256];
	int len = snprintf(challenge, sizeof(challenge), "Bearer realm=\"mesh\"%s%s%s",
	    shown ? ", error=\"invalid_token\", error_description=\"" : "", shown ? text : "",
	    shown ? "\"" : "");

	snprintf(c->why, sizeof(c->why), "HTTP 401: %s", text);
	stat_inc(STAT_REFUSED_TOKEN);
	c->counted = true;
	if (lws_add_http_common_headers(
		wsi, HTTP_STATUS_UNAUTHORIZED, "text/plain", strlen(text) + 1, &p, end) != 0 ||
	    lws_add_http_header_by_token(
		wsi, WSI_TOKEN_HTTP_WWW_AUTHENTICATE, (const unsigned char *)challenge, len, &p, end) != 0 ||
	    lws_finalize_write_http_header(wsi, start, &p, end) != 0)
		return -1;
	len = snprintf((char *)start, (size_t)(end - start), "%s\n", text);
	return lws_write(wsi, start, (size_t)len, LWS_WRITE_HTTP_FINAL) != len ? -1 : 1;
}

static bool
header_is(struct lws *wsi, enum lws_token_indexes token, const char *value)
{
	char text[64];

	return lws_hdr_copy(wsi, text, sizeof(text), token) > 0 && strcasecmp(text, value) == 0;
}

/* Is value one of the comma-separated words of the header? */
static bool
header_lists(struct lws *wsi, enum lws_token_indexes token, const char *value)
{
	char text[256], *rest = text, *word;

	if (lws_hdr_copy(wsi, text, sizeof(text), token) <= 0)
		return false;
	while ((word = strsep(&rest, ", \t")) != NULL)
		if (strcasecmp(word, value) == 0)
			return true;
	return false;
}

/*
 * All that libwebsockets would otherwise answer by hanging up, or worse: with an upgrade to anything
 * but websocket its pointer to the header is already stale here, so only the header table is asked.
 */
static int
confirm_upgrade(struct ws_conn *c, struct lws *wsi)
{
	const char *not_now, *refusal;

	if (!header_is(wsi, WSI_TOKEN_UPGRADE, "websocket"))
		return -1;
	if (!header_is(wsi, WSI_TOKEN_GET_URI, WS_PATH))
		return answer(c, wsi, HTTP_STATUS_NOT_FOUND, "links are at " WS_PATH);
	if (!header_lists(wsi, WSI_TOKEN_CONNECTION, "upgrade") || !header_is(wsi, WSI_TOKEN_VERSION, "13") ||
	    lws_hdr_total_length(wsi, WSI_TOKEN_KEY) == 0 || lws_hdr_total_length(wsi, WSI_TOKEN_HOST) == 0)
		return answer(c, wsi, HTTP_STATUS_BAD_REQUEST, "incomplete WebSocket upgrade");
	if (!header_lists(wsi, WSI_TOKEN_PROTOCOL, WS_SUBPROTOCOL))
		return answer(c, wsi, HTTP_STATUS_BAD_REQUEST, "subprotocol " WS_SUBPROTOCOL " expected");
	not_now = c->ws->events->admit(c->ws->ctx);
	if (not_now != NULL) {
		stat_inc(STAT_REFUSED_NOT_READY);
		c->counted = true;
		return answer(c, wsi, HTTP_STATUS_SERVICE_UNAVAILABLE, not_now);
	}
	/* Last: it costs most. */
	refusal = c->plain ? ws_token_refusal(c, wsi) : NULL;
	return refusal != NULL ? unauthorized(c, wsi, refusal) : 0;
}

static int
plain_request(struct ws_conn *c, struct lws *wsi)
{
	bool here = header_is(wsi, WSI_TOKEN_GET_URI, WS_PATH);

	if (answer(c, wsi, here ? 426 : HTTP_STATUS_NOT_FOUND,
		here ? "WebSocket upgrade required" : "links are at " WS_PATH) < 0)
		return -1;
	return lws_http_transaction_completed(wsi) != 0 ? -1 : 0;
}

int
ws_server_callback(struct ws_conn *c, struct lws *wsi, enum lws_callback_reasons reason, void *in, size_t len)
{
	(void)in;
	(void)len;
	switch (reason) {
	case LWS_CALLBACK_HTTP_CONFIRM_UPGRADE:
		return confirm_upgrade(c, wsi);
	case LWS_CALLBACK_HTTP:
		return plain_request(c, wsi);
	case LWS_CALLBACK_ESTABLISHED:
		if (c->closing || ws_io_begin(c) != 0)
			return -1;
		c->user = c->ws->events->accepted(c->ws->ctx, c);
		return c->user == NULL && !c->closing ? -1 : 0;
	default:
		return 0;
	}
}

/* --- too many strangers --- */

/*
 * The bucket of an address.  Who shares an address with others can't be told from them, and of IPv6
 * anybody has a whole /64.  The key keeps strangers from choosing whose bucket they share.
 */
static uint8_t
source_of(const struct ws *w, const struct sockaddr_storage *from)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	uint8_t ip[WS_ENDPOINT_BYTES];
	uint64_t net;

	ws_endpoint_of(from, ip);
	net = memcmp(ip, mapped, sizeof(mapped)) == 0 ? be_load32(ip + sizeof(mapped)) : be_load64(ip);
	net = (net ^ w->source_key) * (w->source_key | 1);
	return (uint8_t)((net ^ net >> 29) * (w->source_key | 1) >> 56);
}

static bool
is_stranger(const struct ws_conn *c)
{
	return c->pending && !c->dialled;
}

/* Is there a place for one more?  When all are taken, who has most of them gives up its oldest: no single
 * address keeps the others out.  Where everybody has but one, those who are in stay. */
static bool
make_room(struct ws *w)
{
	unsigned counts[WS_SOURCES] = {0}, most = 0;
	struct ws_conn *c, *oldest = NULL;

	if (w->pending_count < w->pending_max)
		return true;
	stat_inc(STAT_REFUSED_PENDING);
	LIST_FOREACH (c, &w->conns, entry)
		if (is_stranger(c) && ++counts[c->source] > counts[most])
			most = c->source;
	if (counts[most] < 2)
		return false;
	LIST_FOREACH (c, &w->conns, entry)
		if (is_stranger(c) && c->source == most)
			oldest = c; /* new ones are put at the head */
	MUST(oldest != NULL);
	oldest->counted = true;
	ws_conn_expire(oldest, "too many pending connections from this address");
	return true;
}

/* --- sockets --- */

static void
format_address(const struct sockaddr_storage *sa, socklen_t len, char *out, size_t size)
{
	char host[NI_MAXHOST], port[NI_MAXSERV];
	const char *plain = host;

	if (getnameinfo((const struct sockaddr *)sa, len, host, sizeof(host), port, sizeof(port),
		NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
		snprintf(out, size, "?");
		return;
	}
	if (strncmp(host, "::ffff:", 7) == 0)
		plain = host + 7; /* IPv4 on a listener for both */
	snprintf(out, size, strchr(plain, ':') != NULL ? "[%s]:%s" : "%s:%s", plain, port);
}

static void
adopt(struct ws_listener *l, int fd, const struct sockaddr_storage *from, socklen_t from_len)
{
	lws_adopt_desc_t info = {
	    .vh = l->ws->vhost,
	    .type = LWS_ADOPT_SOCKET | LWS_ADOPT_HTTP | (l->proxied ? 0 : LWS_ADOPT_ALLOW_SSL),
	    .fd.sockfd = fd,
	};
	char address[WS_ADDRESS_SIZE];
	struct ws_conn *c;
	struct lws *wsi;

	format_address(from, from_len, address, sizeof(address));
	c = ws_conn_new(l->ws, false, address);
	if (c == NULL) {
		close(fd);
		return;
	}
	c->plain = l->proxied;
	c->source = source_of(l->ws, from);
	ws_tune(fd);
	info.opaque = c;
	c->starting = true;
	wsi = lws_adopt_descriptor_vhost_via_info(&info);
	c->starting = false;
	c->wsi = wsi;
	if (wsi == NULL)
		ws_conn_end(c);
}

static void
on_rested(void *arg)
{
	struct ws_listener *l = arg;

	/* If it can't be watched now, later. */
	if (loop_fd_mod(l->watch, LOOP_READ) != 0)
		loop_timer_arm_ms(l->rest, REST_MS);
}

/* No descriptor or memory for what waits in the backlog: asking again at once would spin. */
static void
accept_failed(struct ws_listener *l)
{
	if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
		return;
	log_warn("can't accept connections: %s; links-max and pending-max may be too high for the limit of "
		 "open files",
	    strerror(errno));
	stat_inc(STAT_REFUSED_PENDING);
	(void)loop_fd_mod(l->watch, 0);
	loop_timer_arm_ms(l->rest, REST_MS);
}

/* A full house is not worth a TLS handshake: the socket is closed at once. */
static void
on_listener(void *arg, int fd, unsigned events)
{
	struct ws_listener *l = arg;

	(void)events;
	for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
		struct sockaddr_storage sa = {0};
		socklen_t len = sizeof(sa);
		int s = accept4(fd, (struct sockaddr *)&sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (s == -1) {
			accept_failed(l);
			return;
		}
		if (!make_room(l->ws)) {
			close(s);
			continue;
		}
		stat_inc(STAT_ACCEPTED);
		adopt(l, s, &sa, len);
	}
}

static int
bind_to(const struct addrinfo *ai)
{
	int one = 1, zero = 0;
	int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd == -1)
		return -1;
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	/* Both families on one socket. */
	if (ai->ai_family == AF_INET6)
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero));
	if (bind(fd, ai->ai_addr, ai->ai_addrlen) == -1 || listen(fd, BACKLOG) == -1) {
		int saved = errno;

		close(fd);
		errno = saved;
		return -1;
	}
	return fd;
}

/* "*" means any address of either family. */
static int
listen_fd(const char *host, const char *port)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *list;
	int fd = -1;

	if (getaddrinfo(strcmp(host, "*") == 0 ? "::" : host, port, &hints, &list) != 0)
		return -1;
	for (struct addrinfo *ai = list; ai != NULL && fd == -1; ai = ai->ai_next)
		fd = bind_to(ai);
	freeaddrinfo(list);
	if (fd == -1 && strcmp(host, "*") == 0 && errno == EAFNOSUPPORT)
		return listen_fd("0.0.0.0", port);
	return fd;
}

static void
split_address(const char *address, char *host, size_t size, const char **port)
{
	const char *colon = strrchr(address, ':');
	size_t len = colon != NULL ? (size_t)(colon - address) : strlen(address);

	*port = colon != NULL ? colon + 1 : "";
	if (len >= 2 && address[0] == '[' && address[len - 1] == ']') {
		address++;
		len -= 2;
	}
	snprintf(host, size, "%.*s", (int)len, address);
}

static void
listener_fini(struct ws_listener *l)
{
	loop_fd_del(l->watch);
	loop_timer_free(l->rest);
	close(l->fd);
}

int
ws_listen(struct ws *w, const char *address, bool proxied)
{
	struct ws_listener *l = &w->listeners[w->listener_count];
	const char *port;
	char host[256];

	if (w->listener_count == WS_LISTEN_MAX) {
		log_error("too many listen addresses: at most %d", WS_LISTEN_MAX);
		return ERR_LIMIT;
	}
	split_address(address, host, sizeof(host), &port);
	l->ws = w;
	l->proxied = proxied;
	l->fd = listen_fd(host, port);
	if (l->fd == -1) {
		log_error("can't listen on %s: %s", address, strerror(errno));
		return ERR_IO;
	}
	l->watch = loop_fd_add(w->loop, l->fd, LOOP_READ, on_listener, l);
	l->rest = loop_timer_new(w->loop, on_rested, l);
	if (l->watch == NULL || l->rest == NULL) {
		listener_fini(l);
		return ERR_NOMEM;
	}
	w->listener_count++;
	log_info("listening on %s%s", address, proxied ? ", for a proxy that ends TLS" : "");
	return 0;
}

void
ws_stop_listening(struct ws *w)
{
	for (size_t i = 0; i < w->listener_count; i++)
		listener_fini(&w->listeners[i]);
	w->listener_count = 0;
}
