/* barred: tenants whose data is not relayed, and the reader of the tenant of a frame. */
#include "tests/unit/unit.h"

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "proto/e2e.pb.h"
#include "proto/pb.h"
#include "transportd/core/barred.h"

#define BODY(text) (const uint8_t *)(text), sizeof(text) - 1

static struct barred set;

static int
teardown(void **state)
{
	(void)state;
	barred_fini(&set);
	return 0;
}

static bool
has(const char *tenant)
{
	return barred_has(&set, (const uint8_t *)tenant, strlen(tenant));
}

static void
test_sets(void **state)
{
	(void)state;
	assert_true(barred_empty(&set) && !has("a"));
	assert_int_equal(barred_decode(&set, BODY("\0\1a\2bb\3ccc")), 0);
	assert_true(has("a") && has("bb") && has("ccc"));
	assert_false(has("b") || has("aa") || has("d") || has(""));
	assert_int_equal(barred_decode(&set, BODY("\1\2bb")), 0);
	assert_true(has("a") && !has("bb") && !barred_empty(&set));
	assert_int_equal(barred_decode(&set, BODY("\1")), 0);
	assert_true(has("a"));
	assert_int_equal(barred_decode(&set, BODY("\0")), 0);
	assert_true(barred_empty(&set) && !has("a"));
	assert_int_equal(barred_decode(&set, BODY("\1\2bb")), 0);
	assert_int_equal(barred_decode(&set, NULL, 0), 0);
	assert_true(barred_empty(&set) && !has("a"));
}

static void
test_bad_sets(void **state)
{
	uint8_t longest[1 + 66] = {0, 65};

	(void)state;
	memset(longest + 2, 'a', 65);
	assert_int_equal(barred_decode(&set, BODY("\0\1x")), 0);
	assert_int_equal(barred_decode(&set, BODY("\2\1a")), ERR_FORMAT);
	assert_int_equal(barred_decode(&set, BODY("\0\1b\1a")), ERR_FORMAT);
	assert_int_equal(barred_decode(&set, BODY("\0\1a\1a")), ERR_FORMAT);
	assert_int_equal(barred_decode(&set, BODY("\0\0")), ERR_FORMAT);
	assert_int_equal(barred_decode(&set, BODY("\0\2a")), ERR_SHORT);
	assert_int_equal(barred_decode(&set, longest, sizeof(longest)), ERR_FORMAT);
	for (unsigned k = 1; k <= 2; k++) {
		mem_fail_at(k);
		assert_int_equal(barred_decode(&set, BODY("\0\1a")), ERR_NOMEM);
	}
	mem_fail_at(0);
	assert_true(has("x") && !has("a"));
}

/* One more than there may be, in order. */
static void
test_most(void **state)
{
	static uint8_t body[1 + (BARRED_TENANTS_MAX + 1) * 5];
	uint8_t *p = body + 1;

	(void)state;
	for (unsigned i = 0; i <= BARRED_TENANTS_MAX; i++) {
		*p++ = 4;
		for (unsigned shift = 12; shift > 0; shift -= 4)
			*p++ = (uint8_t)('a' + (i >> shift & 15));
		*p++ = (uint8_t)('a' + (i & 15));
	}
	assert_int_equal(barred_decode(&set, body, sizeof(body)), ERR_LIMIT);
	assert_int_equal(barred_decode(&set, body, sizeof(body) - 5), 0);
	assert_true(has("aaaa") && has("apap") && !has("apapa"));
}

static int
tenant_of(const uint8_t *e2e, size_t len, char out[65])
{
	const uint8_t *t;
	size_t n;
	int err = barred_tenant(e2e, len, &t, &n);

	if (err == 0) {
		memcpy(out, t, n);
		out[n] = '\0';
	}
	return err;
}

/* Of a whole header, and of each beginning of it, what the target's reader would find, or none. */
static void
test_reads_what_the_target_reads(void **state)
{
	mesh_e2e_Header h = mesh_e2e_Header_init_zero, back;
	uint8_t mem[512];
	struct buf out;
	char text[65];

	(void)state;
	h.msg_type = mesh_e2e_MsgType_MSG_BATCH;
	h.stream_id.size = 16;
	strcpy(h.tenant_id, "acme.eu");
	h.seq = UINT64_MAX;
	h.crc32c = 7;
	h.source = 9;
	h.nonce.size = 24;
	h.signature.size = 64;
	buf_init_fixed(&out, mem, sizeof(mem));
	assert_int_equal(pb_pack(&out, mesh_e2e_Header_fields, &h), 0);
	assert_int_equal(tenant_of(mem, buf_left(&out), text), 0);
	assert_string_equal(text, "acme.eu");
	for (size_t n = 0; n < buf_left(&out); n++) {
		int err = tenant_of(mem, n, text);

		if (pb_unpack(mem, n, mesh_e2e_Header_fields, &back) != 0)
			assert_int_not_equal(err, 0);
		else if (back.tenant_id[0] == '\0')
			assert_int_equal(err, ERR_NOENT);
		else
			assert_true(err == 0 && strcmp(text, back.tenant_id) == 0);
	}
}

static void
test_bad_headers(void **state)
{
	char text[65];

	(void)state;
	assert_int_equal(tenant_of(BODY("\x1a\1a\x1a\1b"), text), 0);
	assert_string_equal(text, "b");
	assert_int_equal(tenant_of(BODY("\x1a\2a\0"), text), ERR_FORMAT);
	assert_int_equal(tenant_of(BODY("\x1a\0"), text), ERR_FORMAT);
	assert_int_equal(tenant_of(BODY("\x18\1"), text), ERR_FORMAT);
	assert_int_equal(tenant_of(BODY("\x1b"), text), ERR_FORMAT);
	assert_int_equal(tenant_of(BODY("\x1a\5a"), text), ERR_SHORT);
	assert_int_equal(tenant_of(BODY("\x1a\xff\xff\xff\xff\xff\xff\xff\xff\xff\1"), text), ERR_SHORT);
	assert_int_equal(
	    tenant_of(BODY("\x9a\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\0\1a"), text), ERR_FORMAT);
	/* What another reader might take for field 3. */
	assert_int_equal(tenant_of(BODY("\x9a\x80\x80\x80\x10\1a"), text), ERR_FORMAT);
}

static void
test_frames(void **state)
{
	(void)state;
	assert_false(barred_frame(&set, BODY("nonsense")));
	assert_int_equal(barred_decode(&set, BODY("\0\1a")), 0);
	assert_true(barred_frame(&set, BODY("\x1a\1a")));
	assert_false(barred_frame(&set, BODY("\x1a\1b")));
	assert_true(barred_frame(&set, BODY("\x1a")));
	assert_true(barred_frame(&set, BODY("\x10\1")));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_teardown(test_sets, teardown),
	    cmocka_unit_test_teardown(test_bad_sets, teardown),
	    cmocka_unit_test_teardown(test_most, teardown),
	    cmocka_unit_test(test_reads_what_the_target_reads),
	    cmocka_unit_test(test_bad_headers),
	    cmocka_unit_test_teardown(test_frames, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
