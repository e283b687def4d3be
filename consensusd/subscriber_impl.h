/*
 * subscriber_impl: what subscriber.c and subscriber_deliver.c share; not for others.
 */
#ifndef CONSENSUSD_SUBSCRIBER_IMPL_H
#define CONSENSUSD_SUBSCRIBER_IMPL_H

#include "consensusd/subscriber.h"
#include "proto/mesh.pb.h"

/* Sizes of unacknowledged messages by seq: a power of two above SUBSCRIBER_WINDOW_COUNT. */
enum { SUBSCRIBER_SIZES = 1024 };

struct subscriber {
	TAILQ_ENTRY(subscriber) entry, ready_entry;
	struct subscribers *all;
	struct call *call;
	mesh_v1_StreamSelector selector;
	struct sink_list sinks;
	size_t closed_count;
	bool ready;
	bool manual;                          /* the client sends window updates */
	int64_t credit_count, credit_bytes;   /* manual */
	int64_t unacked_count, unacked_bytes; /* else */
};

#endif
