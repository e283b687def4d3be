/*
 * qos: what the quality of service that a stream was opened with means: its traffic class, and its share
 * among others of that class.
 *
 * "system" goes before "db", and that before all others, which are client data: in the order of sending and
 * of storing at this node, and on all links.  Only operators may open streams of the first two (gatewayd sees
 * to that).  Within a class each priority above 0 doubles a stream's share of sending, each below halves it,
 * up to QOS_STEPS_MAX times.
 */
#ifndef CONSENSUSD_CORE_QOS_H
#define CONSENSUSD_CORE_QOS_H

#include <stddef.h>
#include <stdint.h>

enum {
	QOS_STEPS_MAX = 3,
	QOS_SHARE_MIN_BYTES = 64 * 1024, /* of a stream with priority 0, in a turn */
	/* More important streams that are held with all data to a node may have so much in flight: a half of
	 * what links keep free for them. */
	QOS_HELD_BYTES = 256 * 1024,
};

/* FRAME_CLASS_SYSTEM, FRAME_CLASS_DB or FRAME_CLASS_CLIENT. */
uint8_t qos_class(const char *qos);
/* Bytes that a stream may send in a turn of its class, if one of priority 0 may send batch_bytes. */
size_t qos_share(size_t batch_bytes, int32_t priority);

#endif
