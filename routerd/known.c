/*
 * known: nodes that were seen before the last restart, for a node that has nobody.
 *
 * A node that was in the mesh once needs no seed: when it has had no link for a while, it dials some of
 * the nodes that it knows, at random, again and again; of those of the link-state database as well, since
 * it may have lost its links long after its start.
 */
#include <stdio.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/os/crypto.h"
#include "common/os/log.h"
#include "routerd/routerd.h"

enum { KNOWN_MAX = 64, DIALS = 3 /* at a time */ };

struct known_node {
	uint64_t id;
	struct address_list addresses;
};

struct known {
	struct known_node nodes[KNOWN_MAX];
	size_t count;
	struct rng rng;
};

static struct known_node *
slot(struct known *k, uint64_t node)
{
	for (size_t i = 0; i < k->count; i++)
		if (k->nodes[i].id == node)
			return &k->nodes[i];
	if (k->count < KNOWN_MAX)
		return &k->nodes[k->count++];
	return &k->nodes[rng_below(&k->rng, KNOWN_MAX)];
}

static void
put(struct known *k, uint64_t node, const struct address_list *list)
{
	struct known_node *n;

	if (list->count == 0)
		return;
	n = slot(k, node);
	n->id = node;
	n->addresses = *list;
}

void
known_add(struct routerd *d, uint64_t node, const char *addresses)
{
	struct address_list list = {0};
	char text[ADDRESS_SIZE];

	while (*addresses != '\0') {
		size_t len = strcspn(addresses, " ");

		if (len < sizeof(text)) {
			memcpy(text, addresses, len);
			text[len] = '\0';
			(void)address_add(&list, text);
		}
		addresses += len + (addresses[len] == ' ');
	}
	put(d->known, node, &list);
}

/* What the database knows is newer than what was known before. */
static void
refresh(struct routerd *d)
{
	struct lsdb *db = router_lsdb(d->router);
	const struct router_identity *self = router_self(d->router);
	struct address_list list;

	for (struct lsdb_entry *e = lsdb_from(db, 0); e != NULL; e = lsdb_next(db, e)) {
		if (self == NULL || e->node == self->node)
			continue;
		lsdb_addresses(e, &list);
		put(d->known, e->node, &list);
	}
}

static void
dial_some(struct routerd *d)
{
	struct known *k = d->known;
	unsigned dials = 0;
	size_t first = rng_below(&k->rng, (uint32_t)k->count);

	for (size_t i = 0; i < k->count && dials < DIALS; i++) {
		const struct known_node *n = &k->nodes[(first + i) % k->count];
		char id[NODEID_TEXT_SIZE];
		struct log_ctx ctx = {.peer = id};

		nodeid_format(id, n->id);
		if (peer_transport_dial(d, n->id, &n->addresses) != 0)
			return;
		log_at(LOG_NOTICE, &ctx, "no link is up: dialling a node that was known before");
		dials++;
	}
}

static void
on_timer(void *arg)
{
	struct routerd *d = arg;
	struct router_summary sum;

	router_show(d->router, &sum);
	loop_timer_arm_ms(d->known_timer, sum.links == 0 ? ROUTERD_ALONE_MS : ROUTERD_KNOWN_MS);
	if (sum.links != 0) {
		refresh(d);
		d->alone = 0;
		return;
	}
	/* What mesh.conf names is tried first. */
	if (!sum.transport || router_self(d->router) == NULL || d->known->count == 0 || d->alone++ == 0)
		return;
	dial_some(d);
}

int
known_init(struct routerd *d)
{
	uint64_t seed;

	d->known = mem_calloc(1, sizeof(*d->known));
	d->known_timer = loop_timer_new(d->loop, on_timer, d);
	if (d->known == NULL || d->known_timer == NULL)
		return ERR_NOMEM;
	crypto_random(&seed, sizeof(seed));
	rng_seed(&d->known->rng, seed);
	loop_timer_arm_ms(d->known_timer, ROUTERD_ALONE_MS);
	return 0;
}

void
known_fini(struct routerd *d)
{
	loop_timer_free(d->known_timer);
	mem_free(d->known);
	d->known_timer = NULL;
	d->known = NULL;
}
