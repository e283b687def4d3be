/* Fragments of two nodes in any order: what is put together keeps its limits, and packets hold messages or
 * are refused.  The input is a list of {node 1, milliseconds 1, length 2, payload of a frame}. */
#include "tests/fuzz/fuzz.h"

#include "common/base/buf.h"
#include "common/base/mem.h"
#include "consensusd/core/envelope.h"

enum { MAX_BYTES = 64 * 1024 };

static void
check_packet(const uint8_t *packet, size_t len)
{
	struct envelope_fragment f = {.class = 1, .number = 7}, g;
	struct envelope_message m;
	uint8_t mem[FRAME_PAYLOAD_MAX_BYTES];
	struct buf in, out;
	size_t total = 0;

	FUZZ_CHECK(len > 0 && len <= ENVELOPE_PACKET_MAX_BYTES);
	buf_view(&in, packet, len);
	while (envelope_get(&in, &m) == 0) {
		FUZZ_CHECK(m.len <= len);
		total += ENVELOPE_MESSAGE_BYTES + m.len;
	}
	FUZZ_CHECK(total + buf_left(&in) == len);
	/* Cut again, all fragments are good. */
	total = 0;
	for (uint16_t i = 0; i < envelope_count(len); i++) {
		envelope_cut(&f, packet, len, i);
		buf_init_fixed(&out, mem, sizeof(mem));
		FUZZ_CHECK(envelope_put_fragment(&out, &f) == 0);
		FUZZ_CHECK(envelope_get_fragment(mem, buf_left(&out), &g) == 0 && g.index == i);
		total += g.len;
	}
	FUZZ_CHECK(total == len);
}

static void
add(struct envelope *e, uint8_t node, const uint8_t *payload, size_t len, struct mono now)
{
	struct envelope_fragment f;
	uint8_t *packet;
	size_t packet_len;

	if (envelope_get_fragment(payload, len, &f) != 0)
		return;
	FUZZ_CHECK(envelope_add(e, node % 2 + 1, &f, now, &packet, &packet_len) == 0);
	FUZZ_CHECK(e->bytes <= MAX_BYTES && e->count <= 2 * ENVELOPE_NODE_MAX_COUNT);
	if (packet != NULL)
		check_packet(packet, packet_len);
	mem_free(packet);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mono now = {1000};
	struct envelope e;
	struct buf in;
	const uint8_t *payload;
	uint8_t node, ms;
	uint16_t len;

	envelope_init(&e, MAX_BYTES);
	buf_view(&in, data, size);
	while (buf_get_u8(&in, &node) == 0 && buf_get_u8(&in, &ms) == 0 && buf_get_u16(&in, &len) == 0) {
		if (buf_get_ref(&in, len, &payload) != 0)
			break;
		now = mono_add_ms(now, ms * 100);
		envelope_expire(&e, now);
		add(&e, node, payload, len, now);
	}
	envelope_fini(&e);
	FUZZ_CHECK(e.count == 0 && e.bytes == 0);
	return 0;
}
