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

/* The options that name a stream: --stream, or --tenant and --to (and --qos, --priority, --striping). */
#define STREAM_OPEN_OPTIONS                                                                                  \
	{"stream", 0, "ID", "use this stream; opened with this id if it is new and --to is given"},          \
	    {"tenant", 't', "TENANT", "tenant that the stream belongs to"},                                  \
	    {"to", 0, "NODE,...", "open a stream to these nodes (names or ids)"},                            \
	    {"qos", 0, "TEXT", "quality of service of a new stream"},                                        \
	    {"priority", 0, "N", "priority of a new stream"},                                                \
	{                                                                                                    \
		"striping", 0, NULL, "send large messages of a new stream on all lanes of a link"            \
	}

/* Sends OpenClientDataStream as the options say, trying for retry_ms while the node is away; *handle is a
 * new reference.  An exit_code; errors are printed. */
int stream_open(const struct ctl *ctl, const struct args *a, int64_t retry_ms, json_t **handle) MUST_USE;

#endif
