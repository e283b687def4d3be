/* conf_value: the types of values: checking, canonical form, printing. */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/id.h"
#include "common/base/mem.h"
#include "common/os/conf_impl.h"

struct unit {
	const char *name;
	int64_t factor;
};

static const struct unit durations[] = {{"us", 1}, {"ms", 1000}, {"s", 1000000}, {"min", 60 * 1000000LL},
    {"h", 3600 * 1000000LL}, {"d", 86400 * 1000000LL}, {NULL, 0}};
static const struct unit sizes[] = {
    {"B", 1}, {"KB", 1024}, {"MB", 1024 * 1024}, {"GB", 1024 * 1024 * 1024LL}, {NULL, 0}};

static const char *
type_accepts(enum conf_type t)
{
	switch (t) {
	case CONF_BOOL:
		return "yes or no";
	case CONF_INT:
		return "a whole number";
	case CONF_DURATION:
		return "a duration with its unit: us, ms, s, min, h or d";
	case CONF_SIZE:
		return "a size with its unit: B, KB, MB or GB";
	case CONF_ADDRESS:
		return "an address: host:port, [IPv6]:port or *:port";
	case CONF_HOST:
		return "a host name";
	case CONF_NODEID:
		return "a node id: 13 characters of Crockford base32";
	case CONF_ULID:
		return "a ULID: 26 characters of Crockford base32";
	case CONF_NAME:
		return "a name: 1 to 63 letters, digits, '.', '_' and '-'";
	case CONF_TENANT:
		return "a tenant: 1 to 64 of a to z, digits, '.', '_' and '-'";
	case CONF_SQL_NAME:
		return "a name in a database: 1 to 63 of a to z, digits and '_', no digit first";
	case CONF_PATH:
		return "a path";
	case CONF_STRING:
	case CONF_ENUM:
		break;
	}
	return "text";
}

/* --- numbers --- */

static int
number_parse(const char *text, const struct unit *units, int64_t *out)
{
	long long v;
	char *end;

	if (!isdigit((unsigned char)text[0]) && !(text[0] == '-' && units == NULL))
		return ERR_FORMAT;
	errno = 0;
	v = strtoll(text, &end, 10);
	if (errno == ERANGE)
		return ERR_RANGE;
	*out = v;
	if (*end == '\0')
		return units == NULL || v == 0 ? 0 : ERR_FORMAT;
	for (; units != NULL && units->name != NULL; units++)
		if (strcmp(end, units->name) == 0)
			return __builtin_mul_overflow(v, units->factor, out) ? ERR_RANGE : 0;
	return ERR_FORMAT;
}

static void
number_show(int64_t v, const struct unit *units, char *out, size_t size)
{
	const struct unit *best = units;

	for (const struct unit *u = units; u != NULL && u->name != NULL; u++)
		if (v != 0 && v % u->factor == 0)
			best = u;
	snprintf(
	    out, size, "%" PRId64 "%s", best != NULL ? v / best->factor : v, best != NULL ? best->name : "");
}

static const struct unit *
type_units(enum conf_type t)
{
	return t == CONF_DURATION ? durations : t == CONF_SIZE ? sizes : NULL;
}

static int
range_check(const struct conf_directive *d, int64_t v, char why[CONF_WHY_SIZE])
{
	char low[32], high[32];

	if ((d->min == 0 && d->max == 0) || (v >= d->min && v <= d->max))
		return 0;
	number_show(d->min, type_units(d->type), low, sizeof(low));
	number_show(d->max, type_units(d->type), high, sizeof(high));
	snprintf(why, CONF_WHY_SIZE, "out of range (%s to %s)", low, high);
	return ERR_RANGE;
}

static int
bool_parse(const char *text, int64_t *out)
{
	static const char *const words[] = {"no", "yes", "off", "on", "false", "true"};

	for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strcmp(text, words[i]) == 0) {
			*out = i % 2;
			return 0;
		}
	}
	return ERR_FORMAT;
}

/* --- texts --- */

bool
conf_choice(const char *choices, const char *text)
{
	size_t n = strlen(text);

	for (const char *p = choices; *p != '\0'; p += *p == '|') {
		size_t len = strcspn(p, "|");

		if (len == n && memcmp(p, text, n) == 0)
			return true;
		p += len;
	}
	return false;
}

bool
conf_sql_name_valid(const char *text)
{
	size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_");

	return n > 0 && n <= 63 && text[n] == '\0' && (text[0] < '0' || text[0] > '9');
}

static bool
port_valid(const char *text)
{
	int64_t v;

	return strlen(text) <= 5 && number_parse(text, NULL, &v) == 0 && v >= 1 && v <= 65535;
}

static bool
host_valid(const char *host, size_t len)
{
	if (len == 1 && host[0] == '*')
		return true;
	if (len == 0 || len > 253 || host[0] == '-' || host[0] == '.')
		return false;
	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)host[i]) && strchr(".-_", host[i]) == NULL)
			return false;
	return true;
}

static bool
address_valid(const char *text)
{
	const char *colon = strrchr(text, ':');
	char v6[INET6_ADDRSTRLEN];
	struct in6_addr addr;
	size_t len;

	if (colon == NULL || !port_valid(colon + 1))
		return false;
	len = (size_t)(colon - text);
	if (text[0] != '[')
		return host_valid(text, len);
	if (len < 4 || text[len - 1] != ']' || len - 2 >= sizeof(v6))
		return false;
	memcpy(v6, text + 1, len - 2);
	v6[len - 2] = '\0';
	return inet_pton(AF_INET6, v6, &addr) == 1;
}

static int
path_make(const char *text, const char *dir, char *out, size_t size, char why[CONF_WHY_SIZE])
{
	int n;

	if (text[0] == '\0') {
		snprintf(why, CONF_WHY_SIZE, "empty path");
		return ERR_FORMAT;
	}
	if (text[0] != '/' && dir == NULL) {
		snprintf(why, CONF_WHY_SIZE, "not an absolute path, as the environment needs it");
		return ERR_FORMAT;
	}
	n = text[0] == '/' ? snprintf(out, size, "%s", text) : snprintf(out, size, "%s/%s", dir, text);
	if (n >= 0 && (size_t)n < size)
		return 0;
	snprintf(why, CONF_WHY_SIZE, "path is longer than %zu bytes", size - 1);
	return ERR_FORMAT;
}

static int
id_make(enum conf_type t, const char *text, char *out)
{
	struct ulid u;
	uint64_t id;

	if (t == CONF_ULID) {
		if (ulid_parse(text, &u) != 0)
			return ERR_FORMAT;
		ulid_format(out, &u);
		return 0;
	}
	if (nodeid_parse(text, &id) != 0)
		return ERR_FORMAT;
	nodeid_format(out, id);
	return 0;
}

/* Fills num or, where the canonical text differs from what was given, canon. */
static int
value_parse(const struct conf_directive *d, const char *text, const char *dir, int64_t *num,
    char canon[PATH_MAX], char why[CONF_WHY_SIZE])
{
	int r;

	switch (d->type) {
	case CONF_BOOL:
		return bool_parse(text, num);
	case CONF_INT:
	case CONF_DURATION:
	case CONF_SIZE:
		r = number_parse(text, type_units(d->type), num);
		if (r == ERR_RANGE) /* beyond 64 bits is out of every range */
			(void)range_check(d, INT64_MAX, why);
		return r != 0 ? r : range_check(d, *num, why);
	case CONF_ADDRESS:
		return address_valid(text) ? 0 : ERR_FORMAT;
	case CONF_HOST:
		return text[0] != '*' && host_valid(text, strlen(text)) ? 0 : ERR_FORMAT;
	case CONF_NODEID:
	case CONF_ULID:
		return id_make(d->type, text, canon);
	case CONF_NAME:
		return node_name_valid(text) ? 0 : ERR_FORMAT;
	case CONF_TENANT:
		return tenant_valid(text) ? 0 : ERR_FORMAT;
	case CONF_SQL_NAME:
		return conf_sql_name_valid(text) ? 0 : ERR_FORMAT;
	case CONF_PATH:
		return path_make(text, dir, canon, PATH_MAX, why);
	case CONF_ENUM:
		return conf_choice(d->choices, text) ? 0 : ERR_FORMAT;
	case CONF_STRING:
		break;
	}
	return 0;
}

int
conf_value_make(const struct conf_directive *d, const char *text, const char *dir, struct conf_value *out,
    char why[CONF_WHY_SIZE])
{
	char canon[PATH_MAX] = "";
	int64_t num = 0;
	int r;

	why[0] = '\0';
	r = value_parse(d, text, dir, &num, canon, why);
	if (r != 0) {
		if (why[0] == '\0' && r == ERR_RANGE)
			snprintf(why, CONF_WHY_SIZE, "number is too large");
		else if (why[0] == '\0' && d->type == CONF_ENUM)
			snprintf(why, CONF_WHY_SIZE, "not one of: %s", d->choices);
		else if (why[0] == '\0')
			snprintf(why, CONF_WHY_SIZE, "not %s", type_accepts(d->type));
		return r;
	}
	out->num = num;
	out->text = mem_strdup(canon[0] != '\0' ? canon : text);
	return out->text != NULL ? 0 : ERR_NOMEM;
}

void
conf_value_show(const struct conf_directive *d, const struct conf_value *v, char *out, size_t size)
{
	if (d->type == CONF_BOOL)
		snprintf(out, size, "%s", v->num != 0 ? "yes" : "no");
	else if (d->type == CONF_INT || d->type == CONF_DURATION || d->type == CONF_SIZE)
		number_show(v->num, type_units(d->type), out, size);
	else
		snprintf(out, size, "%s", v->text);
}

int
conf_set_add(struct conf_set *s, const struct conf_directive *d, const char *text, const char *dir,
    char why[CONF_WHY_SIZE])
{
	struct conf_value v, *grown;
	int r;

	if (s->count >= CONF_LIST_MAX) {
		snprintf(why, CONF_WHY_SIZE, "more than %d values", CONF_LIST_MAX);
		return ERR_FULL;
	}
	r = conf_value_make(d, text, dir, &v, why);
	if (r != 0)
		return r;
	grown = mem_reallocarray(s->values, s->count + 1, sizeof(v));
	if (grown == NULL) {
		mem_free(v.text);
		return ERR_NOMEM;
	}
	s->values = grown;
	s->values[s->count++] = v;
	return 0;
}

void
conf_set_clear(struct conf_set *s)
{
	for (size_t i = 0; i < s->count; i++)
		mem_free(s->values[i].text);
	mem_free(s->values);
	*s = (struct conf_set){0};
}
