/* meshctl: the admin tool of a mesh node, and the maker of its keys and certificates. */
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/os/crypto.h"
#include "common/os/log.h"
#include "meshctl/args.h"
#include "meshctl/command.h"
#include "meshctl/out.h"

enum { TIMEOUT_DEFAULT_MS = 10 * 1000 };

static int
ctl_init(struct ctl *ctl, const struct args *a)
{
	const char *color = args_str(a, "color", "auto");

	*ctl = (struct ctl){
	    .json = args_flag(a, "json"),
	    .socket = args_str(a, "socket", NULL),
	    .conf_path = args_str(a, "config", NULL),
	};
	if (strcmp(color, "always") == 0)
		ctl->color = true;
	else if (strcmp(color, "auto") == 0)
		ctl->color = isatty(STDOUT_FILENO) && getenv("NO_COLOR") == NULL;
	else if (strcmp(color, "never") != 0) {
		out_error("--color: '%s' is not auto, always or never", color);
		return -1;
	}
	return args_duration_ms(a, "timeout", TIMEOUT_DEFAULT_MS, &ctl->timeout_ms);
}

static int
words_check(const struct command *c, const struct args *a)
{
	if (a->word_count >= (size_t)c->min_words &&
	    (c->max_words < 0 || a->word_count <= (size_t)c->max_words))
		return 0;
	out_error("usage: meshctl %s [options] %s", c->name, c->args);
	return -1;
}

static int
no_command(const char *w1, const char *w2)
{
	if (!command_is_group(w1))
		out_error("no command '%s'; meshctl help lists them", w1);
	else if (w2 == NULL)
		out_error("'%s' needs a second word; meshctl help %s lists them", w1, w1);
	else
		out_error("no command '%s %s'; meshctl help %s lists them", w1, w2, w1);
	return CODE_USAGE;
}

/* Runs the command that argv starts with; a holds the options that stood before it. */
static int
run(struct args *a, int argc, char **argv)
{
	const char *w2 = argc > 1 && argv[1][0] != '-' ? argv[1] : NULL;
	const struct command *c;
	struct ctl ctl;
	int used;

	c = command_find(argv[0], w2, &used);
	if (c == NULL && args_parse(a, command_common_options, NULL, argc - 1, argv + 1, false) >= 0 &&
	    command_is_group(argv[0]) && args_flag(a, "help")) {
		command_help_all(argv[0]);
		return CODE_OK;
	}
	if (c == NULL)
		return no_command(argv[0], w2);
	if (args_parse(a, command_common_options, c->options, argc - used, argv + used, false) < 0)
		return CODE_USAGE;
	if (args_flag(a, "help")) {
		command_help(c);
		return CODE_OK;
	}
	if (words_check(c, a) != 0 || ctl_init(&ctl, a) != 0)
		return CODE_USAGE;
	if (crypto_init() != 0) {
		out_error("libsodium can't start");
		return CODE_FAILED;
	}
	return c->run(&ctl, a);
}

/* What was printed counts only if it arrived: a full disk must not look like success. */
static int
finish(int code)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return code;
	out_error("standard output can't be written");
	return code == CODE_OK ? CODE_FAILED : code;
}

int
main(int argc, char **argv)
{
	struct args a = {0};
	int used = args_parse(&a, command_common_options, NULL, argc - 1, argv + 1, true);

	setlocale(LC_CTYPE, "");
	signal(SIGPIPE, SIG_IGN);
	log_init("meshctl", NULL);
	log_set_level(LOG_ERROR);
	if (used < 0)
		return CODE_USAGE;
	if (args_flag(&a, "version")) {
		printf("meshctl %s\n", MESH_VERSION);
		return finish(CODE_OK);
	}
	if (used == argc - 1) {
		command_help_all(NULL);
		return finish(args_flag(&a, "help") ? CODE_OK : CODE_USAGE);
	}
	/* `meshctl --help status` is as good as `meshctl status --help`. */
	return finish(run(&a, argc - 1 - used, argv + 1 + used));
}
