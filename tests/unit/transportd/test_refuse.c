/* Strangers, liars and broken peers: what a real transportd, in its sandbox, answers them. */
#include "tests/rig/raw_peer.h"
#include "tests/unit/unit.h"

struct scene {
	struct rig r;
	struct rig_node *node, *other; /* other has no daemon: it is played by hand */
};

static bool
knows_itself(void *arg)
{
	struct rig_node *n = arg;

	return n->consensus_up && n->router_up;
}

static void
scene_up_with(struct scene *s, int pending_max)
{
	rig_init(&s->r);
	s->node = rig_add(&s->r, "n");
	s->other = rig_add(&s->r, "o");
	rig_conf(s->node, "\thandshake-timeout 1s\n\tpending-max %d\n", pending_max);
	rig_start(s->node);
	assert_true(rig_wait(&s->r, knows_itself, s->node, RIG_WAIT_MS));
}

static void
scene_up(struct scene *s)
{
	scene_up_with(s, 64);
}

static void
scene_down(struct scene *s)
{
	assert_true(rig_alive(s->node));
	assert_int_equal(s->node->link_ups, 0);
	rig_fini(&s->r);
}

static int
status_of(struct scene *s, const char *request)
{
	struct raw_peer p;
	int status = 0;

	if (raw_connect(&p, s->node->port, s->other->dir))
		status = raw_http(&p, request);
	raw_free(&p);
	return status;
}

static void
plain_http_errors(void **state)
{
	struct scene s;

	(void)state;
	scene_up(&s);
	assert_int_equal(status_of(&s, RAW_UPGRADE), 101);
	assert_int_equal(status_of(&s, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"), 404);
	assert_int_equal(status_of(&s, "GET /mesh/v1 HTTP/1.1\r\nHost: x\r\n\r\n"), 426);
	assert_int_equal(status_of(&s, RAW_REQUEST("/mesh/v2", "Sec-WebSocket-Protocol: mesh.v1\r\n")), 404);
	assert_int_equal(status_of(&s, RAW_REQUEST("/mesh/v1", "")), 400);
	assert_int_equal(status_of(&s, RAW_REQUEST("/mesh/v1", "Sec-WebSocket-Protocol: mesh.v2\r\n")), 400);
	assert_int_equal(
	    status_of(&s, RAW_REQUEST("/mesh/v1", "Sec-WebSocket-Protocol: x, mesh.v1\r\n")), 101);
	/* Upgrades to something else end without an answer that could be mistaken for a success. */
	assert_int_not_equal(
	    status_of(&s, "GET /mesh/v1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\n"
			  "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"),
	    101);
	assert_int_not_equal(
	    status_of(&s, "GET /mesh/v1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: foo\r\n\r\n"),
	    101);
	assert_int_not_equal(status_of(&s, "\x16\x03garbage\r\n\r\n"), 101);
	scene_down(&s);
}

/* TLS 1.3 tells a client of its rejection only when it reads. */
static bool
tls_admits(struct scene *s, const char *dir)
{
	struct raw_peer p;
	bool ok = raw_connect(&p, s->node->port, dir) && raw_http(&p, RAW_UPGRADE) == 101;

	raw_free(&p);
	return ok;
}

static void
certificates(void **state)
{
	struct scene s;
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *foreign;

	(void)state;
	scene_up(&s);
	foreign = rig_cert(key, "another CA", NULL, NULL, NULL, 86400);
	assert_true(tls_admits(&s, s.other->dir));
	assert_false(tls_admits(&s, NULL));
	rig_issue(s.other, s.other->id, NULL, NULL, -3600);
	assert_false(tls_admits(&s, s.other->dir));
	rig_issue(s.other, s.other->id, foreign, key, 86400);
	assert_false(tls_admits(&s, s.other->dir));
	X509_free(foreign);
	EVP_PKEY_free(key);
	scene_down(&s);
}

static void
say_hello(struct scene *s, struct raw_peer *p, const struct ulid *mesh, uint64_t src)
{
	uint8_t hello[512];
	size_t len = raw_hello(s->other, mesh, hello, sizeof(hello));

	assert_true(raw_connect(p, s->node->port, s->other->dir));
	assert_int_equal(raw_http(p, RAW_UPGRADE), 101);
	raw_frame(p, FRAME_HELLO, src, hello, len);
}

static void
expect_goaway(struct raw_peer *p, uint16_t want)
{
	uint16_t close_code;

	assert_int_equal(raw_goaway(p, &close_code), want);
	assert_int_equal(close_code, GOAWAY_CLOSE_BASE + want);
	raw_free(p);
}

static void
hellos(void **state)
{
	struct ulid mesh;
	struct raw_peer p;
	struct scene s;

	(void)state;
	scene_up(&s);
	mesh = s.r.mesh;
	mesh.b[3] ^= 1;
	say_hello(&s, &p, &mesh, s.other->id);
	expect_goaway(&p, GOAWAY_WRONG_MESH);

	say_hello(&s, &p, &s.r.mesh, s.other->id ^ 1);
	expect_goaway(&p, GOAWAY_BAD_ID);

	/* The certificate is for another node than the hello. */
	rig_issue(s.other, s.other->id ^ 1, NULL, NULL, 86400);
	say_hello(&s, &p, &s.r.mesh, s.other->id);
	expect_goaway(&p, GOAWAY_BAD_CERT);
	rig_issue(s.other, s.other->id, NULL, NULL, 86400);

	/* Our own id, with the key that belongs to another. */
	s.other->id ^= s.node->id;
	say_hello(&s, &p, &s.r.mesh, s.other->id);
	expect_goaway(&p, GOAWAY_BAD_ID);
	s.other->id ^= s.node->id;
	scene_down(&s);
}

static void
proofs(void **state)
{
	uint8_t payload[2048], sig[HELLO_SIG_BYTES] = {0};
	struct raw_peer p;
	struct scene s;
	size_t len;

	(void)state;
	scene_up(&s);
	/* None at all: the time runs out. */
	say_hello(&s, &p, &s.r.mesh, s.other->id);
	assert_true(raw_expect(&p, FRAME_HELLO, payload, &len));
	expect_goaway(&p, GOAWAY_TIMEOUT);

	say_hello(&s, &p, &s.r.mesh, s.other->id);
	assert_true(raw_expect(&p, FRAME_HELLO, payload, &len));
	raw_frame(&p, FRAME_AUTH, s.other->id, sig, sizeof(sig));
	expect_goaway(&p, GOAWAY_BAD_PROOF);

	/* Right key, wrong statement: a signature made for another connection. */
	say_hello(&s, &p, &s.r.mesh, s.other->id);
	assert_true(raw_expect(&p, FRAME_HELLO, payload, &len));
	memset(payload, 0, HELLO_STATEMENT_BYTES);
	assert_int_equal(
	    crypto_sign(s.other->key, CRYPTO_CONTEXT_HELLO, payload, HELLO_STATEMENT_BYTES, sig), 0);
	raw_frame(&p, FRAME_AUTH, s.other->id, sig, sizeof(sig));
	expect_goaway(&p, GOAWAY_BAD_PROOF);

	say_hello(&s, &p, &s.r.mesh, s.other->id);
	raw_frame(&p, FRAME_AUTH, s.other->id, sig, 3);
	expect_goaway(&p, GOAWAY_BAD_PROOF);
	scene_down(&s);
}

static void
upgraded(struct scene *s, struct raw_peer *p)
{
	assert_true(raw_connect(p, s->node->port, s->other->dir));
	assert_int_equal(raw_http(p, RAW_UPGRADE), 101);
}

static void
frames_out_of_place(void **state)
{
	uint8_t junk[300] = {1, 99}, hello[300] = {HELLO_VERSION, 99};
	struct raw_peer p;
	struct scene s;

	(void)state;
	scene_up(&s);
	upgraded(&s, &p);
	raw_frame(&p, FRAME_AUTH, s.other->id, junk, 64);
	expect_goaway(&p, GOAWAY_PROTOCOL);

	upgraded(&s, &p);
	raw_frame(&p, FRAME_DATA, s.other->id, junk, 64);
	expect_goaway(&p, GOAWAY_PROTOCOL);

	upgraded(&s, &p);
	raw_frame(&p, FRAME_HELLO, s.other->id, hello, sizeof(hello));
	expect_goaway(&p, GOAWAY_PROTOCOL);

	say_hello(&s, &p, &s.r.mesh, s.other->id);
	raw_frame(&p, FRAME_HELLO, s.other->id, junk, 64);
	expect_goaway(&p, GOAWAY_PROTOCOL);

	say_hello(&s, &p, &s.r.mesh, s.other->id);
	raw_frame(&p, FRAME_HEARTBEAT, s.other->id, junk, 13);
	expect_goaway(&p, GOAWAY_PROTOCOL);

	upgraded(&s, &p);
	raw_ws(&p, 0x82, junk, sizeof(junk)); /* not a mesh frame: type 99 */
	expect_goaway(&p, GOAWAY_PROTOCOL);

	upgraded(&s, &p);
	junk[0] = 9;
	raw_ws(&p, 0x82, junk, sizeof(junk));
	expect_goaway(&p, GOAWAY_VERSION);

	upgraded(&s, &p);
	raw_ws(&p, 0x82, junk, 0);
	expect_goaway(&p, GOAWAY_PROTOCOL);

	upgraded(&s, &p);
	raw_ws(&p, 0x81, "text", 4);
	expect_goaway(&p, GOAWAY_PROTOCOL);
	scene_down(&s);
}

static void
websocket_rules(void **state)
{
	static uint8_t big[20000];
	uint8_t payload[2048], hello[512];
	struct raw_peer p;
	struct scene s;
	size_t len;

	(void)state;
	scene_up(&s);
	upgraded(&s, &p);
	raw_ws(&p, 0x82, big, sizeof(big));
	expect_goaway(&p, GOAWAY_PROTOCOL);

	upgraded(&s, &p);
	raw_ws(&p, 0xc2, big, 10);
	expect_goaway(&p, GOAWAY_PROTOCOL);

	upgraded(&s, &p);
	assert_true(SSL_write(p.ssl, "\x82\x01x", 3) == 3); /* not masked */
	expect_goaway(&p, GOAWAY_PROTOCOL);

	upgraded(&s, &p);
	raw_ws(&p, 0x80, big, 10); /* the end of nothing */
	expect_goaway(&p, GOAWAY_PROTOCOL);

	/* Pings are answered, pieces put together. */
	upgraded(&s, &p);
	raw_ws(&p, 0x89, "ping", 4);
	assert_int_equal(raw_read(&p, payload, &len), WSFRAME_PONG);
	assert_int_equal(len, 4);
	assert_memory_equal(payload, "ping", 4);
	len = raw_hello(s.other, &s.r.mesh, hello, sizeof(hello));
	{
		struct frame f = {.type = FRAME_HELLO,
		    .ttl = 1,
		    .src = s.other->id,
		    .payload = hello,
		    .payload_len = (uint32_t)len};
		struct buf out;

		buf_init_fixed(&out, payload, sizeof(payload));
		assert_int_equal(frame_encode(&f, &out), 0);
		raw_ws(&p, 0x02, payload, 10);
		raw_ws(&p, 0x00, payload + 10, 20);
		raw_ws(&p, 0x80, payload + 30, buf_left(&out) - 30);
	}
	assert_true(raw_expect(&p, FRAME_HELLO, payload, &len));
	raw_free(&p);
	scene_down(&s);
}

static void
strangers_are_limited(void **state)
{
	struct raw_peer p[6];
	struct scene s;
	uint8_t payload[256];
	size_t len;
	unsigned in = 0;

	(void)state;
	scene_up_with(&s, 4);
	for (int i = 0; i < 6; i++)
		in += raw_connect(&p[i], s.node->port, s.other->dir);
	/* The newest four stay: of the same address, the oldest give way.  Silence ends them all. */
	assert_int_equal(in, 6);
	for (int i = 0; i < 6; i++)
		assert_int_equal(raw_read(&p[i], payload, &len), -1);
	for (int i = 0; i < 6; i++)
		raw_free(&p[i]);
	assert_int_equal(status_of(&s, RAW_UPGRADE), 101);
	scene_down(&s);
}

static void
not_ready_without_identity(void **state)
{
	struct raw_peer p;
	struct scene s;

	(void)state;
	rig_init(&s.r);
	s.node = rig_add(&s.r, "n");
	s.other = rig_add(&s.r, "o");
	rig_conf(s.node, "");
	rig_spawn(s.node);
	while (!raw_connect(&p, s.node->port, s.other->dir))
		raw_free(&p);
	assert_int_equal(raw_http(&p, RAW_UPGRADE), 503);
	raw_free(&p);
	assert_true(rig_alive(s.node));
	rig_fini(&s.r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(plain_http_errors),
	    cmocka_unit_test(certificates),
	    cmocka_unit_test(hellos),
	    cmocka_unit_test(proofs),
	    cmocka_unit_test(frames_out_of_place),
	    cmocka_unit_test(websocket_rules),
	    cmocka_unit_test(strangers_are_limited),
	    cmocka_unit_test(not_ready_without_identity),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
