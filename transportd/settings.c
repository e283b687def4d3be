/* settings: from mesh.conf(5) to numbers; the configuration has checked types and ranges. */
#include "common/base/must.h"
#include "common/os/conf.h"
#include "transportd/transport.h"

void
settings_read(struct settings *s, const struct conf *c)
{
	MUST(ulid_parse(conf_str(c, "mesh", "id"), &s->mesh_id) == 0);
	s->heartbeat_us = conf_int(c, "transportd", "heartbeat-interval");
	s->heartbeat_misses = (uint32_t)conf_int(c, "transportd", "heartbeat-misses");
	s->backoff_min_ms = (uint32_t)(conf_int(c, "transportd", "dial-backoff-min") / 1000);
	s->backoff_max_ms = (uint32_t)(conf_int(c, "transportd", "dial-backoff-max") / 1000);
	if (s->backoff_max_ms < s->backoff_min_ms)
		s->backoff_max_ms = s->backoff_min_ms;
	s->handshake_ms = conf_int(c, "transportd", "handshake-timeout") / 1000;
	s->link_queue = (size_t)conf_int(c, "transportd", "link-queue");
	s->links_max = (unsigned)conf_int(c, "transportd", "links-max");
	s->pending_max = (unsigned)conf_int(c, "transportd", "pending-max");
}
