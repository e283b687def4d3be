/* daemon_watchdog: tells the service manager that the loop turns and the daemon makes progress. */
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/daemon_impl.h"
#include "common/os/loop.h"
#include "common/os/notify.h"

struct daemon_watchdog {
	struct daemon *d;
	struct loop_timer *timer;
	uint32_t interval_ms;
};

static void
on_interval(void *arg)
{
	struct daemon_watchdog *w = arg;

	if (w->d->def->healthy == NULL || w->d->def->healthy(w->d))
		notify_watchdog();
	loop_timer_arm_ms(w->timer, w->interval_ms);
}

int
daemon_watchdog_new(struct daemon *d, struct daemon_watchdog **out)
{
	struct daemon_watchdog *w;

	*out = NULL;
	if (notify_watchdog_ms() == 0)
		return 0;
	w = mem_calloc(1, sizeof(*w));
	if (w == NULL)
		return ERR_NOMEM;
	w->d = d;
	w->interval_ms = notify_watchdog_ms();
	w->timer = loop_timer_new(d->loop, on_interval, w);
	if (w->timer == NULL) {
		mem_free(w);
		return ERR_NOMEM;
	}
	loop_timer_arm_ms(w->timer, w->interval_ms);
	*out = w;
	return 0;
}

void
daemon_watchdog_free(struct daemon_watchdog *w)
{
	if (w == NULL)
		return;
	loop_timer_free(w->timer);
	mem_free(w);
}
