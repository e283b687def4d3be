/*
 * raftscene: runs scenes, and compares what they print with what they must.
 *
 * A scene is a text: lines that begin with "> " are commands, those with # are for the reader, and what
 * follows a command is what it prints.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/raftscene/scene.h"

static const char usage[] = "usage: raftscene [-u] FILE...\n"
			    "\n"
			    "Runs scenes.  -u writes what they print into them.\n";

static size_t
split(char *line, char **word)
{
	size_t n = 0;
	char *save = NULL;

	for (char *w = strtok_r(line, " \n", &save); w != NULL && n < SCENE_WORDS - 1;
	     w = strtok_r(NULL, " \n", &save))
		word[n++] = w;
	word[n] = NULL;
	return n;
}

static void
run_line(struct scene *s, const char *path, int number, char *line)
{
	char *word[SCENE_WORDS];
	const char *why;
	size_t n;

	if (line[0] != '>')
		return;
	n = split(line + 1, word);
	if ((why = scene_do(s, word, n)) != NULL) {
		fprintf(stderr, "%s:%d: %s\n", path, number, why);
		exit(1);
	}
}

/* The scene with what it prints now. */
static char *
run(const char *path, size_t *len)
{
	char *text = NULL, *line = NULL;
	size_t cap = 0;
	int number = 0;
	FILE *in = fopen(path, "r"), *out = open_memstream(&text, len);
	struct scene s;

	if (in == NULL || out == NULL) {
		perror(path);
		exit(1);
	}
	scene_init(&s, out);
	while (getline(&line, &cap, in) != -1) {
		number++;
		if (line[0] == '>' || line[0] == '#' || line[0] == '\n')
			fputs(line, out);
		run_line(&s, path, number, line);
	}
	scene_fini(&s);
	free(line);
	fclose(in);
	fclose(out);
	return text;
}

static char *
read_all(const char *path, size_t *len)
{
	FILE *in = fopen(path, "r");
	char *text = NULL;
	int c;
	FILE *out = open_memstream(&text, len);

	while (in != NULL && out != NULL && (c = getc(in)) != EOF)
		putc(c, out);
	if (in != NULL)
		fclose(in);
	if (out != NULL)
		fclose(out);
	return text;
}

static void
show_difference(const char *path, const char *want, const char *got)
{
	int line = 1;

	while (*want != '\0' && strcspn(want, "\n") == strcspn(got, "\n") &&
	       strncmp(want, got, strcspn(want, "\n")) == 0) {
		size_t n = strcspn(want, "\n");

		want += n + (want[n] == '\n');
		got += n + (got[n] == '\n');
		line++;
	}
	printf("%s:%d: differs\n  must be: %.*s\n  is:      %.*s\n", path, line, (int)strcspn(want, "\n"),
	    want, (int)strcspn(got, "\n"), got);
}

static bool
check(const char *path, bool update)
{
	size_t got_len, want_len;
	char *got = run(path, &got_len), *want = read_all(path, &want_len);
	bool same = got_len == want_len && memcmp(got, want, got_len) == 0;

	if (!same && update) {
		FILE *out = fopen(path, "w");

		if (out == NULL || fwrite(got, 1, got_len, out) != got_len || fclose(out) != 0) {
			perror(path);
			exit(1);
		}
	} else if (!same) {
		show_difference(path, want, got);
	}
	free(got);
	free(want);
	return same || update;
}

int
main(int argc, char **argv)
{
	bool update = false;
	int c, failed = 0;

	while ((c = getopt(argc, argv, "uh")) != -1) {
		if (c != 'u') {
			fputs(usage, c == 'h' ? stdout : stderr);
			return c == 'h' ? 0 : 2;
		}
		update = true;
	}
	for (int i = optind; i < argc; i++)
		failed += !check(argv[i], update);
	printf("raftscene: %d scenes, %d failed\n", argc - optind, failed);
	return failed != 0;
}
