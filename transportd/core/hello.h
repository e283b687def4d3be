/*
 * hello: the first frame on a link, and the statement that is signed to prove the node key.
 *
 * Both sides send HELLO, then AUTH: a signature over the role of the signer, the mesh, both hellos
 * and keying material of the TLS session (mesh-wire(7)).  A signature is therefore worth nothing on
 * another connection, in the other direction, or after a hello was changed on the way.
 */
#ifndef TRANSPORTD_CORE_HELLO_H
#define TRANSPORTD_CORE_HELLO_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/id.h"
#include "common/base/must.h"

struct buf;

enum {
	HELLO_VERSION = 2,
	HELLO_ENDPOINT_BYTES = 18, /* IPv6 address (or IPv4 mapped into one), port */
	HELLO_KEY_BYTES = 32,
	HELLO_NONCE_BYTES = 32,
	HELLO_HASH_BYTES = 32,
	HELLO_EXPORTER_BYTES = 32,
	HELLO_SIG_BYTES = 64,
	/* role, mesh id, hash of the signer's hello, hash of the other's, exporter */
	HELLO_STATEMENT_BYTES = 1 + ULID_BYTES + 2 * HELLO_HASH_BYTES + HELLO_EXPORTER_BYTES,
};

enum hello_role { HELLO_DIALLER = 'D', HELLO_LISTENER = 'L' };

struct hello {
	struct ulid mesh_id;
	uint64_t node_id;
	uint8_t public_key[HELLO_KEY_BYTES];
	uint8_t nonce[HELLO_NONCE_BYTES];
	uint64_t incarnation;
	char name[NODE_NAME_SIZE];
	uint16_t lane;     /* of this connection: the dialler chooses, the listener repeats */
	uint8_t lanes_max; /* the most that this side takes on a link; 1: everything on lane 0 */
	/* What may be sent to this side before its first WINDOW. */
	uint32_t window_bytes, window_frames;
	/* The connection as this side sees it.  If the other sees the same, nothing in between ends TCP. */
	uint8_t local[HELLO_ENDPOINT_BYTES], remote[HELLO_ENDPOINT_BYTES];
};

/* Appends the payload of a HELLO frame; the buffer's errors. */
int hello_encode(const struct hello *h, struct buf *out) MUST_USE;

/*
 * Decodes a payload; unknown extensions are skipped.  Total: ERR_SHORT, ERR_VERSION, ERR_FORMAT
 * (name, node id 0), ERR_LIMIT (size, number of extensions).
 */
int hello_decode(const void *payload, size_t len, struct hello *out) MUST_USE;

struct hello_proof {
	enum hello_role role; /* of the signer */
	struct ulid mesh_id;
	uint8_t own_hash[HELLO_HASH_BYTES];  /* of the signer's HELLO payload */
	uint8_t peer_hash[HELLO_HASH_BYTES]; /* of the HELLO payload the signer got */
	uint8_t exporter[HELLO_EXPORTER_BYTES];
};

/* What is signed, without the context prefix. */
void hello_statement(const struct hello_proof *p, uint8_t out[HELLO_STATEMENT_BYTES]);

#endif
