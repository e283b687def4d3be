/* Any bytes are an overlay or an error; one that is an overlay never keeps a configuration from being loaded,
 * and the result prints as text that loads again. */
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/os/conf.h"
#include "common/os/conf_overlay.h"

static const char file[] =
    "mesh {\n id 01ARZ3NDEKTSV4RRFFQ69G5FAV\n node-name a\n}\nrouterd {\n paths 2\n}\n";

static void
on_refused(void *arg, const char *why)
{
	(void)arg;
	FUZZ_CHECK(strlen(why) > 0 && strlen(why) < CONF_OVERLAY_WHY_SIZE);
}

static void
on_applied(void *arg, const char *key)
{
	(void)arg;
	FUZZ_CHECK(strcmp(key, "paths") != 0); /* the file has it */
}

static struct conf *
load(const void *text, size_t len, const struct conf_overlay *over)
{
	char path[32];
	struct conf *c;
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	FUZZ_CHECK(fd != -1 && write(fd, text, len) == (ssize_t)len);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	c = conf_load_over(path, "routerd", over, stderr);
	close(fd);
	return c;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct conf_overlay over = {
	    .body = data, .len = size, .refused = on_refused, .applied = on_applied};
	struct conf *c, *again;
	char *text;
	size_t len;
	FILE *f;

	if (conf_overlay_valid(data, size) != 0)
		return 0;
	c = load(file, sizeof(file) - 1, &over);
	FUZZ_CHECK(c != NULL && conf_int(c, "routerd", "paths") == 2);
	f = open_memstream(&text, &len);
	FUZZ_CHECK(f != NULL);
	conf_print(c, f);
	FUZZ_CHECK(fclose(f) == 0);
	again = load(text, len, NULL);
	FUZZ_CHECK(again != NULL);
	conf_free(again);
	conf_free(c);
	free(text);
	return 0;
}
