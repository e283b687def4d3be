/* peers: sealed messages between three consensusds, and relays that lose, double, change and forge them. */
#include "tests/unit/consensusd/env.h"

#include "common/base/be.h"
#include "consensusd/core/envelope.h"
#include "consensusd/limits.h"
#include "consensusd/peers.h"

static struct env_node *const a = &env.nodes[0], *const b = &env.nodes[1], *const c = &env.nodes[2];

/* What a node's handler has heard. */
static struct heard {
	unsigned count;
	uint64_t from;
	uint64_t sum; /* of the numbers in them */
	size_t len, bytes;
	bool spoilt;
} heard[ENV_NODES];

/* Frames that the network keeps for later, and what it does to others. */
static struct frame kept;
static uint8_t kept_bytes[FRAME_PAYLOAD_MAX_BYTES];
static unsigned seen, bad_byte, drop_from, keep_at;

/* Messages are a number and then bytes that follow from it. */
static void
fill(uint8_t *p, size_t len, uint64_t number)
{
	be_store64(p, number);
	for (size_t i = 8; i < len; i++)
		p[i] = (uint8_t)(number * 31 + i * 7);
}

static void
on_message(void *ctx, uint64_t node, const uint8_t *body, size_t len)
{
	struct heard *h = ctx;
	static uint8_t want[PEERS_MESSAGE_MAX_BYTES];

	h->count++;
	h->from = node;
	h->len = len;
	h->bytes += len;
	if (len >= 8) {
		h->sum += be_load64(body);
		fill(want, len, be_load64(body));
		h->spoilt |= memcmp(want, body, len) != 0;
	}
	env_touch(&env);
}

static int
setup(void **state)
{
	int err = env_setup(state);

	memset(heard, 0, sizeof(heard));
	seen = bad_byte = drop_from = keep_at = 0;
	kept.type = 0;
	for (size_t i = 0; i < ENV_NODES; i++) {
		struct engine *e = &env.nodes[i].engine;

		/* In place of who gets them otherwise, who is not to send any either. */
		engine_at_cancel(e, &e->bulletin->ask);
		peers_handle(e->peers, PEERS_NOTES, on_message, &heard[i]);
	}
	return err;
}

static int
say(struct env_node *from, struct env_node *to, enum peers_class class, uint64_t number, size_t len)
{
	static uint8_t body[PEERS_MESSAGE_MAX_BYTES + 1];
	struct iovec parts[2] = {{body, len / 3}, {body + len / 3, len - len / 3}};

	if (len >= 8)
		fill(body, len, number);
	return peers_send(from->engine.peers, to->engine.self, PEERS_NOTES, class, parts, 2);
}

static void
say_ok(struct env_node *from, struct env_node *to, enum peers_class class, uint64_t number, size_t len)
{
	assert_int_equal(say(from, to, class, number, len), 0);
}

static unsigned wanted;

static bool
b_heard(struct env *e)
{
	(void)e;
	return heard[1].count >= wanted;
}

static void
until_b_has(unsigned count)
{
	wanted = count;
	env_run(&env, b_heard);
	assert_int_equal(heard[1].count, count);
	assert_false(heard[1].spoilt);
}

static int64_t
value(const struct metric *m)
{
	return m->value;
}

/* --- what arrives --- */

static void
test_messages(void **state)
{
	(void)state;
	say_ok(a, b, PEERS_URGENT, 1, 100);
	say_ok(a, b, PEERS_URGENT, 2, 8);
	say_ok(a, b, PEERS_BULK, 4, 0);
	say_ok(a, b, PEERS_BULK, 8, 50000);
	say_ok(b, a, PEERS_BULK, 16, 30);
	until_b_has(4);
	assert_int_equal(heard[1].sum, 11);
	assert_true(heard[1].from == a->engine.self && heard[1].len == 50000);
	assert_int_equal(heard[2].count, 0);
	/* The largest. */
	say_ok(a, b, PEERS_BULK, 32, PEERS_MESSAGE_MAX_BYTES);
	until_b_has(5);
	assert_int_equal(heard[1].len, PEERS_MESSAGE_MAX_BYTES);
	assert_int_equal(heard[0].count, 1);
	assert_int_equal(value(&stats.peers_queued), 0);
}

static bool
count_frames(struct env *e, size_t from, struct frame *f)
{
	(void)e;
	(void)from;
	if (f->type != FRAME_CONTROL)
		return true;
	seen++;
	assert_int_equal(f->class, f->payload[1] == PEERS_URGENT ? FRAME_CLASS_CONTROL : FRAME_CLASS_SYSTEM);
	return true;
}

/* What one turn says to a node goes in one packet. */
static void
test_together(void **state)
{
	int64_t packets = value(&stats.peers_sent_packets), messages = value(&stats.peers_sent_messages);

	(void)state;
	env.filter = count_frames;
	for (uint64_t i = 0; i < 100; i++)
		say_ok(a, b, PEERS_URGENT, i, 100);
	until_b_has(100);
	assert_int_equal(value(&stats.peers_sent_packets) - packets, 1);
	assert_int_equal(value(&stats.peers_sent_messages) - messages, 100);
	assert_int_equal(seen, 1);
	/* And no more than fits well. */
	for (uint64_t i = 0; i < 100; i++)
		say_ok(a, b, PEERS_BULK, i, 10000);
	until_b_has(200);
	assert_in_range(value(&stats.peers_sent_packets) - packets, 1 + 8, 1 + 10);
}

static void
test_refused(void **state)
{
	static uint8_t body[8];
	struct iovec part = {body, sizeof(body)};
	struct env_node *none = b;

	(void)state;
	assert_int_equal(say(a, a, PEERS_BULK, 1, 8), ERR_RANGE);
	assert_int_equal(say(a, b, PEERS_BULK, 1, PEERS_MESSAGE_MAX_BYTES + 1), ERR_LIMIT);
	assert_int_equal(say(a, b, PEERS_URGENT, 1, PEERS_URGENT_MAX_BYTES + 1), ERR_LIMIT);
	assert_int_equal(
	    peers_send(a->engine.peers, none->engine.self ^ 1, PEERS_NOTES, PEERS_BULK, &part, 1), ERR_NOENT);
	nodes_find(&a->engine.nodes, b->engine.self)->has_key = false;
	assert_int_equal(say(a, b, PEERS_BULK, 1, 8), ERR_NOENT);
	nodes_find(&a->engine.nodes, b->engine.self)->has_key = true;
	say_ok(a, b, PEERS_URGENT, 1, PEERS_URGENT_MAX_BYTES);
	until_b_has(1);
}

static bool
a_heard(struct env *e)
{
	(void)e;
	return heard[0].count > 0;
}

/* Who is not in the directory is answered, but not spoken to before. */
static void
test_stranger(void **state)
{
	struct node *n = nodes_find(&b->engine.nodes, a->engine.self);

	(void)state;
	n->has_key = false;
	assert_int_equal(say(b, a, PEERS_BULK, 1, 8), ERR_NOENT);
	say_ok(a, b, PEERS_BULK, 1, 8);
	until_b_has(1);
	say_ok(b, a, PEERS_BULK, 1, 8);
	env_run(&env, a_heard);
	assert_false(n->has_key);
	n->has_key = true;
}

/* --- hold, overflow, transportd away --- */

static struct node *
b_of_a(void)
{
	return nodes_find(&a->engine.nodes, b->engine.self);
}

static void
hold_b(bool on)
{
	mesh_ipc_Hold h = mesh_ipc_Hold_init_zero;

	h.destination = b->engine.self;
	h.hold = on;
	env_send_pb(a->transport, CT_HOLD, 0, mesh_ipc_Hold_fields, &h);
}

static bool
b_is_held(struct env *e)
{
	(void)e;
	return b_of_a()->held;
}

static void
test_hold(void **state)
{
	(void)state;
	hold_b(true);
	env_run(&env, b_is_held);
	say_ok(a, b, PEERS_BULK, 1, 40000);
	say_ok(a, c, PEERS_BULK, 2, 40000);
	say_ok(a, b, PEERS_URGENT, 4, 100);
	until_b_has(1);
	assert_int_equal(heard[1].sum, 4);
	assert_in_range(value(&stats.peers_queued), 40000, 42000);
	hold_b(false);
	until_b_has(2);
	assert_int_equal(heard[1].sum, 5);
	assert_int_equal(heard[2].sum, 2);
	assert_int_equal(value(&stats.peers_queued), 0);
}

static void
test_overflow(void **state)
{
	unsigned sent = 0;
	int64_t refused = value(&stats.peers_refused);
	int err;

	(void)state;
	hold_b(true);
	env_run(&env, b_is_held);
	while ((err = say(a, b, PEERS_BULK, sent, PEERS_MESSAGE_MAX_BYTES / 2)) == 0)
		sent++;
	assert_int_equal(err, ERR_FULL);
	assert_int_equal(sent, 12);
	assert_int_equal(value(&stats.peers_refused) - refused, 1);
	hold_b(false);
	until_b_has(sent);
	/* Small ones count with what they cost. */
	hold_b(true);
	env_run(&env, b_is_held);
	for (sent = 0; (err = say(a, b, PEERS_BULK, sent, 0)) == 0;)
		sent++;
	assert_int_equal(err, ERR_FULL);
	assert_in_range(sent, 1000000, PEERS_OUT_MAX_BYTES / ENVELOPE_MESSAGE_BYTES);
}

static bool
a_is_alone(struct env *e)
{
	return !transport_up(e->nodes[0].engine.transport);
}

static bool
a_is_back(struct env *e)
{
	return !a_is_alone(e);
}

static void
test_away(void **state)
{
	int64_t lost = value(&stats.peers_lost);

	(void)state;
	hold_b(true);
	env_run(&env, b_is_held);
	say_ok(a, b, PEERS_BULK, 1, 40000);
	say_ok(a, b, PEERS_BULK, 2, 4000000);
	channel_free(a->transport);
	a->transport = NULL;
	env_run(&env, a_is_alone);
	assert_int_equal(value(&stats.peers_lost) - lost, 2);
	assert_int_equal(value(&stats.peers_queued), 0);
	assert_int_equal(say(a, b, PEERS_URGENT, 1, 8), ERR_UNAVAIL);
	env_connect_transport(a);
	env_run(&env, a_is_back);
	say_ok(a, b, PEERS_BULK, 4, 40000);
	until_b_has(1);
	assert_int_equal(heard[1].sum, 4);
}

/* --- what relays do --- */

static void
deliver_frame(struct env_node *to, struct frame *f)
{
	uint8_t mem[FRAME_MAX_BYTES];
	struct buf out;

	f->visit_count = 0;
	buf_init_fixed(&out, mem, sizeof(mem));
	assert_int_equal(frame_encode(f, &out), 0);
	assert_int_equal(channel_send(to->transport, CT_FRAMES_IN, 0, buf_head(&out), buf_left(&out)), 0);
}

static bool
from_a(size_t from, const struct frame *f)
{
	return from == 0 && f->type == FRAME_CONTROL;
}

/* Each third frame is lost. */
static bool
lose(struct env *e, size_t from, struct frame *f)
{
	(void)e;
	return !from_a(from, f) || ++seen % 3 != 0;
}

enum { LAST = 1 << 20 };

static bool
all_went(struct env *e)
{
	(void)e;
	return seen >= 20 * 9;
}

static bool
last_came(struct env *e)
{
	(void)e;
	return heard[1].sum >= LAST;
}

static void
test_loss(void **state)
{
	(void)state;
	env.filter = lose;
	for (uint64_t i = 0; i < 20; i++)
		say_ok(a, b, PEERS_BULK, 1, PEERS_PACKET_BYTES);
	env_run(&env, all_went);
	env.filter = NULL;
	say_ok(a, b, PEERS_BULK, LAST, 100);
	env_run(&env, last_came);
	/* None of the large ones came. */
	assert_int_equal(heard[1].bytes, 100);
	assert_true(value(&stats.peers_incomplete) > 0);
}

/* All frames come twice, and in pairs the wrong way round. */
static bool
shuffle(struct env *e, size_t from, struct frame *f)
{
	struct frame now = *f;

	if (!from_a(from, f))
		return true;
	deliver_frame(&e->nodes[1], &now);
	if (kept.type != 0) {
		deliver_frame(&e->nodes[1], &kept);
		kept.type = 0;
		return true;
	}
	kept = *f;
	memcpy(kept_bytes, f->payload, f->payload_len);
	kept.payload = kept_bytes;
	return false;
}

static void
test_shuffled(void **state)
{
	(void)state;
	env.filter = shuffle;
	for (uint64_t i = 1; i <= 3; i++)
		say_ok(a, b, PEERS_BULK, i, 3 * PEERS_PACKET_BYTES + 5);
	until_b_has(3);
	assert_int_equal(heard[1].sum, 6);
}

/* One byte of the first frame is not what it was. */
static bool
spoil(struct env *e, size_t from, struct frame *f)
{
	static uint8_t bad[FRAME_PAYLOAD_MAX_BYTES];

	(void)e;
	if (!from_a(from, f) || seen++ > 0)
		return true;
	memcpy(bad, f->payload, f->payload_len);
	assert_true(bad_byte < f->payload_len);
	bad[bad_byte] ^= 0x20;
	f->payload = bad;
	return true;
}

static int64_t
rejected(void)
{
	return value(&stats.peers_malformed) + value(&stats.peers_wrong_key) + value(&stats.peers_unsealed);
}

static int64_t rejected_before;

static bool
one_more_rejected(struct env *e)
{
	(void)e;
	return rejected() == rejected_before + 1;
}

/* Whichever byte of a packet is changed, nobody hears of it.  (The packet's number, which nothing depends
 * on, is not protected.) */
static void
test_tampering(void **state)
{
	enum { LEN = ENVELOPE_FRAGMENT_BYTES + 32 + 24 + ENVELOPE_MESSAGE_BYTES + 20 + 16 };

	(void)state;
	env.filter = spoil;
	for (bad_byte = 0; bad_byte < LEN; bad_byte++) {
		if (bad_byte == 2)
			bad_byte = 10;
		if (bad_byte == 12)
			continue; /* count of fragments: it waits for the others */
		seen = 0;
		rejected_before = rejected();
		say_ok(a, b, PEERS_URGENT, 1, 20);
		if (bad_byte == 13)
			continue;
		env_run(&env, one_more_rejected);
	}
	assert_int_equal(heard[1].count, 0);
	assert_true(value(&stats.peers_wrong_key) >= 32 && value(&stats.peers_unsealed) >= 60);
	assert_true(value(&stats.peers_malformed) >= 3);
}

/* Frames of a to b are heard by all, changed by what keep_at says. */
static bool
misdirect(struct env *e, size_t from, struct frame *f)
{
	struct frame x = *f;

	if (!from_a(from, f))
		return true;
	switch (keep_at) {
	case 0: /* to another node */
		deliver_frame(&e->nodes[2], &x);
		break;
	case 1: /* in another's name */
		x.src = e->nodes[2].engine.self;
		deliver_frame(&e->nodes[1], &x);
		break;
	case 2: /* back to its source, in the name of its destination */
		x.src = e->nodes[1].engine.self;
		deliver_frame(&e->nodes[0], &x);
		break;
	case 3: /* with another importance */
		x.class = x.class == FRAME_CLASS_CONTROL ? FRAME_CLASS_SYSTEM : FRAME_CLASS_CONTROL;
		deliver_frame(&e->nodes[1], &x);
		break;
	default: /* as it was: whoever listens for it has to bear that */
		deliver_frame(&e->nodes[1], &x);
		break;
	}
	return false;
}

static void
test_misdirected(void **state)
{
	(void)state;
	env.filter = misdirect;
	for (keep_at = 0; keep_at < 4; keep_at++) {
		rejected_before = rejected();
		say_ok(a, b, PEERS_URGENT, 1, 20);
		env_run(&env, one_more_rejected);
	}
	for (size_t i = 0; i < ENV_NODES; i++)
		assert_int_equal(heard[i].count, 0);
	say_ok(a, b, PEERS_URGENT, 1, 20);
	until_b_has(1);
}

/* A frame with bytes of our own choice, from a to b. */
static void
forge(uint8_t class, const void *payload, size_t len, const char *e2e)
{
	struct frame f = {
	    .type = FRAME_CONTROL,
	    .class = class,
	    .ttl = 3,
	    .src = a->engine.self,
	    .e2e = (const uint8_t *)e2e,
	    .e2e_len = (uint16_t)strlen(e2e),
	    .payload = payload,
	    .payload_len = (uint32_t)len,
	};

	rejected_before = rejected();
	deliver_frame(b, &f);
	env_run(&env, one_more_rejected);
}

static void
test_forged(void **state)
{
	uint8_t p[ENVELOPE_FRAGMENT_BYTES + 100] = {[0] = ENVELOPE_VERSION, [13] = 1};

	(void)state;
	forge(FRAME_CLASS_CONTROL, p, 0, "");
	forge(FRAME_CLASS_CONTROL, p, 20, "");        /* not sealed */
	forge(FRAME_CLASS_CONTROL, p, sizeof(p), ""); /* no key */
	forge(FRAME_CLASS_CLIENT, p, sizeof(p), "");
	forge(FRAME_CLASS_CONTROL, p, sizeof(p), "header");
	p[1] = PEERS_CLASSES;
	forge(FRAME_CLASS_CONTROL, p, sizeof(p), "");
	p[1] = PEERS_BULK;
	forge(FRAME_CLASS_SYSTEM, p, sizeof(p), "");
	assert_int_equal(heard[1].count, 0);
}

static bool
unknown_is_counted(struct env *e)
{
	(void)e;
	return value(&stats.peers_unknown) > 0;
}

/* What one side does not know yet does not keep the rest from it. */
static void
test_unknown_kind(void **state)
{
	uint8_t body[8];
	struct iovec part = {body, sizeof(body)};

	(void)state;
	fill(body, sizeof(body), 1);
	peers_handle(b->engine.peers, PEERS_ANSWER, NULL, NULL);
	assert_int_equal(
	    peers_send(a->engine.peers, b->engine.self, PEERS_ANSWER, PEERS_URGENT, &part, 1), 0);
	say_ok(a, b, PEERS_URGENT, 2, 20);
	until_b_has(1);
	env_run(&env, unknown_is_counted);
}

/* --- memory --- */

static void
test_failing_memory(void **state)
{
	struct engine *e = &a->engine;
	unsigned sent = 0;

	(void)state;
	say_ok(a, b, PEERS_BULK, 0, 8); /* so that nothing else is made for the first time */
	until_b_has(1);
	for (unsigned long k = 1; k <= 8; k++) {
		int err;

		mem_fail_at(k);
		err = say(a, b, PEERS_BULK, 1, 30000);
		mem_fail_at(0);
		assert_true(err == 0 || err == ERR_NOMEM);
		sent += err == 0;
		/* The second message goes with the first or without it. */
		say_ok(a, b, PEERS_BULK, 1, 8);
		until_b_has(1 + sent + (unsigned)k);
		assert_int_equal(value(&stats.peers_queued), 0);
	}
	assert_in_range(sent, 1, 7);
	for (unsigned long k = 1; k <= 6; k++) {
		struct peers *p;

		mem_fail_at(k);
		p = peers_new(e);
		mem_fail_at(0);
		peers_free(p);
	}
}

/* Memory that fails while a packet is read costs that packet. */
static void
test_failing_memory_in(void **state)
{
	uint8_t p[ENVELOPE_FRAGMENT_BYTES + 100] = {[0] = ENVELOPE_VERSION, [13] = 1};
	struct frame f = {.type = FRAME_CONTROL, .class = FRAME_CLASS_CONTROL, .src = a->engine.self};
	int64_t before = value(&stats.peers_no_memory);

	(void)state;
	f.payload = p;
	f.payload_len = sizeof(p);
	mem_fail_at(1);
	peers_on_frame(b->engine.peers, &f);
	mem_fail_at(0);
	assert_int_equal(value(&stats.peers_no_memory), before + 1);
	say_ok(a, b, PEERS_BULK, 1, 8);
	until_b_has(1);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, env_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_messages),
	    TEST(test_together),
	    TEST(test_refused),
	    TEST(test_stranger),
	    TEST(test_hold),
	    TEST(test_overflow),
	    TEST(test_away),
	    TEST(test_loss),
	    TEST(test_shuffled),
	    TEST(test_tampering),
	    TEST(test_misdirected),
	    TEST(test_forged),
	    TEST(test_unknown_kind),
	    TEST(test_failing_memory),
	    TEST(test_failing_memory_in),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
