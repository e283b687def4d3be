/* The test vectors of mesh-wire(7): computed here, and looked up in the manual. */
#include <stdio.h>
#include <stdlib.h>

#include "common/base/be.h"
#include "common/base/buf.h"
#include "common/base/frame.h"
#include "common/base/id.h"
#include "common/os/crypto.h"
#include "tests/unit/unit.h"
#include "transportd/core/credit.h"
#include "transportd/core/forward.h"
#include "transportd/core/goaway.h"
#include "transportd/core/heartbeat.h"
#include "transportd/core/hello.h"
#include "transportd/core/lanes.h"
#include "transportd/core/limits.h"
#include "transportd/core/path_feedback.h"
#include "transportd/core/probe.h"

static char *manual; /* its hex digits and words, without white space */
static size_t manual_len;

static int
load_manual(void **state)
{
	FILE *f = fopen("man/mesh-wire.7", "r");
	int c;

	(void)state;
	manual = calloc(1, 1 << 20);
	if (f == NULL || manual == NULL)
		return -1;
	while ((c = getc(f)) != EOF && manual_len < (1 << 20) - 1)
		if (c != ' ' && c != '\t' && c != '\n')
			manual[manual_len++] = (char)c;
	fclose(f);
	return 0;
}

static int
free_manual(void **state)
{
	(void)state;
	free(manual);
	return 0;
}

static void
check(const char *what, const void *data, size_t len)
{
	static char hex[65536];
	const uint8_t *p = data;

	for (size_t i = 0; i < len; i++)
		snprintf(hex + 2 * i, 3, "%02x", p[i]);
	if (getenv("SHOW") != NULL) {
		printf("%s (%zu bytes)\n", what, len);
		for (size_t i = 0; i < 2 * len; i += 64)
			printf("%.64s\n", hex + i);
	}
	if (strstr(manual, hex) == NULL)
		fail_msg("man/mesh-wire.7 does not have the %s: %s", what, hex);
}

struct side {
	struct crypto_key *key;
	uint64_t id;
	uint8_t payload[HELLO_MAX_BYTES];
	size_t len;
};

static void
side_init(struct side *s, uint8_t seed0, uint8_t nonce, uint64_t incarnation, const char *name)
{
	struct hello h = {
	    .incarnation = incarnation, .lanes_max = 6, .window_bytes = 4 << 20, .window_frames = 65536};
	uint8_t seed[CRYPTO_SEED_BYTES];
	struct buf out;

	for (unsigned i = 0; i < sizeof(seed); i++)
		seed[i] = (uint8_t)(seed0 + i);
	s->key = crypto_key_new(seed);
	assert_non_null(s->key);
	crypto_key_public(s->key, h.public_key);
	s->id = h.node_id = crypto_node_id(h.public_key);
	assert_int_equal(ulid_parse("01ARZ3NDEKTSV4RRFFQ69G5FAV", &h.mesh_id), 0);
	memset(h.nonce, nonce, sizeof(h.nonce));
	strcpy(h.name, name);
	buf_init_fixed(&out, s->payload, sizeof(s->payload));
	assert_int_equal(hello_encode(&h, &out), 0);
	s->len = buf_left(&out);
}

static void
check_frame(const char *what, const struct frame *f)
{
	uint8_t mem[1024];
	struct buf out;

	buf_init_fixed(&out, mem, sizeof(mem));
	assert_int_equal(frame_encode(f, &out), 0);
	check(what, mem, buf_left(&out));
}

static void
link_local(const char *what, uint8_t type, uint64_t src, const void *payload, size_t len)
{
	struct frame f = {
	    .type = type, .ttl = 1, .src = src, .payload = payload, .payload_len = (uint32_t)len};

	check_frame(what, &f);
}

static void
handshake_vectors(void **state)
{
	uint8_t statement[HELLO_STATEMENT_BYTES], sig[HELLO_SIG_BYTES], number[8];
	struct hello_proof p = {.role = HELLO_DIALLER};
	struct side a, b;
	char id[NODEID_TEXT_SIZE];

	(void)state;
	assert_int_equal(crypto_init(), 0);
	side_init(&a, 0x00, 0x11, 1, "alpha");
	side_init(&b, 0x20, 0x22, 2, "bravo");
	nodeid_format(id, a.id);
	assert_non_null(strstr(manual, id));
	nodeid_format(id, b.id);
	assert_non_null(strstr(manual, id));
	link_local("hello of alpha", FRAME_HELLO, a.id, a.payload, a.len);
	link_local("hello of bravo", FRAME_HELLO, b.id, b.payload, b.len);
	assert_int_equal(ulid_parse("01ARZ3NDEKTSV4RRFFQ69G5FAV", &p.mesh_id), 0);
	crypto_hash(p.own_hash, a.payload, a.len);
	crypto_hash(p.peer_hash, b.payload, b.len);
	memset(p.exporter, 0x33, sizeof(p.exporter));
	hello_statement(&p, statement);
	check("statement of alpha", statement, sizeof(statement));
	assert_int_equal(crypto_sign(a.key, CRYPTO_CONTEXT_HELLO, statement, sizeof(statement), sig), 0);
	link_local("auth of alpha", FRAME_AUTH, a.id, sig, sizeof(sig));
	be_store64(number, be_load64(p.own_hash) ^ be_load64(p.peer_hash + 8));
	check("number of the connection", number, sizeof(number));
	crypto_key_free(a.key);
	crypto_key_free(b.key);
}

static void
frame_vectors(void **state)
{
	struct beat ping = {.kind = HEARTBEAT_PING, .seq = 7, .time_us = 1000000};
	struct unreach u = {
	    .destination = 0x3333333333333333, .reason = UNREACH_NO_LINK, .original = FRAME_DATA};
	struct frame data = {
	    .type = FRAME_DATA,
	    .class = FRAME_CLASS_CLIENT,
	    .ttl = 23,
	    .hop_count = 1,
	    .path_id = 5,
	    .src = 0x1111111111111111,
	    .visit_count = 1,
	    .visit = {0x3333333333333333},
	    .e2e = (const uint8_t *)"head",
	    .e2e_len = 4,
	    .payload = (const uint8_t *)"payload",
	    .payload_len = 7,
	};
	struct frame report = {.type = FRAME_UNREACHABLE,
	    .ttl = 24,
	    .src = 0x2222222222222222,
	    .payload_len = UNREACH_SHORT_BYTES};
	uint8_t mem[64];
	struct buf out;

	(void)state;
	check_frame("data frame", &data);
	buf_init_fixed(&out, mem, sizeof(mem));
	assert_int_equal(beat_encode(&ping, &out), 0);
	link_local("ping", FRAME_HEARTBEAT, 0x1111111111111111, mem, buf_left(&out));
	buf_init_fixed(&out, mem, sizeof(mem));
	assert_int_equal(goaway_encode(GOAWAY_LIMIT, "full", &out), 0);
	link_local("goaway", FRAME_GOAWAY, 0x1111111111111111, mem, buf_left(&out));
	buf_init_fixed(&out, mem, sizeof(mem));
	assert_int_equal(unreach_encode(&u, &out), 0);
	report.payload = mem;
	check_frame("unreachable frame", &report);
	u.reason = UNREACH_REPAIRED;
	u.path_id = 5;
	buf_init_fixed(&out, mem, sizeof(mem));
	assert_int_equal(unreach_encode(&u, &out), 0);
	report.payload_len = (uint32_t)buf_left(&out);
	check_frame("unreachable frame about a path", &report);
}

/* Each code and each type with its number. */
static void
tables(void **state)
{
	char row[64];

	(void)state;
#define X(name, value, label, text)                                                                          \
	snprintf(row, sizeof(row), ".It%dTa%sTa", value, label);                                             \
	if (strstr(manual, row) == NULL)                                                                     \
		fail_msg("man/mesh-wire.7 does not have goaway code %s", row);
	GOAWAY_LIST(X)
#undef X
#define X(name, value, text)                                                                                 \
	snprintf(row, sizeof(row), ".It%dTa%sTa", value, text);                                              \
	if (strstr(manual, row) == NULL)                                                                     \
		fail_msg("man/mesh-wire.7 does not have frame type %s", row);
	FRAME_TYPE_LIST(X)
#undef X
}

static void
probe_vectors(void **state)
{
	struct probe train = {.kind = PROBE_TRAIN, .train = 9, .index = 1, .count = 2, .bytes = 16};
	struct probe report = {.kind = PROBE_REPORT, .train = 9, .received = 2, .spread_us = 1000};
	uint8_t mem[64];
	struct buf out;

	(void)state;
	buf_init_fixed(&out, mem, sizeof(mem));
	assert_int_equal(probe_encode(&train, &out), 0);
	link_local("frame of a train", FRAME_PROBE, 0x1111111111111111, mem, buf_left(&out));
	buf_init_fixed(&out, mem, sizeof(mem));
	assert_int_equal(probe_encode(&report, &out), 0);
	link_local("report of a train", FRAME_PROBE, 0x2222222222222222, mem, buf_left(&out));
}

static void
lane_vectors(void **state)
{
	struct window w = {
	    .acked_frames = 3, .acked_bytes = 1000, .limit_frames = 65539, .limit_bytes = 4195304};
	struct lane_note closed = {
	    .op = LANE_OP_CLOSED, .lane = 2, .conn = 0x0123456789abcdef, .received_frames = 42};
	uint8_t mem[64];
	struct buf out;

	(void)state;
	buf_init_fixed(&out, mem, sizeof(mem));
	assert_int_equal(window_encode(&w, &out), 0);
	link_local("window", FRAME_WINDOW, 0x1111111111111111, mem, buf_left(&out));
	buf_init_fixed(&out, mem, sizeof(mem));
	assert_int_equal(lane_note_encode(&closed, &out), 0);
	link_local("lane closed", FRAME_LANE, 0x1111111111111111, mem, buf_left(&out));
}

static void
path_vectors(void **state)
{
	struct path_feedback p = {.kind = PATH_ASK,
	    .path_id = 5,
	    .sent_frames = 4,
	    .sent_bytes = 60000,
	    .time_us = 1000000,
	    .received_frames = 3,
	    .received_bytes = 45000,
	    .marked_bytes = 15000};
	struct frame ask = {.type = FRAME_PATH_FEEDBACK,
	    .class = FRAME_CLASS_CLIENT,
	    .ttl = 24,
	    .lane_id = 2,
	    .path_id = 5,
	    .flow = 0x00070001,
	    .src = 0x1111111111111111,
	    .visit_count = 1,
	    .visit = {0x3333333333333333}};
	struct frame answer = {
	    .type = FRAME_PATH_FEEDBACK, .ttl = 23, .hop_count = 1, .path_id = 6, .src = 0x3333333333333333};
	uint8_t mem[64];
	struct buf out;

	(void)state;
	buf_init_fixed(&out, mem, sizeof(mem));
	assert_int_equal(path_feedback_encode(&p, &out), 0);
	ask.payload = answer.payload = mem;
	ask.payload_len = (uint32_t)buf_left(&out);
	check_frame("path feedback, ask", &ask);
	p.kind = PATH_ANSWER;
	buf_init_fixed(&out, mem, sizeof(mem));
	assert_int_equal(path_feedback_encode(&p, &out), 0);
	answer.payload_len = (uint32_t)buf_left(&out);
	check_frame("path feedback, answer", &answer);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(handshake_vectors),
	    cmocka_unit_test(frame_vectors),
	    cmocka_unit_test(probe_vectors),
	    cmocka_unit_test(lane_vectors),
	    cmocka_unit_test(path_vectors),
	    cmocka_unit_test(tables),
	};

	return cmocka_run_group_tests(tests, load_manual, free_manual);
}
