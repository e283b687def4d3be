/*
 * ends: what bench_relay and the transportd that is built with tests/bench/ends/ends.c agree on.
 *
 * In that transportd the frames of a benchmark are made and taken inside the daemon: a link is measured
 * between two processes, as limit_tls_raw is, without the Unix sockets and the third process of consensusd.
 * All else is the daemon as it is shipped.
 *
 * consensusd's stand-in sends one frame of ENDS_BYTES, which its transportd sends again and again, a window
 * of them on the way, until a frame of ENDS_STOP_BYTES.  The receiver's takes them, checks that none is lost,
 * doubled or out of order, and hands every ENDS_SHOWN-th to its own stand-in, to be counted.
 */
#ifndef TESTS_BENCH_ENDS_ENDS_H
#define TESTS_BENCH_ENDS_ENDS_H

#include "common/base/frame.h"

enum {
	ENDS_BYTES = FRAME_PAYLOAD_MAX_BYTES,
	ENDS_STOP_BYTES = 1,
	ENDS_SHOWN = 64,
	ENDS_WINDOW = 64, /* frames on the way: what bench_relay lets be */
	ENDS_ACK_EVERY = 4,
	ENDS_ACK_BYTES = 8, /* frames taken so far, big-endian; as all frames begin with their number */
};

#endif
