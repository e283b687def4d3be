/* fresh: see fresh.h. */
#include "consensusd/fresh.h"

#include <string.h>

#include "common/base/be.h"
#include "common/os/clock.h"
#include "common/os/crypto.h"
#include "common/os/log.h"
#include "consensusd/engine.h"
#include "consensusd/limits.h"
#include "consensusd/store.h"

void
fresh_init(struct fresh *f)
{
	crypto_random(f->secret, sizeof(f->secret));
	f->floor_ms = 0;
}

void
fresh_closed(struct engine *e, const struct ulid *stream_id, uint64_t close_seq)
{
	static const struct ulid none;
	bool full = idcache_full(&e->closed);

	if (idcache_add(&e->closed, stream_id, &none, close_seq + 1) == 0 && !full)
		return;
	e->fresh.floor_ms = clock_unix_ms();
	log_debug("a closed stream is not remembered any more");
}

/* In the place of a message id: such a one is not drawn. */
static const struct ulid removed_id = {{0xff, 'r', 'e', 'm', 'o', 'v', 'e', 'd'}};

void
fresh_removed(struct engine *e, const struct ulid *stream_id, uint64_t revision)
{
	bool full = idcache_full(&e->closed);

	if (idcache_add(&e->closed, stream_id, &removed_id, revision > 0 ? revision : 1) == 0 && !full)
		return;
	e->fresh.floor_ms = clock_unix_ms();
	log_debug("that this node left a stream is not remembered any more");
}

uint64_t
fresh_removed_at(const struct engine *e, const struct ulid *stream_id)
{
	uint64_t revision;

	return idcache_find(&e->closed, stream_id, &removed_id, &revision) ? revision : 0;
}

/* --- challenges --- */

/* Good for this piece of time and the next. */
static void
nonce_of(const struct engine *e, const struct ulid *stream_id, uint64_t source, uint64_t period,
    uint8_t out[FRESH_NONCE_BYTES])
{
	uint8_t place[16], mac[CRYPTO_HASH_BYTES];

	_Static_assert((int)FRESH_NONCE_BYTES <= (int)CRYPTO_HASH_BYTES, "a part of it");
	be_store64(place, period);
	be_store64(place + 8, source);
	crypto_mac(
	    mac, e->fresh.secret, CRYPTO_CONTEXT_FRESH, place, sizeof(place), stream_id->b, ULID_BYTES);
	memcpy(out, mac, FRESH_NONCE_BYTES);
}

static uint64_t
period_now(void)
{
	return (uint64_t)clock_mono().us / ((uint64_t)FRESH_PERIOD_MS * 1000);
}

void
fresh_nonce(
    const struct engine *e, const struct ulid *stream_id, uint64_t source, uint8_t out[FRESH_NONCE_BYTES])
{
	nonce_of(e, stream_id, source, period_now(), out);
}

/* The tag was checked, and proves the tenant that the header names. */
static bool
proven(const struct engine *e, const mesh_e2e_Header *h, const struct store_stream *row)
{
	uint8_t nonce[FRESH_NONCE_BYTES];
	uint64_t now = period_now();

	if (h->nonce.size != FRESH_NONCE_BYTES || strcmp(h->tenant_id, row->tenant_id) != 0)
		return false;
	for (uint64_t back = 0; back < 2 && back <= now; back++) {
		nonce_of(e, &row->stream_id, row->src_node, now - back, nonce);
		if (crypto_equal(nonce, h->nonce.bytes, sizeof(nonce)))
			return true;
	}
	return false;
}

bool
fresh_is(const struct engine *e, const mesh_e2e_Header *h, const struct store_stream *row)
{
	uint64_t now = clock_unix_ms(), made = row->created_unix_ms;

	if (made > e->fresh.floor_ms && made <= now + FRESH_MS && now <= made + FRESH_MS)
		return true;
	return proven(e, h, row);
}
