/*
 * raw_peer: a peer made by hand (OpenSSL, HTTP and WebSocket frames as bytes), for what no transportd
 * would say.  Blocking, with a timeout of ten seconds.  Header-only, as transport.h.
 */
#ifndef TESTS_RIG_RAW_PEER_H
#define TESTS_RIG_RAW_PEER_H

#include <openssl/ssl.h>

#include "tests/rig/transport.h"

#include <netinet/tcp.h>
#include <sys/time.h>

#include "common/base/be.h"
#include "transportd/core/goaway.h"
#include "transportd/core/hello.h"
#include "transportd/core/wsframe.h"

struct raw_peer {
	int fd;
	bool accepted; /* the other side dialled: it masks, and we don't */
	SSL_CTX *ctx;
	SSL *ssl;
	uint64_t number; /* both ends' name for a proven connection */
};

/* Connects as a proxy that has ended TLS: then p->ssl is NULL. */
static inline bool
raw_connect_plain(struct raw_peer *p, uint16_t port)
{
	struct sockaddr_in sa = {
	    .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct timeval tv = {.tv_sec = 10};

	memset(p, 0, sizeof(*p));
	p->fd = socket(AF_INET, SOCK_STREAM, 0);
	RIG_MUST(p->fd != -1);
	setsockopt(p->fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	setsockopt(p->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
	return connect(p->fd, (struct sockaddr *)&sa, sizeof(sa)) == 0;
}

/* A session on the socket with the certificate of dir (NULL: none). */
static inline void
raw_session(struct raw_peer *p, const SSL_METHOD *method, const char *dir)
{
	char path[PATH_MAX];

	p->ctx = SSL_CTX_new(method);
	SSL_CTX_set_min_proto_version(p->ctx, TLS1_3_VERSION);
	if (dir != NULL) {
		snprintf(path, sizeof(path), "%s/tls.crt", dir);
		RIG_MUST(SSL_CTX_use_certificate_file(p->ctx, path, SSL_FILETYPE_PEM) == 1);
		snprintf(path, sizeof(path), "%s/tls.key", dir);
		RIG_MUST(SSL_CTX_use_PrivateKey_file(p->ctx, path, SSL_FILETYPE_PEM) == 1);
	}
	p->ssl = SSL_new(p->ctx);
	SSL_set_fd(p->ssl, p->fd);
}

/* Connects and does the TLS handshake with the certificate of dir (NULL: none).  False: refused. */
static inline bool
raw_connect(struct raw_peer *p, uint16_t port, const char *dir)
{
	if (!raw_connect_plain(p, port))
		return false;
	raw_session(p, TLS_client_method(), dir);
	return SSL_connect(p->ssl) == 1;
}

static inline void
raw_free(struct raw_peer *p)
{
	SSL_free(p->ssl);
	SSL_CTX_free(p->ctx);
	close(p->fd);
}

static inline int
raw_recv(struct raw_peer *p, void *out, size_t size)
{
	return p->ssl != NULL ? SSL_read(p->ssl, out, (int)size) : (int)read(p->fd, out, size);
}

static inline int
raw_send(struct raw_peer *p, const void *data, size_t len)
{
	return p->ssl != NULL ? SSL_write(p->ssl, data, (int)len) : (int)write(p->fd, data, len);
}

/* Sends an HTTP request; the status of the answer, 0 if there is none. */
static inline int
raw_http(struct raw_peer *p, const char *request)
{
	char answer[4096];
	int n, status = 0, used = 0;

	if (raw_send(p, request, strlen(request)) <= 0)
		return 0;
	/* Byte by byte: what follows the header is for raw_read(). */
	while (used < (int)sizeof(answer) - 1 && (n = raw_recv(p, answer + used, 1)) == 1) {
		answer[++used] = '\0';
		if (strstr(answer, "\r\n\r\n") != NULL)
			break;
	}
	answer[used] = '\0';
	return sscanf(answer, "HTTP/1.%*d %d", &status) == 1 ? status : 0;
}

/* Answers the upgrade that the dialler asks for (RFC 6455 section 4.2.2). */
static inline bool
raw_upgrade(struct raw_peer *p)
{
	static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
	char request[4096] = "", key[128], answer[512];
	unsigned char hash[EVP_MAX_MD_SIZE], text[64];
	const char *at;
	size_t used = 0;

	/* Byte by byte, as in raw_http(). */
	while (used < sizeof(request) - 1 && strstr(request, "\r\n\r\n") == NULL) {
		if (raw_recv(p, request + used, 1) != 1)
			return false;
		request[++used] = '\0';
	}
	at = strcasestr(request, "\nSec-WebSocket-Key:");
	if (at == NULL || sscanf(strchr(at, ':') + 1, " %60s", key) != 1)
		return false;
	memcpy(key + strlen(key), guid, sizeof(guid));
	RIG_MUST(EVP_Digest(key, strlen(key), hash, NULL, EVP_sha1(), NULL) == 1);
	EVP_EncodeBlock(text, hash, 20);
	snprintf(answer, sizeof(answer),
	    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
	    "Sec-WebSocket-Accept: %s\r\nSec-WebSocket-Protocol: mesh.v1\r\n\r\n",
	    (const char *)text);
	return raw_send(p, answer, strlen(answer)) > 0;
}

#define RAW_REQUEST(path, extra)                                                                             \
	"GET " path " HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"                  \
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n" extra "\r\n"
#define RAW_UPGRADE RAW_REQUEST("/mesh/v1", "Sec-WebSocket-Protocol: mesh.v1\r\n")

static inline void
raw_ws(struct raw_peer *p, uint8_t first, const void *payload, size_t len)
{
	static uint8_t mem[WSFRAME_HEADROOM + 65535];
	const uint8_t mask[4] = {1, 2, 3, 4};
	size_t header;

	memcpy(mem + WSFRAME_HEADROOM, payload, len);
	header = wsframe_put_header(mem + WSFRAME_HEADROOM, len, WSFRAME_BINARY, p->accepted ? NULL : mask);
	mem[WSFRAME_HEADROOM - header] = first;
	(void)raw_send(p, mem + WSFRAME_HEADROOM - header, header + len);
}

static inline bool
raw_read_all(struct raw_peer *p, uint8_t *out, size_t len)
{
	while (len != 0) {
		int n = raw_recv(p, out, len);

		if (n <= 0)
			return false;
		out += n;
		len -= (size_t)n;
	}
	return true;
}

/* The next WebSocket frame: its opcode, -1 at the end. */
static inline int
raw_read(struct raw_peer *p, uint8_t *payload, size_t *len)
{
	uint8_t h[4], mask[4] = {0};

	if (!raw_read_all(p, h, 2))
		return -1;
	*len = h[1] & 0x7f;
	if (*len == 126) {
		if (!raw_read_all(p, h + 2, 2))
			return -1;
		*len = (size_t)h[2] << 8 | h[3];
	}
	if (((h[1] & 0x80) != 0 && !raw_read_all(p, mask, sizeof(mask))) || !raw_read_all(p, payload, *len))
		return -1;
	wsframe_mask(payload, *len, mask);
	return h[0] & 15;
}

static inline void
raw_send_frame(struct raw_peer *p, const struct frame *f)
{
	uint8_t mem[FRAME_MAX_BYTES];
	struct buf out;

	buf_init_fixed(&out, mem, sizeof(mem));
	RIG_MUST(frame_encode(f, &out) == 0);
	raw_ws(p, 0x82, mem, buf_left(&out));
}

static inline void
raw_frame(struct raw_peer *p, uint8_t type, uint64_t src, const void *payload, size_t len)
{
	raw_send_frame(
	    p, &(struct frame){
		   .type = type, .ttl = 1, .src = src, .payload = payload, .payload_len = (uint32_t)len});
}

/* The next mesh frame of the wanted type, skipping others; false at the end. */
static inline bool
raw_expect(struct raw_peer *p, uint8_t type, uint8_t *payload, size_t *len)
{
	static uint8_t msg[65536];
	int opcode;
	size_t n;

	while ((opcode = raw_read(p, msg, &n)) == WSFRAME_BINARY || opcode == WSFRAME_PONG) {
		struct frame f;
		struct buf in;

		buf_view(&in, msg, opcode == WSFRAME_BINARY ? n : 0);
		while (buf_left(&in) != 0) {
			RIG_MUST(frame_decode(&in, &f) == 0);
			if (f.type != type)
				continue;
			memcpy(payload, f.payload, f.payload_len);
			*len = f.payload_len;
			return true;
		}
	}
	return false;
}

/* Reads to the end: the GOAWAY code on the way, 0 if there was none; *close_code: of the close frame. */
static inline uint16_t
raw_goaway(struct raw_peer *p, uint16_t *close_code)
{
	static uint8_t msg[65536];
	char reason[GOAWAY_REASON_SIZE];
	uint16_t code = 0;
	int opcode;
	size_t n;

	*close_code = 0;
	while ((opcode = raw_read(p, msg, &n)) != -1) {
		struct frame f;
		struct buf in;

		if (opcode == WSFRAME_CLOSE && n >= 2) {
			*close_code = (uint16_t)(msg[0] << 8 | msg[1]);
			break;
		}
		if (opcode != WSFRAME_BINARY)
			continue;
		buf_view(&in, msg, n);
		while (buf_left(&in) != 0) {
			RIG_MUST(frame_decode(&in, &f) == 0);
			if (f.type == FRAME_GOAWAY)
				RIG_MUST(goaway_decode(f.payload, f.payload_len, &code, reason) == 0);
		}
	}
	return code;
}

/* The hello of a node for one of its lanes; its bytes into payload. */
static inline size_t
raw_hello_lane(const struct rig_node *n, const struct ulid *mesh, unsigned lane, unsigned lanes_max,
    uint8_t *payload, size_t size)
{
	struct hello h = {.mesh_id = *mesh,
	    .node_id = n->id,
	    .incarnation = 1,
	    .name = "raw",
	    .lane = (uint16_t)lane,
	    .lanes_max = (uint8_t)lanes_max,
	    .window_bytes = 4 << 20,
	    .window_frames = 65536};
	struct buf out;

	crypto_key_public(n->key, h.public_key);
	crypto_random(h.nonce, sizeof(h.nonce));
	buf_init_fixed(&out, payload, size);
	RIG_MUST(hello_encode(&h, &out) == 0);
	return buf_left(&out);
}

static inline size_t
raw_hello(const struct rig_node *n, const struct ulid *mesh, uint8_t *payload, size_t size)
{
	return raw_hello_lane(n, mesh, 0, 1, payload, size);
}

/* Proves a key, if it is that of as: signs both hellos in this role. */
static inline void
raw_auth(struct raw_peer *p, const struct rig_node *as, const struct crypto_key *key, enum hello_role role,
    const struct buf *own, const struct buf *theirs)
{
	uint8_t statement[HELLO_STATEMENT_BYTES], sig[HELLO_SIG_BYTES];
	struct hello_proof proof = {.role = role, .mesh_id = as->rig->mesh};
	bool dialled = role == HELLO_DIALLER;

	crypto_hash(proof.own_hash, buf_head(own), buf_left(own));
	crypto_hash(proof.peer_hash, buf_head(theirs), buf_left(theirs));
	p->number = be_load64(dialled ? proof.own_hash : proof.peer_hash) ^
		    be_load64((dialled ? proof.peer_hash : proof.own_hash) + 8);
	RIG_MUST(SSL_export_keying_material(p->ssl, proof.exporter, sizeof(proof.exporter),
		     "EXPORTER-mesh.v1", 16, NULL, 0, 0) == 1);
	hello_statement(&proof, statement);
	RIG_MUST(crypto_sign(key, CRYPTO_CONTEXT_HELLO, statement, sizeof(statement), sig) == 0);
	raw_frame(p, FRAME_AUTH, as->id, sig, sizeof(sig));
}

/* Does the whole handshake of a lane honestly, but that it signs with the key given; the stand-ins of node
 * must run afterwards for the lane to come up. */
static inline bool
raw_prove_lane(struct raw_peer *p, struct rig_node *node, struct rig_node *as, unsigned lane,
    unsigned lanes_max, const struct crypto_key *key)
{
	uint8_t own[512], theirs[1024];
	struct buf own_view, their_view;
	size_t own_len, len;

	own_len = raw_hello_lane(as, &node->rig->mesh, lane, lanes_max, own, sizeof(own));
	if (!raw_connect(p, node->port, as->dir) || raw_http(p, RAW_UPGRADE) != 101)
		return false;
	raw_frame(p, FRAME_HELLO, as->id, own, own_len);
	if (!raw_expect(p, FRAME_HELLO, theirs, &len))
		return false;
	buf_view(&own_view, own, own_len);
	buf_view(&their_view, theirs, len);
	raw_auth(p, as, key, HELLO_DIALLER, &own_view, &their_view);
	return true;
}

/* The same from the other side: accepts a lane that a node dials. */
static inline bool
raw_accept_lane(struct raw_peer *p, int listener, const struct rig_node *as, unsigned lanes_max)
{
	uint8_t own[512], theirs[1024];
	struct buf own_view, their_view;
	size_t own_len, len;
	struct hello h;

	memset(p, 0, sizeof(*p));
	p->accepted = true;
	p->fd = accept(listener, NULL, NULL);
	RIG_MUST(p->fd != -1);
	setsockopt(p->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
	raw_session(p, TLS_server_method(), as->dir);
	if (SSL_accept(p->ssl) != 1 || !raw_upgrade(p) || !raw_expect(p, FRAME_HELLO, theirs, &len))
		return false;
	RIG_MUST(hello_decode(theirs, len, &h) == 0);
	own_len = raw_hello_lane(as, &as->rig->mesh, h.lane, lanes_max, own, sizeof(own));
	raw_frame(p, FRAME_HELLO, as->id, own, own_len);
	buf_view(&own_view, own, own_len);
	buf_view(&their_view, theirs, len);
	raw_auth(p, as, as->key, HELLO_LISTENER, &own_view, &their_view);
	return true;
}

static inline bool
raw_prove(struct raw_peer *p, struct rig_node *node, struct rig_node *as)
{
	return raw_prove_lane(p, node, as, 0, 1, as->key);
}

#endif
