/*
 * publisher: sends the messages of a source on one stream and keeps each until it is answered: until all its
 * targets have processed it, or what else the stream was asked for.
 *
 * Every message has its seq and a message id from the start.  When the node, or a daemon of it, goes away,
 * what was not confirmed is sent again with the same ones: the node recognises what it has already, so
 * nothing is lost or doubled.
 */
#ifndef MESHCTL_PUBLISHER_H
#define MESHCTL_PUBLISHER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"
#include "meshctl/samples.h"

struct ctl;
struct publisher;
struct source;

enum {
	PUBLISHER_WINDOW_MAX = 65536,              /* messages that wait for confirmation */
	PUBLISHER_WINDOW_BYTES = 64 * 1024 * 1024, /* and their payload; then the source is not read */
	PUBLISHER_WINDOW_DEFAULT = 4096,
};

struct publisher_conf {
	const struct ctl *ctl;
	struct source *source; /* borrowed */
	const char *stream_id; /* of an open stream */
	const char *tenant;
	uint64_t next_seq; /* of the first message */
	uint64_t epoch;    /* of the producer; 0: the node does not check it */
	bool digest;       /* goes with each message */
	/* Makes a message of what the source gave, borrowed until the next call; NULL: that is the message.
	 * An error ends all: ERR_FORMAT was printed. */
	int (*make)(void *make_arg, const uint8_t **data, size_t *len);
	void *make_arg;
	int64_t rate;     /* messages a second; 0: no limit */
	int64_t window;   /* messages */
	int64_t retry_ms; /* how long to wait for a node that went away */
	/* Called a few times a second, and after each result if it is wanted; may be NULL. */
	void (*on_progress)(void *arg, const struct publisher *p);
	void (*on_result)(void *arg, uint64_t seq, int64_t latency_us);
	void *arg;
};

struct publisher_stats {
	uint64_t sent, answered, bytes;
	int64_t elapsed_us;
	uint64_t reconnects;
	struct samples latency;
};

/* Publishes all of the source.  An exit_code; errors are printed: also of messages that are dead letters at
 * targets, which don't end it.  stats is filled in any case, and its
 * samples must be finished by the caller. */
int publisher_run(const struct publisher_conf *conf, struct publisher_stats *stats) MUST_USE;

const struct publisher_stats *publisher_stats(const struct publisher *p);

#endif
