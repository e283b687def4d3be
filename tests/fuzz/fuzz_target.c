/*
 * A target fed with fragments, acks and stores in any order: whatever a source sends, memory stays bounded,
 * marks stay in order, and each message is given to the store once.
 *
 * The input is a list of steps: an operation byte and two argument bytes.
 */
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "common/base/be.h"
#include "common/base/err.h"
#include "consensusd/core/budget.h"
#include "consensusd/core/target.h"

enum { PIECE = 64, WINDOW = 16384 };

static const struct target_conf conf = {
    .window_bytes = WINDOW, .backlog_bytes = 2 * WINDOW, .reassembly_us = 5000};

/* Batch n of size class k: 1 to 4 messages; batches overlap as the input will have it. */
static size_t
body_make(uint8_t *body, uint8_t n, uint8_t k, uint32_t *count)
{
	size_t at = 0;

	*count = 1 + k % 4;
	for (uint32_t i = 0; i < *count; i++) {
		uint32_t len = (uint32_t)(k * 7 + n) % 300;

		memset(body + at, n, ULID_BYTES);
		be_store32(body + at + ULID_BYTES, len);
		memset(body + at + BATCH_RECORD_HDR_BYTES, k, len);
		at += BATCH_RECORD_HDR_BYTES + len;
	}
	return at;
}

static void
fragment(struct target *t, uint8_t a, uint8_t b)
{
	static uint8_t body[4 * 400], key_id[8], nonce[24], signature[64];
	uint8_t n = a >> 3, k = b >> 3;
	struct fragment f = {.first_seq = n, .epoch = 1, .key_id = key_id, .nonce = nonce};
	struct batch *whole;
	size_t len = body_make(body, n, k, &f.count), left;
	int err;

	f.batch_bytes = (uint32_t)len;
	f.total = (uint32_t)((len + PIECE - 1) / PIECE);
	f.index = (uint32_t)(a & 7) * 4 + (b & 7);
	f.offset = (size_t)f.index * PIECE;
	left = f.offset < len ? len - f.offset : 0;
	f.payload = body + (left > 0 ? f.offset : 0);
	f.payload_len = left < PIECE ? left : PIECE;
	f.signature = f.index == 0 ? signature : NULL;
	err = target_fragment(t, &f, MONO_ZERO, &whole);
	FUZZ_CHECK(err == 0 || err == ERR_FORMAT);
	if (whole == NULL)
		return;
	FUZZ_CHECK(batch_check(whole) == (whole->first_seq == 0 ? ERR_FORMAT : 0));
	if (whole->first_seq == 0)
		batch_unref(whole);
	else
		(void)!target_complete(t, whole, MONO_ZERO);
}

static void
step(struct target *t, const uint8_t *p)
{
	struct batch_record rec;
	struct target_ack ack;
	const struct mono now = {(int64_t)p[2] * 100};
	uint64_t first, last, expected = t->expected_seq;

	switch (p[0] % 8) {
	case 0:
		if (target_next(t) != NULL) {
			FUZZ_CHECK(target_next(t)->first_seq == expected);
			if (target_take(t, now) == 0)
				FUZZ_CHECK(t->expected_seq > expected);
			while (p[1] % 2 == 0 && target_due(t, now) != NULL)
				target_kept(t);
		}
		break;
	case 1:
		target_stored(t, t->kept_seq, MONO_ZERO);
		break;
	case 2:
		if (target_deliver(t, &rec) == CURSOR_READ)
			cursor_read(&t->cursor, NULL);
		break;
	case 3:
		FUZZ_CHECK((target_ack(t, p[1]) == 0) == (p[1] <= t->delivered_seq));
		break;
	case 4:
		if (target_put_processed(t, UINT64_MAX, &first, &last)) {
			FUZZ_CHECK(first <= last && last < t->expected_seq);
			target_processed(t, last);
		}
		break;
	case 5:
		target_resume(t, p[1]);
		break;
	case 6:
		(void)target_expire(t, now);
		FUZZ_CHECK(mono_before(now, target_expiry(t)));
		break;
	default:
		fragment(t, p[1], p[2]);
	}
	target_ack_fill(t, &ack);
	FUZZ_CHECK(ack.processed <= ack.stored && ack.stored < t->expected_seq);
	FUZZ_CHECK(ack.range_count % 2 == 0 && ack.range_count <= 2 * TARGET_RANGES_MAX);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct ulid id;
	static const uint8_t key[32];
	struct budget budget = {.max_bytes = 1 << 20};
	struct target *t = target_new(&id, "t", 1, key, &conf, &budget);

	if (t == NULL)
		return 0;
	t->early = size % 2 == 1;
	target_attend(t, size % 4 != 3);
	for (; size >= 3; data += 3, size -= 3) {
		step(t, data);
		FUZZ_CHECK(t->processed_seq <= t->put_seq && t->put_seq <= t->acked_seq);
		FUZZ_CHECK(t->acked_seq <= t->delivered_seq && t->delivered_seq < t->expected_seq);
		FUZZ_CHECK(t->early || t->delivered_seq <= t->stored_seq);
		FUZZ_CHECK(t->processed_seq <= t->stored_seq && t->stored_seq < t->expected_seq);
		FUZZ_CHECK(t->kept_seq < t->expected_seq);
		FUZZ_CHECK(budget.used_bytes <= 8 * WINDOW);
	}
	target_free(t);
	FUZZ_CHECK(budget.used_bytes == 0);
	return 0;
}
