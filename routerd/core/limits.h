/*
 * limits: every cap and interval of routerd that no directive of mesh.conf sets, with its reason.
 */
#ifndef ROUTERD_CORE_LIMITS_H
#define ROUTERD_CORE_LIMITS_H

enum {
	/* Adjacencies in one LSA: the largest LSA still fits one frame.  A node with more advertises the
	 * ones of least cost (counted). */
	LSA_ADJ_MAX = 512,
	LSA_TLV_MAX_BYTES = 1024, /* extensions, also those of later versions; more is malformed */
	ADDRESSES_MAX = 8,        /* of one node; as many as transportd takes for a peer */
	ADDRESS_SIZE = 256,       /* host:port and NUL */
	LABELS_MAX = 8,           /* services, and capabilities, of one node */
	LABEL_SIZE = 33,          /* 32 characters and NUL */

	/* LSAs taken from one origin: this many at once, then one per interval.  Others are dropped
	 * unacknowledged (counted), and the neighbour sends the newest again. */
	ORIGIN_BURST = 3,
	ORIGIN_INTERVAL_US = 100 * 1000,
	/* How long an LSA that does not say it lives, and how often this node refreshes its own while there
	 * are such: their origins, of an earlier version, remove LSAs of others by their own clock. */
	LSA_LIFETIME_US = 200 * 1000 * 1000,
	LSA_REFRESH_US = 60 * 1000 * 1000,
	LSA_TOMBSTONE_MAX_US = 200 * 1000 * 1000, /* the id of one that has ended is kept */
	LSA_LIFETIME_MIN_S = 3, /* what an LSA may say; anything else is as if it said nothing */
	LSA_LIFETIME_MAX_S = 24 * 3600,
	/* The own LSA because of measurements: at least this long after the last, and only if one has
	 * changed by more than METRIC_CHANGE_PERCENT.  Where they never come to rest the time doubles, up to
	 * METRIC_INTERVAL_MAX_US: each of these LSAs goes over every link of the mesh.  Leaps do not wait. */
	METRIC_INTERVAL_US = 5 * 1000 * 1000,
	METRIC_INTERVAL_MAX_US = 120 * 1000 * 1000,
	METRIC_CHANGE_PERCENT = 20,
	METRIC_LEAP_PERCENT = 100, /* of the smaller of the two, and more than these: */
	METRIC_LEAP_US = 10 * 1000,
	METRIC_LEAP_PPM = 20 * 1000,
	METRIC_LEAP_PERMILLE = 300,
	METRIC_CHUNK_FLOOR_US = 500,   /* of bandwidth, by the time of COST_CHUNK_BITS: fast is fast */
	METRIC_LATENCY_FLOOR_US = 500, /* less is no change: scheduling noise on a LAN */
	METRIC_LOSS_FLOOR_PPM = 1000,  /* likewise */
	METRIC_UTILISATION_FLOOR_PERMILLE = 100, /* likewise */
	SIGN_RETRY_US = 1000 * 1000,             /* after a refused signature */
	SIGN_TIMEOUT_US = 5 * 1000 * 1000,       /* without an answer, it is asked for again */

	/* An update that was not acknowledged is sent again after RTO + 4 RTT, doubling to the maximum. */
	FLOOD_RTO_US = 200 * 1000,
	FLOOD_RTO_MAX_US = 5 * 1000 * 1000,
	FLOOD_FRAMES_PER_TURN = 16, /* update frames to one neighbour, then the others' turn */
	FLOOD_PACE_US = 5 * 1000,   /* and so much later the next ones */
	ACKS_MAX = 1024,            /* waiting for one neighbour; more are dropped: it sends again */

	DIGEST_IDS_MAX = 600,     /* summaries in one digest: fits one frame */
	SYNC_RTO_US = 250 * 1000, /* + 4 RTT, doubling to the maximum: a question is repeated */
	SYNC_RTO_MAX_US = 4 * 1000 * 1000,
	SYNC_BEGUN_US = 20 * 1000, /* a neighbour that begins: our question may have come too early for it */
	SYNC_NEED_TRIES = 5,       /* then what a digest promised is given up (counted) */
	SYNC_CHECK_TRIES = 3,      /* questions of a periodic comparison, until the next one */
	CHECK_INTERVAL_US = 30 * 1000 * 1000, /* a random neighbour's database is compared */

	/* LSAs with a bad signature from one neighbour before its updates are ignored for the rest of the
	 * window: verifying is the dearest thing that a neighbour can ask for. */
	FORGED_MAX = 8,
	FORGED_WINDOW_US = 60 * 1000 * 1000,

	/* The whole FIB is sent, and the own LSA made, when all neighbours' databases are here, at the
	 * latest after this: a restarted routerd must not replace a good FIB by an empty one, nor tell
	 * everybody that most links of this node are gone. */
	SETTLE_US = 2 * 1000 * 1000,
	/* When transportd is back its links follow: where others dial, after a pause that has doubled while
	 * it was away.  Until so long after, and as long again as it was away up to a maximum, it is no news
	 * of a node which was reachable that there is no path to it. */
	RETURN_US = 5 * 1000 * 1000,
	RETURN_AWAY_MAX_US = 30 * 1000 * 1000,
	SPF_BACKOFF_MAX_US = 250 * 1000, /* path computations that follow each other closely */
	RETRY_US = 100 * 1000,           /* after memory or the channel was out */

	PATH_HOPS_MAX = 17,  /* FRAME_VISIT_MAX and the first neighbour */
	ROUTE_PATHS_MAX = 8, /* to one destination for one class: as many as transportd takes */
	/* To destinations that no data is sent to: control traffic alone needs no more than a way out. */
	ROUTE_PATHS_IDLE = 2,
	DEMAND_MAX = 8192, /* destinations that data is sent to: as many as transportd keeps paths to */

	/* Alternatives are computed in slices of so many destinations times vertices times profiles: some 2
	 * ms (bench_routes), and one destination at least.  The next slice follows when the loop has taken
	 * breath where a path was lost; where there may only be a better one, after the pause. */
	PATHS_SLICE_WORK = 160 * 1000,
	PATHS_SLICE_FLOOR = 64, /* vertices: less is no less work */
	PATHS_BREATH_US = 100,
	PATHS_PAUSE_US = 10 * 1000,
	/* After the last computation, when links of others are gone; and so much for each node, which is
	 * about what a computation takes: half of the time is left for other work. */
	PATHS_LOST_WAIT_US = 2 * 1000,
	PATHS_LOST_NODE_US = 5,
	/* Links that got cheaper and are weighed one by one against the paths in use; if there are more, all
	 * destinations are looked at again. */
	PATHS_CHEAPER_MAX = 64,
	/* So much after a change all alternatives are looked at again: those that are chosen to be disjoint
	 * can depend on links that are neither in use nor cheap. */
	PATHS_SWEEP_US = 5 * 1000 * 1000,

	/* Damping of links that go down again and again, in the proportions of RFC 2439 section 4.2 and
	 * RFC 7196: the third time within a minute or so, for one to two minutes. */
	DAMP_LINKS_MAX = 256,
	DAMP_PENALTY = 1000,
	DAMP_SUPPRESS = 2500,
	DAMP_REUSE = 1000,
	DAMP_CEILING = 6000,
	DAMP_HALF_LIFE_US = 30 * 1000 * 1000,

	/* --- membership (swim.h) --- */
	/* A gossip payload is filled up to this; larger ones are fragments of push/pull and answers to it. */
	SWIM_PACKET_BYTES = 1400,
	SWIM_HEALTH_MAX = 8,        /* of the local health multiplier (Lifeguard, section IV.A) */
	SWIM_PROBES = 2,            /* at a time: one of all members, one of the neighbours */
	SWIM_HELPERS_MAX = 8,       /* members asked for one indirect probe */
	SWIM_CONFIRMERS_MAX = 8,    /* independent suspicions of one member that are told apart */
	SWIM_RELAYS_MAX = 64,       /* probes made for others at a time; more are answered by a nack */
	SWIM_TRAILS_MAX = 16,       /* probes whose late answers still tell a round trip time */
	SWIM_BROADCASTS_MAX = 8192, /* waiting; beyond, the one that was sent most often goes */
	SWIM_META_MAX_BYTES = 768,  /* what a member says about itself, encoded */
	SWIM_META_LINKS_MAX = 16,   /* links summarised in it: the best by round trip time */
	SWIM_EVENT_NAME_SIZE = 64,  /* 63 characters and NUL */
	SWIM_EVENT_MAX_BYTES = 512, /* payload of a user event */
	SWIM_EVENT_WINDOW = 512,    /* Lamport times in which duplicates are known; older ones are dropped */
	SWIM_EVENT_SLOT = 8,        /* different events of one Lamport time; more are dropped (counted) */
	SWIM_EVENTS_PENDING = 64,   /* waiting to be told in order; more: the oldest is told at once */
	SWIM_EVENTS_RECENT = 32,    /* kept for push/pull with members that missed them */
	SWIM_DIGEST_MAX = 600,      /* members in one digest: fits one frame */
	SWIM_SYNC_FRAMES = 16,      /* frames that answer one digest; the next push/pull goes on */
	SWIM_MEET_TRIES = 5,        /* push/pulls with a node that does not answer */
	SWIM_TALKS_MAX = 16,        /* push/pulls at a time */
	SWIM_TALK_US = 10 * 1000 * 1000, /* one lasts at most */
	SWIM_RTT_MAX_US =
	    2 * 1000 * 1000, /* an ack that took longer is no measurement: somebody stood still */
	SWIM_MEASURED_US = 300 * 1000 * 1000, /* measurements of a member are told at most so often */
	SWIM_SYNC_RETRY_US = 2 * 1000 * 1000, /* after a push/pull that found the tables different */
	/* A timer that fires so late means that this process stood still, and not that others did. */
	SWIM_STALL_US = 150 * 1000,
	SWIM_TELL_US = 500 * 1000, /* a suspect is told that it is one at most so often, beside probes */
	/* Statements about a member may be ahead of what is known by so many refutations: a forged one can
	 * not use up its incarnation numbers at once. */
	SWIM_JUMP_MAX = 4096,
	SWIM_CLOCK_JUMP_MAX = 1 << 20, /* likewise, Lamport times of user events */
};

#endif
