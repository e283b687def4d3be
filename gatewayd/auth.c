/* auth: see auth.h. */
#include "gatewayd/auth.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/crypto.h"
#include "common/os/log.h"
#include "gatewayd/core/bearer.h"
#include "gatewayd/limits.h"
#include "gatewayd/tls.h"

struct auth {
	struct bearer_file tokens;
};

_Static_assert((int)BEARER_DIGEST_BYTES == (int)TLS_DIGEST_BYTES, "SHA-256");

struct auth *
auth_new(void)
{
	return mem_calloc(1, sizeof(struct auth));
}

void
auth_free(struct auth *a)
{
	if (a == NULL)
		return;
	bearer_file_fini(&a->tokens);
	mem_free(a);
}

/* Reads a whole file; *out is the caller's to free. */
static int
file_read(const char *path, char **out, size_t *len)
{
	FILE *f = fopen(path, "re");
	char *text = mem_calloc(1, SECRET_FILE_MAX_BYTES + 1);
	int rc = f == NULL ? ERR_IO : text == NULL ? ERR_NOMEM : 0;

	if (rc == 0) {
		*len = fread(text, 1, SECRET_FILE_MAX_BYTES + 1, f);
		rc = ferror(f) ? ERR_IO : *len > SECRET_FILE_MAX_BYTES ? ERR_LIMIT : 0;
	}
	if (rc != 0) {
		log_error("token-file %s: %s", path, rc == ERR_IO ? strerror(errno) : err_text(rc));
		mem_free(text);
		text = NULL;
	}
	if (f != NULL)
		fclose(f);
	*out = text;
	return rc;
}

int
auth_load_tokens(struct auth *a, const char *path)
{
	struct bearer_file fresh;
	unsigned line;
	size_t len;
	char *text;
	int rc = file_read(path, &text, &len);

	if (rc != 0)
		return rc;
	rc = bearer_file_parse(&fresh, text, len, &line);
	mem_free(text);
	if (rc != 0) {
		log_error("%s:%u: %s; a line is the SHA-256 of a token in hex and a name", path, line,
		    err_text(rc));
		return rc;
	}
	bearer_file_fini(&a->tokens);
	a->tokens = fresh;
	log_info("%s: %zu tokens", path, fresh.count);
	return 0;
}

const char *
auth_token(const struct auth *a, const char *value, size_t len, char name[BEARER_NAME_SIZE])
{
	const struct bearer_token *known;
	uint8_t digest[BEARER_DIGEST_BYTES];
	const char *token;
	size_t token_len;

	switch (bearer_header(value, len, &token, &token_len)) {
	case 0:
		break;
	case ERR_UNKNOWN:
		return "the authorization header has another scheme than Bearer";
	default:
		return "the authorization header has no valid bearer token";
	}
	if (a->tokens.count == 0)
		return "this node accepts no bearer tokens (no token-file is configured)";
	tls_sha256(digest, token, token_len);
	known = bearer_file_get(&a->tokens, digest);
	if (known == NULL)
		return "the bearer token is not known to this node";
	memcpy(name, known->name, BEARER_NAME_SIZE);
	return NULL;
}

void
auth_client(const struct principal *who, const char *token, char out[AUTH_CLIENT_SIZE])
{
	static const char uid[] = "uid ";

	out[0] = '\0';
	if (token[0] != '\0')
		snprintf(out, AUTH_CLIENT_SIZE, "token:%s", token);
	else if (who != NULL && who->kind == PRINCIPAL_CERT)
		snprintf(out, AUTH_CLIENT_SIZE, "cert:%s", who->name);
	else if (who != NULL && who->kind == PRINCIPAL_LOCAL)
		snprintf(out, AUTH_CLIENT_SIZE, "local:%s",
		    strncmp(who->name, uid, strlen(uid)) == 0 ? who->name + strlen(uid) : who->name);
}

const char *
auth_check(const struct principal *who, const struct method *m, bool has_token, const char *token_error)
{
	if (m->auth == METHOD_OPEN || who->kind != PRINCIPAL_NONE)
		return NULL;
	if (!has_token)
		return "no client certificate and no bearer token was shown";
	return token_error;
}
