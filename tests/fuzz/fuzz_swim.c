/*
 * Any bytes are gossip or an error, and what decodes has one encoding; any payloads leave the members
 * consistent, and what is sent in return can be read.
 */
#include "tests/fuzz/fuzz.h"

#include "common/base/buf.h"
#include "common/base/frame.h"
#include "common/base/id.h"
#include "routerd/core/swim.h"
#include "routerd/core/swim_meta.h"
#include "routerd/core/swim_msg.h"

enum { MEMBERS_MAX = 8, STEP_US = 50 * 1000 };

static void
try_messages(const uint8_t *data, size_t len)
{
	static uint8_t mem[FRAME_PAYLOAD_MAX_BYTES * 2];
	struct swim_msg m;
	struct buf in, out;
	const uint8_t *at;

	buf_view(&in, data, len);
	if (len > FRAME_PAYLOAD_MAX_BYTES || swim_msg_open(&in) != 0)
		return;
	at = buf_head(&in);
	while (swim_msg_next(&in, &m) > 0) {
		size_t size = 0;

		buf_init_fixed(&out, mem, sizeof(mem));
		FUZZ_CHECK(swim_msg_put(&out, &m) == 0);
		size = buf_left(&out);
		/* Messages of unknown kinds may come before it. */
		FUZZ_CHECK(size <= (size_t)(buf_head(&in) - at));
		FUZZ_CHECK(memcmp(buf_head(&in) - size, mem, size) == 0);
		at = buf_head(&in);
	}
}

static void
try_meta(const uint8_t *data, size_t len)
{
	static struct swim_meta m;
	uint8_t mem[SWIM_META_MAX_BYTES];
	struct buf out;

	if (swim_meta_decode(data, len, &m) != 0)
		return;
	buf_init_fixed(&out, mem, sizeof(mem));
	FUZZ_CHECK(swim_meta_encode(&m, &out) == 0);
	FUZZ_CHECK(buf_left(&out) == len && memcmp(mem, data, len) == 0);
}

/* --- a member among others --- */

static void
op_send(void *arg, uint64_t node, const uint8_t *payload, size_t len)
{
	struct swim_msg m;
	struct buf in;
	int more;

	(void)arg;
	FUZZ_CHECK(node != 0 && node != 1 && len <= FRAME_PAYLOAD_MAX_BYTES);
	buf_view(&in, payload, len);
	FUZZ_CHECK(swim_msg_open(&in) == 0);
	while ((more = swim_msg_next(&in, &m)) > 0)
		continue;
	FUZZ_CHECK(more == 0);
}

static void
op_event(void *arg, enum swim_event ev, uint64_t node)
{
	(void)arg;
	FUZZ_CHECK(ev < SWIM_EVENT_COUNT);
	FUZZ_CHECK(node != 1 || ev == SWIM_EVENT_REFUTED || ev == SWIM_EVENT_META);
}

static void
op_user(void *arg, const struct swim_user_event *ev)
{
	(void)arg;
	FUZZ_CHECK(ev->len <= SWIM_EVENT_MAX_BYTES && node_name_valid(ev->name));
}

static const struct swim_ops ops = {op_send, op_event, op_user};

static struct swim *
start(bool listed, struct mono now)
{
	struct swim_conf conf;
	struct swim *s;

	swim_conf_default(&conf);
	conf.members_max = MEMBERS_MAX;
	conf.listed = listed;
	if ((s = swim_new(&conf, &ops, NULL, 1)) == NULL || swim_identity(s, 1, 1, now) != 0)
		return s;
	for (uint64_t node = 2; node <= 5; node++) {
		FUZZ_CHECK(swim_member(s, node, 1, now) == 0);
		if (node <= 3)
			swim_linked(s, node, true, now);
	}
	return s;
}

static void
check(struct swim *s, bool listed)
{
	struct swim_summary sum;
	struct swim_info info;

	swim_show(s, &sum);
	FUZZ_CHECK(sum.members <= MEMBERS_MAX && sum.health <= SWIM_HEALTH_MAX);
	FUZZ_CHECK(sum.members == sum.alive + sum.suspect + sum.dead + sum.left);
	FUZZ_CHECK(!listed || sum.members == 5);
	FUZZ_CHECK(swim_get(s, 1, &info) && info.state == SWIM_STATE_ALIVE);
	FUZZ_CHECK(!listed || info.incarnation >> 32 == 1);
}

/* The input: {u8 sender and time, u16 length, payload}, again and again. */
static void
try_swim(const uint8_t *data, size_t len, bool listed)
{
	struct mono now = {1000000};
	struct swim *s = start(listed, now);
	struct buf in;
	uint16_t size;
	uint8_t how;

	buf_view(&in, data, len);
	swim_step(s, now);
	while (buf_get_u8(&in, &how) == 0 && buf_get_u16(&in, &size) == 0) {
		size_t n = size < buf_left(&in) ? size : buf_left(&in);

		if (how == 0xff)
			swim_linked(s, 2, false, now);
		if (how == 0xfe)
			swim_join(s, 4);
		swim_feed(s, 2 + (how & 3), buf_head(&in), n, now);
		now = mono_add_us(now, (int64_t)(how >> 2) * STEP_US);
		swim_step(s, now);
		check(s, listed);
		if (buf_skip(&in, n) != 0)
			break;
	}
	for (int i = 0; i < 100; i++) {
		if (mono_before(now, swim_next(s)))
			now = swim_next(s);
		swim_step(s, now);
		FUZZ_CHECK(mono_before(now, swim_next(s)));
	}
	check(s, listed);
	swim_free(s);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	if (len == 0)
		return 0;
	if (data[0] == 'M')
		try_messages(data + 1, len - 1);
	else if (data[0] == 'N')
		try_meta(data + 1, len - 1);
	else
		try_swim(data + 1, len - 1, (data[0] & 1) != 0);
	return 0;
}
