/* bearer: see bearer.h. */
#include "gatewayd/core/bearer.h"

#include <stdbool.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/id.h"
#include "common/base/mem.h"

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* The characters of RFC 6750's b64token. */
static bool
is_token_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c != '\0' && strchr("-._~+/=", c) != NULL);
}

static bool
scheme_is_bearer(const char *value, size_t len)
{
	static const char scheme[] = "bearer";

	if (len < sizeof(scheme) - 1)
		return false;
	for (size_t i = 0; i < sizeof(scheme) - 1; i++)
		if ((value[i] | 0x20) != scheme[i])
			return false;
	return len == sizeof(scheme) - 1 || value[sizeof(scheme) - 1] == ' ';
}

int
bearer_header(const char *value, size_t len, const char **token, size_t *token_len)
{
	size_t i = sizeof("bearer") - 1;

	if (!scheme_is_bearer(value, len))
		return ERR_UNKNOWN;
	while (i < len && value[i] == ' ')
		i++;
	*token = value + i;
	*token_len = len - i;
	for (; i < len; i++)
		if (!is_token_char(value[i]))
			return ERR_FORMAT;
	if (*token_len < BEARER_TOKEN_MIN_BYTES || *token_len > BEARER_TOKEN_MAX_BYTES)
		return ERR_LIMIT;
	return 0;
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static int
digest_parse(const char *s, size_t len, uint8_t out[BEARER_DIGEST_BYTES])
{
	if (len != 2 * (size_t)BEARER_DIGEST_BYTES)
		return ERR_FORMAT;
	for (size_t i = 0; i < BEARER_DIGEST_BYTES; i++) {
		int hi = hex_digit(s[2 * i]), lo = hex_digit(s[2 * i + 1]);

		if (hi < 0 || lo < 0)
			return ERR_FORMAT;
		out[i] = (uint8_t)(hi << 4 | lo);
	}
	return 0;
}

/* Cuts the next word out of [*p, end); its length. */
static size_t
word_next(const char **p, const char *end, const char **word)
{
	while (*p < end && is_blank(**p))
		(*p)++;
	*word = *p;
	while (*p < end && !is_blank(**p))
		(*p)++;
	return (size_t)(*p - *word);
}

/* One line without its newline: 1 and *out, 0 for an empty one, or an error. */
static int
line_parse(const char *p, size_t len, struct bearer_token *out)
{
	const char *hash = memchr(p, '#', len), *end = hash != NULL ? hash : p + len, *word;
	size_t n;

	if (end > p && end[-1] == '\r' && hash == NULL)
		end--;
	n = word_next(&p, end, &word);
	if (n == 0)
		return 0;
	if (digest_parse(word, n, out->digest) != 0)
		return ERR_FORMAT;
	n = word_next(&p, end, &word);
	if (n == 0 || n >= BEARER_NAME_SIZE)
		return ERR_FORMAT;
	memcpy(out->name, word, n);
	out->name[n] = '\0';
	if (strlen(out->name) != n || !node_name_valid(out->name))
		return ERR_FORMAT;
	return word_next(&p, end, &word) == 0 ? 1 : ERR_FORMAT;
}

static int
token_add(struct bearer_file *f, const struct bearer_token *t)
{
	struct bearer_token *grown;

	if (f->count == BEARER_TOKENS_MAX)
		return ERR_LIMIT;
	if (bearer_file_get(f, t->digest) != NULL)
		return ERR_EXISTS;
	grown = mem_reallocarray(f->tokens, f->count + 1, sizeof(*grown));
	if (grown == NULL)
		return ERR_NOMEM;
	f->tokens = grown;
	f->tokens[f->count++] = *t;
	return 0;
}

int
bearer_file_parse(struct bearer_file *f, const char *text, size_t len, unsigned *line)
{
	const char *end = text + len;

	*f = (struct bearer_file){0};
	*line = 0;
	while (text < end) {
		const char *nl = memchr(text, '\n', (size_t)(end - text));
		const char *stop = nl != NULL ? nl : end;
		struct bearer_token t = {0};
		int rc;

		(*line)++;
		rc = line_parse(text, (size_t)(stop - text), &t);
		if (rc > 0)
			rc = token_add(f, &t);
		if (rc < 0) {
			bearer_file_fini(f);
			return rc;
		}
		text = nl != NULL ? nl + 1 : end;
	}
	return 0;
}

void
bearer_file_fini(struct bearer_file *f)
{
	mem_free(f->tokens);
	*f = (struct bearer_file){0};
}

/* No early end: the time says nothing about where digests differ. */
static bool
digest_equal(const uint8_t *a, const uint8_t *b)
{
	volatile uint8_t diff = 0;

	for (size_t i = 0; i < BEARER_DIGEST_BYTES; i++)
		diff |= a[i] ^ b[i];
	return diff == 0;
}

const struct bearer_token *
bearer_file_get(const struct bearer_file *f, const uint8_t digest[BEARER_DIGEST_BYTES])
{
	const struct bearer_token *found = NULL;

	for (size_t i = 0; i < f->count; i++)
		if (digest_equal(f->tokens[i].digest, digest))
			found = &f->tokens[i];
	return found;
}
