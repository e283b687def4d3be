/*
 * json_text: whether texts of API clients are JSON, before anything is replicated that nobody can read; and
 * values of JSON as words of a configuration.
 */
#ifndef CONSENSUSD_JSON_TEXT_H
#define CONSENSUSD_JSON_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* One JSON value (RFC 8259) and nothing else; no name twice in an object, no U+0000 (PostgreSQL's jsonb has
 * none).  why, of size bytes, gets the place and the reason. */
bool json_text_valid(const void *text, size_t len, char *why, size_t size);
/* The same, and it is an object. */
bool json_text_object(const void *text, size_t len, char *why, size_t size);

enum { JSON_WORDS_MAX = 64 }; /* as CONF_LIST_MAX: refuse */

struct json_words {
	char *at[JSON_WORDS_MAX];
	size_t count;
};

/* The value as mesh.conf(5) would have it: a string as it is, a number's text, yes or no; of an array each of
 * them.  False: it is something else, or memory is out. */
bool json_text_words(const void *text, size_t len, struct json_words *out, char *why, size_t size);
void json_words_fini(struct json_words *w);

#endif
