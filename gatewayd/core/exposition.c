/*
 * exposition: see exposition.h.
 *
 * Each text is cut into sections, one per metric: its HELP and TYPE lines and the samples after them.
 * A sample belongs to the section before it, so the _bucket, _sum and _count of a histogram stay with
 * it; a sample without any HELP or TYPE makes a section of its own.
 */
#include "gatewayd/core/exposition.h"

#include <stdbool.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"

struct section {
	const char *name;
	size_t name_len;
	const char *head, *samples, *end; /* comments lie in [head, samples), samples in [samples, end) */
	bool first;                       /* of its name */
	size_t next;                      /* the next one of this name; 0: none */
	size_t last;                      /* first only: the last one of this name */
};

struct sections {
	struct section *items; /* items[0] is not used */
	size_t count, cap;
};

static bool
is_name_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
	       c == ':';
}

static size_t
name_length(const char *p, const char *end)
{
	size_t n = 0;

	while (p + n < end && is_name_char(p[n]))
		n++;
	return n;
}

static int
section_new(struct sections *s, const char *name, size_t len, const char *at)
{
	if (s->count == EXPOSITION_METRICS_MAX)
		return ERR_LIMIT;
	if (s->count + 1 >= s->cap) {
		size_t cap = s->cap == 0 ? 64 : s->cap * 2;
		struct section *items = mem_reallocarray(s->items, cap, sizeof(*items));

		if (items == NULL)
			return ERR_NOMEM;
		s->items = items;
		s->cap = cap;
	}
	s->items[++s->count] =
	    (struct section){.name = name, .name_len = len, .head = at, .samples = at, .end = at};
	return 0;
}

/* True if a sample of this name belongs to the metric: the same, or one of a histogram's series. */
static bool
sample_belongs(const struct section *s, const char *name, size_t len)
{
	static const char *const suffixes[] = {"", "_bucket", "_sum", "_count"};

	if (len < s->name_len || memcmp(s->name, name, s->name_len) != 0)
		return false;
	for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++)
		if (strlen(suffixes[i]) == len - s->name_len &&
		    memcmp(suffixes[i], name + s->name_len, len - s->name_len) == 0)
			return true;
	return false;
}

/* The name that a HELP or TYPE comment is about; its length, 0 if it is another comment. */
static size_t
comment_name(const char *p, const char *end, const char **name)
{
	if (end - p < 8 || (memcmp(p, "# HELP ", 7) != 0 && memcmp(p, "# TYPE ", 7) != 0))
		return 0;
	*name = p + 7;
	return name_length(*name, end);
}

/* One line [p, end), with its newline up to next; text_first is the last section of earlier texts. */
static int
line_add(struct sections *s, size_t before, const char *p, const char *end, const char *next)
{
	const char *name = p;
	bool comment = *p == '#';
	size_t len = comment ? comment_name(p, end, &name) : name_length(p, end);
	struct section *cur = s->count > before ? &s->items[s->count] : NULL;
	int rc;

	if (len == 0)
		return comment ? 0 : ERR_FORMAT;
	if (cur == NULL ||
	    (comment ? cur->name_len != len || memcmp(cur->name, name, len) != 0 || cur->end > cur->samples
		     : !sample_belongs(cur, name, len))) {
		if ((rc = section_new(s, name, len, p)) != 0)
			return rc;
		cur = &s->items[s->count];
	}
	if (comment)
		cur->samples = next;
	cur->end = next;
	return 0;
}

static int
text_cut(struct sections *s, const struct exposition_text *t)
{
	const char *p = (const char *)t->data, *end = p + t->len;
	size_t before = s->count;
	int rc;

	while (p < end) {
		const char *nl = memchr(p, '\n', (size_t)(end - p));

		if (nl == NULL)
			return ERR_FORMAT; /* the format wants a newline at the end */
		if (nl > p && (rc = line_add(s, before, p, nl, nl + 1)) != 0)
			return rc;
		p = nl + 1;
	}
	return 0;
}

/* Chains the sections of each name; a hash table of first sections, open addressing. */
static int
sections_chain(struct sections *s)
{
	enum { HASH_SIZE = 2 * EXPOSITION_METRICS_MAX };
	uint16_t *table = mem_calloc(HASH_SIZE, sizeof(*table));

	if (table == NULL)
		return ERR_NOMEM;
	for (size_t i = 1; i <= s->count; i++) {
		struct section *cur = &s->items[i], *f;
		uint32_t h = 2166136261U; /* FNV-1a */

		for (size_t k = 0; k < cur->name_len; k++)
			h = (h ^ (uint8_t)cur->name[k]) * 16777619U;
		for (h %= HASH_SIZE; table[h] != 0; h = (h + 1) % HASH_SIZE) {
			f = &s->items[table[h]];
			if (f->name_len == cur->name_len && memcmp(f->name, cur->name, cur->name_len) == 0)
				break;
		}
		if (table[h] == 0) {
			table[h] = (uint16_t)i;
			cur->first = true;
			cur->last = i;
			continue;
		}
		f = &s->items[table[h]];
		s->items[f->last].next = i;
		f->last = i;
	}
	mem_free(table);
	return 0;
}

static int
sections_print(const struct sections *s, struct buf *out)
{
	int rc;

	for (size_t i = 1; i <= s->count; i++) {
		const struct section *cur = &s->items[i];

		if (!cur->first)
			continue;
		if ((rc = buf_put_bytes(out, cur->head, (size_t)(cur->samples - cur->head))) != 0)
			return rc;
		for (size_t k = i; k != 0; k = s->items[k].next) {
			const struct section *part = &s->items[k];

			rc = buf_put_bytes(out, part->samples, (size_t)(part->end - part->samples));
			if (rc != 0)
				return rc;
		}
	}
	return 0;
}

int
exposition_merge(struct buf *out, const struct exposition_text *texts, size_t count)
{
	struct sections s = {0};
	int rc = 0;

	MUST(count <= EXPOSITION_TEXTS_MAX);
	for (size_t i = 0; i < count && rc == 0; i++)
		rc = text_cut(&s, &texts[i]);
	if (rc == 0)
		rc = sections_chain(&s);
	if (rc == 0)
		rc = sections_print(&s, out);
	mem_free(s.items);
	return rc;
}
