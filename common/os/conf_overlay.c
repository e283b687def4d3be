/* conf_overlay: see conf_overlay.h. */
#include "common/os/conf_overlay.h"

#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/os/conf_impl.h"

enum { SHOWN_MAX_BYTES = 200 };

const char *
conf_overlay_section(const char *name, const char **key)
{
	const char *dot = strchr(name, '.');
	char section[CONF_OVERLAY_NAME_SIZE];
	size_t len = dot != NULL ? (size_t)(dot - name) : 0;

	if (len == 0 || len >= sizeof(section))
		return NULL;
	memcpy(section, name, len);
	section[len] = '\0';
	*key = dot + 1;
	return strcmp(section, "mesh") != 0 ? conf_section_known(section) : NULL;
}

/* --- what may be in one --- */

/* The directive, if it can be shared and takes so many values. */
static const struct conf_directive *
directive_find(const char *section, const char *key, size_t count, char why[CONF_OVERLAY_WHY_SIZE])
{
	long row = conf_row(section, NULL, key);
	const struct conf_directive *d = row >= 0 ? &conf_table[row] : NULL;
	char hint[CONF_HINT_SIZE];

	if (d == NULL && conf_block_known(section, key) != NULL) {
		snprintf(why, CONF_OVERLAY_WHY_SIZE, "%s: %s is a block: only directives can be shared",
		    section, key);
	} else if (d == NULL) {
		conf_hint_key(hint, section, NULL, key);
		snprintf(why, CONF_OVERLAY_WHY_SIZE, "%s: unknown directive '%s'%s", section, key, hint);
	} else if ((d->flags & CONF_RELOAD) == 0) {
		snprintf(why, CONF_OVERLAY_WHY_SIZE,
		    "%s: %s can't be shared: it takes a restart to change it", section, key);
	} else if (count == 0) {
		snprintf(why, CONF_OVERLAY_WHY_SIZE, "%s: %s needs a value (%s)", section, key, d->help);
	} else if (count > 1 && (d->flags & CONF_LIST) == 0) {
		snprintf(why, CONF_OVERLAY_WHY_SIZE, "%s: %s takes one value", section, key);
	} else {
		return d;
	}
	return NULL;
}

/* As a file could have it, where a value ends with its line. */
static bool
text_valid(const char *text, char why[CONF_WHY_SIZE])
{
	for (const char *p = text; *p != '\0'; p++) {
		if (((unsigned char)*p >= 0x20 && *p != 0x7f) || *p == '\t')
			continue;
		snprintf(why, CONF_WHY_SIZE, "control character 0x%02x", (unsigned char)*p);
		return false;
	}
	return true;
}

/* How much of a value a reason shows: whole characters. */
static int
shown_bytes(const char *text)
{
	size_t n = strlen(text);

	if (n <= SHOWN_MAX_BYTES)
		return (int)n;
	for (n = SHOWN_MAX_BYTES; n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80; n--)
		continue;
	return (int)n;
}

/* 0; ERR_NOMEM; another error with why filled. */
static int
value_add(
    struct conf_set *set, const struct conf_directive *d, const char *text, char why[CONF_OVERLAY_WHY_SIZE])
{
	char reason[CONF_WHY_SIZE];
	int err = ERR_FORMAT, shown = shown_bytes(text);

	if (strlen(text) > CONF_WORD_MAX_BYTES) {
		snprintf(why, CONF_OVERLAY_WHY_SIZE, "%s: %s: value is longer than %d bytes", d->section,
		    d->key, CONF_WORD_MAX_BYTES);
		return ERR_LIMIT;
	}
	if (text_valid(text, reason))
		err = conf_set_add(set, d, text, NULL, reason);
	if (err != 0 && err != ERR_NOMEM)
		snprintf(why, CONF_OVERLAY_WHY_SIZE, "%s: %s: '%.*s%s': %s", d->section, d->key, shown, text,
		    text[shown] != '\0' ? "…" : "", reason);
	return err;
}

bool
conf_overlay_check(const char *section, const char *key, const char *const *values, size_t count,
    char why[CONF_OVERLAY_WHY_SIZE])
{
	const struct conf_directive *d = directive_find(section, key, count, why);
	struct conf_set set = {0};
	int err = 0;

	for (size_t i = 0; d != NULL && i < count && err == 0; i++)
		err = value_add(&set, d, values[i], why);
	if (err == ERR_NOMEM)
		snprintf(why, CONF_OVERLAY_WHY_SIZE, "%s", err_text(err));
	conf_set_clear(&set);
	return d != NULL && err == 0;
}

/* --- bytes --- */

static int
put_values(struct buf *out, const char *const *values, size_t count)
{
	int err = buf_put_u8(out, (uint8_t)count);

	for (size_t i = 0; i < count && err == 0; i++) {
		size_t len = strlen(values[i]);

		err = buf_put_u16(out, (uint16_t)len);
		if (err == 0)
			err = buf_put_bytes(out, values[i], len);
	}
	return err;
}

int
conf_overlay_put(struct buf *out, const char *key, const char *const *values, size_t count)
{
	size_t before = out->wpos;
	int err;

	MUST(count <= CONF_LIST_MAX && strlen(key) < CONF_OVERLAY_NAME_SIZE);
	err = buf_put_str8(out, key);
	if (err == 0)
		err = put_values(out, values, count);
	if (err != 0)
		out->wpos = before;
	return err;
}

static int
get_head(struct buf *in, char name[CONF_OVERLAY_NAME_SIZE], uint8_t *count)
{
	int err = buf_get_str8(in, name, CONF_OVERLAY_NAME_SIZE);

	return err != 0 ? err : buf_get_u8(in, count);
}

static int
get_value(struct buf *in, char text[CONF_WORD_MAX_BYTES + 1])
{
	uint16_t len;
	int err = buf_get_u16(in, &len);

	if (err == 0 && len > CONF_WORD_MAX_BYTES)
		err = ERR_LIMIT;
	if (err == 0)
		err = buf_get_bytes(in, text, len);
	if (err != 0)
		return err;
	text[len] = '\0';
	return memchr(text, '\0', len) == NULL ? 0 : ERR_FORMAT;
}

int
conf_overlay_valid(const uint8_t *body, size_t len)
{
	char name[CONF_OVERLAY_NAME_SIZE], text[CONF_WORD_MAX_BYTES + 1];
	struct buf in;
	uint8_t count;
	int err = len <= CONF_OVERLAY_MAX_BYTES ? 0 : ERR_LIMIT;

	buf_view(&in, body, len);
	while (err == 0 && buf_left(&in) > 0) {
		err = get_head(&in, name, &count);
		for (unsigned i = 0; err == 0 && i < count; i++)
			err = get_value(&in, text);
	}
	return err;
}

/* --- in effect --- */

/* Reads the values of a directive; d NULL: only past them.  ERR_NOMEM, or another error with why filled. */
static int
read_values(struct buf *in, uint8_t count, const struct conf_directive *d, struct conf_set *out,
    char why[CONF_OVERLAY_WHY_SIZE])
{
	char text[CONF_WORD_MAX_BYTES + 1];
	int err = 0;

	for (unsigned i = 0; i < count; i++) {
		MUST(get_value(in, text) == 0); /* the whole has been checked */
		if (d != NULL && err == 0)
			err = value_add(out, d, text, why);
	}
	return d != NULL ? err : ERR_NOENT;
}

static bool
is_explicit(const struct conf_set *set)
{
	return set->line != 0 || set->origin == CONF_FROM_ENV;
}

/* The next directive of in. */
static int
apply_next(struct conf *c, const char *section, const struct conf_overlay *o, struct buf *in)
{
	char name[CONF_OVERLAY_NAME_SIZE], why[CONF_OVERLAY_WHY_SIZE];
	const struct conf_directive *d;
	struct conf_set fresh = {0}, *set = NULL;
	uint8_t count;
	int err;

	MUST(get_head(in, name, &count) == 0);
	d = directive_find(section, name, count, why);
	err = read_values(in, count, d, &fresh, why);
	if (d != NULL)
		set = &c->sets[d - conf_table];
	MUST(err != 0 || set != NULL);
	if (err == 0 && set->origin == CONF_FROM_SHARED) {
		snprintf(why, sizeof(why), "%s: %s is there twice", section, name);
		err = ERR_EXISTS;
	}
	if (err == 0 && !is_explicit(set)) {
		fresh.origin = CONF_FROM_SHARED;
		*set = fresh;
		o->applied(o->arg, name);
		return 0;
	}
	conf_set_clear(&fresh);
	if (err != 0 && err != ERR_NOMEM)
		o->refused(o->arg, why);
	return err == ERR_NOMEM ? err : 0;
}

void
conf_overlay_apply(struct conf *c, const char *section, const struct conf_overlay *o, struct conf_report *r)
{
	struct buf in;

	if (o == NULL || o->body == NULL)
		return;
	buf_view(&in, o->body, o->len);
	while (buf_left(&in) > 0 && !r->fatal)
		if (apply_next(c, section, o, &in) != 0)
			conf_nomem(r);
}
