/*
 * ws_impl: what ws.c shares with ws_server.c and ws_client.c.  Nobody else includes it.
 */
#ifndef TRANSPORTD_WS_IMPL_H
#define TRANSPORTD_WS_IMPL_H

#include <bsd/sys/queue.h>
#include <libwebsockets.h>
#include <sys/socket.h>

#include "common/os/loop.h"
#include "transportd/core/wsframe.h"
#include "transportd/token.h"
#include "transportd/ws.h"

enum {
	WS_MESSAGE_MAX_BYTES = FRAME_MESSAGE_MAX_BYTES,
	WS_FRAME_MAX_BYTES = WS_MESSAGE_MAX_BYTES + WSFRAME_HEADER_MAX,
	WS_READ_BYTES = 65536,     /* taken from a session in one turn of the reader */
	WS_READS_PER_TURN = 4,     /* then the others have a turn */
	WS_SOURCES = 256,          /* addresses of strangers told apart */
	WS_MASK_POOL_BYTES = 4096, /* random bytes drawn at once for masks */
};

/* The token that went with the upgrade. */
struct ws_auth {
	bool shown;
	uint8_t hash[32];
	struct token proven; /* by the dialler to the listener */
};

struct ws_dialling;

struct ws_conn {
	struct ws *ws;
	LIST_ENTRY(ws_conn) entry;
	struct lws *wsi; /* NULL: gone, or not there yet */
	void *user;
	bool dialled;
	bool open;     /* upgraded */
	bool pending;  /* counts against pending_max */
	bool closing;  /* the user has let go: only the farewell is left */
	bool starting; /* libwebsockets is being called to make it: don't free it yet */
	bool served;   /* libwebsockets looks after it: it begins or ends */
	bool plain;    /* no TLS: from a proxy that ends it */
	bool secured;  /* TLS is up */
	bool counted;  /* it was refused, and a counter knows it */
	char address[WS_ADDRESS_SIZE];
	uint8_t source; /* bucket of the peer's address */
	struct ws_auth auth;
	char why[160];                /* what is known about the end */
	struct ws_dialling *dialling; /* until the upgrade; of ws_client.c */
	struct loop_timer *deadline;
	/* From the upgrade on the bytes are read and written by ws_io.c. */
	struct loop_fd *watch;
	bool blocked;            /* the socket takes no more: tx holds what has to be repeated */
	bool close_sent;         /* the close frame has left */
	struct loop_defer write; /* writable() is due */
	struct loop_defer read;  /* bytes are there that the socket won't announce */
	uint64_t plain_received; /* bytes read without TLS */
	uint8_t *in;             /* begin of a frame */
	size_t in_len;
	uint8_t *rx; /* begin of a message that comes in several frames */
	size_t rx_len;
	uint8_t *tx;            /* room for a frame that the socket did not take */
	const uint8_t *tx_from; /* that frame: here, or where its owner keeps it */
	size_t tx_len;
	bool tx_own; /* it is here */
	uint8_t farewell[WSFRAME_HEADROOM + WS_LAST_BYTES + WSFRAME_HEADROOM + WSFRAME_CONTROL_MAX];
	size_t farewell_len; /* to be sent, then the end */
};

LIST_HEAD(ws_conns, ws_conn);

struct ws_listener {
	struct ws *ws;
	int fd;
	bool proxied;
	struct loop_fd *watch;
	struct loop_timer *rest; /* running: nothing is accepted for a moment */
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
	uint64_t source_key; /* of the buckets */
	uint8_t masks[WS_MASK_POOL_BYTES];
	size_t masks_used;
	uint8_t tx[WSFRAME_HEADROOM + WS_MESSAGE_MAX_BYTES];
	uint8_t rx[WS_FRAME_MAX_BYTES + WS_READ_BYTES];
};

/* A pending connection with its deadline running; NULL: no memory. */
struct ws_conn *ws_conn_new(struct ws *w, bool dialled, const char *address) MUST_USE;
/* Tells the user, if there is one, and frees it. */
void ws_conn_end(struct ws_conn *c);
/* It is pending for too long, or others need the place: ends it, and no longer counts it. */
void ws_conn_expire(struct ws_conn *c, const char *why);
/* An address of the kernel's as WS_ENDPOINT_BYTES; all 0 if it is of another family than IP. */
void ws_endpoint_of(const struct sockaddr_storage *sa, uint8_t out[WS_ENDPOINT_BYTES]);
/* No blocking writes of small frames, and no megabytes of unsent bytes in the kernel. */
void ws_tune(int fd);

/* libwebsockets has done the upgrade: from here on it only holds the socket.  ERR_NOMEM. */
int ws_io_begin(struct ws_conn *c) MUST_USE;
void ws_io_end(struct ws_conn *c);
/* libwebsockets is to look after it, or not any more: then it only holds the socket. */
void ws_serve(struct ws_conn *c, bool served);
/* Ends the connection in the next turn; the user hears of it unless it has let go. */
void ws_doom(struct ws_conn *c);

/* Takes the token out of the request: NULL and kept in c, or why it is refused. */
const char *ws_token_refusal(struct ws_conn *c, struct lws *wsi);

/* Callbacks of libwebsockets that concern only one side. */
int ws_server_callback(
    struct ws_conn *c, struct lws *wsi, enum lws_callback_reasons reason, void *in, size_t len);
int ws_client_callback(
    struct ws_conn *c, struct lws *wsi, enum lws_callback_reasons reason, void *in, size_t len);
/* Forgets how it was dialled. */
void ws_dialling_free(struct ws_conn *c);

/* libwebsockets must not write by itself: what it wrote would land between our records. */
extern const lws_retry_bo_t ws_no_pings;

#endif
