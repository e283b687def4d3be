/*
 * wish: links between all nodes.
 *
 * Somebody asks one node.  Its LSA carries the wish, with its time, to all others; each of them tells its
 * transportd to dial every node that it has no link with and that has made known where it can be dialled.
 * A wish is followed once, and only while it is young: who joins later does not dig up old ones.
 */
#include <inttypes.h>

#include "common/base/err.h"
#include "common/os/clock.h"
#include "common/os/log.h"
#include "routerd/core/tlv.h"
#include "routerd/routerd.h"

/* One message per node to dial; an error ends it: transportd is away, or full. */
static int
dial_all(struct routerd *d)
{
	const struct router_identity *self = router_self(d->router);
	struct lsdb *db = router_lsdb(d->router);
	struct address_list list;
	unsigned count = 0;
	int err = 0;

	for (struct lsdb_entry *e = lsdb_from(db, 0); e != NULL && err == 0; e = lsdb_next(db, e)) {
		if (e->node == self->node || (e->lsa->flags & LSA_FLAG_LEFT) != 0 ||
		    router_linked(d->router, e->node) || count == ROUTERD_WISH_DIALS_MAX)
			continue;
		lsdb_addresses(e, &list);
		if (list.count == 0)
			continue;
		err = peer_transport_dial(d, e->node, &list);
		count++;
	}
	log_notice("full links are wished for: %u nodes without a link are dialled", count);
	return err;
}

int
wish_make(struct routerd *d)
{
	uint64_t now = clock_unix_ms();

	if (router_self(d->router) == NULL)
		return ERR_STATE;
	/* Two within a millisecond, or a clock that was set back: this one is newer all the same. */
	d->wish_unix_ms = now > d->wish_unix_ms ? now : d->wish_unix_ms + 1;
	router_wish(d->router, d->wish_unix_ms);
	engine_touch(d);
	return dial_all(d);
}

void
wish_seen(struct routerd *d, uint64_t node, uint64_t unix_ms)
{
	uint64_t now = clock_unix_ms();
	char id[NODEID_TEXT_SIZE];
	int err;

	/* One from the future would make all that follow look old. */
	if (unix_ms <= d->wish_unix_ms || router_self(d->router) == NULL ||
	    unix_ms + ROUTERD_WISH_AGE_MS < now || unix_ms > now + ROUTERD_WISH_AGE_MS)
		return;
	d->wish_unix_ms = unix_ms;
	nodeid_format(id, node);
	log_info("node %s was asked for full links", id);
	if ((err = dial_all(d)) != 0)
		log_warn(
		    "transportd could not be told whom to dial: %s; ask for full links again", err_text(err));
}
