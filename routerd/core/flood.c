#include "routerd/core/flood.h"

#include "common/base/err.h"
#include "common/base/mem.h"
#include "routerd/core/linkstate.h"
#include "routerd/core/lsdb.h"

static int
item_compare(const struct flood_item *a, const struct flood_item *b)
{
	return a->node < b->node ? -1 : a->node > b->node;
}

RB_GENERATE_INTERNAL(flood_tree, flood_item, link, item_compare, __attribute__((unused)) static)

void
flood_init(struct flood *f)
{
	*f = (struct flood){.due = MONO_NEVER, .items_due = MONO_NEVER};
	RB_INIT(&f->tree);
	buf_init(&f->acks, ACKS_MAX * LINKSTATE_ID_BYTES);
}

static void
item_free(struct flood *f, struct flood_item *i)
{
	RB_REMOVE(flood_tree, &f->tree, i);
	f->count--;
	mem_free(i);
}

void
flood_fini(struct flood *f)
{
	struct flood_item *i;

	while ((i = RB_ROOT(&f->tree)) != NULL)
		item_free(f, i);
	buf_fini(&f->acks);
}

static struct flood_item *
find(struct flood *f, uint64_t node)
{
	struct flood_item key = {.node = node};

	return RB_FIND(flood_tree, &f->tree, &key);
}

int
flood_push(struct flood *f, uint64_t node, struct mono now)
{
	struct flood_item *i = find(f, node);

	if (i == NULL) {
		if ((i = mem_calloc(1, sizeof(*i))) == NULL)
			return ERR_NOMEM;
		i->node = node;
		RB_INSERT(flood_tree, &f->tree, i);
		f->count++;
	}
	i->due = now;
	i->rto_us = 0;
	f->items_due = mono_min(f->items_due, now);
	f->due = mono_min(f->due, now);
	return 0;
}

void
flood_has(struct flood *f, struct lsdb *db, const struct lsa_id *id)
{
	struct flood_item *i = find(f, id->node);
	const struct lsdb_entry *e;

	if (i == NULL)
		return;
	e = lsdb_get(db, id->node);
	if (e == NULL || lsa_compare(&e->lsa->id, id) <= 0)
		item_free(f, i);
}

int
flood_ack(struct flood *f, const struct lsa_id *id, struct mono now)
{
	uint8_t raw[LINKSTATE_ID_BYTES];
	int err;

	linkstate_put_id(raw, id);
	err = buf_put_bytes(&f->acks, raw, sizeof(raw));
	if (err == 0)
		f->due = mono_min(f->due, now);
	return err;
}

/* Sends one update and sets its timer. */
static void
write_item(struct flood_item *i, const struct lsdb_entry *e, struct linkstate_writer *w, int64_t rto_us,
    struct mono now, struct flood_written *written)
{
	linkstate_write_update(w, lsdb_age_ms(e, now), e->lsa->raw, e->lsa->raw_len);
	written->updates++;
	written->again += i->rto_us != 0;
	i->rto_us = i->rto_us != 0 ? 2 * i->rto_us : rto_us;
	if (i->rto_us > FLOOD_RTO_MAX_US)
		i->rto_us = FLOOD_RTO_MAX_US;
	i->due = mono_add_us(now, i->rto_us);
}

/* Writes the updates that are due, as many as one turn allows. */
static void
write_items(struct flood *f, struct lsdb *db, struct linkstate_writer *w, int64_t rto_us, struct mono now,
    struct flood_written *written)
{
	struct flood_item *i, *next;
	unsigned frames_max = w->frames + FLOOD_FRAMES_PER_TURN;

	f->items_due = MONO_NEVER;
	RB_FOREACH_SAFE (i, flood_tree, &f->tree, next) {
		if (!mono_before(now, i->due)) {
			const struct lsdb_entry *e = lsdb_get(db, i->node);

			if (e == NULL) { /* aged out meanwhile */
				item_free(f, i);
				continue;
			}
			if (w->frames >= frames_max)
				i->due = mono_add_us(now, FLOOD_PACE_US);
			else
				write_item(i, e, w, rto_us, now, written);
		}
		f->items_due = mono_min(f->items_due, i->due);
	}
}

struct flood_written
flood_write(struct flood *f, struct lsdb *db, struct linkstate_writer *w, int64_t rto_us, struct mono now)
{
	struct flood_written written = {0};

	if (mono_before(now, f->due))
		return written;
	linkstate_write_ack(w, buf_head(&f->acks), buf_left(&f->acks) / LINKSTATE_ID_BYTES);
	buf_reset(&f->acks);
	/* Acknowledgements alone must not cost a walk over all that is outstanding. */
	if (!mono_before(now, f->items_due))
		write_items(f, db, w, rto_us, now, &written);
	f->due = f->items_due;
	return written;
}
