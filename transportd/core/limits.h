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
	/* What a stream may have queued, in time of its lane: a seventh of a round trip keeps a line full
	 * (RFC 8257 section 4.1), so this is enough for one of 350 ms.  Some frames may always wait. */
	LINK_MARK_MS = 50,
	LINK_MARK_MIN_BYTES = 64 * 1024,
	LINK_FLOWS_MAX = 4096,    /* streams told apart on one link; further ones share a turn */
	LINK_HALF_LIFE_MS = 1000, /* for each of these that a link lived, the dial back-off is halved */
	LINK_DRAIN_MS = 2000,     /* a replaced connection is still read for this long */
	LINK_REPORT_MS = 1000,    /* shortest time between measurements told to routerd */
	/* The time between probes of an idle link doubles so many times: what it is found to carry seldom
	 * changes, and each train is as much as the heartbeats of a minute. */
	LINK_PROBES_DOUBLE = 5,

	/* --- lanes --- */
	LANES_MAX = 16,   /* of one link, lane ids below it */
	LANE_CONTROL = 0, /* ids with a meaning; those above are bulk */
	LANE_PRIORITY = 1,
	LANE_BULK = 2,
	LANE_WINDOW_MIN_BYTES = 64 * 1024,         /* a grant must hold some frames */
	LANE_WINDOW_MAX_BYTES = 256 * 1024 * 1024, /* and may not ask a peer to keep more than this */
	LANE_CONTROL_FRAME_BYTES = 4096,           /* larger frames of class control take the priority lane */
	LANE_WINDOW_FRAME_BYTES = 64,              /* a frame is granted for each so many bytes of a window */
	/* The peer tells what it got of a dead lane, or it is lost; on top of the time in which both sides
	 * notice that the lane which carried the question or the answer is dead, too. */
	/* A lane is silent on a slow line when others are being served: so many packets may go before its
	   own. */
	LANE_CROWD_BYTES = 12 * 1500,
	LANE_CROWD_MIN_BYTES = 700, /* more than the heartbeats of the others within a patience */
	LANE_CROWD_FRESH_MS = 180,  /* another lane was heard so lately: the path is not cut */
	LANE_CROWD_SLOW_MS = 200,   /* and its round trips take as long as this: nor is it quick */
	LANE_RESUME_MS = 2000,
	LANE_REMEMBER_MS = 60000, /* a settled one: a peer of longer patience may ask later */
	LANE_DIAL_MS = 1000,      /* between two attempts to open a missing lane, at least */

	/* --- transmit queue --- */
	TXQ_BLOCK_BYTES = 65536, /* memory unit: four frames of the largest size */
	TXQ_SPARE_BLOCKS = 4,    /* kept by an idle queue, so that steady traffic allocates nothing */

	/* --- forwarding --- */
	FIB_PATHS_MAX = 8,         /* per destination and class */
	FIB_ROUTES_MAX = 65536,    /* destinations */
	UNREACH_SLOTS = 1024,      /* destinations remembered by the rate limit */
	AVOID_SLOTS = 256,         /* paths that a relay keeps a tenant off: another one may take the place */
	AVOID_MS = 30000,          /* for so long */
	UNREACH_INTERVAL_MS = 100, /* between two reports about one destination to one source */
	INBOX_FLUSH_BYTES = 65536, /* frames for consensusd collected before a message is sent */
	LOCAL_PAUSE_MS = 100,      /* consensusd is not read for this long when its frames fill a link */
	STALL_MS = 1000,           /* peers are not read for this long when consensusd is slow */
	HOLDS_MAX = 65536,         /* destinations that consensusd holds */
	PATHS_MAX = 8192,          /* paths that data is sent on, and the others to the same nodes */
	PATH_IDLE_MS = 60000,      /* those to an unused destination are forgotten */
	PATH_ACTIVE_MS = 10000,    /* used so lately, its other paths are probed */
	PATH_UNHEARD_MS = 500,     /* for so long a path that the answers moved to gets its chance */
	PATH_REPORT_MS = 1000,     /* between two states of a path told to routerd */
	DENIED_MAX = 256,          /* nodes listed under deny */
	REFUSE_LOG_INTERVAL_MS = 1000, /* between two log lines about refused connections or frames */

	/* --- dialling --- */
	PEERS_MAX = 1024,  /* peer blocks, and links that were asked for */
	WISHES_MAX = 1024, /* nodes that are dropped, or whose link has a cost: more are refused */
	/* How long a node is dialled for a wish for full links before it is taken for out of reach. */
	WISH_TRIAL_MS = 120 * 1000,
	PEER_ADDRESSES_MAX = 8, /* addresses of one peer */
	RESOLVED_MAX = 8,       /* numeric addresses kept of one name */
	RESOLVES_AT_ONCE = 32,  /* names looked up at once: each is a process while name servers are silent */
	RESOLVE_TIMEOUT_MS = 15000,
	DIALS_AT_ONCE = 16, /* a handshake costs 1.4 ms of CPU here: more at once would stall the loop */
	CROWD_WAIT_MS = 50, /* then it is asked again whether another may begin */
	EYEBALLS_RUNNING_MAX = 6, /* attempts of one peer at once: black holes must not take all of those */
	EYEBALLS_DELAY_MS = 250,  /* between two of them (RFC 8305 section 5) */
	EYEBALLS_RESOLVE_MS = 50, /* for the names that are still looked up (RFC 8305 section 3) */
	TUNNEL_ANSWER_MAX_BYTES = 8192, /* of a proxy to CONNECT: headers that nobody looks at */
};

#endif
