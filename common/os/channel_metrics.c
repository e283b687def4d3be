/* channel_metrics: what all channels of the process count together. */
#include "common/os/channel_impl.h"

struct channel_metrics channel_metrics = {
    .connections =
	METRIC_GAUGE_INIT("mesh_channel_connections", "Connections with sibling daemons now.", NULL),
    .opened = METRIC_COUNTER_INIT("mesh_channel_opened_total", "Connections with siblings begun.", NULL),
    .closed = METRIC_COUNTER_INIT("mesh_channel_closed_total", "Connections with siblings ended.", NULL),
    .refused = METRIC_COUNTER_INIT(
	"mesh_channel_refused_total", "Connections refused for their user or for being too many.", NULL),
    .faults = METRIC_COUNTER_INIT(
	"mesh_channel_faults_total", "Messages of siblings that broke the rules of their edge.", NULL),
    .full = METRIC_COUNTER_INIT(
	"mesh_channel_full_total", "Times that a channel's queue passed its high mark.", NULL),
    .messages_in = METRIC_COUNTER_INIT("mesh_channel_received_messages_total", "Messages received.", NULL),
    .messages_out = METRIC_COUNTER_INIT("mesh_channel_sent_messages_total", "Messages sent.", NULL),
    .bytes_in = METRIC_COUNTER_INIT("mesh_channel_received_bytes_total", "Bytes of messages received.", NULL),
    .bytes_out = METRIC_COUNTER_INIT("mesh_channel_sent_bytes_total", "Bytes of messages sent.", NULL),
};

void
channel_metrics_add(void)
{
	static bool added;
	struct metric *all[] = {&channel_metrics.connections, &channel_metrics.opened,
	    &channel_metrics.closed, &channel_metrics.refused, &channel_metrics.faults, &channel_metrics.full,
	    &channel_metrics.messages_in, &channel_metrics.messages_out, &channel_metrics.bytes_in,
	    &channel_metrics.bytes_out};

	if (added)
		return;
	added = true;
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		metrics_add(all[i]);
}
