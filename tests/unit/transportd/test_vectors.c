/* The test vectors of mesh-wire(7): computed here, and looked up in the manual. */
#include <stdio.h>
#include <stdlib.h>

#include "common/base/buf.h"
#include "common/base/frame.h"
#include "common/base/id.h"
#include "common/os/crypto.h"
#include "tests/unit/unit.h"
#include "transportd/core/forward.h"
#include "transportd/core/goaway.h"
#include "transportd/core/heartbeat.h"
#include "transportd/core/hello.h"
#include "transportd/core/limits.h"

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
	struct hello h = {.incarnation = incarnation};
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
	uint8_t statement[HELLO_STATEMENT_BYTES], sig[HELLO_SIG_BYTES];
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
	    .payload_len = UNREACH_PAYLOAD_BYTES};
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

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(handshake_vectors),
	    cmocka_unit_test(frame_vectors),
	    cmocka_unit_test(tables),
	};

	return cmocka_run_group_tests(tests, load_manual, free_manual);
}
