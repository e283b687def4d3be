/*
 * stream_open: opens a stream, or looks up one that is open, for `meshctl open` and `publish`.
 */
#ifndef MESHCTL_STREAM_OPEN_H
#define MESHCTL_STREAM_OPEN_H

#include <jansson.h>
#include <stdint.h>

#include "common/base/must.h"

struct args;
struct ctl;

/* The options that name a stream: --stream, or --tenant and --to; and what a new one is asked for. */
#define STREAM_OPEN_OPTIONS                                                                                  \
	{"stream", 0, "ID", "use this stream; opened with this id if it is new and --to is given"},          \
	    {"tenant", 't', "TENANT", "tenant that the stream belongs to"},                                  \
	    {"to", 0, "NODE,...", "open a stream to these nodes (names or ids)"},                            \
	    {"qos", 0, "TEXT", "quality of service of a new stream"},                                        \
	    {"priority", 0, "N", "priority of a new stream"},                                                \
	    {"ack", 0, "LEVEL",                                                                              \
		"when messages of a new stream are answered: accepted, committed, quorum:N or all "          \
		"(default)"},                                                                                \
	    {"retention", 0, "SIZE", "what a new stream keeps at most for targets that are behind"},         \
	    {"retention-time", 0, "DURATION", "and for how long"},                                           \
	    {"overflow", 0, "POLICY", "beyond that: hold publishers (default), or drop the oldest"},         \
	    {"fence", 0, NULL, "begin a new producer epoch of a stream that is open"},                       \
	    {"handler", 0, "NAME", "what its targets do: subscriber, db or discard"},                        \
	    {"max-attempts", 0, "N", "that fail until a message is a dead letter (default: no end)"},        \
	    {"retry-wait", 0, "DURATION", "before the second attempt (default 1s)"},                         \
	{                                                                                                    \
		"striping", 0, NULL, "send large messages of a new stream on all lanes of a link"            \
	}

/* Sends OpenClientDataStream as the options say, trying for retry_ms while the node is away; *handle is a
 * new reference.  An exit_code; errors are printed. */
int stream_open(const struct ctl *ctl, const struct args *a, int64_t retry_ms, json_t **handle) MUST_USE;

#endif
