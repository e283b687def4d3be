/* settings: from mesh.conf(5) to numbers; the configuration has checked types and ranges. */
#include <string.h>

#include "common/base/must.h"
#include "common/os/conf.h"
#include "transportd/transport.h"

static void
read_lanes(struct settings *s, const struct conf *c)
{
	unsigned most = (unsigned)conf_int(c, "transportd", "bulk-lanes-max");

	s->bulk_lanes = (unsigned)conf_int(c, "transportd", "bulk-lanes");
	if (most < s->bulk_lanes)
		most = s->bulk_lanes;
	s->lanes_max = strcmp(conf_str(c, "transportd", "lanes"), "collapse") == 0 ? 1 : LANE_BULK + most;
	s->lane_window = (size_t)conf_int(c, "transportd", "lane-window");
	s->scale.target_kbps = (uint64_t)conf_int(c, "transportd", "lane-target") * 1000;
	s->scale.open_after_us = conf_int(c, "transportd", "lane-open-after");
	s->scale.close_after_us = conf_int(c, "transportd", "lane-close-after");
	s->scale.cool_down_us = conf_int(c, "transportd", "lane-cool-down");
}

static void
read_denied(struct settings *s, const struct conf *c)
{
	size_t count = conf_count(c, "transportd", "deny");

	s->denied_count = 0;
	for (size_t i = 0; i < count && i < DENIED_MAX; i++)
		if (nodeid_parse(conf_item(c, "transportd", "deny", i), &s->denied[s->denied_count]) == 0)
			s->denied_count++;
}

bool
settings_denied(const struct settings *s, uint64_t node)
{
	for (size_t i = 0; i < s->denied_count; i++)
		if (s->denied[i] == node)
			return true;
	return false;
}

void
settings_read(struct settings *s, const struct conf *c)
{
	MUST(ulid_parse(conf_str(c, "mesh", "id"), &s->mesh_id) == 0);
	s->heartbeat_us = conf_int(c, "transportd", "heartbeat-interval");
	s->heartbeat_misses = (uint32_t)conf_int(c, "transportd", "heartbeat-misses");
	s->stall_us = conf_int(c, "transportd", "stall-timeout");
	s->probe_us = conf_int(c, "transportd", "probe-interval");
	read_lanes(s, c);
	s->backoff_min_ms = (uint32_t)(conf_int(c, "transportd", "dial-backoff-min") / 1000);
	s->backoff_max_ms = (uint32_t)(conf_int(c, "transportd", "dial-backoff-max") / 1000);
	if (s->backoff_max_ms < s->backoff_min_ms)
		s->backoff_max_ms = s->backoff_min_ms;
	s->handshake_ms = conf_int(c, "transportd", "handshake-timeout") / 1000;
	s->link_queue = (size_t)conf_int(c, "transportd", "link-queue");
	s->tenant_quota = (size_t)conf_int(c, "transportd", "tenant-quota");
	s->stream_quota = (size_t)conf_int(c, "transportd", "stream-quota");
	s->path_window = (size_t)conf_int(c, "transportd", "path-window");
	read_denied(s, c);
	s->links_max = (unsigned)conf_int(c, "transportd", "links-max");
	s->pending_max = (unsigned)conf_int(c, "transportd", "pending-max");
}
