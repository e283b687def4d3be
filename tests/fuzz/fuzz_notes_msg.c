/* Any bytes are a message about notes, which is written as it was read, or an error; and whatever messages
 * come, a table keeps its limits and all that it answers is a message. */
#include "tests/fuzz/fuzz.h"

#include "common/base/err.h"
#include "common/base/mem.h"
#include "consensusd/core/notes.h"
#include "consensusd/core/notes_msg.h"
#include "consensusd/core/notes_sync.h"

enum { TABLE_NOTES = 100, TABLE_BYTES = 200000 };

static struct notes_msg_writer writer;
static struct notes_sync sync;
static size_t answered;

static void
answer(void *ctx, uint64_t peer, const uint8_t *data, size_t len)
{
	struct notes_msg m;

	(void)ctx;
	FUZZ_CHECK(peer == 2 && notes_msg_read(data, len, &m) == 0);
	answered += len;
}

static struct note *
note_of(const struct notes_msg_note *x)
{
	struct note *n = note_new(x->node, x->type, x->version, x->payload, x->len);

	FUZZ_CHECK(n != NULL);
	n->unix_ms = x->unix_ms;
	n->removed = x->removed;
	memcpy(n->public_key, x->public_key, sizeof(n->public_key));
	memcpy(n->signature, x->signature, sizeof(n->signature));
	return n;
}

static void
write_again(struct notes_msg m)
{
	struct notes_msg_summary s;
	struct notes_msg_type t;
	struct notes_msg_note x;
	uint64_t node;

	notes_msg_begin(&writer, m.kind, m.flags);
	if (m.kind == NOTES_SUMMARY) {
		notes_msg_range(&writer, m.after, m.upto);
		while (notes_msg_next_summary(&m, &s))
			FUZZ_CHECK(notes_msg_put_summary(&writer, &s) == 0);
	} else if (m.kind == NOTES_TOTAL) {
		notes_msg_hash(&writer, m.hash);
	} else if (m.kind == NOTES_PUSH) {
		while (notes_msg_next_note(&m, &x)) {
			struct note *n = note_of(&x);

			FUZZ_CHECK(notes_msg_put_note(&writer, n) == 0);
			note_unref(n);
		}
	} else {
		while (notes_msg_next_group(&m, &node)) {
			FUZZ_CHECK(notes_msg_put_group(&writer, node) == 0);
			while (notes_msg_next_type(&m, &t))
				FUZZ_CHECK(notes_msg_put_type(&writer, &t) == 0);
		}
	}
	notes_msg_end(&writer);
}

static void
done(void *arg, const struct note *n, uint64_t from, unsigned how)
{
	FUZZ_CHECK(from == 2 && how == 0 && notes_get(arg, n->node, n->type) == n);
}

static void
take(struct notes *t, struct notes_msg *m)
{
	struct notes_msg_note x;
	struct notes_entry *e;

	while (notes_msg_next_note(m, &x)) {
		struct note *n = note_of(&x);

		if (notes_reserve(t, n, &e) == 0)
			notes_stage(t, e, n, 2, 0);
		else
			note_unref(n);
	}
}

static void
step(struct notes *t, struct notes_msg m, uint64_t start)
{
	answered = 0;
	if (m.kind == NOTES_PUSH)
		take(t, &m);
	else if (m.kind == NOTES_TOTAL)
		notes_sync_total(&sync, t, 2, &m);
	else if (m.kind == NOTES_SUMMARY)
		notes_sync_summary(&sync, t, 2, &m, start);
	else if (m.kind == NOTES_DETAIL)
		notes_sync_detail(&sync, t, 2, &m);
	else if (m.kind == NOTES_WANT)
		notes_sync_want(&sync, t, 2, &m);
	FUZZ_CHECK(answered <= NOTES_ANSWER_MAX_BYTES + 2 * NOTES_MSG_MAX_BYTES);
	FUZZ_CHECK(t->count <= TABLE_NOTES && t->bytes <= 2 * TABLE_BYTES);
}

/* Messages, each with its length (u16) and a byte: whether what came before is durable. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct notes_msg m;
	struct notes t;

	sync.send = answer;
	notes_init(&t);
	t.max_count = TABLE_NOTES;
	t.max_bytes = TABLE_BYTES;
	while (size >= 3) {
		size_t len = (size_t)(data[0] << 8 | data[1]);
		uint8_t how = data[2];

		data += 3;
		size -= 3;
		len = len < size ? len : size;
		if (notes_msg_read(data, len, &m) == 0) {
			write_again(m);
			FUZZ_CHECK(writer.len == len && memcmp(writer.mem, data, len) == 0);
			step(&t, m, how);
		}
		if ((how & 1) != 0)
			notes_durable(&t, t.last_position, done, &t);
		if (how == 0xff)
			notes_sync_begin(&sync, &t, 2);
		data += len;
		size -= len;
	}
	notes_fini(&t);
	FUZZ_CHECK(t.count == 0 && t.bytes == 0 && t.hash == 0);
	return 0;
}
