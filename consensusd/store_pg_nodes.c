/* store_pg_nodes: see store_pg_nodes.h. */
#include "consensusd/store_pg_nodes.h"

#include <postgresql/libpq-fe.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "consensusd/pg_array.h"
#include "consensusd/store_pg_params.h"

enum { HOST_MAX_BYTES = 256, TEXT_MAX_BYTES = 2200, SEQ_BITS = 32 };

/* --- rows --- */

static const char *
text_or_empty(const char *text)
{
	return text != NULL ? text : "";
}

int
store_node_copy(struct flush_node *out, const struct store_node *row, size_t *bytes)
{
	const char *texts[FLUSH_TEXTS] = {
	    [FLUSH_NAME] = row->name,
	    [FLUSH_STATUS] = row->status,
	    [FLUSH_REGION] = text_or_empty(row->region),
	    [FLUSH_VERSION] = text_or_empty(row->version),
	    [FLUSH_ADDRESSES] = text_or_empty(row->addresses),
	    [FLUSH_SERVICES] = text_or_empty(row->services),
	    [FLUSH_CAPABILITIES] = text_or_empty(row->capabilities),
	};
	size_t len = 0, at = 0;

	for (unsigned i = 0; i < FLUSH_TEXTS; i++)
		len += strlen(texts[i]) + 1;
	*out = (struct flush_node){.node_id = row->node_id,
	    .incarnation = row->incarnation,
	    .lsa_seq = row->lsa_seq,
	    .has_lists = row->addresses != NULL,
	    .texts = mem_calloc(1, len)};
	if (out->texts == NULL)
		return ERR_NOMEM;
	memcpy(out->pubkey, row->pubkey, sizeof(out->pubkey));
	memcpy(out->lsa_hash, row->lsa_hash, sizeof(out->lsa_hash));
	for (unsigned i = 0; i < FLUSH_TEXTS; i++) {
		size_t n = strlen(texts[i]) + 1;

		memcpy(out->texts + at, texts[i], n);
		at += n;
	}
	*bytes = sizeof(*out) + len;
	return 0;
}

void
store_node_free(struct flush_node *n)
{
	mem_free(n->texts);
}

static const char *
text_of(const struct flush_node *n, enum flush_text which)
{
	const char *p = n->texts;

	for (unsigned i = 0; i < (unsigned)which; i++)
		p += strlen(p) + 1;
	return p;
}

/* --- statements --- */

enum statement { STMT_NODE, STMT_TOPOLOGY, STMT_COUNT };

static const struct {
	const char *name, *sql;
} statements[STMT_COUNT] = {
    /* $13: the lists are told; if not, what was told before stays.  Parameters of lists are texts with
     * spaces.  The rows that are deleted are those that are there before this one comes. */
    [STMT_NODE] = {"node",
	"WITH n AS (INSERT INTO nodes (node_id, pubkey, name, status, incarnation, region_id, version,"
	" ip_address, port, meta) VALUES ($1::bigint, $2::bytea, $3::text, $4::text, $5::bigint,"
	" $8::text, $9::text, $14::text, $15::bigint, jsonb_strip_nulls(jsonb_build_object("
	"'addresses', to_jsonb(string_to_array(nullif($10::text, ''), ' ')),"
	" 'services', to_jsonb(string_to_array(nullif($11::text, ''), ' ')),"
	" 'capabilities', to_jsonb(string_to_array(nullif($12::text, ''), ' ')))))"
	" ON CONFLICT (node_id) DO UPDATE SET pubkey = EXCLUDED.pubkey, name = EXCLUDED.name,"
	" status = EXCLUDED.status, incarnation = EXCLUDED.incarnation, last_seen = now(),"
	" updated = now(),"
	" region_id = CASE WHEN $13::bigint = 0 THEN nodes.region_id ELSE EXCLUDED.region_id END,"
	" version = CASE WHEN $13 = 0 THEN nodes.version ELSE EXCLUDED.version END,"
	" ip_address = CASE WHEN $13 = 0 THEN nodes.ip_address ELSE EXCLUDED.ip_address END,"
	" port = CASE WHEN $13 = 0 THEN nodes.port ELSE EXCLUDED.port END,"
	" meta = CASE WHEN $13 = 0 THEN nodes.meta ELSE nodes.meta"
	" - '{addresses,services,capabilities}'::text[] || EXCLUDED.meta END),"
	" old AS (DELETE FROM lsa_versions v WHERE v.node_id = $1 AND $6::bigint <> 0 AND v.version <= ("
	"SELECT l.version FROM lsa_versions l WHERE l.node_id = $1 ORDER BY l.version DESC"
	" OFFSET 15 LIMIT 1))"
	" INSERT INTO lsa_versions (node_id, version, hash)"
	" SELECT $1, $6, $7::bytea WHERE $6 <> 0 ON CONFLICT DO NOTHING"},
    [STMT_TOPOLOGY] = {"topology",
	"WITH l AS MATERIALIZED (SELECT DISTINCT ON (a, b) node_text(a) || '-' || node_text(b) AS id, t.*"
	" FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[],"
	" $7::bigint[], $8::bigint[]) AS t(a, b, us, kbps, ppm, permille, weight, two_way)),"
	" gone AS (DELETE FROM links WHERE id NOT IN (SELECT id FROM l)),"
	" here AS (INSERT INTO links (id, a_node, b_node, latency_ms, bandwidth_mbps, loss, utilization,"
	" status, meta) SELECT id, a, b, us / 1e3, kbps / 1e3, ppm / 1e6, permille / 1e3,"
	" CASE WHEN two_way <> 0 THEN 'up' ELSE 'one-way' END, jsonb_build_object('weight', weight) FROM l"
	" ON CONFLICT (id) DO UPDATE SET latency_ms = EXCLUDED.latency_ms,"
	" bandwidth_mbps = EXCLUDED.bandwidth_mbps, loss = EXCLUDED.loss,"
	" utilization = EXCLUDED.utilization, status = EXCLUDED.status, meta = EXCLUDED.meta),"
	" old AS (DELETE FROM topology_snapshots WHERE version <= (SELECT max(version) - 63"
	" FROM topology_snapshots))"
	" INSERT INTO topology_snapshots (version, graph)"
	" SELECT (SELECT coalesce(max(version), 0) + 1 FROM topology_snapshots), jsonb_build_object("
	"'nodes', (SELECT coalesce(jsonb_agg(jsonb_build_object('id', node_text(node_id), 'name', name,"
	" 'status', status) ORDER BY node_id), '[]') FROM nodes),"
	" 'links', (SELECT coalesce(jsonb_agg(jsonb_build_object('from', node_text(a), 'to', node_text(b),"
	" 'latency_us', us, 'bandwidth_kbps', kbps, 'loss_ppm', ppm, 'utilization_permille', permille,"
	" 'weight', weight, 'two_way', two_way <> 0) ORDER BY id), '[]') FROM l))"},
};

_Static_assert(STORE_LSA_VERSIONS == 16 && STORE_SNAPSHOTS == 64, "as the statements have it");

int
store_nodes_prepare(struct pg_conn *pg)
{
	for (int i = 0; i < STMT_COUNT; i++)
		if (PQsendPrepare(pg, statements[i].name, statements[i].sql, 0, NULL) == 0)
			return ERR_CLOSED;
	return 0;
}

/* --- nodes --- */

/* The host and port of the first address. */
static uint64_t
split_address(const char *addresses, char host[HOST_MAX_BYTES])
{
	size_t len = strcspn(addresses, " ");
	const char *colon = memrchr(addresses, ':', len);

	host[0] = '\0';
	if (colon == NULL || (size_t)(colon - addresses) >= HOST_MAX_BYTES)
		return 0;
	memcpy(host, addresses, (size_t)(colon - addresses));
	host[colon - addresses] = '\0';
	return strtoul(colon + 1, NULL, 10);
}

/* Newer LSAs have higher versions, also after a restart of their node. */
static uint64_t
lsa_version(const struct flush_node *n)
{
	if (n->lsa_seq == 0)
		return 0;
	return (n->incarnation << SEQ_BITS | (n->lsa_seq & UINT32_MAX)) & INT64_MAX;
}

int
store_node_send(const struct flush_node *n, struct pg_conn *pg)
{
	char texts[FLUSH_TEXTS][TEXT_MAX_BYTES], host[HOST_MAX_BYTES];
	struct pg_params p = {0};
	uint64_t port;

	for (unsigned i = 0; i < FLUSH_TEXTS; i++)
		(void)pg_plain_text(text_of(n, (enum flush_text)i), texts[i], sizeof(texts[i]));
	port = split_address(texts[FLUSH_ADDRESSES], host);
	pg_params_int8(&p, n->node_id);
	pg_params_bytes(&p, n->pubkey, sizeof(n->pubkey));
	pg_params_text(&p, texts[FLUSH_NAME]);
	pg_params_text(&p, texts[FLUSH_STATUS]);
	pg_params_int8(&p, n->incarnation);
	pg_params_int8(&p, lsa_version(n));
	pg_params_bytes(&p, n->lsa_hash, sizeof(n->lsa_hash));
	pg_params_text(&p, texts[FLUSH_REGION]);
	pg_params_text(&p, texts[FLUSH_VERSION]);
	pg_params_text(&p, texts[FLUSH_ADDRESSES]);
	pg_params_text(&p, texts[FLUSH_SERVICES]);
	pg_params_text(&p, texts[FLUSH_CAPABILITIES]);
	pg_params_int8(&p, n->has_lists);
	pg_params_text(&p, host);
	pg_params_int8(&p, port);
	return pg_params_send(pg, statements[STMT_NODE].name, &p);
}

/* --- the topology, a column at a time --- */

enum column { COL_FROM, COL_TO, COL_US, COL_KBPS, COL_PPM, COL_PERMILLE, COL_WEIGHT, COL_BOTH, COL_COUNT };

static uint64_t
link_word(const struct store_link *l, enum column col)
{
	const uint64_t words[COL_COUNT] = {l->from, l->to, l->latency_us, l->bandwidth_kbps, l->loss_ppm,
	    l->utilisation_permille, l->weight, l->two_way};

	return words[col];
}

static int
put_column(struct buf *out, const struct store_link *links, size_t count, enum column col)
{
	int err = pg_array_begin(out, PG_INT8, (uint32_t)count);

	for (size_t i = 0; i < count && err == 0; i++)
		err = pg_array_put_int8(out, (int64_t)link_word(&links[i], col));
	return err;
}

int
store_topology_send(const struct store_link *links, size_t count, struct pg_conn *pg, struct buf *scratch)
{
	struct pg_params p = {0};
	size_t ends[COL_COUNT], at = 0;
	int err = 0;

	buf_reset(scratch);
	for (unsigned i = 0; i < COL_COUNT && err == 0; i++) {
		err = put_column(scratch, links, count, (enum column)i);
		ends[i] = buf_left(scratch);
	}
	if (err != 0)
		return err;
	for (unsigned i = 0; i < COL_COUNT; i++) {
		pg_params_bytes(&p, buf_head(scratch) + at, ends[i] - at);
		at = ends[i];
	}
	return pg_params_send(pg, statements[STMT_TOPOLOGY].name, &p);
}
