/* args: see args.h. */
#include "meshctl/args.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "meshctl/command.h"
#include "meshctl/out.h"

static const struct option_def *
find_long(const struct option_def *table, const char *name, size_t len)
{
	for (; table != NULL && table->name != NULL; table++)
		if (strlen(table->name) == len && memcmp(table->name, name, len) == 0)
			return table;
	return NULL;
}

static const struct option_def *
find_letter(const struct option_def *table, char letter)
{
	for (; table != NULL && table->name != NULL; table++)
		if (table->letter != 0 && table->letter == letter)
			return table;
	return NULL;
}

static int
give(struct args *a, const struct option_def *def, const char *value)
{
	if (a->given_count == ARGS_OPTIONS_MAX) {
		out_error("too many options (at most %d)", ARGS_OPTIONS_MAX);
		return -1;
	}
	a->given[a->given_count++] = (struct args_given){def, value};
	return 0;
}

/* One --name, --name=VALUE or --name VALUE.  Strings consumed, or -1. */
static int
parse_long(
    struct args *a, const struct option_def *common, const struct option_def *own, int argc, char **argv)
{
	const char *name = argv[0] + 2, *value = strchr(name, '=');
	size_t len = value != NULL ? (size_t)(value++ - name) : strlen(name);
	const struct option_def *def = find_long(own, name, len);

	if (def == NULL)
		def = find_long(common, name, len);
	if (def == NULL) {
		out_error("unknown option '--%.*s'", (int)len, name);
		return -1;
	}
	if (def->arg == NULL) {
		if (value != NULL) {
			out_error("option '--%s' takes no value", def->name);
			return -1;
		}
		return give(a, def, NULL) == 0 ? 1 : -1;
	}
	if (value != NULL)
		return give(a, def, value) == 0 ? 1 : -1;
	if (argc < 2) {
		out_error("option '--%s' needs a value: %s", def->name, def->arg);
		return -1;
	}
	return give(a, def, argv[1]) == 0 ? 2 : -1;
}

/* One cluster of letters, the last of which may take a value.  Strings consumed, or -1. */
static int
parse_short(
    struct args *a, const struct option_def *common, const struct option_def *own, int argc, char **argv)
{
	for (const char *p = argv[0] + 1; *p != '\0'; p++) {
		const struct option_def *def = find_letter(own, *p);

		if (def == NULL)
			def = find_letter(common, *p);
		if (def == NULL) {
			out_error("unknown option '-%c'", *p);
			return -1;
		}
		if (def->arg == NULL) {
			if (give(a, def, NULL) != 0)
				return -1;
			continue;
		}
		if (p[1] != '\0')
			return give(a, def, p + 1) == 0 ? 1 : -1;
		if (argc < 2) {
			out_error("option '-%c' needs a value: %s", *p, def->arg);
			return -1;
		}
		return give(a, def, argv[1]) == 0 ? 2 : -1;
	}
	return 1;
}

int
args_parse(struct args *a, const struct option_def *common, const struct option_def *own, int argc,
    char **argv, bool stop_at_word)
{
	const char **words = (const char **)(void *)argv; /* operands move up over consumed options */
	size_t count = 0;
	int i = 0;

	while (i < argc) {
		int n = 1;

		if (argv[i][0] != '-' || argv[i][1] == '\0') {
			if (stop_at_word)
				return i;
			words[count++] = argv[i];
		} else if (strcmp(argv[i], "--") == 0) {
			for (i++; i < argc && !stop_at_word; i++)
				words[count++] = argv[i];
			break;
		} else if (argv[i][1] == '-') {
			n = parse_long(a, common, own, argc - i, argv + i);
		} else {
			n = parse_short(a, common, own, argc - i, argv + i);
		}
		if (n < 0)
			return -1;
		i += n;
	}
	a->words = words;
	a->word_count = count;
	return i;
}

bool
args_flag(const struct args *a, const char *name)
{
	for (size_t i = 0; i < a->given_count; i++)
		if (strcmp(a->given[i].def->name, name) == 0)
			return true;
	return false;
}

const char *
args_str(const struct args *a, const char *name, const char *fallback)
{
	for (size_t i = a->given_count; i > 0; i--)
		if (strcmp(a->given[i - 1].def->name, name) == 0)
			return a->given[i - 1].value;
	return fallback;
}

const char *
args_item(const struct args *a, const char *name, size_t i)
{
	for (size_t k = 0; k < a->given_count; k++)
		if (strcmp(a->given[k].def->name, name) == 0 && i-- == 0)
			return a->given[k].value;
	return NULL;
}

struct unit {
	const char *name;
	int64_t num, den; /* value * num / den */
};

static const struct unit no_units[] = {{"", 1, 1}, {NULL, 0, 0}};
static const struct unit duration_units[] = {{"", 1000, 1}, {"us", 1, 1000}, {"ms", 1, 1}, {"s", 1000, 1},
    {"min", 60 * 1000, 1}, {"h", 3600 * 1000, 1}, {"d", 86400 * 1000, 1}, {NULL, 0, 0}};
static const struct unit size_units[] = {{"", 1, 1}, {"B", 1, 1}, {"KB", 1024, 1}, {"MB", 1024 * 1024, 1},
    {"GB", 1024 * 1024 * 1024, 1}, {NULL, 0, 0}};

/* A number followed by one of the units; false if it is none or too large. */
static bool
parse_number(const char *text, const struct unit *units, int64_t *out)
{
	char *end;
	long long v;

	errno = 0;
	v = strtoll(text, &end, 10);
	if (end == text || errno != 0)
		return false;
	for (; units->name != NULL; units++) {
		if (strcmp(end, units->name) != 0)
			continue;
		if (v > INT64_MAX / units->num || v < INT64_MIN / units->num)
			return false;
		*out = v * units->num / units->den;
		return true;
	}
	return false;
}

int
args_int(const struct args *a, const char *name, int64_t fallback, int64_t min, int64_t max, int64_t *out)
{
	const char *text = args_str(a, name, NULL);

	*out = fallback;
	if (text == NULL)
		return 0;
	if (parse_number(text, no_units, out) && *out >= min && *out <= max)
		return 0;
	out_error("--%s: '%s' is not a number from %lld to %lld", name, text, (long long)min, (long long)max);
	return -1;
}

int
args_duration_ms(const struct args *a, const char *name, int64_t fallback_ms, int64_t *out)
{
	const char *text = args_str(a, name, NULL);

	*out = fallback_ms;
	if (text == NULL)
		return 0;
	if (parse_number(text, duration_units, out) && *out >= 0)
		return 0;
	out_error("--%s: '%s' is not a duration (a number and us, ms, s, min, h or d)", name, text);
	return -1;
}

int
args_size(const struct args *a, const char *name, int64_t fallback, int64_t *out)
{
	const char *text = args_str(a, name, NULL);

	*out = fallback;
	if (text == NULL)
		return 0;
	if (parse_number(text, size_units, out) && *out > 0)
		return 0;
	out_error("--%s: '%s' is not a size (a number and B, KB, MB or GB)", name, text);
	return -1;
}

const char *
args_word(const struct args *a, size_t i)
{
	return i < a->word_count ? a->words[i] : NULL;
}

static int
copy(const char *what, const char *text, char *out, size_t size)
{
	if (strlen(text) < size) {
		memcpy(out, text, strlen(text) + 1);
		return 0;
	}
	out_error("%s: at most %zu characters", what, size - 1);
	return -1;
}

int
args_copy(const struct args *a, const char *name, char *out, size_t size)
{
	char what[64];

	snprintf(what, sizeof(what), "--%s", name);
	return copy(what, args_str(a, name, ""), out, size);
}

int
args_copy_word(const struct args *a, size_t i, const char *what, char *out, size_t size)
{
	const char *word = args_word(a, i);

	return copy(what, word != NULL ? word : "", out, size);
}

/* Is text one of the words of choices? */
static bool
is_choice(const char *text, const char *choices)
{
	size_t len = strlen(text);

	for (const char *p = choices; *p != '\0'; p += strcspn(p, " "), p += *p == ' ')
		if (strcspn(p, " ") == len && memcmp(p, text, len) == 0)
			return true;
	return false;
}

int
args_choice(const struct args *a, const char *name, const char *choices, char *out, size_t size)
{
	const char *text = args_str(a, name, NULL);

	if (text != NULL && !is_choice(text, choices)) {
		out_error("--%s: '%s' is none of: %s", name, text, choices);
		return -1;
	}
	return args_copy(a, name, out, size);
}
