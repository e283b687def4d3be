/* input: see input.h. */
#include "meshctl/input.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "meshctl/exit_code.h"
#include "meshctl/out.h"

enum { READ_BYTES = 64 * 1024 };

static int
read_all(const char *path, int fd, size_t max, struct buf *out)
{
	uint8_t mem[READ_BYTES];
	size_t had = buf_left(out);
	ssize_t n;
	int rc = 0;

	while (rc == 0 && buf_left(out) - had <= max && (n = read(fd, mem, sizeof(mem))) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			out_error("%s: %s", path, strerror(errno));
			return CODE_FAILED;
		}
		rc = buf_put_bytes(out, mem, (size_t)n);
	}
	if (rc == ERR_NOMEM) {
		out_error("out of memory");
		return CODE_FAILED;
	}
	if (rc == 0 && buf_left(out) - had <= max)
		return CODE_OK;
	out_error("%s: at most %zu bytes", path, max);
	return CODE_USAGE;
}

int
input_read(const char *path, size_t max, struct buf *out)
{
	bool standard = strcmp(path, "-") == 0;
	int fd = standard ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC), code;

	if (fd < 0) {
		out_error("%s: %s", path, strerror(errno));
		return CODE_NOTFOUND;
	}
	code = read_all(standard ? "standard input" : path, fd, max, out);
	if (!standard)
		close(fd);
	return code;
}

int
input_line(const char *path, char *out, size_t size)
{
	struct buf b;
	const char *text;
	size_t len;
	int code;

	buf_init(&b, 2 * READ_BYTES);
	code = input_read(path, READ_BYTES, &b);
	text = (const char *)buf_head(&b);
	len = buf_left(&b);
	while (len > 0 && isspace((unsigned char)text[len - 1]))
		len--;
	while (len > 0 && isspace((unsigned char)*text))
		text++, len--;
	if (code == CODE_OK &&
	    (len == 0 || len >= size || memchr(text, '\n', len) != NULL || memchr(text, '\0', len) != NULL)) {
		out_error("%s: one line of 1 to %zu characters is wanted", path, size - 1);
		code = CODE_USAGE;
	}
	if (code == CODE_OK) {
		memcpy(out, text, len);
		out[len] = '\0';
	}
	buf_fini(&b);
	return code;
}
