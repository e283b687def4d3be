/*
 * ws_impl: what ws.c shares with ws_server.c and ws_client.c.  Nobody else includes it.
 */
#ifndef TRANSPORTD_WS_IMPL_H
#define TRANSPORTD_WS_IMPL_H

#include <bsd/sys/queue.h>
#include <libwebsockets.h>

#include "common/os/loop.h"
#include "transportd/ws.h"

enum { WS_MESSAGE_MAX_BYTES = FRAME_MESSAGE_MAX_BYTES };

struct ws_conn {
	struct ws *ws;
	LIST_ENTRY(ws_conn) entry;
	struct lws *wsi; /* NULL: gone, or not there yet */
	void *user;
	bool dialled;
	bool open;     /* upgraded */
	bool pending;  /* counts against pending_max */
	bool closing;  /* a close frame is to be sent */
	bool starting; /* libwebsockets is being called to make it: don't free it yet */
	char address[WS_ADDRESS_SIZE];
	char why[128]; /* what is known about the end */
	struct loop_timer *deadline;
	uint8_t *rx; /* begin of a message that came in pieces */
	size_t rx_len;
	uint16_t close_code;
	char close_reason[64];
	uint8_t last[LWS_PRE + WS_LAST_BYTES];
	size_t last_len;
};

LIST_HEAD(ws_conns, ws_conn);

struct ws_listener {
	struct ws *ws;
	int fd;
	struct loop_fd *watch;
};

struct ws {
	struct loop *loop;
	struct tls *tls;
	const struct ws_events *events;
	void *ctx;
	struct lws_vhost *vhost;
	struct ws_conns conns;
	unsigned pending_count, pending_max;
	int64_t handshake_ms;
	struct ws_listener listeners[WS_LISTEN_MAX];
	size_t listener_count;
	int64_t refuse_logged_us;
	uint8_t tx[LWS_PRE + WS_MESSAGE_MAX_BYTES];
};

/* A pending connection with its deadline running; NULL: no memory. */
struct ws_conn *ws_conn_new(struct ws *w, bool dialled, const char *address) MUST_USE;
/* Tells the user, if there is one, and frees it. */
void ws_conn_end(struct ws_conn *c);
/* No blocking writes of small frames, and no megabytes of unsent bytes in the kernel. */
void ws_tune(int fd);

/* Callbacks of libwebsockets that concern only one side. */
int ws_server_callback(
    struct ws_conn *c, struct lws *wsi, enum lws_callback_reasons reason, void *in, size_t len);
int ws_client_callback(
    struct ws_conn *c, struct lws *wsi, enum lws_callback_reasons reason, void *in, size_t len);
void ws_server_fini(struct ws *w);

#endif
