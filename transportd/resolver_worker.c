/* resolver_worker: one query in a process of its own: it may crash, or hang until its alarm. */
#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "transportd/core/limits.h"
#include "transportd/peer.h"
#include "transportd/resolver_impl.h"

const struct sandbox_call resolver_calls[] = {
    SANDBOX_CALL("socket", "questions to name servers, and which address families there are (netlink)"),
    SANDBOX_CALL("bind", "the netlink socket"),
    SANDBOX_CALL("getsockname", "which of several addresses is nearest"),
    SANDBOX_CALL("setsockopt", "errors of UDP sockets are wanted at once"),
    SANDBOX_CALL("sendmmsg", "two questions at once"),
    SANDBOX_CALL("recvfrom", "answers"),
    SANDBOX_CALL("ioctl", "size of an answer"),
    SANDBOX_CALL("lseek", "reading /etc/hosts"),
    SANDBOX_CALL("pread64", "the same"),
    SANDBOX_CALL("uname", "the domain to search in"),
    SANDBOX_CALL("getuid", "the same"),
    SANDBOX_CALL("fcntl", "resolver library"),
    SANDBOX_CALL("pipe2", "the way back from a worker"),
    SANDBOX_CALL_IF("clone", 0, UINT32_MAX, CLONE_CHILD_CLEARTID | CLONE_CHILD_SETTID | SIGCHLD,
	"fork(3): a worker for each query"),
    SANDBOX_CALL("set_robust_list", "fork(3) in the worker"),
    SANDBOX_CALL("close_range", "a worker has nothing but its pipe"),
    SANDBOX_CALL("alarm", "the end of a query that hangs"),
    SANDBOX_CALL_IF("prctl", 0, UINT32_MAX, PR_SET_PDEATHSIG, "workers end with the keeper"),
    {.name = NULL},
};

/* Those that exist may be read. */
static const char *const files[] = {
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/host.conf",
    "/etc/services",
    "/run/systemd/resolve",
};

int
resolver_allow_files(struct sandbox *s)
{
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		int err = access(files[i], R_OK) == 0 ? sandbox_allow_path(s, files[i], SANDBOX_READ) : 0;

		if (err != 0)
			return err;
	}
	return 0;
}

void
resolver_warm_up(void)
{
	struct addrinfo *list = NULL;

	if (getaddrinfo("localhost", NULL, NULL, &list) == 0)
		freeaddrinfo(list);
}

static int
put_address(struct buf *out, const struct addrinfo *ai)
{
	char text[INET6_ADDRSTRLEN];
	const void *addr =
	    ai->ai_family == AF_INET
		? (const void *)&((const struct sockaddr_in *)(const void *)ai->ai_addr)->sin_addr
		: (const void *)&((const struct sockaddr_in6 *)(const void *)ai->ai_addr)->sin6_addr;

	if (inet_ntop(ai->ai_family, addr, text, sizeof(text)) == NULL)
		return ERR_FORMAT;
	return buf_put_str8(out, text);
}

/* The families take turns, so that what is cut off is not all of one. */
static uint8_t
put_addresses(struct buf *out, const struct addrinfo *list)
{
	const struct addrinfo *next[2] = {list, list};
	uint8_t count = 0;

	for (unsigned turn = 0; count < RESOLVED_MAX && (next[0] != NULL || next[1] != NULL); turn++) {
		const struct addrinfo **at = &next[turn % 2];

		while (*at != NULL && (*at)->ai_family != (turn % 2 == 0 ? AF_INET6 : AF_INET))
			*at = (*at)->ai_next;
		if (*at == NULL)
			continue;
		if (put_address(out, *at) == 0)
			count++;
		*at = (*at)->ai_next;
	}
	return count;
}

void
resolver_work(int fd, const char *host)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
	uint8_t mem[RESOLVER_ANSWER_MAX_BYTES];
	struct buf out;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (fd > 3)
		(void)close_range(3, (unsigned)fd - 1, 0);
	(void)close_range((unsigned)fd + 1, ~0U, 0);
	/* Before transportd stops waiting, so that the two agree on how many there are. */
	(void)alarm(RESOLVE_TIMEOUT_MS / 1000 - 1);
	if (getaddrinfo(host, NULL, &hints, &list) != 0)
		list = NULL;
	buf_init_fixed(&out, mem, sizeof(mem));
	if (buf_put_u8(&out, 0) != 0)
		_exit(1);
	mem[0] = put_addresses(&out, list);
	_exit(write(fd, mem, buf_left(&out)) != (ssize_t)buf_left(&out));
}

int
resolver_answer_check(const void *answer, size_t len)
{
	unsigned char addr[sizeof(struct in6_addr)];
	char ip[PEER_IP_SIZE];
	uint8_t count;
	struct buf in;
	int err;

	buf_view(&in, answer, len);
	if ((err = buf_get_u8(&in, &count)) != 0)
		return err;
	if (count > RESOLVED_MAX)
		return ERR_LIMIT;
	for (unsigned i = 0; i < count; i++) {
		if ((err = buf_get_str8(&in, ip, sizeof(ip))) != 0)
			return err;
		if (inet_pton(AF_INET, ip, addr) != 1 && inet_pton(AF_INET6, ip, addr) != 1)
			return ERR_FORMAT;
	}
	return buf_end(&in);
}
