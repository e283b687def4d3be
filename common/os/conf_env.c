/* conf_env: directives set by the environment: MESH_<SECTION>_<KEY>. */
#include <ctype.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/conf_impl.h"

extern char **environ;

static char
env_char(char c)
{
	return c == '-' ? '_' : (char)toupper((unsigned char)c);
}

void
conf_env_name(const struct conf_directive *d, char out[CONF_ENV_NAME_SIZE])
{
	snprintf(out, CONF_ENV_NAME_SIZE, "MESH_%s_%s", d->section, d->key);
	for (char *p = out; *p != '\0'; p++)
		*p = env_char(*p);
}

/* True for names of variables that begin as those of a section do: MESH_ROUTERD_… */
static const char *
env_section(const char *name, size_t len, const char **key)
{
	for (size_t i = 0; conf_table[i].section != NULL; i++) {
		const char *s = conf_table[i].section;
		size_t n = strlen(s), k;

		if (len < 5 + n + 2 || memcmp(name, "MESH_", 5) != 0 || name[5 + n] != '_')
			continue;
		for (k = 0; k < n && name[5 + k] == env_char(s[k]); k++)
			continue;
		if (k == n) {
			*key = name + 5 + n + 1;
			return s;
		}
	}
	return NULL;
}

static void
env_set(struct conf *c, struct conf_report *r, size_t row, const char *name, const char *value)
{
	const struct conf_directive *d = &conf_table[row];
	struct conf_set *set = &c->sets[row];
	char why[CONF_WHY_SIZE];
	char *copy = mem_strdup(value), *rest = copy, *one;
	int e = 0;

	if (copy == NULL) {
		conf_nomem(r);
		return;
	}
	conf_set_clear(set);
	set->origin = CONF_FROM_ENV;
	if ((d->flags & CONF_LIST) == 0)
		e = conf_set_add(set, d, copy, NULL, why);
	else
		while (e == 0 && (one = strsep(&rest, " \t")) != NULL)
			if (one[0] != '\0')
				e = conf_set_add(set, d, one, NULL, why);
	if (e == ERR_NOMEM)
		conf_nomem(r);
	else if (e != 0)
		conf_complain(r, NULL, 0, "environment: %s: '%s': %s", name,
		    (d->flags & CONF_SECRET) ? "******" : value, why);
	mem_free(copy);
}

static void
env_try(struct conf *c, struct conf_report *r, const char *entry)
{
	size_t len = strcspn(entry, "=");
	char name[CONF_ENV_NAME_SIZE], mine[CONF_ENV_NAME_SIZE], hint[CONF_HINT_SIZE],
	    key[CONF_ENV_NAME_SIZE];
	const char *section, *upper;

	if (len >= sizeof(name) || entry[len] != '=')
		return;
	memcpy(name, entry, len);
	name[len] = '\0';
	section = env_section(name, len, &upper);
	if (section == NULL)
		return;
	for (size_t i = 0; conf_table[i].section != NULL; i++) {
		conf_env_name(&conf_table[i], mine);
		if (conf_table[i].block == NULL && strcmp(mine, name) == 0) {
			env_set(c, r, i, name, entry + len + 1);
			return;
		}
	}
	for (size_t i = 0; i <= strlen(upper); i++)
		key[i] = upper[i] == '_' ? '-' : (char)tolower((unsigned char)upper[i]);
	conf_hint_key(hint, section, NULL, key);
	conf_complain(r, NULL, 0, "environment: %s: %s has no directive '%s'%s", name, section, key, hint);
}

void
conf_env_apply(struct conf *c, struct conf_report *r)
{
	for (char **e = environ; e != NULL && *e != NULL; e++)
		env_try(c, r, *e);
}
