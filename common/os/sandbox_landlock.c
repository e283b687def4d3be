/*
 * sandbox_landlock: file and network access by Landlock (landlock(7)), with raw system calls: the C
 * library has none, and the kernel's header here is older than the kernels it runs on.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/os/log.h"
#include "common/os/sandbox.h"

/* Numbers of the kernel's interface; the ABI that brought each is in its comment. */
enum {
	NR_CREATE_RULESET = 444,
	NR_ADD_RULE = 445,
	NR_RESTRICT_SELF = 446,
	CREATE_RULESET_VERSION = 1,
	RULE_PATH_BENEATH = 1,
};

#define FS_WRITE_FILE (1ULL << 1)
#define FS_READ_FILE (1ULL << 2)
#define FS_READ_DIR (1ULL << 3)
#define FS_REMOVE_FILE (1ULL << 5)
#define FS_MAKE_REG (1ULL << 8)
#define FS_ABI_1 ((1ULL << 13) - 1)
#define FS_REFER (1ULL << 13)           /* 2 */
#define FS_TRUNCATE (1ULL << 14)        /* 3 */
#define FS_IOCTL_DEV (1ULL << 15)       /* 5 */
#define NET_BIND_TCP (1ULL << 0)        /* 4 */
#define NET_CONNECT_TCP (1ULL << 1)     /* 4 */
#define SCOPE_ABSTRACT_UNIX (1ULL << 0) /* 6 */
#define SCOPE_SIGNAL (1ULL << 1)        /* 6 */

struct ruleset_attr {
	uint64_t handled_fs, handled_net, scoped;
};

struct path_beneath_attr {
	uint64_t allowed;
	int32_t parent_fd;
} __attribute__((packed));

static int
unavailable(const char *what)
{
	log_error("sandbox: %s: %s; this kernel can't run the daemon safely "
		  "(Landlock needs Linux 5.13, CONFIG_SECURITY_LANDLOCK and lsm=landlock)",
	    what, strerror(errno));
	return ERR_UNAVAIL;
}

/* All rights that this kernel can refuse are refused, but for what the daemon asked for. */
static struct ruleset_attr
ruleset_for(const struct sandbox *s, int abi)
{
	struct ruleset_attr a = {.handled_fs = FS_ABI_1};

	if (abi >= 2)
		a.handled_fs |= FS_REFER;
	if (abi >= 3)
		a.handled_fs |= FS_TRUNCATE;
	if (abi >= 4 && !s->tcp_bind)
		a.handled_net |= NET_BIND_TCP;
	if (abi >= 4 && !s->tcp_connect)
		a.handled_net |= NET_CONNECT_TCP;
	if (abi >= 5)
		a.handled_fs |= FS_IOCTL_DEV;
	if (abi >= 6)
		a.scoped = SCOPE_ABSTRACT_UNIX | SCOPE_SIGNAL;
	return a;
}

static uint64_t
rights_for(unsigned access, bool directory)
{
	uint64_t rights = 0;

	if (access & SANDBOX_READ)
		rights |= FS_READ_FILE | (directory ? FS_READ_DIR : 0);
	if (access & SANDBOX_WRITE)
		rights |= FS_WRITE_FILE | FS_TRUNCATE | (directory ? FS_MAKE_REG | FS_REMOVE_FILE : 0);
	return rights;
}

static int
path_allow(int ruleset, const struct sandbox_path *p, uint64_t handled)
{
	struct path_beneath_attr a = {.parent_fd = open(p->path, O_PATH | O_CLOEXEC)};
	struct stat st;
	int r = -1;

	if (a.parent_fd != -1 && fstat(a.parent_fd, &st) == 0) {
		a.allowed = rights_for(p->access, S_ISDIR(st.st_mode)) & handled;
		r = (int)syscall(NR_ADD_RULE, ruleset, RULE_PATH_BENEATH, &a, 0);
	}
	if (r == -1)
		log_error("sandbox: %s: %s", p->path, strerror(errno));
	if (a.parent_fd != -1)
		close(a.parent_fd);
	return r == -1 ? ERR_UNAVAIL : 0;
}

int
sandbox_landlock(const struct sandbox *s)
{
	int abi = (int)syscall(NR_CREATE_RULESET, NULL, 0, CREATE_RULESET_VERSION);
	struct ruleset_attr a = ruleset_for(s, abi);
	int ruleset, r = 0;

	if (abi < 1)
		return unavailable("Landlock");
	ruleset = (int)syscall(NR_CREATE_RULESET, &a, abi >= 6 ? 24 : abi >= 4 ? 16 : 8, 0);
	if (ruleset == -1)
		return unavailable("Landlock rule set");
	for (size_t i = 0; i < s->path_count && r == 0; i++)
		r = path_allow(ruleset, &s->paths[i], a.handled_fs);
	if (r == 0 && syscall(NR_RESTRICT_SELF, ruleset, 0) == -1)
		r = unavailable("Landlock restriction");
	close(ruleset);
	if (r == 0)
		log_debug("sandbox: Landlock ABI %d, %zu paths", abi, s->path_count);
	return r;
}
