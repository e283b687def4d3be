/*
 * limits: every cap of transportd that is not a directive of mesh.conf(5), with unit and reason.
 */
#ifndef TRANSPORTD_CORE_LIMITS_H
#define TRANSPORTD_CORE_LIMITS_H

enum {
	/* --- hello --- */
	HELLO_MAX_BYTES = 1024, /* what a peer that has proven nothing may make us keep */
	HELLO_TLV_MAX = 16,     /* extensions in one hello */

	/* --- link --- */
	/* One WebSocket message with its header in one TLS record (16384 bytes): no copying to rejoin. */
	LINK_MESSAGE_BYTES = 16384 - 16,
	LINK_WRITES_PER_TURN = 8,        /* messages written to one link before the others get a turn */
	LINK_RESERVE_BYTES = 512 * 1024, /* room beyond link-queue for control, system and DB frames */
	LINK_SETTLED_MS = 10000,         /* a link that lived this long resets the dial back-off */
	LINK_DRAIN_MS = 2000,            /* a replaced connection is still read for this long */
	LINK_REPORT_MS = 1000,           /* shortest time between measurements told to routerd */

	/* --- transmit queue --- */
	TXQ_BLOCK_BYTES = 65536, /* memory unit: four frames of the largest size */
	TXQ_SPARE_BLOCKS = 4,    /* kept by an idle queue, so that steady traffic allocates nothing */

	/* --- forwarding --- */
	FIB_PATHS_MAX = 8,             /* per destination and class */
	FIB_ROUTES_MAX = 65536,        /* destinations */
	UNREACH_SLOTS = 1024,          /* destinations remembered by the rate limit */
	UNREACH_INTERVAL_MS = 100,     /* between two reports about one destination to one source */
	INBOX_FLUSH_BYTES = 65536,     /* frames for consensusd collected before a message is sent */
	LOCAL_PAUSE_MS = 100,          /* consensusd is not read for this long when its frames fill a link */
	STALL_MS = 1000,               /* peers are not read for this long when consensusd is slow */
	REFUSE_LOG_INTERVAL_MS = 1000, /* between two log lines about refused connections or frames */

	/* --- dialling --- */
	PEERS_MAX = 1024,       /* peer blocks */
	PEER_ADDRESSES_MAX = 8, /* addresses of one peer */
	RESOLVED_MAX = 8,       /* numeric addresses kept of one name */
	RESOLVE_TIMEOUT_MS = 15000,
	DIALS_AT_ONCE = 16, /* a handshake costs 1.4 ms of CPU here: more at once would stall the loop */
};

#endif
