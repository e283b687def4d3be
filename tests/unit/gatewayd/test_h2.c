/*
 * An HTTP/2 connection without a socket: a client session of nghttp2 against gatewayd's h2, byte by byte,
 * with memory that fails at every place, and cut off at every place.
 */
#include "tests/unit/unit.h"

#include <nghttp2/nghttp2.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/loop.h"
#include "gatewayd/auth.h"
#include "gatewayd/call.h"
#include "gatewayd/conns.h"
#include "gatewayd/events.h"
#include "gatewayd/gateway.h"
#include "gatewayd/h2.h"
#include "gatewayd/health.h"

enum { WIRE_BYTES = 1 << 20, STEPS_MAX = 100 };

/* --- a gateway without siblings --- */

struct rig {
	struct gateway gw;
	struct principal who;
	struct h2 *h2;
	nghttp2_session *client;
	struct buf to_server;
	char status[8], http[8];
	size_t body_bytes;
	bool closed;
	uint32_t close_error;
};

static void
on_wake(void *arg)
{
	(void)arg;
}

static int
client_header(nghttp2_session *s, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
    const uint8_t *value, size_t len, uint8_t flags, void *arg)
{
	struct rig *r = arg;
	char *out = NULL;

	(void)s, (void)frame, (void)flags;
	if (name_len == 11 && memcmp(name, "grpc-status", 11) == 0)
		out = r->status;
	if (name_len == 7 && memcmp(name, ":status", 7) == 0)
		out = r->http;
	if (out != NULL && len < sizeof(r->status)) {
		memcpy(out, value, len);
		out[len] = '\0';
	}
	return 0;
}

static int
client_data(nghttp2_session *s, uint8_t flags, int32_t id, const uint8_t *data, size_t len, void *arg)
{
	struct rig *r = arg;

	(void)s, (void)flags, (void)id, (void)data;
	r->body_bytes += len;
	return 0;
}

static int
client_close(nghttp2_session *s, int32_t id, uint32_t error, void *arg)
{
	struct rig *r = arg;

	(void)s, (void)id;
	r->closed = true;
	r->close_error = error;
	return 0;
}

static ssize_t
client_send(nghttp2_session *s, const uint8_t *data, size_t len, int flags, void *arg)
{
	struct rig *r = arg;

	(void)s, (void)flags;
	assert_int_equal(buf_put_bytes(&r->to_server, data, len), 0);
	return (ssize_t)len;
}

static void
client_new(struct rig *r)
{
	nghttp2_session_callbacks *cb;

	assert_int_equal(nghttp2_session_callbacks_new(&cb), 0);
	nghttp2_session_callbacks_set_on_header_callback(cb, client_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, client_data);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, client_close);
	nghttp2_session_callbacks_set_send_callback(cb, client_send);
	assert_int_equal(nghttp2_session_client_new(&r->client, cb, r), 0);
	nghttp2_session_callbacks_del(cb);
	assert_int_equal(nghttp2_submit_settings(r->client, 0, NULL, 0), 0);
}

static void
rig_up(struct rig *r)
{
	const struct h2_owner owner = {.gw = &r->gw, .who = &r->who, .peer = "test", .wake = on_wake};

	static uint8_t wire[WIRE_BYTES];

	memset(r, 0, sizeof(*r));
	buf_init_fixed(&r->to_server, wire, sizeof(wire));
	r->who.kind = PRINCIPAL_LOCAL;
	r->gw.loop = loop_event_new();
	assert_non_null(r->gw.loop);
	r->gw.limits = (struct gateway_limits){.message_max_bytes = 1000, .calls_max = 10};
	request_table_init(&r->gw.requests, 10);
	api_consensus_init(&r->gw.backends[BACKEND_CONSENSUS], &r->gw);
	api_router_init(&r->gw.backends[BACKEND_ROUTER], &r->gw);
	api_transport_init(&r->gw.backends[BACKEND_TRANSPORT], &r->gw);
	r->gw.calls = calls_new(&r->gw);
	r->gw.events = events_new();
	r->gw.health = health_new();
	r->gw.auth = auth_new();
	r->gw.conns = conns_new(&r->gw);
	assert_non_null(r->gw.conns);
	assert_true(
	    r->gw.calls != NULL && r->gw.events != NULL && r->gw.health != NULL && r->gw.auth != NULL);
	client_new(r);
	r->h2 = h2_new(&owner);
}

static void
rig_down(struct rig *r)
{
	h2_free(r->h2);
	nghttp2_session_del(r->client);
	assert_int_equal(calls_count(r->gw.calls), 0);
	assert_int_equal(r->gw.requests.count, 0);
	assert_int_equal(r->gw.memory_bytes, 0);
	events_free(r->gw.events);
	health_free(r->gw.health);
	auth_free(r->gw.auth);
	conns_free(r->gw.conns);
	calls_free(r->gw.calls);
	request_table_fini(&r->gw.requests);
	loop_free(r->gw.loop);
	buf_fini(&r->to_server);
}

/* Client's bytes to the server in pieces of step, the server's back.  False: the server gave up. */
static bool
exchange(struct rig *r, size_t step)
{
	static uint8_t mem[4096];
	struct buf out;

	assert_int_equal(nghttp2_session_send(r->client), 0);
	while (buf_left(&r->to_server) > 0) {
		size_t n = buf_left(&r->to_server) < step ? buf_left(&r->to_server) : step;

		if (h2_feed(r->h2, buf_head(&r->to_server), n) != 0)
			return false;
		assert_int_equal(buf_skip(&r->to_server, n), 0);
	}
	buf_reset(&r->to_server);
	for (int i = 0; i < STEPS_MAX; i++) {
		buf_init_fixed(&out, mem, sizeof(mem));
		if (h2_pull(r->h2, &out) != 0)
			return false;
		if (buf_left(&out) == 0)
			return true;
		if (nghttp2_session_mem_recv(r->client, buf_head(&out), buf_left(&out)) < 0)
			return false;
	}
	return true;
}

/* --- requests --- */

struct body {
	const uint8_t *data;
	size_t len, at;
};

static ssize_t
body_read(nghttp2_session *s, int32_t id, uint8_t *mem, size_t len, uint32_t *flags,
    nghttp2_data_source *source, void *arg)
{
	struct body *b = source->ptr;
	size_t n = b->len - b->at < len ? b->len - b->at : len;

	(void)s, (void)id, (void)arg;
	memcpy(mem, b->data + b->at, n);
	b->at += n;
	if (b->at == b->len)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)n;
}

#define NV(n, v)                                                                                             \
	{                                                                                                    \
		(uint8_t *)(uintptr_t)(n), (uint8_t *)(uintptr_t)(v), strlen(n), strlen(v), 0                \
	}

static void
call(struct rig *r, const char *path, struct body *body)
{
	const nghttp2_nv nv[] = {NV(":method", "POST"), NV(":scheme", "http"), NV(":path", path),
	    NV(":authority", "x"), NV("te", "trailers"), NV("content-type", "application/grpc"),
	    NV("grpc-timeout", "10S")};
	const nghttp2_data_provider provider = {.source.ptr = body, .read_callback = body_read};

	assert_true(nghttp2_submit_request(r->client, NULL, nv, COUNT(nv), &provider, NULL) > 0);
}

static const uint8_t empty_message[] = {0, 0, 0, 0, 0};
#define CHECK "/grpc.health.v1.Health/Check"

static void
test_call_in_pieces(void **state)
{
	static const size_t steps[] = {1, 2, 7, 100, 65536};

	(void)state;
	for (size_t i = 0; i < COUNT(steps); i++) {
		struct body body = {empty_message, sizeof(empty_message), 0};
		struct rig r;

		rig_up(&r);
		call(&r, CHECK, &body);
		assert_true(exchange(&r, steps[i]));
		assert_string_equal(r.http, "200");
		assert_string_equal(r.status, "0");
		assert_int_equal(r.body_bytes, 7);
		assert_true(r.closed);
		assert_int_equal(h2_stream_count(r.h2), 0);
		rig_down(&r);
	}
}

static void
test_sibling_that_is_not_there(void **state)
{
	static const char *const paths[] = {"/mesh.v1.MeshService/PublishClientData",
	    "/mesh.v1.MeshDataService/Ack", "/mesh.v1.MeshStatusService/ListRoutes",
	    "/mesh.v1.MeshStatusService/ListStreams"};

	(void)state;
	for (size_t i = 0; i < COUNT(paths); i++) {
		struct body body = {empty_message, sizeof(empty_message), 0};
		struct rig r;

		rig_up(&r);
		call(&r, paths[i], &body);
		assert_true(exchange(&r, 1000));
		assert_string_equal(r.status, "14");
		rig_down(&r);
	}
}

/* The client closes its end with the call open: nothing is left over. */
static void
test_cut_off_anywhere(void **state)
{
	struct body whole = {empty_message, sizeof(empty_message), 0};
	size_t total;
	struct rig r;

	(void)state;
	rig_up(&r);
	call(&r, "/grpc.health.v1.Health/Watch", &whole);
	assert_int_equal(nghttp2_session_send(r.client), 0);
	total = buf_left(&r.to_server);
	for (size_t n = 0;; n++) {
		if (n > 0) {
			struct body body = {empty_message, sizeof(empty_message), 0};

			rig_up(&r);
			call(&r, "/grpc.health.v1.Health/Watch", &body);
			assert_int_equal(nghttp2_session_send(r.client), 0);
		}
		assert_int_equal(h2_feed(r.h2, buf_head(&r.to_server), n), 0);
		rig_down(&r);
		if (n == total)
			break;
	}
}

static void
test_message_over_the_limit(void **state)
{
	static uint8_t big[5 + 1001] = {0, 0, 0, 0x03, 0xE9};
	struct body body = {big, sizeof(big), 0};
	struct rig r;

	(void)state;
	rig_up(&r);
	call(&r, "/mesh.v1.MeshService/PublishClientData", &body);
	assert_true(exchange(&r, 65536));
	assert_string_equal(r.status, "8");
	rig_down(&r);
}

static void
test_drain(void **state)
{
	struct body body = {empty_message, sizeof(empty_message), 0};
	struct rig r;

	(void)state;
	rig_up(&r);
	call(&r, CHECK, &body);
	assert_true(exchange(&r, 1000));
	h2_drain(r.h2);
	assert_false(h2_done(r.h2));
	for (int i = 0; i < 4; i++)
		assert_true(exchange(&r, 1000));
	assert_true(h2_done(r.h2));
	rig_down(&r);
}

/* The k-th allocation fails: the call, or the connection, ends with an error; nothing leaks or breaks. */
static void
test_failing_memory(void **state)
{
	static const char *const paths[] = {CHECK, "/grpc.health.v1.Health/Watch",
	    "/mesh.v1.MeshStatusService/ListRoutes", "/mesh.v1.MeshService/WatchMeshEvents",
	    "/mesh.v1.MeshService/PublishClientData", "/mesh.v1.MeshStatusService/GetMetrics"};

	(void)state;
	for (size_t i = 0; i < COUNT(paths); i++) {
		for (unsigned long k = 1;; k++) {
			struct body body = {empty_message, sizeof(empty_message), 0};
			unsigned long used;
			struct rig r;

			rig_up(&r);
			call(&r, paths[i], &body);
			mem_fail_at(k);
			(void)exchange(&r, 3);
			used = mem_count();
			mem_fail_at(0);
			rig_down(&r);
			if (used < k)
				break;
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_call_in_pieces),
	    cmocka_unit_test(test_sibling_that_is_not_there),
	    cmocka_unit_test(test_cut_off_anywhere),
	    cmocka_unit_test(test_message_over_the_limit),
	    cmocka_unit_test(test_drain),
	    cmocka_unit_test(test_failing_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
