/* Commands of the control group as bytes: there and back, and what is refused. */
#include "tests/unit/unit.h"

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "consensusd/core/mcg_cmd.h"
#include "consensusd/core/raft_config.h"

enum { BYTES_MAX = 4 << 20, HEAD_BYTES = 1 + 1 + 8 + 8 };

static const uint8_t boxes[2 * MCG_SEALED_BYTES] = {[7] = 3, [8] = 0xaa, [MCG_SEALED_BYTES + 7] = 4};

static struct mcg_cmd
cmd(uint8_t type)
{
	static const struct mcg_cmd_member member = {
	    .node = 9, .replica = 77, .public_key = {1}, .name = "nine", .readmit = true, .token_id = {{5}}};
	struct mcg_cmd c = {.type = type, .unix_ms = 1700000000000, .node = 9};

	switch (type) {
	case MCG_SEED:
		c.u.seed = (struct mcg_cmd_seed){.mesh_id = {{1}},
		    .seed_id = {{2}},
		    .name = "mesh",
		    .description = "for a test",
		    .allow_join = MCG_JOIN_TOKEN,
		    .voters = 5,
		    .updates_max_bytes = 1 << 20,
		    .first = member};
		break;
	case MCG_ADMIT:
		c.u.admit = member;
		break;
	case MCG_REMOVE:
		c.u.remove = (struct mcg_cmd_remove){.node = 8, .evict = true, .reason = "stolen"};
		break;
	case MCG_STATE:
		c.u.state = (struct mcg_cmd_state){.node = 8, .stopped = true};
		break;
	case MCG_SETTINGS:
		c.u.settings = (struct mcg_cmd_settings){.has_description = true,
		    .has_allow_join = true,
		    .has_voters = true,
		    .description = "another",
		    .voters = 3};
		break;
	case MCG_CONFIG:
		c.u.config = (struct mcg_cmd_config){
		    .key = "log.level", .expected = 4, .json = (const uint8_t *)"17", .len = 2};
		break;
	case MCG_UPDATE:
		c.u.update = (struct mcg_cmd_update){.kind = MCG_UPDATE_DB,
		    .id = {{6}},
		    .type = "orders",
		    .key_id = {7},
		    .payload = (const uint8_t *)"row",
		    .len = 3};
		break;
	case MCG_KEY:
	case MCG_SEAL:
		c.u.key = (struct mcg_cmd_key){.tenant = "acme",
		    .version = 2,
		    .key_id = {8},
		    .valid_ms = 60000,
		    .sealed = boxes,
		    .sealed_count = 2};
		break;
	default:
		c.u.prune = 123456;
	}
	return c;
}

static void
encode(const struct mcg_cmd *c, struct buf *b)
{
	buf_init(b, BYTES_MAX);
	assert_int_equal(mcg_cmd_encode(c, b), 0);
}

static int
encode_error(const struct mcg_cmd *c)
{
	struct buf b;
	int err;

	buf_init(&b, BYTES_MAX);
	err = mcg_cmd_encode(c, &b);
	buf_fini(&b);
	return err;
}

static void
test_there_and_back(void **state)
{
	(void)state;
	for (uint8_t type = 1; type < MCG_CMD_TYPES; type++) {
		struct mcg_cmd c = cmd(type), got;
		struct buf a, b;

		encode(&c, &a);
		assert_int_equal(mcg_cmd_decode(buf_head(&a), buf_left(&a), &got), 0);
		assert_int_equal(got.type, type);
		assert_int_equal(got.node, 9);
		assert_int_equal(got.unix_ms, c.unix_ms);
		encode(&got, &b);
		assert_int_equal(buf_left(&a), buf_left(&b));
		assert_memory_equal(buf_head(&a), buf_head(&b), buf_left(&a));
		buf_fini(&a);
		buf_fini(&b);
	}
}

static void
test_fields(void **state)
{
	struct mcg_cmd c, got;
	struct buf b;

	(void)state;
	c = cmd(MCG_SEED);
	encode(&c, &b);
	assert_int_equal(mcg_cmd_decode(buf_head(&b), buf_left(&b), &got), 0);
	assert_memory_equal(&got.u.seed, &c.u.seed, sizeof(c.u.seed));
	buf_fini(&b);
	c = cmd(MCG_SETTINGS);
	encode(&c, &b);
	assert_int_equal(mcg_cmd_decode(buf_head(&b), buf_left(&b), &got), 0);
	assert_memory_equal(&got.u.settings, &c.u.settings, sizeof(c.u.settings));
	buf_fini(&b);
	c = cmd(MCG_UPDATE);
	encode(&c, &b);
	assert_int_equal(mcg_cmd_decode(buf_head(&b), buf_left(&b), &got), 0);
	assert_int_equal(got.u.update.kind, MCG_UPDATE_DB);
	assert_string_equal(got.u.update.type, "orders");
	assert_memory_equal(got.u.update.payload, "row", 3);
	assert_int_equal(got.u.update.node, 9);
	assert_int_equal(got.u.update.unix_ms, c.unix_ms);
	buf_fini(&b);
	c = cmd(MCG_KEY);
	encode(&c, &b);
	assert_int_equal(mcg_cmd_decode(buf_head(&b), buf_left(&b), &got), 0);
	assert_int_equal(got.u.key.sealed_count, 2);
	assert_memory_equal(got.u.key.sealed, boxes, sizeof(boxes));
	buf_fini(&b);
}

static void
test_cut_or_too_long(void **state)
{
	(void)state;
	for (uint8_t type = 1; type < MCG_CMD_TYPES; type++) {
		struct mcg_cmd c = cmd(type), got;
		struct buf b;

		encode(&c, &b);
		for (size_t len = 0; len < buf_left(&b); len++)
			assert_int_equal(mcg_cmd_decode(buf_head(&b), len, &got), ERR_SHORT);
		assert_int_equal(buf_put_u8(&b, 0), 0);
		assert_int_equal(mcg_cmd_decode(buf_head(&b), buf_left(&b), &got), ERR_LEFTOVER);
		buf_fini(&b);
	}
}

static void
test_decode_refuses(void **state)
{
	/* Places after the head. */
	static const struct {
		uint8_t type;
		int at;
		uint8_t value;
		int err;
	} wrong[] = {
	    {MCG_PRUNE, -HEAD_BYTES, MCG_CMD_VERSION + 1, ERR_VERSION},
	    {MCG_PRUNE, 1 - HEAD_BYTES, 0, ERR_UNKNOWN},
	    {MCG_PRUNE, 1 - HEAD_BYTES, MCG_CMD_TYPES, ERR_UNKNOWN},
	    {MCG_PRUNE, -1, 0, ERR_FORMAT},            /* node 0 */
	    {MCG_ADMIT, 7, 0, ERR_FORMAT},             /* node 0 */
	    {MCG_ADMIT, 15, 0, ERR_FORMAT},            /* replica 0 */
	    {MCG_ADMIT, 16 + 32 + 1, ' ', ERR_FORMAT}, /* the name */
	    {MCG_ADMIT, 16 + 32 + 5, 2, ERR_FORMAT},   /* readmit */
	    {MCG_REMOVE, 9, 1, ERR_FORMAT},            /* evict and readmit */
	    {MCG_STATE, 8, 2, ERR_FORMAT},
	    {MCG_SETTINGS, 0, 2, ERR_FORMAT},
	    {MCG_CONFIG, 1, '*', ERR_FORMAT},
	    {MCG_CONFIG, 10, 1, ERR_FORMAT}, /* removes, and has a value */
	    {MCG_CONFIG, 20, 1, ERR_LIMIT},  /* length of the value */
	    {MCG_UPDATE, 0, 0, ERR_FORMAT},
	    {MCG_UPDATE, 0, 3, ERR_FORMAT},
	    {MCG_UPDATE, 1, 0, ERR_FORMAT},             /* id */
	    {MCG_UPDATE, 1 + 16 + 7 + 8, 1, ERR_LIMIT}, /* length of the payload */
	    {MCG_KEY, 1, 'A', ERR_FORMAT},              /* tenant */
	    {MCG_KEY, 5 + 7, 0, ERR_FORMAT},            /* version */
	    {MCG_KEY, 5 + 24, 1, ERR_LIMIT},            /* length of boxes */
	    {MCG_KEY, 5 + 28 + 7, 4, ERR_FORMAT},       /* they ascend */
	    {MCG_SEAL, 5 + 28 + 7, 0, ERR_FORMAT},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(wrong); i++) {
		struct mcg_cmd c = cmd(wrong[i].type), got;
		struct buf b;
		uint8_t *data;
		int err;

		encode(&c, &b);
		data = mem_dup(buf_head(&b), buf_left(&b));
		assert_non_null(data);
		data[HEAD_BYTES + wrong[i].at] = wrong[i].value;
		if ((err = mcg_cmd_decode(data, buf_left(&b), &got)) != wrong[i].err)
			fail_msg("%zu: %s", i, err_name(err));
		mem_free(data);
		buf_fini(&b);
	}
}

/* What nobody could read is not written either. */
static void
test_encode_refuses(void **state)
{
	struct mcg_cmd c;

	(void)state;
	c = cmd(MCG_SEED);
	c.u.seed.voters = 4;
	assert_int_equal(encode_error(&c), ERR_FORMAT);
	c.u.seed.voters = RAFT_VOTERS_MAX + 2;
	assert_int_equal(encode_error(&c), ERR_FORMAT);
	c = cmd(MCG_SEED);
	c.u.seed.first.node = 8; /* another seeds than the first member */
	assert_int_equal(encode_error(&c), ERR_FORMAT);
	c = cmd(MCG_SETTINGS);
	c.u.settings.allow_join = MCG_JOINS;
	assert_int_equal(encode_error(&c), ERR_FORMAT);
	c = cmd(MCG_CONFIG);
	c.u.config.len = MCG_CONFIG_VALUE_MAX_BYTES + 1;
	assert_int_equal(encode_error(&c), ERR_LIMIT);
	c.u.config.len = 0;
	assert_int_equal(encode_error(&c), ERR_FORMAT);
	c = cmd(MCG_UPDATE);
	c.u.update.len = MCG_UPDATE_MAX_BYTES + MCG_UPDATE_AROUND_MAX_BYTES + 1;
	assert_int_equal(encode_error(&c), ERR_LIMIT);
	c = cmd(MCG_KEY);
	c.u.key.sealed_count = 0;
	assert_int_equal(encode_error(&c), ERR_FORMAT);
	c.u.key.sealed_count = MCG_SEALED_MAX + 1;
	assert_int_equal(encode_error(&c), ERR_LIMIT);
	c = cmd(MCG_PRUNE);
	c.node = 0;
	assert_int_equal(encode_error(&c), ERR_FORMAT);
	c.type = MCG_CMD_TYPES;
	assert_int_equal(encode_error(&c), ERR_UNKNOWN);
}

static void
test_names(void **state)
{
	(void)state;
	assert_string_equal(mcg_cmd_name(MCG_SEED), "seed");
	assert_string_equal(mcg_cmd_name(MCG_PRUNE), "prune");
	assert_string_equal(mcg_cmd_name(0), "?");
	assert_string_equal(mcg_cmd_name(MCG_CMD_TYPES), "?");
	assert_true(mcg_cmd_key_valid("a/b:c"));
	assert_false(mcg_cmd_key_valid(""));
	assert_false(mcg_cmd_key_valid("a b"));
	assert_false(mcg_cmd_key_valid("\xc3\xa4"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_there_and_back),
	    cmocka_unit_test(test_fields),
	    cmocka_unit_test(test_cut_or_too_long),
	    cmocka_unit_test(test_decode_refuses),
	    cmocka_unit_test(test_encode_refuses),
	    cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
