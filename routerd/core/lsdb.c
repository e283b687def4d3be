#include "routerd/core/lsdb.h"

#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "routerd/core/tlv.h"

enum { CAP_FIRST = 16, CENTISECOND_US = 10000, ORIGIN_INTERVAL_CS = ORIGIN_INTERVAL_US / CENTISECOND_US };

_Static_assert(sizeof(struct lsdb_entry) == 32, "two in a cache line");
_Static_assert(ORIGIN_INTERVAL_CS *CENTISECOND_US == ORIGIN_INTERVAL_US, "it is some of them");

_Static_assert((int)PATH_HOPS_MAX <= UINT8_MAX, "hops fit");

/* The finaliser of splitmix64: every input bit reaches every output bit. */
static uint64_t
mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

static uint64_t
id_hash(const struct lsa_id *id)
{
	return mix(mix(mix(id->node) + id->incarnation) + id->seq);
}

void
lsdb_init(struct lsdb *db, size_t nodes_max, int64_t lifetime_us)
{
	*db = (struct lsdb){.nodes_max = nodes_max, .lifetime_us = lifetime_us, .expiry = MONO_NEVER};
}

/* Entries, tombstones among them. */
static size_t
used(const struct lsdb *db)
{
	return db->count + db->tombstones;
}

void
lsdb_fini(struct lsdb *db)
{
	for (size_t i = 0; i < used(db); i++)
		lsa_body_unref(db->entries[i].lsa);
	mem_free(db->entries);
	idset_fini(&db->evicted);
	lsdb_init(db, db->nodes_max, db->lifetime_us);
}

static int64_t
living_us(const struct lsdb *db, uint32_t seconds)
{
	return seconds != 0 ? (int64_t)seconds * 1000 * 1000 : db->lifetime_us;
}

int64_t
lsdb_lifetime_us(const struct lsdb *db, const struct lsa *l)
{
	return living_us(db, tlv_lifetime_s(l->tlv, l->tlv_len));
}

/* The index of the first at or after this node id. */
static size_t
place(const struct lsdb *db, uint64_t node)
{
	size_t lo = 0, hi = used(db);

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (db->entries[mid].node < node)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static struct lsdb_entry *
find(struct lsdb *db, uint64_t node)
{
	size_t i = place(db, node);

	return i < used(db) && db->entries[i].node == node ? &db->entries[i] : NULL;
}

/* The first from this index on that is no tombstone. */
static struct lsdb_entry *
first_from(struct lsdb *db, size_t i)
{
	for (; i < used(db); i++)
		if (!db->entries[i].tombstone)
			return &db->entries[i];
	return NULL;
}

struct lsdb_entry *
lsdb_get(struct lsdb *db, uint64_t node)
{
	struct lsdb_entry *e = find(db, node);

	return e != NULL && !e->tombstone ? e : NULL;
}

struct lsdb_entry *
lsdb_from(struct lsdb *db, uint64_t node)
{
	return first_from(db, place(db, node));
}

struct lsdb_entry *
lsdb_next(struct lsdb *db, struct lsdb_entry *e)
{
	return first_from(db, (size_t)(e - db->entries) + 1);
}

const struct lsa_adj *
lsdb_adj(const struct lsdb_entry *e, uint64_t neighbour)
{
	const struct lsa_adj *adj = e->lsa->adj;
	size_t lo = 0, hi = e->lsa->adj_count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (adj[mid].neighbour == neighbour)
			return &adj[mid];
		if (adj[mid].neighbour < neighbour)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

static const uint8_t *
body_tlv(const struct lsa_body *b)
{
	return b->raw + b->raw_len - LSA_SIG_BYTES - b->tlv_len;
}

void
lsdb_addresses(const struct lsdb_entry *e, struct address_list *out)
{
	tlv_addresses(body_tlv(e->lsa), e->lsa->tlv_len, out);
}

void
lsdb_services(const struct lsdb_entry *e, struct label_list *out)
{
	tlv_labels(body_tlv(e->lsa), e->lsa->tlv_len, TLV_SERVICES, out);
}

void
lsdb_capabilities(const struct lsdb_entry *e, struct label_list *out)
{
	tlv_labels(body_tlv(e->lsa), e->lsa->tlv_len, TLV_CAPABILITIES, out);
}

uint64_t
lsdb_wish(const struct lsdb_entry *e)
{
	return tlv_wish(body_tlv(e->lsa), e->lsa->tlv_len);
}

static uint32_t
centiseconds(struct mono t)
{
	return (uint32_t)(t.us / CENTISECOND_US);
}

/* A burst of LSAs, then one per interval, in one point in time (the GCRA of ATM): each LSA puts off the
 * moment at which the whole burst is there again. */
static bool
rate_ready(const struct lsdb_entry *e, struct mono now)
{
	return (int32_t)(e->earned_cs - centiseconds(now)) <= (ORIGIN_BURST - 1) * ORIGIN_INTERVAL_CS;
}

static void
rate_take(struct lsdb_entry *e, struct mono now)
{
	if (!rate_ready(e, now))
		return;
	if ((int32_t)(e->earned_cs - centiseconds(now)) < 0)
		e->earned_cs = centiseconds(now);
	e->earned_cs += ORIGIN_INTERVAL_CS;
}

/* May a node that is not here be added? */
static bool
has_room(const struct lsdb *db, uint64_t node)
{
	return db->count < db->nodes_max || node == db->self;
}

enum lsdb_verdict
lsdb_judge(struct lsdb *db, const struct lsa_id *id, int64_t lifetime_us, struct mono born, struct mono now)
{
	struct lsdb_entry *e = find(db, id->node);
	int order;

	if (id->node != db->self && idset_has(&db->evicted, id->node))
		return LSDB_EVICTED;
	order = e != NULL ? lsa_compare(id, &e->lsa->id) : 1;

	if (order < 0 || (order == 0 && e->tombstone))
		return LSDB_STALE;
	if (order == 0)
		return LSDB_SAME;
	if (!mono_before(now, mono_add_us(born, lifetime_us)))
		return LSDB_EXPIRED;
	if (e == NULL)
		return has_room(db, id->node) ? LSDB_NEWER : LSDB_FULL;
	return id->node == db->self || rate_ready(e, now) ? LSDB_NEWER : LSDB_LIMITED;
}

/* Makes room for a new node: tombstones go when all places are taken. */
static int
make_room(struct lsdb *db, uint64_t node)
{
	size_t kept = 0, cap = db->cap != 0 ? db->cap + db->cap / 2 : CAP_FIRST;
	struct lsdb_entry *entries;

	if (used(db) >= db->nodes_max) {
		for (size_t i = 0; i < used(db); i++)
			if (!db->entries[i].tombstone)
				db->entries[kept++] = db->entries[i];
			else
				lsa_body_unref(db->entries[i].lsa);
		db->tombstones = 0;
		if (!has_room(db, node))
			return ERR_FULL;
	}
	if (used(db) < db->cap)
		return 0;
	if ((entries = mem_reallocarray(db->entries, cap, sizeof(*entries))) == NULL)
		return ERR_NOMEM;
	db->entries = entries;
	db->cap = cap;
	return 0;
}

/* A tombstone without an LSA, to be filled at once.  There is room. */
static struct lsdb_entry *
entry_add(struct lsdb *db, uint64_t node, struct mono now)
{
	size_t i = place(db, node);
	struct lsdb_entry *e = &db->entries[i];

	memmove(e + 1, e, (used(db) - i) * sizeof(*e));
	*e = (struct lsdb_entry){.node = node, .earned_cs = centiseconds(now), .tombstone = true};
	db->tombstones++;
	return e;
}

static bool
same_topology(const struct lsdb_entry *e, const struct lsa_body *l)
{
	const struct lsa_body *b = e->lsa;

	return !e->tombstone && !e->dead && b->flags == l->flags && b->adj_count == l->adj_count &&
	       (l->adj_count == 0 || memcmp(b->adj, l->adj, l->adj_count * sizeof(l->adj[0])) == 0);
}

/* Does it lack a link that was there? */
static bool
lost_links(const struct lsdb_entry *e, const struct lsa_body *l)
{
	const struct lsa_body *b = e->lsa;
	size_t k = 0;

	if (e->tombstone)
		return false;
	if ((l->flags & ~b->flags & LSA_FLAG_LEFT) != 0)
		return true;
	for (size_t i = 0; i < b->adj_count; i++) {
		while (k < l->adj_count && l->adj[k].neighbour < b->adj[i].neighbour)
			k++;
		if (k == l->adj_count || l->adj[k].neighbour != b->adj[i].neighbour)
			return true;
	}
	return false;
}

/* It does not count any more. */
static void
entry_empty(struct lsdb *db, struct lsdb_entry *e)
{
	db->sum -= id_hash(&e->lsa->id);
	db->unsaid -= e->lsa->lifetime_s == 0;
	db->bytes -= e->lsa->raw_len;
	db->count--;
	db->tombstones++;
	e->tombstone = true;
}

/* e gets the LSA; its body is taken over. */
static void
entry_fill(struct lsdb *db, struct lsdb_entry *e, struct lsa_body *body)
{
	if (!e->tombstone) {
		entry_empty(db, e);
	} else {
		e->state = NODE_STATE_NEW;
		e->hops = 0;
	}
	lsa_body_unref(e->lsa);
	e->lsa = body;
	e->tombstone = false;
	e->dead = false;
	e->changed = true;
	db->tombstones--;
	db->count++;
	db->unsaid += body->lifetime_s == 0;
	db->bytes += body->raw_len;
	db->sum += id_hash(&body->id);
}

int
lsdb_put_body(struct lsdb *db, struct lsa_body *body, struct mono born, struct mono now,
    struct lsdb_entry **out, bool *topology)
{
	uint64_t node = body->id.node;
	struct lsdb_entry *e = find(db, node);
	int err;

	if (e == NULL && (err = make_room(db, node)) != 0)
		return err;
	if (e == NULL)
		e = entry_add(db, node, now);
	*topology = !same_topology(e, body);
	e->lost = lost_links(e, body);
	entry_fill(db, e, body);
	e->born = born;
	rate_take(e, now);
	db->expiry = mono_min(db->expiry, mono_add_us(born, living_us(db, body->lifetime_s)));
	*out = e;
	return 0;
}

int
lsdb_put(struct lsdb *db, const struct lsa *l, const uint8_t *raw, size_t raw_len, struct mono born,
    struct mono now, struct lsdb_entry **out, bool *topology)
{
	struct lsa_body *body = lsa_body_new(l, raw, raw_len);
	int err;

	if (body == NULL)
		return ERR_NOMEM;
	if ((err = lsdb_put_body(db, body, born, now, out, topology)) != 0)
		lsa_body_unref(body);
	return err;
}

/* A tombstone stays as long again as its LSA lived, but not for long: it is for what the ages of copies are
 * wrong by, and meanwhile a node that has lost its database and begins anew is refused. */
static struct mono
entry_end(const struct lsdb *db, const struct lsdb_entry *e)
{
	int64_t life_us = living_us(db, e->lsa->lifetime_s);
	int64_t rest_us = life_us < LSA_TOMBSTONE_MAX_US ? life_us : LSA_TOMBSTONE_MAX_US;

	if (e->node == db->self)
		return MONO_NEVER;
	return mono_add_us(e->born, life_us + (e->tombstone ? rest_us : 0));
}

void
lsdb_end(struct lsdb *db, struct lsdb_entry *e)
{
	entry_empty(db, e);
	db->expiry = mono_min(db->expiry, entry_end(db, e));
}

const char *
lsdb_last_name(struct lsdb *db, uint64_t node)
{
	const struct lsdb_entry *e = find(db, node);

	return e != NULL ? e->lsa->name : NULL;
}

/* Drops tombstones that end. */
static void
tombstones_end(struct lsdb *db, struct mono now)
{
	size_t kept = 0, all = used(db);

	db->expiry = MONO_NEVER;
	for (size_t i = 0; i < all; i++) {
		struct lsdb_entry *e = &db->entries[i];

		if (!mono_before(now, entry_end(db, e))) {
			lsa_body_unref(e->lsa);
			db->tombstones--;
			continue;
		}
		db->expiry = mono_min(db->expiry, entry_end(db, e));
		db->entries[kept++] = *e;
	}
}

void
lsdb_expire(struct lsdb *db, struct mono now, void (*fn)(void *arg, struct lsdb_entry *e), void *arg)
{
	if (mono_before(now, db->expiry))
		return;
	for (size_t i = 0; i < used(db); i++) {
		struct lsdb_entry *e = &db->entries[i];

		if (!e->tombstone && !mono_before(now, entry_end(db, e))) {
			fn(arg, e);
			entry_empty(db, e);
		}
	}
	tombstones_end(db, now);
}

uint32_t
lsdb_age_ms(const struct lsdb_entry *e, struct mono now)
{
	int64_t ms = mono_diff_us(now, e->born) / 1000;

	if (ms < 0)
		return 0;
	return ms > UINT32_MAX ? UINT32_MAX : (uint32_t)ms;
}
