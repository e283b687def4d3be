#include "transportd/token.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "common/base/base64.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"

enum { UNIX_MAX_S_BITS = 38 }; /* year 9999 and some; sums of such times can't overflow */

static const char *const alg_names[] = {[TOKEN_ES256] = "ES256", [TOKEN_EDDSA] = "EdDSA"};

static int
refuse(const char **why, const char *text, int err)
{
	*why = text;
	return err;
}

static void *
json_alloc(size_t size)
{
	return mem_calloc(1, size);
}

void
token_init(size_t seed)
{
	json_set_alloc_funcs(json_alloc, mem_free);
	/* 0 would make jansson look for randomness itself, in files that the sandbox forbids. */
	json_object_seed(seed != 0 ? seed : 1);
}

/* --- taking apart --- */

static int
load_json(const char *text, size_t len, json_t **out, const char **why)
{
	uint8_t json[TOKEN_MAX_BYTES];
	size_t size = sizeof(json);
	json_error_t error;

	if (base64_decode(text, len, BASE64_URL, json, &size) != 0)
		return refuse(why, "token: not unpadded base64url", ERR_FORMAT);
	*out = json_loadb((const char *)json, size, JSON_REJECT_DUPLICATES, &error);
	if (*out != NULL && json_is_object(*out))
		return 0;
	json_decref(*out);
	*out = NULL;
	switch (json_error_code(&error)) {
	case json_error_out_of_memory:
		return refuse(why, "out of memory", ERR_NOMEM);
	case json_error_duplicate_key:
		return refuse(why, "token: a member stands twice", ERR_FORMAT);
	default: /* also when it ran out of memory in a place where it does not say so */
		return refuse(why, "token: no JSON object", ERR_FORMAT);
	}
}

/* A string member of less than size bytes; false if it is anything else. */
static bool
take_string(const json_t *o, const char *key, char *out, size_t size)
{
	const json_t *v = json_object_get(o, key);

	if (!json_is_string(v) || json_string_length(v) >= size || json_string_length(v) == 0)
		return false;
	memcpy(out, json_string_value(v), json_string_length(v) + 1);
	return true;
}

static bool
take_time(const json_t *o, const char *key, int64_t *out)
{
	const json_t *v = json_object_get(o, key);

	if (!json_is_integer(v))
		return false;
	*out = json_integer_value(v);
	return *out > 0 && *out >> UNIX_MAX_S_BITS == 0;
}

static int
take_chain(const json_t *header, struct token_parts *p, const char **why)
{
	const json_t *x5c = json_object_get(header, "x5c");
	size_t used = 0;

	if (!json_is_array(x5c) || json_array_size(x5c) == 0 || json_array_size(x5c) > TOKEN_CHAIN_MAX)
		return refuse(why, "token: x5c must hold 1 to 8 certificates", ERR_FORMAT);
	for (size_t i = 0; i < json_array_size(x5c); i++) {
		const json_t *v = json_array_get(x5c, i);
		size_t size = sizeof(p->der) - used;

		if (!json_is_string(v) || base64_decode(json_string_value(v), json_string_length(v),
					      BASE64_STD, p->der + used, &size) != 0)
			return refuse(why, "token: x5c is not base64", ERR_FORMAT);
		p->chain[i] = (struct token_cert){p->der + used, size};
		used += size;
	}
	p->chain_count = json_array_size(x5c);
	return 0;
}

static int
take_header(const json_t *header, struct token_parts *p, const char **why)
{
	char text[16];

	if (!take_string(header, "typ", text, sizeof(text)) || strcmp(text, "JWT") != 0)
		return refuse(why, "token: typ must be JWT", ERR_FORMAT);
	/* RFC 7515 section 4.1.11: whoever does not understand it must refuse. */
	if (json_object_get(header, "crit") != NULL)
		return refuse(why, "token: critical extensions are not supported", ERR_UNKNOWN);
	if (!take_string(header, "alg", text, sizeof(text)))
		text[0] = '\0';
	if (strcmp(text, alg_names[TOKEN_ES256]) == 0)
		p->alg = TOKEN_ES256;
	else if (strcmp(text, alg_names[TOKEN_EDDSA]) == 0)
		p->alg = TOKEN_EDDSA;
	else
		return refuse(why, "token: alg must be ES256 or EdDSA", ERR_UNKNOWN);
	return take_chain(header, p, why);
}

static int
take_claims(const json_t *claims, struct token_parts *p, const char **why)
{
	char iss[TOKEN_URI_SIZE], jti[TOKEN_JTI_MAX + 1];

	if (!take_string(claims, "iss", iss, sizeof(iss)) ||
	    !take_string(claims, "sub", p->subject, sizeof(p->subject)) || strcmp(iss, p->subject) != 0)
		return refuse(why, "token: iss and sub must be the same URI", ERR_FORMAT);
	if (!take_string(claims, "aud", p->audience, sizeof(p->audience)))
		return refuse(why, "token: aud must be a node id", ERR_FORMAT);
	if (!take_time(claims, "iat", &p->iat) || !take_time(claims, "nbf", &p->nbf) ||
	    !take_time(claims, "exp", &p->exp))
		return refuse(why, "token: iat, nbf and exp must be times in seconds", ERR_FORMAT);
	if (!take_string(claims, "jti", jti, sizeof(jti)))
		return refuse(why, "token: jti must be a text of 1 to 64 characters", ERR_FORMAT);
	return 0;
}

static int
take_segment(const char *text, size_t len, struct token_parts *p, const char **why,
    int (*take)(const json_t *, struct token_parts *, const char **))
{
	json_t *o;
	int err = load_json(text, len, &o, why);

	if (err != 0)
		return err;
	err = take(o, p, why);
	json_decref(o);
	return err;
}

int
token_parse(const char *text, size_t len, struct token_parts *out, const char **why)
{
	const char *claims, *signature;
	size_t size = sizeof(out->signature);
	int err;

	memset(out, 0, sizeof(*out));
	if (len > TOKEN_MAX_BYTES)
		return refuse(why, "token: longer than 8 KiB", ERR_LIMIT);
	claims = memchr(text, '.', len);
	signature = claims != NULL ? memchr(claims + 1, '.', len - (size_t)(claims + 1 - text)) : NULL;
	/* A third '.' is in no alphabet. */
	if (signature == NULL)
		return refuse(why, "token: three parts expected", ERR_FORMAT);
	out->signed_len = (size_t)(signature - text);
	claims++;
	signature++;
	if ((err = take_segment(text, (size_t)(claims - 1 - text), out, why, take_header)) != 0 ||
	    (err = take_segment(claims, (size_t)(signature - 1 - claims), out, why, take_claims)) != 0)
		return err;
	if (base64_decode(signature, len - (size_t)(signature - text), BASE64_URL, out->signature, &size) !=
		0 ||
	    size != sizeof(out->signature))
		return refuse(why, "token: the signature must be 64 bytes in base64url", ERR_FORMAT);
	return 0;
}

/* --- what it claims --- */

int
token_identity(const char *uri, struct ulid *mesh_id, uint64_t *node_id)
{
	static const char scheme[] = "spiffe://", node[] = "/node/";
	char mesh[ULID_TEXT_SIZE], text[NODEID_TEXT_SIZE], again[TOKEN_URI_SIZE];
	size_t mesh_at = sizeof(scheme) - 1, node_at = mesh_at + ULID_TEXT_SIZE - 1 + sizeof(node) - 1;

	if (strlen(uri) != node_at + NODEID_TEXT_SIZE - 1)
		return ERR_FORMAT;
	memcpy(mesh, uri + mesh_at, sizeof(mesh) - 1);
	mesh[sizeof(mesh) - 1] = '\0';
	if (ulid_parse(mesh, mesh_id) != 0 || nodeid_parse(uri + node_at, node_id) != 0)
		return ERR_FORMAT;
	/* Ids may be read from several spellings; names that are compared have one. */
	ulid_format(mesh, mesh_id);
	nodeid_format(text, *node_id);
	snprintf(again, sizeof(again), "%s%s%s%s", scheme, mesh, node, text);
	return strcmp(uri, again) == 0 ? 0 : ERR_FORMAT;
}

int
token_claims(const struct token_parts *p, const char *audience, int64_t now_unix_s, struct token *out,
    const char **why)
{
	if (token_identity(p->subject, &out->mesh_id, &out->node_id) != 0)
		return refuse(why, "token: sub must be spiffe://MESH/node/NODE", ERR_AUTH);
	if (strcmp(p->audience, audience) != 0)
		return refuse(why, "token: made for another node", ERR_AUTH);
	if (p->exp - p->iat > TOKEN_LIFETIME_MAX_S + TOKEN_LEEWAY_S || p->exp <= p->iat || p->exp <= p->nbf)
		return refuse(why, "token: its life must be at most an hour", ERR_AUTH);
	if (p->exp <= now_unix_s - TOKEN_LEEWAY_S)
		return refuse(why, "token: has expired; do the clocks agree?", ERR_AUTH);
	if (p->nbf > now_unix_s + TOKEN_LEEWAY_S || p->iat > now_unix_s + TOKEN_LEEWAY_S)
		return refuse(why, "token: not valid yet; do the clocks agree?", ERR_AUTH);
	out->expires = p->exp;
	return 0;
}

int64_t
token_until(const struct token *t)
{
	int64_t until = t->expires + TOKEN_LEEWAY_S;

	return t->cert_until < until ? t->cert_until : until;
}

/* --- making --- */

static json_t *
chain_json(const struct token_parts *p)
{
	json_t *x5c = json_array();

	for (size_t i = 0; x5c != NULL && i < p->chain_count; i++) {
		char text[TOKEN_MAX_BYTES];
		struct buf b;

		buf_init_fixed(&b, text, sizeof(text));
		/* A NULL is refused by jansson, and gives what is missing its NULL too. */
		if (base64_encode(&b, BASE64_STD, p->chain[i].der, p->chain[i].len) != 0 ||
		    json_array_append_new(x5c, json_stringn(text, buf_left(&b))) != 0) {
			json_decref(x5c);
			return NULL;
		}
	}
	return x5c;
}

/* Appends o in base64url and lets go of it. */
static int
put_json(struct buf *out, json_t *o)
{
	char text[TOKEN_MAX_BYTES];
	size_t len;

	if (o == NULL)
		return ERR_NOMEM;
	len = json_dumpb(o, text, sizeof(text), JSON_COMPACT);
	json_decref(o);
	if (len == 0)
		return ERR_NOMEM;
	return len > sizeof(text) ? ERR_LIMIT : base64_encode(out, BASE64_URL, text, len);
}

int
token_compose(struct buf *out, const struct token_parts *p, const uint8_t jti[TOKEN_JTI_BYTES])
{
	char id[TOKEN_JTI_MAX];
	struct buf b;
	int err;

	buf_init_fixed(&b, id, sizeof(id));
	if ((err = base64_encode(&b, BASE64_URL, jti, TOKEN_JTI_BYTES)) != 0 ||
	    (err = buf_put_u8(&b, '\0')) != 0 ||
	    (err = put_json(out, json_pack("{s:s, s:s, s:o}", "alg", alg_names[p->alg], "typ", "JWT", "x5c",
				     chain_json(p)))) != 0 ||
	    (err = buf_put_u8(out, '.')) != 0)
		return err;
	return put_json(out, json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:s}", "iss", p->subject, "sub",
				 p->subject, "aud", p->audience, "iat", (json_int_t)p->iat, "nbf",
				 (json_int_t)p->nbf, "exp", (json_int_t)p->exp, "jti", id));
}

int
token_seal(struct buf *out, const uint8_t signature[TOKEN_SIG_BYTES])
{
	int err = buf_put_u8(out, '.');

	return err != 0 ? err : base64_encode(out, BASE64_URL, signature, TOKEN_SIG_BYTES);
}
