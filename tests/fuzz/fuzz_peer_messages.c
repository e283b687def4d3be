/* Any bytes are a message between consensusds (proto/peer.proto), which is read again as it was written, or
 * an error; so is the body of a question. */
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "common/base/buf.h"
#include "proto/pb.h"
#include "proto/peer.pb.h"

enum { OUT_MAX_BYTES = 1 << 20 };

/* A kind of message, without what is borrowed from the input. */
struct kind {
	const pb_msgdesc_t *fields;
	size_t size;
};

static const struct kind bodies[] = {
    {mesh_peer_Find_fields, sizeof(mesh_peer_Find)},
    {mesh_peer_Found_fields, sizeof(mesh_peer_Found)},
    {mesh_peer_Join_fields, sizeof(mesh_peer_Join)},
    {mesh_peer_Wait_fields, sizeof(mesh_peer_Wait)},
    {mesh_peer_Transfer_fields, sizeof(mesh_peer_Transfer)},
    {mesh_peer_Applied_fields, sizeof(mesh_peer_Applied)},
};

static void
write_out(struct buf *out, const pb_msgdesc_t *fields, const void *msg)
{
	buf_init(out, OUT_MAX_BYTES);
	FUZZ_CHECK(pb_pack(out, fields, msg) == 0);
}

static void
same(struct buf *a, struct buf *b)
{
	FUZZ_CHECK(buf_left(a) == buf_left(b));
	FUZZ_CHECK(buf_left(a) == 0 || memcmp(buf_head(a), buf_head(b), buf_left(a)) == 0);
	buf_fini(a);
	buf_fini(b);
}

static void
try_body(const struct kind *k, const uint8_t *data, size_t len)
{
	union {
		mesh_peer_Join join; /* the largest */
		mesh_peer_Found found;
	} msg, again;
	struct buf first, second;

	FUZZ_CHECK(k->size <= sizeof(msg));
	memset(&msg, 0, sizeof(msg));
	memset(&again, 0, sizeof(again));
	if (pb_unpack(data, len, k->fields, &msg) != 0)
		return;
	write_out(&first, k->fields, &msg);
	FUZZ_CHECK(pb_unpack(buf_head(&first), buf_left(&first), k->fields, &again) == 0);
	write_out(&second, k->fields, &again);
	same(&first, &second);
}

static void
try_bodies(const uint8_t *data, size_t len)
{
	for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++)
		try_body(&bodies[i], data, len);
}

/* What a message has in it lies in the input. */
static void
check_slice(const struct pb_slice *s, const uint8_t *data, size_t len)
{
	if (s->len != 0)
		FUZZ_CHECK(s->data >= data && s->data + s->len <= data + len);
}

static void
try_ask(const uint8_t *data, size_t len)
{
	mesh_peer_Ask msg = mesh_peer_Ask_init_zero;
	struct pb_slice body = {0};

	pb_slice_decode(&msg.body, &body);
	if (pb_unpack(data, len, mesh_peer_Ask_fields, &msg) != 0)
		return;
	check_slice(&body, data, len);
	try_bodies(body.data, body.len);
}

static void
try_answer(const uint8_t *data, size_t len)
{
	mesh_peer_Answer msg = mesh_peer_Answer_init_zero;
	struct pb_slice body = {0};

	pb_slice_decode(&msg.body, &body);
	if (pb_unpack(data, len, mesh_peer_Answer_fields, &msg) != 0)
		return;
	check_slice(&body, data, len);
	FUZZ_CHECK(memchr(msg.text, '\0', sizeof(msg.text)) != NULL);
	try_bodies(body.data, body.len);
}

static void
try_waited(const uint8_t *data, size_t len)
{
	mesh_peer_Waited msg = mesh_peer_Waited_init_zero;
	struct pb_slice nodes = {0};

	pb_slice_decode(&msg.nodes, &nodes);
	if (pb_unpack(data, len, mesh_peer_Waited_fields, &msg) == 0)
		check_slice(&nodes, data, len);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	try_ask(data, size);
	try_answer(data, size);
	try_waited(data, size);
	try_bodies(data, size);
	return 0;
}
