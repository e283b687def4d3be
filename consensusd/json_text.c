/* json_text: see json_text.h. */
#include "consensusd/json_text.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/mem.h"

static json_t *
load(const void *text, size_t len, char *why, size_t size)
{
	json_error_t e = {0};
	json_t *v = json_loadb(len != 0 ? text : "", len, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &e);

	if (v == NULL)
		snprintf(why, size, "not JSON: line %d, column %d: %s", e.line, e.column, e.text);
	return v;
}

bool
json_text_valid(const void *text, size_t len, char *why, size_t size)
{
	json_t *v = load(text, len, why, size);

	json_decref(v);
	return v != NULL;
}

bool
json_text_object(const void *text, size_t len, char *why, size_t size)
{
	json_t *v = load(text, len, why, size);
	bool is = json_is_object(v);

	if (v != NULL && !is)
		snprintf(why, size, "not a JSON object");
	json_decref(v);
	return is;
}

/* --- words --- */

void
json_words_fini(struct json_words *w)
{
	while (w->count > 0)
		mem_free(w->at[--w->count]);
}

static char *
number_text(const json_t *v)
{
	char *text = json_dumps(v, JSON_ENCODE_ANY), *copy = text != NULL ? mem_strdup(text) : NULL;

	free(text);
	return copy;
}

/* One that is no array. */
static bool
word_add(struct json_words *w, const json_t *v, char *why, size_t size)
{
	char *text;

	if (w->count == JSON_WORDS_MAX) {
		snprintf(why, size, "more than %d values", JSON_WORDS_MAX);
		return false;
	}
	if (json_is_string(v)) {
		text = mem_strdup(json_string_value(v));
	} else if (json_is_boolean(v)) {
		text = mem_strdup(json_is_true(v) ? "yes" : "no");
	} else if (json_is_number(v)) {
		text = number_text(v);
	} else {
		snprintf(why, size, "not a string, a number, true, false or an array of these");
		return false;
	}
	if (text == NULL) {
		snprintf(why, size, "out of memory");
		return false;
	}
	w->at[w->count++] = text;
	return true;
}

bool
json_text_words(const void *text, size_t len, struct json_words *out, char *why, size_t size)
{
	json_t *v = load(text, len, why, size), *item;
	bool good = v != NULL;
	size_t i;

	out->count = 0;
	if (json_is_array(v))
		json_array_foreach (v, i, item)
			good = good && word_add(out, item, why, size);
	else if (good)
		good = word_add(out, v, why, size);
	json_decref(v);
	if (!good)
		json_words_fini(out);
	return good;
}
