/*
 * subscriber_impl: what the files of subscriber share; not for others.
 */
#ifndef CONSENSUSD_SUBSCRIBER_IMPL_H
#define CONSENSUSD_SUBSCRIBER_IMPL_H

#include "consensusd/acl.h"
#include "consensusd/subscriber.h"
#include "proto/mesh.pb.h"

/* Sizes of unacknowledged messages by seq: a power of two above SUBSCRIBER_WINDOW_COUNT. */
enum { SUBSCRIBER_SIZES = 1024 };

struct subscriber {
	TAILQ_ENTRY(subscriber) entry, ready_entry;
	struct subscribers *all;
	struct call *call;
	uint64_t number; /* of the subscription: later ones have higher ones, after a restart as well */
	uint64_t since_unix_ms;
	mesh_v1_StreamSelector selector;
	struct sink_list sinks;
	size_t closed_count;
	bool ready;
	bool manual;                          /* the client sends window updates */
	int64_t credit_count, credit_bytes;   /* manual */
	int64_t unacked_count, unacked_bytes; /* else */
};

/* --- subscriber_streams.c --- */
bool subscriber_selects(const struct subscriber *s, const struct sink *k);
/* All that are there and that it may have.  ERR_NOMEM. */
int subscriber_attach_all(struct subscriber *s) MUST_USE;
/* Lets all of them go, to others that wait for them. */
void subscriber_detach_all(struct subscriber *s);
/* True: the stream has a subscriber already, and the call was refused for it. */
bool subscriber_refused(struct client *c, uint32_t id, const struct sink *k);
/* True: the stream's messages go elsewhere, and the call was refused for it. */
bool subscriber_unwanted(struct client *c, uint32_t id, const struct sink *k);

/* --- subscriber_permit.c --- */
bool subscriber_may_have(const struct subscriber *s, const struct sink *k, char why[ACL_WHY_SIZE]);
/* Whether a client may have all that it names, or if it follows the tenant, anything at all. */
bool subscriber_may_select(const struct engine *e, const struct caller *who, const mesh_v1_StreamSelector *in,
    char why[ACL_WHY_SIZE]);

/* --- subscriber_acks.c --- */
/* One acknowledgement of a selector; false: the call was ended. */
bool subscriber_take_ack(struct subscriber *s, const mesh_v1_StreamAck *in);
bool subscriber_take_nack(struct subscriber *s, const mesh_v1_StreamNack *in);

#endif
