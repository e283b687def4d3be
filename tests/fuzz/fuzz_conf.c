/* Any bytes are a configuration or errors; a configuration prints as text that loads and prints as the same.
 */
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/os/conf.h"

/* The configuration in these bytes, through a file that exists in memory only. */
static struct conf *
load(const void *data, size_t size)
{
	static FILE *null;
	char path[32];
	struct conf *c;
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	if (null == NULL)
		null = fopen("/dev/null", "w");
	FUZZ_CHECK(null != NULL && fd != -1);
	FUZZ_CHECK(write(fd, data, size) == (ssize_t)size);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	c = conf_load(path, NULL, null);
	close(fd);
	return c;
}

static char *
print(const struct conf *c, size_t *size)
{
	char *text;
	FILE *f = open_memstream(&text, size);

	FUZZ_CHECK(f != NULL);
	conf_print(c, f);
	FUZZ_CHECK(fclose(f) == 0);
	return text;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct conf *c = load(data, size), *again;
	char *text, *text_again;
	size_t len, len_again;

	if (c == NULL)
		return 0;
	text = print(c, &len);
	again = load(text, len);
	FUZZ_CHECK(again != NULL);
	text_again = print(again, &len_again);
	FUZZ_CHECK(strcmp(text, text_again) == 0);
	free(text);
	free(text_again);
	conf_free(c);
	conf_free(again);
	return 0;
}
