/* channel_client: connecting, and connecting again; see channel.h. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/channel_impl.h"
#include "common/os/clock.h"
#include "common/os/log.h"

static void
retry_later(struct channel *ch)
{
	loop_timer_arm_ms(ch->timer, backoff_next_ms(&ch->backoff, &ch->rng));
}

/* Says once per outage why it fails. */
static void
attempt_failed(struct channel *ch, const char *why)
{
	enum log_level level = ch->told_failure ? LOG_DEBUG : LOG_NOTICE;

	ch->told_failure = true;
	log_at(level, NULL, "channel %s: can't connect to %s: %s; trying again", ch->conf.edge->name,
	    ch->path, why);
	retry_later(ch);
}

static bool
uid_trusted(const struct channel *ch, uid_t uid)
{
	return uid == 0 || uid == geteuid() || (ch->expected != (uid_t)-1 && uid == ch->expected);
}

/* A connected socket or -1 with errno. */
static int
socket_connect(const char *path)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd == -1)
		return -1;
	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path);
	if (connect(fd, (struct sockaddr *)&sun, sizeof(sun)) == -1) {
		int saved = errno;

		close(fd);
		errno = saved;
		return -1;
	}
	return fd;
}

void
channel_client_retry(struct channel *ch)
{
	char why[96];
	int fd = socket_connect(ch->path);

	if (fd == -1) {
		attempt_failed(ch, strerror(errno));
		return;
	}
	if (channel_peer_uid(fd, &ch->uid) != 0 || !uid_trusted(ch, ch->uid)) {
		snprintf(why, sizeof(why), "it is served by user %u, which mesh.conf does not name",
		    (unsigned)ch->uid);
		metric_inc(&channel_metrics.refused);
		close(fd);
		attempt_failed(ch, why);
		return;
	}
	if (channel_start(ch, fd) != 0)
		attempt_failed(ch, err_text(ERR_NOMEM));
}

void
channel_client_ended(struct channel *ch)
{
	/* A connection that did not last (a sibling that crashes on what we send) does not count as one. */
	if (mono_diff_us(clock_mono(), ch->up_at) > CHANNEL_RETRY_MAX_MS * 1000LL)
		backoff_reset(&ch->backoff);
	retry_later(ch);
}

struct channel *
channel_connect(struct loop *l, const char *path, const char *self, const struct channel_conf *conf)
{
	struct channel *ch;
	uint64_t seed = 0;

	if (strlen(path) >= sizeof(((struct sockaddr_un *)0)->sun_path)) {
		log_error("%s: too long for the path of a Unix socket: use a shorter runtime-dir", path);
		return NULL;
	}
	ch = channel_new(l, CHANNEL_CLIENT, self);
	if (ch == NULL)
		return NULL;
	ch->conf = *conf;
	snprintf(ch->path, sizeof(ch->path), "%s", path);
	backoff_init(&ch->backoff, CHANNEL_RETRY_MIN_MS, CHANNEL_RETRY_MAX_MS);
	ch->up_at = MONO_NEVER;
	/* Jitter: without randomness (early boot) equal seeds do no harm on one machine. */
	(void)!getrandom(&seed, sizeof(seed), GRND_NONBLOCK);
	rng_seed(&ch->rng, seed);
	loop_timer_arm_ms(ch->timer, 0);
	return ch;
}

void
channel_expect(struct channel *ch, uid_t uid)
{
	ch->expected = uid;
}
