#include "routerd/core/lsdb.h"

#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "routerd/core/tlv.h"

static int
entry_compare(const struct lsdb_entry *a, const struct lsdb_entry *b)
{
	return a->id.node < b->id.node ? -1 : a->id.node > b->id.node;
}

RB_GENERATE_INTERNAL(lsdb_tree, lsdb_entry, link, entry_compare, __attribute__((unused)) static)

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
	RB_INIT(&db->tree);
}

static void
entry_clear(struct lsdb_entry *e)
{
	mem_free(e->adj);
	mem_free(e->raw);
	e->adj = NULL;
	e->raw = NULL;
	e->adj_count = 0;
	e->raw_len = 0;
}

static void
entry_free(struct lsdb *db, struct lsdb_entry *e)
{
	RB_REMOVE(lsdb_tree, &db->tree, e);
	entry_clear(e);
	mem_free(e);
}

void
lsdb_fini(struct lsdb *db)
{
	struct lsdb_entry *e;

	while ((e = RB_ROOT(&db->tree)) != NULL)
		entry_free(db, e);
	lsdb_init(db, db->nodes_max, db->lifetime_us);
}

int64_t
lsdb_lifetime_us(const struct lsdb *db, const struct lsa *l)
{
	uint32_t seconds = tlv_lifetime_s(l->tlv, l->tlv_len);

	return seconds != 0 ? (int64_t)seconds * 1000 * 1000 : db->lifetime_us;
}

static struct lsdb_entry *
find(struct lsdb *db, uint64_t node)
{
	struct lsdb_entry key = {.id.node = node};

	return RB_FIND(lsdb_tree, &db->tree, &key);
}

static struct lsdb_entry *
skip_tombstones(struct lsdb_entry *e)
{
	while (e != NULL && e->tombstone)
		e = RB_NEXT(lsdb_tree, NULL, e);
	return e;
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
	struct lsdb_entry key = {.id.node = node};

	return skip_tombstones(RB_NFIND(lsdb_tree, &db->tree, &key));
}

struct lsdb_entry *
lsdb_next(struct lsdb *db, struct lsdb_entry *e)
{
	(void)db;
	return skip_tombstones(RB_NEXT(lsdb_tree, &db->tree, e));
}

const struct lsa_adj *
lsdb_adj(const struct lsdb_entry *e, uint64_t neighbour)
{
	size_t lo = 0, hi = e->adj_count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (e->adj[mid].neighbour == neighbour)
			return &e->adj[mid];
		if (e->adj[mid].neighbour < neighbour)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

static const uint8_t *
entry_tlv(const struct lsdb_entry *e)
{
	return e->raw + e->raw_len - LSA_SIG_BYTES - e->tlv_len;
}

void
lsdb_addresses(const struct lsdb_entry *e, struct address_list *out)
{
	tlv_addresses(entry_tlv(e), e->tlv_len, out);
}

void
lsdb_services(const struct lsdb_entry *e, struct label_list *out)
{
	tlv_labels(entry_tlv(e), e->tlv_len, TLV_SERVICES, out);
}

void
lsdb_capabilities(const struct lsdb_entry *e, struct label_list *out)
{
	tlv_labels(entry_tlv(e), e->tlv_len, TLV_CAPABILITIES, out);
}

uint64_t
lsdb_wish(const struct lsdb_entry *e)
{
	return tlv_wish(entry_tlv(e), e->tlv_len);
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
	int order = e != NULL ? lsa_compare(id, &e->id) : 1;

	if (order < 0 || (order == 0 && e->tombstone))
		return LSDB_STALE;
	if (order == 0)
		return LSDB_SAME;
	if (!mono_before(now, mono_add_us(born, lifetime_us)))
		return LSDB_EXPIRED;
	if (e == NULL)
		return has_room(db, id->node) ? LSDB_NEWER : LSDB_FULL;
	return id->node == db->self || bucket_ready(&e->rate, now) ? LSDB_NEWER : LSDB_LIMITED;
}

/* Makes room for a new node: tombstones go when all places are taken. */
static int
make_room(struct lsdb *db, uint64_t node)
{
	struct lsdb_entry *e, *next;

	if (db->count + db->tombstones < db->nodes_max)
		return 0;
	RB_FOREACH_SAFE (e, lsdb_tree, &db->tree, next)
		if (e->tombstone)
			entry_free(db, e);
	db->tombstones = 0;
	return has_room(db, node) ? 0 : ERR_FULL;
}

static struct lsdb_entry *
entry_new(struct lsdb *db, uint64_t node, struct mono now)
{
	struct lsdb_entry *e = mem_calloc(1, sizeof(*e));

	if (e == NULL)
		return NULL;
	e->id.node = node;
	bucket_init(&e->rate, ORIGIN_BURST, ORIGIN_INTERVAL_US, now);
	e->tombstone = true; /* until it is filled */
	RB_INSERT(lsdb_tree, &db->tree, e);
	db->tombstones++;
	return e;
}

static bool
same_topology(const struct lsdb_entry *e, const struct lsa *l)
{
	return !e->tombstone && !e->dead && e->flags == l->flags && e->adj_count == l->adj_count &&
	       (l->adj_count == 0 || memcmp(e->adj, l->adj, l->adj_count * sizeof(l->adj[0])) == 0);
}

/* Does it lack a link that was there? */
static bool
lost_links(const struct lsdb_entry *e, const struct lsa *l)
{
	size_t k = 0;

	if (e->tombstone)
		return false;
	if ((l->flags & ~e->flags & LSA_FLAG_LEFT) != 0)
		return true;
	for (size_t i = 0; i < e->adj_count; i++) {
		while (k < l->adj_count && l->adj[k].neighbour < e->adj[i].neighbour)
			k++;
		if (k == l->adj_count || l->adj[k].neighbour != e->adj[i].neighbour)
			return true;
	}
	return false;
}

/* e gets the LSA; adj and raw are taken over. */
static void
entry_fill(struct lsdb *db, struct lsdb_entry *e, const struct lsa *l, struct lsa_adj *adj, uint8_t *raw)
{
	if (e->tombstone) {
		db->tombstones--;
		db->count++;
		e->state = NODE_STATE_NEW;
		e->hops = 0;
	} else {
		db->sum -= id_hash(&e->id);
		db->bytes -= e->raw_len;
		db->unsaid -= e->unsaid;
	}
	entry_clear(e);
	e->tombstone = false;
	e->lifetime_us = lsdb_lifetime_us(db, l);
	e->unsaid = tlv_lifetime_s(l->tlv, l->tlv_len) == 0;
	db->unsaid += e->unsaid;
	e->dead = false;
	e->changed = true;
	e->id = l->id;
	e->flags = l->flags;
	e->adj = adj;
	e->adj_count = l->adj_count;
	e->raw = raw;
	e->tlv_len = l->tlv_len;
	memcpy(e->pubkey, l->pubkey, sizeof(e->pubkey));
	memcpy(e->name, l->name, sizeof(e->name));
	memcpy(e->region, l->region, sizeof(e->region));
	memcpy(e->software, l->software, sizeof(e->software));
}

int
lsdb_put(struct lsdb *db, const struct lsa *l, const uint8_t *raw, size_t raw_len, struct mono born,
    struct mono now, struct lsdb_entry **out, bool *topology)
{
	struct lsdb_entry *e = find(db, l->id.node);
	struct lsa_adj *adj = NULL;
	uint8_t *copy = NULL;
	int err = ERR_NOMEM;

	if (e == NULL && (err = make_room(db, l->id.node)) != 0)
		return err;
	adj = mem_dup(l->adj, l->adj_count * sizeof(l->adj[0]));
	copy = mem_dup(raw, raw_len);
	if (adj == NULL || copy == NULL || (e == NULL && (e = entry_new(db, l->id.node, now)) == NULL)) {
		mem_free(adj);
		mem_free(copy);
		return ERR_NOMEM;
	}
	*topology = !same_topology(e, l);
	e->lost = lost_links(e, l);
	entry_fill(db, e, l, adj, copy);
	e->raw_len = raw_len;
	e->born = born;
	bucket_take(&e->rate, now);
	db->bytes += raw_len;
	db->sum += id_hash(&e->id);
	db->expiry = mono_min(db->expiry, mono_add_us(born, e->lifetime_us));
	*out = e;
	return 0;
}

/* A tombstone stays as long again as its LSA lived, but not for long: it is for what the ages of copies are
 * wrong by, and meanwhile a node that has lost its database and begins anew is refused. */
static struct mono
entry_end(const struct lsdb *db, const struct lsdb_entry *e)
{
	int64_t rest_us = e->lifetime_us < LSA_TOMBSTONE_MAX_US ? e->lifetime_us : LSA_TOMBSTONE_MAX_US;

	if (e->id.node == db->self)
		return MONO_NEVER;
	return mono_add_us(e->born, e->lifetime_us + (e->tombstone ? rest_us : 0));
}

static void
entry_bury(struct lsdb *db, struct lsdb_entry *e)
{
	db->sum -= id_hash(&e->id);
	db->bytes -= e->raw_len;
	db->unsaid -= e->unsaid;
	db->count--;
	db->tombstones++;
	entry_clear(e);
	e->tombstone = true;
}

void
lsdb_expire(struct lsdb *db, struct mono now, void (*fn)(void *arg, struct lsdb_entry *e), void *arg)
{
	struct lsdb_entry *e, *next;

	if (mono_before(now, db->expiry))
		return;
	db->expiry = MONO_NEVER;
	RB_FOREACH_SAFE (e, lsdb_tree, &db->tree, next) {
		if (!e->tombstone && !mono_before(now, entry_end(db, e))) {
			fn(arg, e);
			entry_bury(db, e);
		}
		if (mono_before(now, entry_end(db, e))) {
			db->expiry = mono_min(db->expiry, entry_end(db, e));
		} else {
			entry_free(db, e);
			db->tombstones--;
		}
	}
}

uint32_t
lsdb_age_ms(const struct lsdb_entry *e, struct mono now)
{
	int64_t ms = mono_diff_us(now, e->born) / 1000;

	if (ms < 0)
		return 0;
	return ms > UINT32_MAX ? UINT32_MAX : (uint32_t)ms;
}
