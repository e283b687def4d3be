/*
 * raw_peer: a peer made by hand (OpenSSL, HTTP and WebSocket frames as bytes), for what no transportd
 * would say.  Blocking, with a timeout of ten seconds.  Header-only, as transport.h.
 */
#ifndef TESTS_RIG_RAW_PEER_H
#define TESTS_RIG_RAW_PEER_H

#include <openssl/ssl.h>

#include "tests/rig/transport.h"

#include <sys/time.h>

#include "transportd/core/goaway.h"
#include "transportd/core/hello.h"
#include "transportd/core/wsframe.h"

struct raw_peer {
	int fd;
	SSL_CTX *ctx;
	SSL *ssl;
};

/* Connects and does the TLS handshake with the certificate of dir (NULL: none).  False: refused. */
static inline bool
raw_connect(struct raw_peer *p, uint16_t port, const char *dir)
{
	struct sockaddr_in sa = {
	    .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct timeval tv = {.tv_sec = 10};
	char path[PATH_MAX];

	memset(p, 0, sizeof(*p));
	p->fd = socket(AF_INET, SOCK_STREAM, 0);
	RIG_MUST(p->fd != -1);
	setsockopt(p->fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	if (connect(p->fd, (struct sockaddr *)&sa, sizeof(sa)) == -1)
		return false;
	p->ctx = SSL_CTX_new(TLS_client_method());
	SSL_CTX_set_min_proto_version(p->ctx, TLS1_3_VERSION);
	if (dir != NULL) {
		snprintf(path, sizeof(path), "%s/tls.crt", dir);
		RIG_MUST(SSL_CTX_use_certificate_file(p->ctx, path, SSL_FILETYPE_PEM) == 1);
		snprintf(path, sizeof(path), "%s/tls.key", dir);
		RIG_MUST(SSL_CTX_use_PrivateKey_file(p->ctx, path, SSL_FILETYPE_PEM) == 1);
	}
	p->ssl = SSL_new(p->ctx);
	SSL_set_fd(p->ssl, p->fd);
	return SSL_connect(p->ssl) == 1;
}

static inline void
raw_free(struct raw_peer *p)
{
	SSL_free(p->ssl);
	SSL_CTX_free(p->ctx);
	close(p->fd);
}

/* Sends an HTTP request; the status of the answer, 0 if there is none. */
static inline int
raw_http(struct raw_peer *p, const char *request)
{
	char answer[4096];
	int n, status = 0, used = 0;

	if (SSL_write(p->ssl, request, (int)strlen(request)) <= 0)
		return 0;
	/* Byte by byte: what follows the header is for raw_read(). */
	while (used < (int)sizeof(answer) - 1 && (n = SSL_read(p->ssl, answer + used, 1)) == 1) {
		answer[++used] = '\0';
		if (strstr(answer, "\r\n\r\n") != NULL)
			break;
	}
	answer[used] = '\0';
	return sscanf(answer, "HTTP/1.%*d %d", &status) == 1 ? status : 0;
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
	header = wsframe_put_header(mem + WSFRAME_HEADROOM, len, WSFRAME_BINARY, mask);
	mem[WSFRAME_HEADROOM - header] = first;
	(void)SSL_write(p->ssl, mem + WSFRAME_HEADROOM - header, (int)(header + len));
}

static inline bool
raw_read_all(struct raw_peer *p, uint8_t *out, size_t len)
{
	while (len != 0) {
		int n = SSL_read(p->ssl, out, (int)len);

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
	uint8_t h[4];

	if (!raw_read_all(p, h, 2))
		return -1;
	*len = h[1] & 0x7f;
	if (*len == 126) {
		if (!raw_read_all(p, h + 2, 2))
			return -1;
		*len = (size_t)h[2] << 8 | h[3];
	}
	return raw_read_all(p, payload, *len) ? h[0] & 15 : -1;
}

static inline void
raw_frame(struct raw_peer *p, uint8_t type, uint64_t src, const void *payload, size_t len)
{
	struct frame f = {
	    .type = type, .ttl = 1, .src = src, .payload = payload, .payload_len = (uint32_t)len};
	uint8_t mem[2048];
	struct buf out;

	buf_init_fixed(&out, mem, sizeof(mem));
	RIG_MUST(frame_encode(&f, &out) == 0);
	raw_ws(p, 0x82, mem, buf_left(&out));
}

/* The next mesh frame of the wanted type, skipping others; false at the end. */
static inline bool
raw_expect(struct raw_peer *p, uint8_t type, uint8_t *payload, size_t *len)
{
	static uint8_t msg[65536];
	size_t n;

	while (raw_read(p, msg, &n) == WSFRAME_BINARY) {
		struct frame f;
		struct buf in;

		buf_view(&in, msg, n);
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

/* The hello of a node; its bytes into payload. */
static inline size_t
raw_hello(const struct rig_node *n, const struct ulid *mesh, uint8_t *payload, size_t size)
{
	struct hello h = {.mesh_id = *mesh, .node_id = n->id, .incarnation = 1, .name = "raw"};
	struct buf out;

	crypto_key_public(n->key, h.public_key);
	crypto_random(h.nonce, sizeof(h.nonce));
	buf_init_fixed(&out, payload, size);
	RIG_MUST(hello_encode(&h, &out) == 0);
	return buf_left(&out);
}

/* Does the whole handshake honestly; the stand-ins of node must run afterwards for the link to come up. */
static inline bool
raw_prove(struct raw_peer *p, struct rig_node *node, struct rig_node *as)
{
	uint8_t own[512], theirs[1024], statement[HELLO_STATEMENT_BYTES], sig[HELLO_SIG_BYTES];
	struct hello_proof proof = {.role = HELLO_DIALLER, .mesh_id = node->rig->mesh};
	size_t own_len, len;

	own_len = raw_hello(as, &node->rig->mesh, own, sizeof(own));
	if (!raw_connect(p, node->port, as->dir) || raw_http(p, RAW_UPGRADE) != 101)
		return false;
	raw_frame(p, FRAME_HELLO, as->id, own, own_len);
	if (!raw_expect(p, FRAME_HELLO, theirs, &len))
		return false;
	crypto_hash(proof.own_hash, own, own_len);
	crypto_hash(proof.peer_hash, theirs, len);
	RIG_MUST(SSL_export_keying_material(p->ssl, proof.exporter, sizeof(proof.exporter),
		     "EXPORTER-mesh.v1", 16, NULL, 0, 0) == 1);
	hello_statement(&proof, statement);
	RIG_MUST(crypto_sign(as->key, CRYPTO_CONTEXT_HELLO, statement, sizeof(statement), sig) == 0);
	raw_frame(p, FRAME_AUTH, as->id, sig, sizeof(sig));
	return true;
}

#endif
