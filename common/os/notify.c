/* notify: see notify.h. */
#include "common/os/notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/os/clock.h"
#include "common/os/log.h"

static struct {
	int fd; /* connected; -1: nobody to tell */
	uint32_t watchdog_ms;
} nt = {.fd = -1};

/* sd_notify(3): an absolute path, or '@' for the abstract name space. */
static int
notify_connect(const char *name)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	size_t len = strlen(name);
	int fd;

	if ((name[0] != '/' && name[0] != '@') || len >= sizeof(sun.sun_path))
		return -1;
	memcpy(sun.sun_path, name, len);
	if (name[0] == '@')
		sun.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd == -1)
		return -1;
	if (connect(fd, (struct sockaddr *)&sun, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) ==
	    -1) {
		close(fd);
		return -1;
	}
	return fd;
}

static uint32_t
watchdog_parse(void)
{
	const char *usec = getenv("WATCHDOG_USEC");
	const char *pid = getenv("WATCHDOG_PID");
	unsigned long long v;
	char *end;

	/* The variables may have been meant for the process that started us. */
	if (usec == NULL || (pid != NULL && strtoll(pid, NULL, 10) != (long long)getpid()))
		return 0;
	errno = 0;
	v = strtoull(usec, &end, 10);
	if (errno != 0 || *end != '\0' || v < 2000 || v / 2000 > UINT32_MAX)
		return 0;
	return (uint32_t)(v / 2000);
}

void
notify_open(void)
{
	const char *name = getenv("NOTIFY_SOCKET");

	if (name == NULL)
		return;
	nt.fd = notify_connect(name);
	if (nt.fd == -1)
		log_warn(
		    "NOTIFY_SOCKET %s: %s; the service manager is not told anything", name, strerror(errno));
	nt.watchdog_ms = watchdog_parse();
}

static void
notify_send(const char *text)
{
	if (nt.fd == -1)
		return;
	if (send(nt.fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT) == -1)
		log_debug("service manager: %s", strerror(errno));
}

void
notify_ready(void)
{
	notify_send("READY=1\n");
}

void
notify_stopping(void)
{
	notify_send("STOPPING=1\n");
}

void
notify_reloading(void)
{
	char text[64];

	snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%lld\n", (long long)clock_mono().us);
	notify_send(text);
}

void
notify_watchdog(void)
{
	notify_send("WATCHDOG=1\n");
}

void
notify_status(const char *text)
{
	char line[256];

	snprintf(line, sizeof(line), "STATUS=%.240s\n", text);
	for (char *p = line; *p != '\0' && p[1] != '\0'; p++)
		if (*p == '\n')
			*p = ' ';
	notify_send(line);
}

uint32_t
notify_watchdog_ms(void)
{
	return nt.watchdog_ms;
}
