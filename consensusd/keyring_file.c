/* keyring_file: see keyring_file.h. */
#include "consensusd/keyring_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/log.h"

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

/* One line without its end: 1 and a key, 0 if it holds none, ERR_FORMAT. */
static int
line_parse(const char *s, size_t len, uint8_t key[CRYPTO_KEY_BYTES])
{
	while (len > 0 && is_blank(s[0])) {
		s++;
		len--;
	}
	while (len > 0 && is_blank(s[len - 1]))
		len--;
	if (len == 0 || s[0] == '#')
		return 0;
	if (len != 2 * CRYPTO_KEY_BYTES)
		return ERR_FORMAT;
	for (size_t i = 0; i < CRYPTO_KEY_BYTES; i++) {
		int hi = hex_digit(s[2 * i]), lo = hex_digit(s[2 * i + 1]);

		if (hi < 0 || lo < 0)
			return ERR_FORMAT;
		key[i] = (uint8_t)(hi << 4 | lo);
	}
	return 1;
}

static bool
is_known(const uint8_t (*keys)[CRYPTO_KEY_BYTES], size_t count, const uint8_t key[CRYPTO_KEY_BYTES])
{
	for (size_t i = 0; i < count; i++)
		if (memcmp(keys[i], key, CRYPTO_KEY_BYTES) == 0)
			return true;
	return false;
}

static int
parse_lines(const char *text, size_t len, uint8_t (*keys)[CRYPTO_KEY_BYTES], size_t max, size_t *count,
    unsigned *line, uint8_t key[CRYPTO_KEY_BYTES])
{
	while (len > 0) {
		const char *end = memchr(text, '\n', len);
		size_t n = end != NULL ? (size_t)(end - text) : len;
		size_t step = end != NULL ? n + 1 : n;
		int got = line_parse(text, n, key);

		++*line;
		if (got < 0)
			return got;
		if (got == 1 && *count == max)
			return ERR_LIMIT;
		if (got == 1 && is_known((const uint8_t(*)[CRYPTO_KEY_BYTES])keys, *count, key))
			return ERR_EXISTS;
		if (got == 1)
			memcpy(keys[(*count)++], key, CRYPTO_KEY_BYTES);
		text += step;
		len -= step;
	}
	return *count > 0 ? 0 : ERR_SHORT;
}

int
keyring_file_parse(const char *text, size_t len, uint8_t (*keys)[CRYPTO_KEY_BYTES], size_t max, size_t *count,
    unsigned *line)
{
	uint8_t key[CRYPTO_KEY_BYTES];
	int err;

	*count = 0;
	*line = 0;
	err = parse_lines(text, len, keys, max, count, line, key);
	crypto_wipe(key, sizeof(key));
	return err;
}

/* Refuses what group or others may use. */
static int
check_private(int fd, const char *where, const char *name, mode_t type)
{
	struct stat st;

	if (fstat(fd, &st) == -1) {
		log_error("keyring: %s%s: %s", where, name, strerror(errno));
		return ERR_IO;
	}
	if ((st.st_mode & S_IFMT) != type) {
		log_error("keyring: %s%s: not a %s", where, name, type == S_IFDIR ? "directory" : "file");
		return ERR_FORMAT;
	}
	if ((st.st_mode & 077) != 0) {
		log_error("keyring: %s%s: mode %03o lets others in: chmod %s it", where, name,
		    (unsigned)(st.st_mode & 0777), type == S_IFDIR ? "0700" : "0600");
		return ERR_DENIED;
	}
	return 0;
}

static int
open_checked(int dir_fd, const char *where, const char *name, int flags, mode_t type)
{
	int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | flags), err;

	if (fd == -1) {
		if (errno == ENOENT)
			return ERR_NOENT;
		log_error("keyring: %s%s: %s", where, name, strerror(errno));
		return ERR_IO;
	}
	err = check_private(fd, where, name, type);
	if (err != 0) {
		close(fd);
		return err;
	}
	return fd;
}

int
keyring_dir_open(int dir_fd, const char *name)
{
	return open_checked(dir_fd, "", name, O_DIRECTORY, S_IFDIR);
}

/* Reads the whole file; *len > KEYRING_FILE_MAX_BYTES: there is more. */
static int
read_all(int fd, char text[KEYRING_FILE_MAX_BYTES + 1], size_t *len)
{
	*len = 0;
	while (*len <= KEYRING_FILE_MAX_BYTES) {
		ssize_t n = read(fd, text + *len, KEYRING_FILE_MAX_BYTES + 1 - *len);

		if (n == 0)
			return 0;
		if (n == -1 && errno != EINTR)
			return ERR_IO;
		if (n > 0)
			*len += (size_t)n;
	}
	return ERR_LIMIT;
}

static const char *
trouble(int err)
{
	switch (err) {
	case ERR_FORMAT:
		return "not a key (64 hex digits)";
	case ERR_EXISTS:
		return "the same key as above";
	case ERR_SHORT:
		return "no key in it";
	case ERR_LIMIT:
		return "too many keys, or too long";
	default:
		return err_text(err);
	}
}

int
keyring_file_load(int dir_fd, const char *where, const char *name, uint8_t (*keys)[CRYPTO_KEY_BYTES],
    size_t max, size_t *count)
{
	int fd = open_checked(dir_fd, where, name, 0, S_IFREG), err;
	unsigned line = 0;
	size_t len;
	char *text;

	if (fd < 0)
		return fd;
	text = mem_calloc(1, KEYRING_FILE_MAX_BYTES + 1);
	err = text == NULL ? ERR_NOMEM : read_all(fd, text, &len);
	if (err == 0)
		err = keyring_file_parse(text, len, keys, max, count, &line);
	if (err != 0)
		log_error("keyring: %s%s:%u: %s", where, name, line, trouble(err));
	if (text != NULL)
		crypto_wipe(text, KEYRING_FILE_MAX_BYTES + 1);
	mem_free(text);
	close(fd);
	return err;
}
