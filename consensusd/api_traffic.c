/* api_traffic: see api_traffic.h. */
#include "consensusd/api_traffic.h"

#include <stdio.h>

#include "common/os/clock.h"
#include "consensusd/core/controls.h"
#include "consensusd/sink.h"
#include "consensusd/source.h"

/* At least a millisecond, if something waits. */
static int64_t
waited_ms(const struct ages *a, uint64_t processed, struct mono now)
{
	struct mono since = ages_after(a, processed);
	int64_t ms = mono_is_never(since) ? 0 : mono_diff_us(now, since) / 1000;

	return mono_is_never(since) ? 0 : ms > 0 ? ms : 1;
}

static void
fill_rates(mesh_v1_StreamInfo *info, const struct rate *in, const struct rate *done, struct mono now)
{
	struct rate_sum sum = rate_get(in, now);

	info->messages_per_s = (int64_t)sum.messages;
	info->bytes_per_s = (int64_t)sum.bytes;
	info->processed_per_s = (int64_t)rate_get(done, now).messages;
	info->messages = (int64_t)in->total.messages;
	info->bytes = (int64_t)in->total.bytes;
}

static void
fill_control(mesh_v1_StreamInfo *info, const struct control *pause, const struct control *limit)
{
	const struct control *why = pause != NULL ? pause : limit;

	info->paused = pause != NULL;
	if (limit != NULL) {
		info->limit_messages_per_s = limit->messages_per_s;
		info->limit_bytes_per_s = limit->bytes_per_s;
	}
	if (why != NULL)
		snprintf(info->control_reason, sizeof(info->control_reason), "%s", why->reason);
}

static void
fill_target(const struct source *s, const struct source_flow *f, mesh_v1_TargetProgress *t, struct mono now)
{
	t->lag_messages = (int64_t)(s->stream->next_seq - 1 - f->flow->processed);
	t->processed_per_s = (int64_t)rate_get(&f->done, now).messages;
	t->oldest_ms = waited_ms(&s->ages, f->flow->processed, now);
	t->asks = (int64_t)f->asks;
	t->rtt_us = f->flow->srtt_us;
	t->window_bytes = (int64_t)f->flow->granted_bytes;
}

void
api_traffic_source(const struct source *s, mesh_v1_StreamInfo *info)
{
	struct mono now = clock_mono();

	fill_rates(info, &s->in, &s->done, now);
	info->oldest_ms = waited_ms(&s->ages, s->stream->committed_seq, now);
	fill_control(info, s->pause, s->limit);
	/* In the order of those that it has. */
	for (size_t i = 0, at = 0; i < s->stream->flow_count; i++) {
		if (!flow_matters(s->flows[i].flow))
			continue;
		fill_target(s, &s->flows[i], &info->targets[at], now);
		info->retransmits += info->targets[at++].retransmits;
	}
}

void
api_traffic_sink(const struct sink *s, mesh_v1_StreamInfo *info)
{
	struct mono now = clock_mono();

	fill_rates(info, &s->in, &s->done, now);
	info->oldest_ms = waited_ms(&s->ages, s->target->processed_seq, now);
	fill_control(info, s->pause, NULL);
	info->retransmits = (int64_t)s->target->duplicates;
}
