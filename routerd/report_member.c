/*
 * What membership knows of nodes and links beside the link-state database, for messages of the API.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/os/clock.h"
#include "routerd/core/swim_meta.h"
#include "routerd/members.h"
#include "routerd/nodemeta.h"
#include "routerd/report.h"
#include "routerd/routerd.h"

/* Of a member that has told nothing of itself yet, or nothing that can be read: false. */
static bool
meta_of(const struct swim_info *info, struct swim_meta *out)
{
	return info->meta != NULL && swim_meta_decode(info->meta, info->meta_len, out) == 0;
}

static void
put_load(mesh_v1_NodeInfo *out, uint16_t permille)
{
	out->has_load_permille = true;
	out->load_permille = permille;
}

const char *
report_sight(struct routerd *d)
{
	struct router_summary sum;

	router_show(d->router, &sum);
	if (!sum.transport)
		return "no transport: other nodes are shown as they were before transportd went away";
	if (sum.blind)
		return "transportd is just back: other nodes are shown as they were before it went away";
	if (sum.links == 0 && sum.nodes > 1)
		return "no link: other nodes may be well, this one can't tell";
	return NULL;
}

static void
put_self(struct routerd *d, mesh_v1_NodeInfo *out)
{
	const char *why = report_sight(d);
	uint16_t load;

	if (nodemeta_load(d, &load) == 0)
		put_load(out, load);
	if (why != NULL)
		snprintf(out->detail, sizeof(out->detail), "%s", why);
}

void
report_member_node(struct routerd *d, uint64_t node, mesh_v1_NodeInfo *out)
{
	const struct router_identity *self = router_self(d->router);
	struct swim_meta meta;
	struct swim_info info;

	if (self != NULL && node == self->node) {
		put_self(d, out);
		return;
	}
	if (!members_get(d, node, &info))
		return;
	out->probe_rtt_us = info.rtt_us;
	out->status_since = (int64_t)clock_unix_ms() - mono_diff_us(clock_mono(), info.changed_at) / 1000;
	if (meta_of(&info, &meta))
		put_load(out, meta.load_permille);
}

/* Only what was known and differs: both come from the source of the link, at different times. */
static void
put_differing(struct report_metadata *out, const char *key, uint32_t said, uint32_t known)
{
	char text[16];

	if (said == 0 || said == known)
		return;
	snprintf(text, sizeof(text), "%" PRIu32, said);
	report_metadata_add(out, key, text);
}

void
report_member_link(
    struct routerd *d, uint64_t node, const mesh_v1_LinkInfo *link, uint64_t to, struct report_metadata *out)
{
	struct swim_meta meta;
	struct swim_info info;

	if (!members_get(d, node, &info) || !meta_of(&info, &meta))
		return;
	for (size_t i = 0; i < meta.link_count; i++) {
		if (meta.links[i].peer != to)
			continue;
		put_differing(out, "member_rtt_us", meta.links[i].rtt_us, link->rtt_us);
		put_differing(out, "member_bandwidth_kbps", meta.links[i].bandwidth_kbps,
		    (uint32_t)link->bandwidth_kbps);
		return;
	}
}
