/* secfile: see secfile.h. */
#include "meshctl/secfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/crypto.h"
#include "meshctl/out.h"

enum { PATH_SIZE = 4096 };

static int
write_all(int fd, const char *p, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return ERR_IO;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

int
secfile_sync_dir(const char *path)
{
	char dir[PATH_SIZE];
	const char *slash = strrchr(path, '/');
	int fd, r;

	if (slash == NULL)
		snprintf(dir, sizeof(dir), ".");
	else
		snprintf(dir, sizeof(dir), "%.*s", slash == path ? 1 : (int)(slash - path), path);
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return ERR_IO;
	r = fsync(fd);
	close(fd);
	return r == 0 ? 0 : ERR_IO;
}

/* The temporary file becomes path.  link(2) refuses to replace, rename(2) replaces. */
static int
give_name(const char *temp, const char *path, bool replace)
{
	if (replace)
		return rename(temp, path) == 0 ? 0 : ERR_IO;
	if (link(temp, path) != 0)
		return errno == EEXIST ? ERR_EXISTS : ERR_IO;
	unlink(temp);
	return 0;
}

int
secfile_write(const char *path, const void *data, size_t len, bool public, bool replace)
{
	char temp[PATH_SIZE];
	int fd, r, n = snprintf(temp, sizeof(temp), "%s.new-%ld", path, (long)getpid());

	if (n < 0 || (size_t)n >= sizeof(temp)) {
		out_error("%.64s...: name too long", path);
		return ERR_IO;
	}
	fd = open(temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0) {
		out_error("%s: %s", temp, strerror(errno));
		return ERR_IO;
	}
	r = write_all(fd, data, len);
	if (r == 0 && ((public && fchmod(fd, 0644) != 0) || fsync(fd) != 0))
		r = ERR_IO;
	if (close(fd) != 0 && r == 0)
		r = ERR_IO;
	if (r == 0)
		r = give_name(temp, path, replace);
	if (r == 0)
		r = secfile_sync_dir(path);
	if (r == ERR_EXISTS)
		out_error("%s exists and is not overwritten", path);
	else if (r != 0)
		out_error("%s: %s", path, strerror(errno));
	if (r != 0)
		unlink(temp);
	return r;
}

int
secfile_mkdir(const char *path)
{
	struct stat st;

	if (mkdir(path, 0700) == 0)
		return 0;
	if (errno == EEXIST && stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		return 0;
	out_error("%s: %s", path, strerror(errno == EEXIST ? ENOTDIR : errno));
	return ERR_IO;
}

/* Reads up to size bytes; the number, or -1. */
static ssize_t
read_all(int fd, char *p, size_t size)
{
	size_t got = 0;

	while (got < size) {
		ssize_t n = read(fd, p + got, size - got);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		if (n == 0)
			break;
		got += (size_t)n;
	}
	return (ssize_t)got;
}

int
secfile_read(const char *path, char **out, size_t *len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;
	char *p;

	if (fd < 0) {
		int r = errno == ENOENT ? ERR_NOENT : ERR_IO;

		out_error("%s: %s", path, strerror(errno));
		return r;
	}
	p = mem_calloc(1, SECFILE_MAX_BYTES + 1);
	if (p == NULL) {
		close(fd);
		return ERR_NOMEM;
	}
	n = read_all(fd, p, SECFILE_MAX_BYTES + 1);
	close(fd);
	if (n < 0 || n > SECFILE_MAX_BYTES) {
		out_error("%s: %s", path, n < 0 ? strerror(errno) : "file too large");
		mem_free(p);
		return n < 0 ? ERR_IO : ERR_LIMIT;
	}
	p[n] = '\0';
	*out = p;
	*len = (size_t)n;
	return 0;
}

void
secfile_free(char *data, size_t len)
{
	if (data != NULL)
		crypto_wipe(data, len);
	mem_free(data);
}
