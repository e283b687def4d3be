/*
 * topology: all links of the mesh for consensusd, which keeps them in the database.
 *
 * Some time after something has changed, not each time: the database keeps snapshots for people and for
 * what happened when, and no path depends on them.
 */
#include "common/base/err.h"
#include "common/os/channel.h"
#include "common/os/log.h"
#include "proto/ipc.pb.h"
#include "proto/messages.h"
#include "routerd/message.h"
#include "routerd/routerd.h"

enum { BATCH_MAX = sizeof(((mesh_ipc_MeshLinks *)0)->links) / sizeof(((mesh_ipc_MeshLinks *)0)->links[0]) };

static int
flush(struct channel *ch, mesh_ipc_MeshLinks *batch)
{
	int err = 0;

	if (batch->links_count != 0)
		err = message_send(ch, CR_LINKS, 0, mesh_ipc_MeshLinks_fields, batch);
	batch->links_count = 0;
	return err;
}

/* The links that a node lists. */
static int
send_links_of(struct routerd *d, struct channel *ch, const struct lsdb_entry *e, mesh_ipc_MeshLinks *batch)
{
	struct lsdb *db = router_lsdb(d->router);
	int err = 0;

	for (size_t i = 0; i < e->lsa->adj_count && err == 0; i++) {
		const struct lsa_adj *a = &e->lsa->adj[i];
		const struct lsdb_entry *back = lsdb_get(db, a->neighbour);

		batch->links[batch->links_count++] = (mesh_ipc_MeshLink){.from = e->node,
		    .to = a->neighbour,
		    .latency_us = a->latency_us,
		    .bandwidth_kbps = a->bandwidth_kbps,
		    .loss_ppm = a->loss_ppm,
		    .utilisation_permille = a->utilisation_permille,
		    .weight = a->weight,
		    .two_way = back != NULL && lsdb_adj(back, e->node) != NULL};
		if (batch->links_count == BATCH_MAX)
			err = flush(ch, batch);
	}
	return err;
}

static int
send_all(struct routerd *d, struct channel *ch)
{
	mesh_ipc_MeshLinks batch = mesh_ipc_MeshLinks_init_zero;
	struct lsdb *db = router_lsdb(d->router);
	int err = channel_send(ch, CR_LINKS_BEGIN, 0, NULL, 0);

	for (struct lsdb_entry *e = lsdb_from(db, 0); e != NULL && err == 0; e = lsdb_next(db, e))
		err = send_links_of(d, ch, e, &batch);
	if (err == 0)
		err = flush(ch, &batch);
	return err != 0 ? err : channel_send(ch, CR_LINKS_END, 0, NULL, 0);
}

static void
on_timer(void *arg)
{
	struct routerd *d = arg;
	int err;

	/* Without consensusd, or while it is slow, later; a connection that is new gets all anyway. */
	if (d->consensus == NULL || channel_full(d->consensus)) {
		loop_timer_arm_ms(d->topology_timer, ROUTERD_TOPOLOGY_MS);
		return;
	}
	d->topology_due = false;
	if ((err = send_all(d, d->consensus)) != 0)
		channel_close(d->consensus, err);
}

void
topology_changed(struct routerd *d)
{
	if (d->topology_due)
		return;
	d->topology_due = true;
	loop_timer_arm_ms(d->topology_timer, ROUTERD_TOPOLOGY_MS);
}

int
topology_init(struct routerd *d)
{
	d->topology_timer = loop_timer_new(d->loop, on_timer, d);
	return d->topology_timer != NULL ? 0 : ERR_NOMEM;
}

void
topology_fini(struct routerd *d)
{
	loop_timer_free(d->topology_timer);
	d->topology_timer = NULL;
}
