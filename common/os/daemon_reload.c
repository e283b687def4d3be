/* daemon_reload: the configuration is read again, for SIGHUP or an overlay; see daemon.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/conf.h"
#include "common/os/daemon_impl.h"
#include "common/os/log.h"
#include "common/os/notify.h"

void
daemon_log_configure(const struct daemon *d)
{
	enum log_level level;

	if (!d->debug && log_level_parse(conf_str(d->conf, d->def->name, "log-level"), &level) == 0)
		log_set_level(level);
}

/* The directories and not the files: an editor replaces a file, and Landlock's rule is about the old one. */
int
daemon_reload_paths(struct daemon *d)
{
	for (size_t i = 0; i < conf_file_count(d->conf); i++) {
		char *dir = mem_strdup(conf_file(d->conf, i));
		bool known = false;
		char *slash;

		if (dir == NULL)
			return ERR_NOMEM;
		slash = strrchr(dir, '/');
		slash[slash == dir] = '\0';
		for (size_t k = 0; k < d->conf_dir_count; k++)
			known = known || strcmp(d->conf_dirs[k], dir) == 0;
		if (known) {
			mem_free(dir);
			continue;
		}
		if (d->conf_dir_count == DAEMON_CONF_DIRS_MAX) {
			mem_free(dir);
			log_error(
			    "configuration files lie in more than %d directories", DAEMON_CONF_DIRS_MAX);
			return ERR_LIMIT;
		}
		d->conf_dirs[d->conf_dir_count++] = dir;
		if (sandbox_allow_path(&d->sandbox, dir, SANDBOX_READ) != 0)
			return ERR_LIMIT;
	}
	return 0;
}

static void
on_difference(void *arg, const char *what, bool reloadable)
{
	unsigned *count = arg;

	(*count)++;
	log_notice("configuration: %s: %s", what, reloadable ? "applied" : "restart needed");
}

/* Each line of the report as a line of the log. */
static void
log_lines(char *text)
{
	char *line;

	while ((line = strsep(&text, "\n")) != NULL)
		if (line[0] != '\0')
			log_error("configuration: %s", line);
}

static struct conf *
fresh_load(const struct daemon *d)
{
	char *text = NULL;
	size_t len;
	FILE *err = open_memstream(&text, &len);
	struct conf *fresh = NULL;

	if (err != NULL) {
		fresh = daemon_overlay_load(d, err);
		fclose(err);
	}
	if (fresh == NULL) {
		if (text != NULL)
			log_lines(text);
		log_error("configuration: not reloaded, the one in use stays");
	}
	free(text);
	return fresh;
}

static void
reload(struct daemon *d, bool files)
{
	struct conf *fresh, *old = d->conf;
	unsigned changes = 0;

	notify_reloading();
	fresh = fresh_load(d);
	if (fresh != NULL) {
		if (d->def->configure != NULL)
			d->def->configure(d, fresh);
		if (files && d->def->reload != NULL)
			d->def->reload(d, fresh);
		conf_diff(old, fresh, d->def->name, on_difference, &changes);
		d->conf = fresh;
		daemon_log_configure(d);
		conf_free(old);
		log_notice("configuration: reloaded, %u changes", changes);
	}
	notify_ready();
}

void
daemon_reload(struct daemon *d)
{
	reload(d, true);
}

void
daemon_configure(struct daemon *d)
{
	reload(d, false);
}
