/* ws_token: the token that goes with an upgrade where TLS ends at a proxy. */
#include "transportd/ws_impl.h" /* libwebsockets brings OpenSSL, which comes before err.h */

#include <string.h>

#include "common/os/clock.h"
#include "common/os/crypto.h"
#include "transportd/tls.h"
#include "transportd/tls_token.h"

static void
keep(struct ws_conn *c, const char *text, size_t len)
{
	c->auth.shown = true;
	crypto_hash(c->auth.hash, text, len);
}

void
ws_set_token(struct ws_conn *c, const char *text, size_t len)
{
	MUST(c->dialled && !c->open);
	keep(c, text, len);
}

const struct token *
ws_token(const struct ws_conn *c)
{
	return c->auth.shown && !c->dialled ? &c->auth.proven : NULL;
}

bool
ws_token_hash(const struct ws_conn *c, uint8_t out[CRYPTO_HASH_BYTES])
{
	if (c->auth.shown)
		memcpy(out, c->auth.hash, CRYPTO_HASH_BYTES);
	return c->auth.shown;
}

/* Our node id as text: for whom the tokens shown to us must be made. */
static int
own_audience(const struct ws *w, char out[NODEID_TEXT_SIZE])
{
	struct token own;
	int err = token_identity(tls_own_uri(w->tls), &own.mesh_id, &own.node_id);

	if (err == 0)
		nodeid_format(out, own.node_id);
	return err;
}

const char *
ws_token_refusal(struct ws_conn *c, struct lws *wsi)
{
	static const char scheme[] = "Bearer ";
	char text[sizeof(scheme) + TOKEN_MAX_BYTES + 1], audience[NODEID_TEXT_SIZE];
	int len = lws_hdr_copy(wsi, text, sizeof(text), WSI_TOKEN_HTTP_AUTHORIZATION);
	size_t skip = sizeof(scheme) - 1;
	const char *why = "out of memory";

	if (lws_hdr_total_length(wsi, WSI_TOKEN_HTTP_AUTHORIZATION) == 0)
		return "peers show a token here (Authorization: Bearer)";
	if (len < 0)
		return "token: longer than 8 KiB";
	if ((size_t)len < skip || strncasecmp(text, scheme, skip) != 0)
		return "token: the scheme must be Bearer";
	if (own_audience(c->ws, audience) != 0)
		return "the certificate of this node names no node";
	if (tls_token_check(c->ws->tls, text + skip, (size_t)len - skip, audience,
		(int64_t)(clock_unix_ms() / 1000), &c->auth.proven, &why) != 0)
		return why;
	keep(c, text + skip, (size_t)len - skip);
	return NULL;
}
