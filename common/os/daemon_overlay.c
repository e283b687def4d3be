/* daemon_overlay: what the configuration that all nodes share says for this daemon; see daemon.h. */
#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/conf_overlay.h"
#include "common/os/daemon_impl.h"
#include "common/os/log.h"
#include "common/os/loop.h"
#include "common/os/metrics.h"

static struct metric applied = METRIC_GAUGE_INIT("mesh_daemon_shared_directives",
    "Directives that the daemon has from the configuration that all nodes share.", NULL);
static struct metric refused = METRIC_COUNTER_INIT("mesh_daemon_shared_refused_total",
    "Directives of the configuration that all nodes share that made no sense to the daemon.", NULL);

void
daemon_overlay_metrics(void)
{
	metrics_add(&applied);
	metrics_add(&refused);
}

/* What is under way when the daemon stops would only be in the way. */
static void
on_defer(void *arg)
{
	struct daemon *d = arg;

	if (!d->stopping)
		daemon_configure(d);
}

int
daemon_overlay_set(struct daemon *d, const uint8_t *body, size_t len)
{
	uint8_t *copy;
	int err;

	if (d->overlay_len == len && (len == 0 || memcmp(d->overlay, body, len) == 0))
		return 0;
	if ((err = conf_overlay_valid(body, len)) != 0)
		return err;
	copy = len != 0 ? mem_dup(body, len) : NULL;
	if (copy == NULL && len != 0)
		return ERR_NOMEM;
	mem_free(d->overlay);
	d->overlay = copy;
	d->overlay_len = len;
	d->overlay_defer.fn = on_defer;
	d->overlay_defer.arg = d;
	loop_defer_add(d->loop, &d->overlay_defer);
	return 0;
}

static void
on_refused(void *arg, const char *why)
{
	(void)arg;
	metric_inc(&refused);
	log_warn("shared configuration: ignored: %s", why);
}

static void
on_applied(void *arg, const char *key)
{
	(void)arg;
	metric_inc(&applied);
	log_debug("shared configuration: %s", key);
}

struct conf *
daemon_overlay_load(const struct daemon *d, FILE *err)
{
	const struct conf_overlay over = {
	    .body = d->overlay, .len = d->overlay_len, .refused = on_refused, .applied = on_applied};
	int64_t before = applied.value;
	struct conf *c;

	metric_set(&applied, 0);
	c = conf_load_over(d->conf_path, d->def->name, &over, err);
	/* The one in use stays. */
	if (c == NULL)
		metric_set(&applied, before);
	return c;
}

void
daemon_overlay_fini(struct daemon *d)
{
	loop_defer_del(&d->overlay_defer);
	mem_free(d->overlay);
	d->overlay = NULL;
}
