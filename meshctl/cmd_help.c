/* cmd_help: what people and shells are told about the commands. */
#include <stdio.h>
#include <string.h>

#include "meshctl/args.h"
#include "meshctl/command.h"
#include "meshctl/handlers.h"
#include "meshctl/out.h"

#define EXIT_TEXT(name, value, text) "  " #value "  " text "\n"

static void
print_options(const char *title, const struct option_def *o)
{
	char left[64];

	if (o == NULL || o->name == NULL)
		return;
	printf("\n%s:\n", title);
	for (; o->name != NULL; o++) {
		char letter[6] = "    ";

		if (o->letter != 0)
			snprintf(letter, sizeof(letter), "-%c, ", o->letter);
		snprintf(left, sizeof(left), "%s--%s%s%s", letter, o->name, o->arg != NULL ? " " : "",
		    o->arg != NULL ? o->arg : "");
		printf("  %-30s %s\n", left, o->help);
	}
}

void
command_help_all(const char *group)
{
	size_t len = group != NULL ? strlen(group) : 0;

	printf("usage: meshctl [options] %s%s[arguments]\n\n", group != NULL ? group : "COMMAND ",
	    group != NULL ? " COMMAND " : "");
	for (const struct command *c = command_table; c->name != NULL; c++)
		if (group == NULL ||
		    (strncmp(c->name, group, len) == 0 && (c->name[len] == ' ' || c->name[len] == '\0')))
			printf("  %-15s %s\n", c->name, c->summary);
	print_options("options of all commands", command_common_options);
	if (group != NULL)
		return;
	printf("\nexit status:\n" EXIT_CODE_LIST(EXIT_TEXT));
	printf("\nmeshctl COMMAND --help tells more about one; meshctl(1) is the manual.\n");
}

void
command_help(const struct command *c)
{
	printf("usage: meshctl %s [options] %s\n\n%c%s.\n", c->name, c->args, c->summary[0] - 'a' + 'A',
	    c->summary + 1);
	if (c->help != NULL)
		printf("\n%s\n", c->help);
	print_options("options", c->options);
	print_options("options of all commands", command_common_options);
}

int
cmd_help(struct ctl *ctl, const struct args *a)
{
	const char *w1 = args_word(a, 0);
	const struct command *c;
	int used;

	(void)ctl;
	if (w1 == NULL || (a->word_count == 1 && command_is_group(w1))) {
		command_help_all(w1);
		return CODE_OK;
	}
	c = command_find(w1, args_word(a, 1), &used);
	if (c == NULL) {
		out_error("no command '%s'; meshctl help lists them", w1);
		return CODE_USAGE;
	}
	command_help(c);
	return CODE_OK;
}

static void
list_options(const struct option_def *o)
{
	for (; o != NULL && o->name != NULL; o++)
		printf(" --%s", o->name);
}

int
cmd_commands(struct ctl *ctl, const struct args *a)
{
	(void)ctl, (void)a;
	for (const struct command *c = command_table; c->name != NULL; c++) {
		printf("%s:", c->name);
		list_options(c->options);
		list_options(command_common_options);
		putchar('\n');
	}
	return CODE_OK;
}
