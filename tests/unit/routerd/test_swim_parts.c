/*
 * The parts of swim: messages, what members say of themselves, suspicion times, the queue of statements.
 */
#include <math.h>
#include <stdio.h>

#include "tests/unit/unit.h"

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "routerd/core/swim_broadcast.h"
#include "routerd/core/swim_meta.h"
#include "routerd/core/swim_meta_body.h"
#include "routerd/core/swim_msg.h"
#include "routerd/core/swim_suspicion.h"

static uint8_t entries[2 * SWIM_DIGEST_ENTRY_BYTES];
static const uint8_t bytes[] = {1, 2, 3};

/* One of each kind. */
static const struct swim_msg samples[] = {
    {.kind = SWIM_PING, .seq = 7, .node = 9},
    {.kind = SWIM_PING_REQ, .seq = 8, .node = 9},
    {.kind = SWIM_ACK, .seq = 9},
    {.kind = SWIM_NACK, .seq = 10},
    {.kind = SWIM_JOIN, .node = 5, .incarnation = 1ull << 32},
    {.kind = SWIM_ALIVE, .node = 5, .incarnation = 2ull << 32},
    {.kind = SWIM_SUSPECT, .node = 5, .incarnation = 3, .from = 4},
    {.kind = SWIM_CONFIRM, .node = 5, .incarnation = 3, .from = 4},
    {.kind = SWIM_LEAVE, .node = 5, .incarnation = 3},
    {.kind = SWIM_META, .node = 5, .version = 3, .data = bytes, .data_len = 3},
    {.kind = SWIM_USER_EVENT, .ltime = 5, .node = 1, .id = 2, .name = "e", .data = bytes, .data_len = 3},
    {.kind = SWIM_PUSH_PULL, .clock = 1, .count = 2, .sum = 3, .event_sum = 4},
    {.kind = SWIM_DIGEST, .flags = 1, .first = 1, .last = 99, .entry_count = 2, .entries = entries},
};

static size_t
encode_all(uint8_t *out, size_t cap)
{
	struct buf b;

	swim_digest_store(entries, &(struct swim_digest_entry){3, 1, 2, 0});
	swim_digest_store(entries + SWIM_DIGEST_ENTRY_BYTES, &(struct swim_digest_entry){9, 1, 2, 3});
	buf_init_fixed(&b, out, cap);
	assert_int_equal(swim_msg_begin(&b), 0);
	for (size_t i = 0; i < COUNT(samples); i++)
		assert_int_equal(swim_msg_put(&b, &samples[i]), 0);
	return buf_left(&b);
}

static int
decode_all(const uint8_t *data, size_t len, size_t *count)
{
	struct swim_msg m;
	struct buf in;
	int more;

	buf_view(&in, data, len);
	*count = 0;
	if ((more = swim_msg_open(&in)) != 0)
		return more;
	while ((more = swim_msg_next(&in, &m)) > 0)
		++*count;
	return more;
}

static void
test_messages_round_trip(void **state)
{
	uint8_t mem[2048], again[2048];
	struct buf in, out;
	struct swim_msg m;
	size_t len = encode_all(mem, sizeof(mem)), n = 0;

	(void)state;
	buf_view(&in, mem, len);
	buf_init_fixed(&out, again, sizeof(again));
	assert_int_equal(swim_msg_open(&in), 0);
	assert_int_equal(swim_msg_begin(&out), 0);
	while (swim_msg_next(&in, &m) > 0) {
		assert_int_equal(m.kind, samples[n].kind);
		assert_int_equal(swim_msg_put(&out, &m), 0);
		n++;
	}
	assert_int_equal(n, COUNT(samples));
	assert_int_equal(n, SWIM_KIND_COUNT - 1);
	assert_int_equal(buf_left(&out), len);
	assert_memory_equal(mem, again, len);
}

/* Cut anywhere but between messages, it is an error; flipped bits never crash. */
static void
test_messages_hostile(void **state)
{
	uint8_t mem[2048], bad[2048];
	size_t len = encode_all(mem, sizeof(mem)), count, whole = 0;

	(void)state;
	for (size_t cut = 0; cut < len; cut++)
		if (decode_all(mem, cut, &count) == 0)
			whole++;
	assert_int_equal(whole, COUNT(samples)); /* after each of them, the last one aside, and the head */
	for (size_t bit = 0; bit < 8 * len; bit++) {
		memcpy(bad, mem, len);
		bad[bit / 8] ^= (uint8_t)(1 << bit % 8);
		(void)decode_all(bad, len, &count);
	}
}

static void
test_messages_strict(void **state)
{
	const uint8_t version[] = {2}, unknown[] = {1, 200, 0, 1, 0, SWIM_ACK, 0, 4, 0, 0, 0, 1};
	const uint8_t longer[] = {1, SWIM_ACK, 0, 5, 0, 0, 0, 1, 0},
		      nobody[] = {1, SWIM_ALIVE, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
	struct swim_msg m = {.kind = SWIM_USER_EVENT, .ltime = 1, .node = 1, .name = "a b"};
	uint8_t mem[64];
	struct buf out;
	size_t count;

	(void)state;
	assert_int_equal(decode_all(version, sizeof(version), &count), ERR_VERSION);
	assert_int_equal(decode_all(NULL, 0, &count), ERR_SHORT);
	assert_int_equal(decode_all(unknown, sizeof(unknown), &count), 0);
	assert_int_equal(count, 1); /* the kind of a later version was skipped */
	assert_int_equal(decode_all(longer, sizeof(longer), &count), ERR_LEFTOVER);
	assert_int_equal(decode_all(nobody, sizeof(nobody), &count), ERR_FORMAT);
	buf_init_fixed(&out, mem, sizeof(mem));
	assert_int_equal(swim_msg_put(&out, &m), ERR_RANGE);
	m = (struct swim_msg){.kind = SWIM_META, .node = 1, .data_len = SWIM_META_MAX_BYTES + 1};
	assert_int_equal(swim_msg_put(&out, &m), ERR_RANGE);
	m = (struct swim_msg){.kind = SWIM_META, .node = 1, .data = mem, .data_len = 64};
	assert_int_equal(swim_msg_put(&out, &m), ERR_LIMIT);
	assert_int_equal(buf_left(&out), 0); /* nothing of it was written */
}

static bool
manual_has(const char *hex)
{
	static char text[1 << 18];
	FILE *f = fopen("man/mesh-wire.7", "r");
	size_t n = 0;
	int c;

	assert_non_null(f);
	while ((c = getc(f)) != EOF && n < sizeof(text) - 1)
		if (c != ' ' && c != '\t' && c != '\n')
			text[n++] = (char)c;
	fclose(f);
	text[n] = '\0';
	return strstr(text, hex) != NULL;
}

/* The example of mesh-wire(7). */
static void
test_vector(void **state)
{
	const struct swim_msg msgs[] = {
	    {.kind = SWIM_PING, .seq = 7, .node = 2},
	    {.kind = SWIM_SUSPECT, .node = 4, .incarnation = 1ull << 32, .from = 3},
	    {.kind = SWIM_ALIVE, .node = 3, .incarnation = (2ull << 32) + 1},
	};
	uint8_t mem[128];
	char hex[256];
	struct buf out;

	(void)state;
	buf_init_fixed(&out, mem, sizeof(mem));
	assert_int_equal(swim_msg_begin(&out), 0);
	for (size_t i = 0; i < COUNT(msgs); i++)
		assert_int_equal(swim_msg_put(&out, &msgs[i]), 0);
	for (size_t i = 0; i < buf_left(&out); i++)
		snprintf(hex + 2 * i, 3, "%02x", mem[i]);
	if (!manual_has(hex))
		fail_msg("man/mesh-wire.7 does not have %s", hex);
}

static void
test_meta(void **state)
{
	struct swim_meta m = {.name = "n", .region = "r", .software = "1.0", .load_permille = 5}, got;
	uint8_t mem[SWIM_META_MAX_BYTES + 1];
	struct swim_link_meta link = {1, 5000, 10};
	struct buf out;

	(void)state;
	assert_true(address_add(&m.addresses, "example.org:443"));
	m.capability_count = 1;
	strcpy(m.capabilities[0], "relay");
	for (unsigned i = 0; i < 20; i++) {
		link.peer = i + 1;
		link.rtt_us = 1000 * (20 - i);
		swim_meta_add_link(&m, &link);
	}
	assert_int_equal(m.link_count, SWIM_META_LINKS_MAX);
	for (unsigned i = 0; i < m.link_count; i++)
		assert_true(m.links[i].rtt_us <= 16000); /* the best ones */
	buf_init_fixed(&out, mem, sizeof(mem));
	assert_int_equal(swim_meta_encode(&m, &out), 0);
	assert_int_equal(swim_meta_decode(mem, buf_left(&out), &got), 0);
	assert_memory_equal(&got, &m, sizeof(m));
	for (size_t cut = 0; cut < buf_left(&out); cut++)
		assert_int_not_equal(swim_meta_decode(mem, cut, &got), 0);
	assert_int_equal(swim_meta_decode(mem, sizeof(mem), &got), ERR_LIMIT);
	m.capabilities[0][0] = '\n';
	assert_int_equal(swim_meta_encode(&m, &out), ERR_RANGE);
}

/* What does not fit is left out, links first. */
static void
test_meta_full(void **state)
{
	struct swim_meta m = {.name = "n"}, got;
	uint8_t mem[SWIM_META_MAX_BYTES];
	char text[ADDRESS_SIZE];
	struct buf out;

	(void)state;
	memset(text, 'a', 200);
	memcpy(text + 200, ":443", 5);
	for (unsigned i = 0; i < ADDRESSES_MAX; i++)
		assert_true(address_add(&m.addresses, text));
	for (unsigned i = 0; i < SWIM_META_LINKS_MAX; i++)
		swim_meta_add_link(&m, &(struct swim_link_meta){i + 1, 1, 1});
	buf_init_fixed(&out, mem, sizeof(mem));
	assert_int_equal(swim_meta_encode(&m, &out), 0);
	assert_int_equal(swim_meta_decode(mem, buf_left(&out), &got), 0);
	assert_int_equal(got.addresses.count, 3);
	assert_true(got.link_count > 0 && got.link_count < SWIM_META_LINKS_MAX);
}

static void
test_logarithms(void **state)
{
	(void)state;
	for (size_t n = 1; n < 200000; n += 1 + n / 50) {
		double want = 1000 * log10((double)n);

		assert_true(fabs(swim_log10_permille(n) - want) <= 1.01);
		assert_int_equal(swim_log10_ceil(n), (int)ceil(log10((double)n + 1)));
	}
	assert_true(swim_log10_permille(SIZE_MAX) > 19000);
}

/* The formula of Lifeguard. */
static void
test_suspicion(void **state)
{
	struct swim_suspicion s;

	(void)state;
	for (unsigned k = 1; k <= SWIM_CONFIRMERS_MAX; k++) {
		swim_suspicion_init(&s, 1, k, 5000000, 30000000, (struct mono){1000});
		for (unsigned c = 0; c <= k; c++) {
			double want = 30e6 - log(c + 1.0) / log(k + 1.0) * 25e6;

			assert_true(fabs((double)(swim_suspicion_end(&s).us - 1000) - want) < 100);
			assert_false(swim_suspicion_add(&s, 1)); /* it said so already */
			assert_int_equal(swim_suspicion_add(&s, 2 + c), c < k);
		}
	}
	swim_suspicion_init(&s, 1, 0, 5000000, 30000000, (struct mono){0});
	assert_int_equal(swim_suspicion_end(&s).us, 5000000);
}

static uint8_t
first_of(struct swim_broadcasts *q)
{
	uint8_t mem[4] = {0};
	struct buf b;

	buf_init_fixed(&b, mem, sizeof(mem));
	swim_broadcasts_fill(q, &b, 4, 3);
	return mem[0];
}

static void
test_broadcasts(void **state)
{
	struct swim_broadcasts q;
	const uint8_t a[4] = {'a'}, b[4] = {'b'}, c[4] = {'c'};

	(void)state;
	swim_broadcasts_init(&q, 3);
	assert_int_equal(swim_broadcasts_put(&q, SWIM_TOPIC_META, 7, a, 4), 0);
	assert_int_equal(swim_broadcasts_put(&q, SWIM_TOPIC_NONE, 0, b, 4), 0);
	assert_int_equal(first_of(&q), 'b'); /* the newest */
	assert_int_equal(first_of(&q), 'a'); /* the one sent less */
	assert_int_equal(swim_broadcasts_put(&q, SWIM_TOPIC_META, 7, c, 4), 0);
	assert_int_equal(q.count, 2); /* in place of the older one */
	for (int i = 0; i < 5; i++)
		(void)first_of(&q);
	assert_int_equal(q.count, 0); /* each three times */
	assert_false(swim_broadcasts_have(&q, SWIM_TOPIC_META, 7));
	for (int i = 0; i < 5; i++)
		assert_int_equal(swim_broadcasts_put(&q, SWIM_TOPIC_NONE, 0, b, 4), 0);
	assert_int_equal(q.count, 3);
	assert_int_equal(q.dropped, 2);
	assert_int_equal(swim_broadcasts_put(&q, SWIM_TOPIC_META, 7, a, 4), 0);
	assert_true(swim_broadcasts_have(&q, SWIM_TOPIC_META, 7));
	swim_broadcasts_drop(&q, SWIM_TOPIC_META, 7);
	assert_false(swim_broadcasts_have(&q, SWIM_TOPIC_META, 7));
	/* Another node, and another topic, are other things. */
	swim_broadcasts_fini(&q);
	swim_broadcasts_init(&q, 4);
	assert_int_equal(swim_broadcasts_put(&q, SWIM_TOPIC_META, 7, a, 4), 0);
	assert_int_equal(swim_broadcasts_put(&q, SWIM_TOPIC_STATE, 7, b, 4), 0);
	assert_int_equal(swim_broadcasts_put(&q, SWIM_TOPIC_META, 8, c, 4), 0);
	assert_int_equal(q.count, 3);
	swim_broadcasts_drop(&q, SWIM_TOPIC_META, 7);
	assert_true(swim_broadcasts_have(&q, SWIM_TOPIC_STATE, 7));
	assert_true(swim_broadcasts_have(&q, SWIM_TOPIC_META, 8));
	mem_fail_at(1);
	assert_int_equal(swim_broadcasts_put(&q, SWIM_TOPIC_META, 7, a, 4), ERR_NOMEM);
	mem_fail_at(0);
	swim_broadcasts_fini(&q);
}

static void
test_meta_body_is_shared(void **state)
{
	struct swim_meta_body *a = swim_meta_body_new(5, (const uint8_t *)"what", 4), *b;

	(void)state;
	assert_non_null(a);
	b = swim_meta_body_ref(a);
	mem_fail_at(1);
	assert_int_equal(swim_meta_body_set_version(&b, 6), ERR_NOMEM);
	mem_fail_at(0);
	assert_ptr_equal(a, b);
	assert_true(a->version == 5);
	/* Who holds it alone gets another one; after that there is no need to. */
	assert_int_equal(swim_meta_body_set_version(&b, 6), 0);
	assert_true(a != b && a->refs == 1 && b->refs == 1);
	assert_true(a->version == 5 && b->version == 6);
	assert_memory_equal(b->data, "what", 4);
	mem_fail_at(1);
	assert_int_equal(swim_meta_body_set_version(&b, 7), 0);
	mem_fail_at(0);
	assert_true(b->version == 7);
	swim_meta_body_unref(a);
	swim_meta_body_unref(b);
	swim_meta_body_unref(NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_messages_round_trip),
	    cmocka_unit_test(test_messages_hostile),
	    cmocka_unit_test(test_messages_strict),
	    cmocka_unit_test(test_vector),
	    cmocka_unit_test(test_meta),
	    cmocka_unit_test(test_meta_full),
	    cmocka_unit_test(test_logarithms),
	    cmocka_unit_test(test_suspicion),
	    cmocka_unit_test(test_broadcasts),
	    cmocka_unit_test(test_meta_body_is_shared),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
