/* json_text: see json_text.h. */
#include "meshctl/json_text.h"

#include <jansson.h>
#include <string.h>

#include "meshctl/exit_code.h"
#include "meshctl/out.h"

int
json_text_check(const char *what, const char *text, bool object, size_t max)
{
	json_error_t error;
	json_t *value;
	bool fits;

	if (strlen(text) > max) {
		out_error("%s: at most %zu bytes", what, max);
		return CODE_USAGE;
	}
	value = json_loads(text, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &error);
	if (value == NULL) {
		out_error("%s: this is no JSON: %s, at character %d (a text needs quotes: '\"text\"')", what,
		    error.text, error.position);
		return CODE_USAGE;
	}
	fits = !object || json_is_object(value);
	json_decref(value);
	if (fits)
		return CODE_OK;
	out_error("%s: a JSON object is wanted: '{\"column\": value}'", what);
	return CODE_USAGE;
}
