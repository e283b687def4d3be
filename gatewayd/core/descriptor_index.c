/*
 * descriptor_index: see descriptor_index.h.  The numbers are those of google/protobuf/descriptor.proto.
 */
#include "gatewayd/core/descriptor_index.h"

#include <stdbool.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "gatewayd/core/wire.h"

enum { SET_FILE = 1 };
enum { FILE_NAME = 1, FILE_PACKAGE = 2, FILE_IMPORT = 3, FILE_MESSAGE = 4, FILE_ENUM = 5, FILE_SERVICE = 6 };
enum { ANY_NAME = 1 };
enum { MESSAGE_FIELD = 2, MESSAGE_NESTED = 3, MESSAGE_ENUM = 4, MESSAGE_ONEOF = 8 };
enum { ENUM_VALUE = 2, SERVICE_METHOD = 2 };
enum { SYMBOL_DEPTH_MAX = 16, SERVICE_NAME_MAX = 256 };

struct text {
	const char *p;
	size_t len;
};

static int
find_text(const uint8_t *data, size_t len, uint32_t number, struct text *out)
{
	const uint8_t *p;
	int rc = wire_find_bytes(data, len, number, &p, &out->len);

	out->p = (const char *)p;
	return rc;
}

/* Takes "prefix." off the front of *s; also an empty prefix, which takes nothing. */
static bool
prefix_cut(struct text *s, const struct text *prefix)
{
	if (prefix->len == 0)
		return true;
	if (s->len <= prefix->len || memcmp(s->p, prefix->p, prefix->len) != 0 || s->p[prefix->len] != '.')
		return false;
	s->p += prefix->len + 1;
	s->len -= prefix->len + 1;
	return true;
}

static bool
text_equal(const struct text *a, const struct text *b)
{
	return a->len == b->len && a->len > 0 && memcmp(a->p, b->p, a->len) == 0;
}

/*
 * What is inside of a definition, by the field that it stands in: 0 ends the row.  Enum values are
 * siblings of their enum in protobuf's naming, so they are looked for where the enum is.
 */
static const uint32_t inside_message[] = {MESSAGE_FIELD, MESSAGE_NESTED, MESSAGE_ENUM, MESSAGE_ONEOF, 0};
static const uint32_t inside_service[] = {SERVICE_METHOD, 0};
static const uint32_t inside_file[] = {FILE_MESSAGE, FILE_ENUM, FILE_SERVICE, 0};
static const uint32_t inside_nothing[] = {0};

static const uint32_t *
inside_of(const uint32_t *where, uint32_t number)
{
	if ((where == inside_file && number == FILE_MESSAGE) ||
	    (where == inside_message && number == MESSAGE_NESTED))
		return inside_message;
	if (where == inside_file && number == FILE_SERVICE)
		return inside_service;
	return inside_nothing;
}

static bool
is_enum(const uint32_t *where, uint32_t number)
{
	return (where == inside_file && number == FILE_ENUM) ||
	       (where == inside_message && number == MESSAGE_ENUM);
}

static bool
listed(const uint32_t *where, uint32_t number)
{
	for (; *where != 0; where++)
		if (*where == number)
			return true;
	return false;
}

static int
enum_has(const uint8_t *data, size_t len, const struct text *symbol)
{
	struct wire_field f;
	struct text name;
	struct buf b;
	int rc;

	buf_view(&b, data, len);
	while ((rc = wire_next(&b, &f)) == 1) {
		if (f.number != ENUM_VALUE || f.type != WIRE_BYTES)
			continue;
		if ((rc = find_text(f.data, f.len, ANY_NAME, &name)) < 0)
			return rc;
		if (rc == 1 && text_equal(&name, symbol))
			return 1;
	}
	return rc;
}

/* 1 if the definitions in data (of the kinds in where) contain symbol, which is relative to them. */
static int
scope_has(const uint8_t *data, size_t len, const uint32_t *where, struct text symbol, unsigned depth)
{
	struct wire_field f;
	struct buf b;
	int rc;

	if (depth > SYMBOL_DEPTH_MAX)
		return 0;
	buf_view(&b, data, len);
	while ((rc = wire_next(&b, &f)) == 1) {
		struct text name, rest = symbol;

		if (f.type != WIRE_BYTES || !listed(where, f.number))
			continue;
		if ((rc = find_text(f.data, f.len, ANY_NAME, &name)) < 0)
			return rc;
		if (rc == 0 || name.len == 0)
			continue;
		if (text_equal(&name, &symbol))
			return 1;
		if (is_enum(where, f.number))
			rc = enum_has(f.data, f.len, &symbol);
		else
			rc = prefix_cut(&rest, &name)
				 ? scope_has(f.data, f.len, inside_of(where, f.number), rest, depth + 1)
				 : 0;
		if (rc != 0)
			return rc;
	}
	return rc;
}

static int
file_has(const struct descriptor_file *file, struct text symbol)
{
	struct text package;
	int rc = find_text(file->data, file->len, FILE_PACKAGE, &package);

	if (rc < 0)
		return rc;
	return prefix_cut(&symbol, &package) ? scope_has(file->data, file->len, inside_file, symbol, 0) : 0;
}

static int
file_named(const struct descriptor_file *file, struct text name)
{
	struct text own;
	int rc = find_text(file->data, file->len, FILE_NAME, &own);

	return rc < 0 ? rc : text_equal(&own, &name);
}

static int
file_find(const uint8_t *set, size_t set_len, int (*match)(const struct descriptor_file *, struct text),
    struct text what, struct descriptor_file *out)
{
	struct wire_field f;
	struct buf b;
	int rc;

	buf_view(&b, set, set_len);
	while ((rc = wire_next(&b, &f)) == 1) {
		*out = (struct descriptor_file){f.data, f.len};
		if (f.number == SET_FILE && f.type == WIRE_BYTES && (rc = match(out, what)) != 0)
			return rc;
	}
	return rc;
}

int
descriptor_by_name(
    const uint8_t *set, size_t set_len, const char *name, size_t name_len, struct descriptor_file *out)
{
	return file_find(set, set_len, file_named, (struct text){name, name_len}, out);
}

int
descriptor_by_symbol(
    const uint8_t *set, size_t set_len, const char *symbol, size_t symbol_len, struct descriptor_file *out)
{
	return file_find(set, set_len, file_has, (struct text){symbol, symbol_len}, out);
}

static int
service_tell(const struct text *package, const struct wire_field *service,
    int (*fn)(void *arg, const char *name, size_t len), void *arg)
{
	char full[SERVICE_NAME_MAX];
	struct text name;
	size_t n = 0;
	int rc = find_text(service->data, service->len, ANY_NAME, &name);

	if (rc != 1 || package->len + 1 + name.len > sizeof(full))
		return ERR_FORMAT;
	if (package->len > 0) {
		memcpy(full, package->p, package->len);
		full[package->len] = '.';
		n = package->len + 1;
	}
	memcpy(full + n, name.p, name.len);
	return fn(arg, full, n + name.len);
}

static int
file_services(const struct wire_field *file, int (*fn)(void *arg, const char *name, size_t len), void *arg)
{
	struct wire_field f;
	struct text package;
	struct buf b;
	int rc = find_text(file->data, file->len, FILE_PACKAGE, &package);

	if (rc < 0)
		return rc;
	buf_view(&b, file->data, file->len);
	while ((rc = wire_next(&b, &f)) == 1)
		if (f.number == FILE_SERVICE && f.type == WIRE_BYTES &&
		    (rc = service_tell(&package, &f, fn, arg)) != 0)
			return rc;
	return rc;
}

int
descriptor_services(
    const uint8_t *set, size_t set_len, int (*fn)(void *arg, const char *name, size_t len), void *arg)
{
	struct wire_field f;
	struct buf b;
	int rc;

	buf_view(&b, set, set_len);
	while ((rc = wire_next(&b, &f)) == 1)
		if (f.number == SET_FILE && f.type == WIRE_BYTES && (rc = file_services(&f, fn, arg)) != 0)
			return rc;
	return rc;
}

int
descriptor_imports(
    const struct descriptor_file *file, int (*fn)(void *arg, const char *name, size_t len), void *arg)
{
	struct wire_field f;
	struct buf b;
	int rc;

	buf_view(&b, file->data, file->len);
	while ((rc = wire_next(&b, &f)) == 1)
		if (f.number == FILE_IMPORT && f.type == WIRE_BYTES &&
		    (rc = fn(arg, (const char *)f.data, f.len)) != 0)
			return rc;
	return rc;
}
