/* conf_schema: finding rows of the table, and the name that was probably meant. */
#include <string.h>

#include "common/os/conf_impl.h"

size_t
conf_row_count(void)
{
	size_t n = 0;

	while (conf_table[n].section != NULL)
		n++;
	return n;
}

static bool
same(const char *a, const char *b)
{
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

bool
conf_row_in(size_t row, const char *section, const char *block)
{
	return same(conf_table[row].section, section) && same(conf_table[row].block, block);
}

long
conf_row(const char *section, const char *block, const char *key)
{
	for (size_t i = 0; conf_table[i].section != NULL; i++)
		if (conf_row_in(i, section, block) && strcmp(conf_table[i].key, key) == 0)
			return (long)i;
	return -1;
}

const char *
conf_section_known(const char *name)
{
	for (size_t i = 0; conf_table[i].section != NULL; i++)
		if (strcmp(conf_table[i].section, name) == 0)
			return conf_table[i].section;
	return NULL;
}

const char *
conf_block_known(const char *section, const char *name)
{
	for (size_t i = 0; conf_table[i].section != NULL; i++)
		if (same(conf_table[i].section, section) && same(conf_table[i].block, name))
			return conf_table[i].block;
	return NULL;
}

/* --- the name that was meant: the least edit distance --- */

enum { NAME_MAX_CHARS = 40 };

static unsigned
min3(unsigned a, unsigned b, unsigned c)
{
	unsigned m = a < b ? a : b;

	return m < c ? m : c;
}

/* Edit distance with neighbours swapped counted once (optimal string alignment). */
static unsigned
distance(const char *a, const char *b)
{
	unsigned d[NAME_MAX_CHARS + 1][NAME_MAX_CHARS + 1];
	size_t n = strlen(a), m = strlen(b);

	if (n > NAME_MAX_CHARS || m > NAME_MAX_CHARS)
		return NAME_MAX_CHARS;
	for (unsigned i = 0; i <= n; i++)
		d[i][0] = i;
	for (unsigned j = 0; j <= m; j++)
		d[0][j] = j;
	for (size_t i = 1; i <= n; i++) {
		for (size_t j = 1; j <= m; j++) {
			unsigned change = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);

			d[i][j] = min3(d[i - 1][j] + 1, d[i][j - 1] + 1, change);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
			    d[i - 2][j - 2] + 1 < d[i][j])
				d[i][j] = d[i - 2][j - 2] + 1;
		}
	}
	return d[n][m];
}

struct nearest {
	const char *name, *wanted;
	unsigned distance;
};

static void
nearest_try(struct nearest *n, const char *candidate)
{
	unsigned d;

	if (candidate == NULL)
		return;
	d = distance(n->wanted, candidate);
	if (d < n->distance) {
		n->distance = d;
		n->name = candidate;
	}
}

static void
nearest_show(char out[CONF_HINT_SIZE], const struct nearest *n)
{
	/* A third of the letters may be wrong; more is a guess. */
	if (n->name == NULL || n->distance > 1 + strlen(n->wanted) / 3)
		out[0] = '\0';
	else
		snprintf(out, CONF_HINT_SIZE, " (did you mean '%s'?)", n->name);
}

void
conf_hint_section(char out[CONF_HINT_SIZE], const char *name)
{
	struct nearest n = {.wanted = name, .distance = NAME_MAX_CHARS};

	for (size_t i = 0; conf_table[i].section != NULL; i++)
		nearest_try(&n, conf_table[i].section);
	nearest_show(out, &n);
}

void
conf_hint_key(char out[CONF_HINT_SIZE], const char *section, const char *block, const char *name)
{
	struct nearest n = {.wanted = name, .distance = NAME_MAX_CHARS};

	for (size_t i = 0; conf_table[i].section != NULL; i++) {
		if (conf_row_in(i, section, block))
			nearest_try(&n, conf_table[i].key);
		else if (block == NULL && same(conf_table[i].section, section))
			nearest_try(&n, conf_table[i].block);
	}
	nearest_show(out, &n);
}
