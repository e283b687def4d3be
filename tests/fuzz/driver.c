/* Runs a fuzz target over the files it is given: the corpus as a plain test, without libFuzzer. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/fuzz/fuzz.h"

enum { DRIVER_FILE_MAX_BYTES = 1 << 20 };

static int
run_file(const char *path)
{
	uint8_t *data = malloc(DRIVER_FILE_MAX_BYTES), *exact;
	FILE *f = fopen(path, "rb");
	size_t len = 0;

	if (data == NULL || f == NULL) {
		perror(path);
		exit(1);
	}
	len = fread(data, 1, DRIVER_FILE_MAX_BYTES, f);
	fclose(f);
	/* exactly as long as the input, so that sanitizers and valgrind see every over-read */
	exact = malloc(len != 0 ? len : 1);
	if (exact == NULL)
		exit(1);
	memcpy(exact, data, len);
	free(data);
	LLVMFuzzerTestOneInput(exact, len);
	free(exact);
	return 0;
}

int
main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		run_file(argv[i]);
	printf("%d files\n", argc - 1);
	return 0;
}
