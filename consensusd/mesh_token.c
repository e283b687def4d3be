/*
 * mesh: tokens to join with; see mesh.h.
 *
 *	base64url of: u8 version, mesh id, token id, u64 issuer, u64 node (0: any), u64 expires (Unix ms),
 *signature
 *
 * Signed by a member's node key, so that every member can check it and nothing has to be kept until it is
 *used; then its id is in the control group's state, and it is good for no other node.
 */
#include <string.h>

#include "common/base/base64.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/os/clock.h"
#include "consensusd/keyring.h"
#include "consensusd/mesh_impl.h"

#define CRYPTO_CONTEXT_JOIN "mesh.v1 join"

enum {
	TOKEN_VERSION = 1,
	TOKEN_SIGNED_BYTES = 1 + 2 * ULID_BYTES + 3 * 8,
	TOKEN_BYTES = TOKEN_SIGNED_BYTES + CRYPTO_SIG_BYTES,
};

struct token {
	struct ulid mesh_id, id;
	uint64_t issuer, node, expires_unix_ms;
};

static int
token_encode(const struct token *t, struct buf *out)
{
	int err = buf_put_u8(out, TOKEN_VERSION);

	if (err == 0)
		err = buf_put_bytes(out, t->mesh_id.b, ULID_BYTES);
	if (err == 0)
		err = buf_put_bytes(out, t->id.b, ULID_BYTES);
	if (err == 0)
		err = buf_put_u64(out, t->issuer);
	if (err == 0)
		err = buf_put_u64(out, t->node);
	return err != 0 ? err : buf_put_u64(out, t->expires_unix_ms);
}

int
mesh_token(struct mesh *m, uint64_t node, uint64_t expires_unix_ms, char out[MESH_TOKEN_SIZE])
{
	struct token t = {.mesh_id = m->engine->mesh_id,
	    .issuer = m->engine->self,
	    .node = node,
	    .expires_unix_ms = expires_unix_ms};
	uint8_t mem[TOKEN_BYTES];
	struct buf b;
	int err;

	engine_ulid(m->engine, &t.id);
	buf_init_fixed(&b, mem, sizeof(mem));
	if ((err = token_encode(&t, &b)) != 0)
		return err;
	err = crypto_sign(keyring_node_key(m->engine->keyring), CRYPTO_CONTEXT_JOIN, mem, TOKEN_SIGNED_BYTES,
	    mem + TOKEN_SIGNED_BYTES);
	if (err != 0)
		return err;
	buf_init_fixed(&b, out, MESH_TOKEN_SIZE);
	if ((err = base64_encode(&b, BASE64_URL, mem, sizeof(mem))) != 0)
		return err;
	return buf_put_u8(&b, 0);
}

/* Each read fails only if the length is not what was checked. */
static int
token_decode(const uint8_t *data, size_t len, struct token *t)
{
	uint8_t version;
	struct buf b;

	if (len != TOKEN_BYTES)
		return ERR_FORMAT;
	buf_view(&b, data, TOKEN_SIGNED_BYTES);
	if (buf_get_u8(&b, &version) != 0 || version != TOKEN_VERSION ||
	    buf_get_bytes(&b, t->mesh_id.b, ULID_BYTES) != 0 || buf_get_bytes(&b, t->id.b, ULID_BYTES) != 0 ||
	    buf_get_u64(&b, &t->issuer) != 0 || buf_get_u64(&b, &t->node) != 0 ||
	    buf_get_u64(&b, &t->expires_unix_ms) != 0)
		return ERR_FORMAT;
	return buf_end(&b);
}

static const char *
objection(const struct mesh *m, const struct token *t, const uint8_t *data, uint64_t node)
{
	const struct mcg_member *issuer = mcg_member_get(m->mcg, t->issuer);

	if (memcmp(t->mesh_id.b, m->engine->mesh_id.b, ULID_BYTES) != 0)
		return "the token is for another mesh";
	if (issuer == NULL || issuer->replica == 0)
		return "who made the token is no member (any more)";
	if (crypto_verify(issuer->public_key, CRYPTO_CONTEXT_JOIN, data, TOKEN_SIGNED_BYTES,
		data + TOKEN_SIGNED_BYTES) != 0)
		return "the token's signature is wrong";
	if (t->expires_unix_ms < clock_unix_ms())
		return "the token has expired";
	return t->node != 0 && t->node != node ? "the token is for another node" : NULL;
}

int
mesh_token_check(const struct mesh *m, const char *token, uint64_t node, struct ulid *id, const char **why)
{
	uint8_t data[TOKEN_BYTES + 1];
	struct token t;
	size_t len = sizeof(data);

	*why = token[0] == '\0' ? "the mesh asks for a token to join" : "that is no token";
	if (base64_decode(token, strlen(token), BASE64_URL, data, &len) != 0 ||
	    token_decode(data, len, &t) != 0)
		return ERR_AUTH;
	*id = t.id;
	*why = objection(m, &t, data, node);
	return *why == NULL ? 0 : ERR_AUTH;
}
