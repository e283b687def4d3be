/* daemon_signals: TERM, INT and HUP as events of the loop. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/os/daemon_impl.h"
#include "common/os/log.h"
#include "common/os/loop.h"
#include "common/os/notify.h"

struct daemon_signals {
	struct daemon *d;
	int fd;
	struct loop_fd *watch;
};

static void
stop(struct daemon_signals *s, unsigned signo)
{
	struct daemon *d = s->d;

	if (d->stopping) {
		log_notice("signal %u again: stopping at once", signo);
		loop_stop(d->loop);
		return;
	}
	d->stopping = true;
	log_info("signal %u: stopping", signo);
	notify_stopping();
	if (d->def->stop != NULL)
		d->def->stop(d);
	else
		loop_stop(d->loop);
}

static void
on_signal(void *arg, int fd, unsigned events)
{
	struct daemon_signals *s = arg;
	struct signalfd_siginfo info;

	(void)events;
	if (read(fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return;
	if (info.ssi_signo != SIGHUP)
		stop(s, info.ssi_signo);
	else if (!s->d->stopping)
		daemon_reload(s->d);
}

struct daemon_signals *
daemon_signals_new(struct daemon *d)
{
	struct daemon_signals *s = mem_calloc(1, sizeof(*s));
	sigset_t set;

	if (s == NULL)
		return NULL;
	s->d = d;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	s->fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (s->fd != -1)
		s->watch = loop_fd_add(d->loop, s->fd, LOOP_READ, on_signal, s);
	if (s->watch != NULL)
		return s;
	log_error("signals: %s", strerror(errno));
	daemon_signals_free(s);
	return NULL;
}

void
daemon_signals_free(struct daemon_signals *s)
{
	if (s == NULL)
		return;
	loop_fd_del(s->watch);
	if (s->fd != -1)
		close(s->fd);
	mem_free(s);
}
