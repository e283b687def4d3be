#include "consensusd/core/raft_msg.h"

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "consensusd/core/raft_config.h"
#include "consensusd/core/raft_entry.h"

enum flag { FLAG_REJECT = 1, FLAG_TRANSFER = 2, FLAG_QUIET = 4, FLAGS = 7, HEAD_BYTES = 1 + 1 + 1 + 3 * 8 };

/* Which fields a kind has, in this order. */
enum part {
	PART_INDEX = 1 << 0,
	PART_LOG_TERM = 1 << 1,
	PART_COMMIT = 1 << 2,
	PART_HINT = 1 << 3,
	PART_READ = 1 << 4,
	PART_OFFSET = 1 << 5,
	PART_SIZE = 1 << 6,
	PART_ENTRIES = 1 << 7,
	PART_CONFIG = 1 << 8,
	PART_CHUNK = 1 << 9,
};

static const struct {
	const char *name;
	unsigned parts;
} kinds[RAFT_KINDS] = {
    [RAFT_PREVOTE] = {"prevote", PART_INDEX | PART_LOG_TERM},
    [RAFT_PREVOTE_ANSWER] = {"prevote-answer", 0},
    [RAFT_VOTE] = {"vote", PART_INDEX | PART_LOG_TERM},
    [RAFT_VOTE_ANSWER] = {"vote-answer", 0},
    [RAFT_APPEND] = {"append", PART_INDEX | PART_LOG_TERM | PART_COMMIT | PART_ENTRIES},
    [RAFT_APPEND_ANSWER] = {"append-answer", PART_INDEX | PART_HINT},
    [RAFT_HEARTBEAT] = {"heartbeat", PART_COMMIT | PART_READ},
    [RAFT_HEARTBEAT_ANSWER] = {"heartbeat-answer", PART_READ},
    [RAFT_SNAPSHOT] = {"snapshot",
	PART_INDEX | PART_LOG_TERM | PART_OFFSET | PART_SIZE | PART_CONFIG | PART_CHUNK},
    [RAFT_SNAPSHOT_ANSWER] = {"snapshot-answer", PART_INDEX | PART_OFFSET},
    [RAFT_PROPOSE] = {"propose", PART_ENTRIES},
    [RAFT_READ] = {"read", PART_READ},
    [RAFT_READ_ANSWER] = {"read-answer", PART_READ | PART_INDEX},
    [RAFT_TIMEOUT_NOW] = {"timeout-now", 0},
    [RAFT_GONE] = {"gone", PART_INDEX},
};

const char *
raft_kind_name(uint8_t kind)
{
	return kind > 0 && kind < RAFT_KINDS ? kinds[kind].name : "?";
}

void
raft_msg_fini(struct raft_msg *m)
{
	for (size_t i = 0; i < m->entry_count; i++)
		raft_entry_unref(m->entries[i]);
	mem_free(m->entries);
	mem_free(m->config);
	mem_free(m->chunk);
	*m = (struct raft_msg){0};
}

size_t
raft_msg_bytes(const struct raft_msg *m)
{
	size_t bytes = sizeof(*m) + m->config_len + m->chunk_len;

	for (size_t i = 0; i < m->entry_count; i++)
		bytes += raft_entry_bytes(m->entries[i]);
	return bytes;
}

/* --- numbers: one list for both directions --- */

struct number {
	unsigned part;
	uint64_t *at;
};

enum { NUMBERS = 8 };

static void
numbers(struct raft_msg *m, struct number out[NUMBERS])
{
	const struct number list[NUMBERS] = {
	    {PART_INDEX, &m->index},
	    {PART_LOG_TERM, &m->log_term},
	    {PART_COMMIT, &m->commit},
	    {PART_HINT, &m->hint},
	    {PART_HINT, &m->hint_term},
	    {PART_READ, &m->read},
	    {PART_OFFSET, &m->offset},
	    {PART_SIZE, &m->size},
	};

	for (size_t i = 0; i < NUMBERS; i++)
		out[i] = list[i];
}

static int
put_numbers(struct raft_msg *m, unsigned parts, struct buf *out)
{
	struct number n[NUMBERS];
	int err = 0;

	numbers(m, n);
	for (size_t i = 0; i < NUMBERS && err == 0; i++)
		if ((parts & n[i].part) != 0)
			err = buf_put_u64(out, *n[i].at);
	return err;
}

static int
get_numbers(struct raft_msg *m, unsigned parts, struct buf *in)
{
	struct number n[NUMBERS];
	int err = 0;

	numbers(m, n);
	for (size_t i = 0; i < NUMBERS && err == 0; i++)
		if ((parts & n[i].part) != 0)
			err = buf_get_u64(in, n[i].at);
	return err;
}

/* --- writing --- */

static int
put_block(struct buf *out, const uint8_t *data, size_t len)
{
	int err = buf_put_u32(out, (uint32_t)len);

	return err != 0 ? err : buf_put_bytes(out, data, len);
}

static int
put_entries(const struct raft_msg *m, struct buf *out)
{
	int err = buf_put_u16(out, (uint16_t)m->entry_count);

	for (size_t i = 0; i < m->entry_count && err == 0; i++) {
		const struct raft_entry *e = m->entries[i];

		if ((err = buf_put_u64(out, e->term)) == 0 &&
		    (err = buf_put_u32(out, RAFT_ENTRY_HEAD_BYTES + e->len)) == 0)
			err = raft_entry_encode(e, out);
	}
	return err;
}

int
raft_msg_encode(const struct raft_msg *m, struct buf *out)
{
	unsigned parts = kinds[m->kind].parts;
	uint8_t flags = (uint8_t)((m->reject ? FLAG_REJECT : 0) | (m->transfer ? FLAG_TRANSFER : 0) |
				  (m->quiet ? FLAG_QUIET : 0));
	struct raft_msg copy = *m;
	int err;

	MUST(m->kind > 0 && m->kind < RAFT_KINDS && m->entry_count <= RAFT_MSG_ENTRIES_MAX);
	if ((err = buf_put_u8(out, RAFT_MSG_VERSION)) != 0 || (err = buf_put_u8(out, m->kind)) != 0 ||
	    (err = buf_put_u8(out, flags)) != 0 || (err = buf_put_u64(out, m->to)) != 0 ||
	    (err = buf_put_u64(out, m->from)) != 0 || (err = buf_put_u64(out, m->term)) != 0 ||
	    (err = put_numbers(&copy, parts, out)) != 0)
		return err;
	if ((parts & PART_ENTRIES) != 0 && (err = put_entries(m, out)) != 0)
		return err;
	if ((parts & PART_CONFIG) != 0 && (err = put_block(out, m->config, m->config_len)) != 0)
		return err;
	return (parts & PART_CHUNK) != 0 ? put_block(out, m->chunk, m->chunk_len) : 0;
}

/* --- reading --- */

static int
get_head(struct buf *in, struct raft_msg *m)
{
	uint8_t version, flags;
	int err;

	if (buf_left(in) < HEAD_BYTES)
		return ERR_SHORT;
	MUST(buf_get_u8(in, &version) == 0 && buf_get_u8(in, &m->kind) == 0 && buf_get_u8(in, &flags) == 0 &&
	     buf_get_u64(in, &m->to) == 0 && buf_get_u64(in, &m->from) == 0 &&
	     buf_get_u64(in, &m->term) == 0);
	if (version != RAFT_MSG_VERSION)
		return ERR_VERSION;
	if (m->kind == 0 || m->kind >= RAFT_KINDS || (flags & ~FLAGS) != 0 || m->to == 0 || m->from == 0)
		return ERR_FORMAT;
	m->reject = (flags & FLAG_REJECT) != 0;
	m->transfer = (flags & FLAG_TRANSFER) != 0;
	m->quiet = (flags & FLAG_QUIET) != 0;
	if ((err = get_numbers(m, kinds[m->kind].parts, in)) != 0)
		return err;
	return m->index > UINT64_MAX / 2 ? ERR_FORMAT : 0; /* room for index + 1 */
}

static int
get_block(struct buf *in, size_t max, uint8_t **out, size_t *len)
{
	const uint8_t *data;
	uint32_t n;
	int err;

	if ((err = buf_get_u32(in, &n)) != 0)
		return err;
	if (n > max)
		return ERR_LIMIT;
	if ((err = buf_get_ref(in, n, &data)) != 0)
		return err;
	if ((*out = mem_dup(data, n)) == NULL)
		return ERR_NOMEM;
	*len = n;
	return 0;
}

static int
get_entry(struct buf *in, uint64_t index, struct raft_entry **out)
{
	const uint8_t *data;
	uint64_t term;
	uint32_t len;
	int err;

	if ((err = buf_get_u64(in, &term)) != 0 || (err = buf_get_u32(in, &len)) != 0 ||
	    (err = buf_get_ref(in, len, &data)) != 0 || (err = raft_entry_decode(data, len, out)) != 0)
		return err;
	(*out)->term = term;
	(*out)->index = index;
	return 0;
}

static int
get_entries(struct buf *in, struct raft_msg *m)
{
	uint16_t count;
	int err;

	if ((err = buf_get_u16(in, &count)) != 0)
		return err;
	if (count > RAFT_MSG_ENTRIES_MAX || (m->kind == RAFT_PROPOSE && count != 1))
		return ERR_LIMIT;
	if (count == 0)
		return 0;
	if ((m->entries = mem_calloc(count, sizeof(struct raft_entry *))) == NULL)
		return ERR_NOMEM;
	for (; m->entry_count < count; m->entry_count++)
		if ((err = get_entry(in, m->index + m->entry_count + 1, &m->entries[m->entry_count])) != 0)
			return err;
	return 0;
}

static int
get_parts(struct buf *in, struct raft_msg *m)
{
	unsigned parts;
	int err;

	if ((err = get_head(in, m)) != 0)
		return err;
	parts = kinds[m->kind].parts;
	if ((parts & PART_ENTRIES) != 0 && (err = get_entries(in, m)) != 0)
		return err;
	if ((parts & PART_CONFIG) != 0 &&
	    (err = get_block(in, RAFT_CONFIG_MAX_BYTES, &m->config, &m->config_len)) != 0)
		return err;
	if ((parts & PART_CHUNK) != 0 &&
	    (err = get_block(in, RAFT_CHUNK_MAX_BYTES, &m->chunk, &m->chunk_len)) != 0)
		return err;
	return buf_end(in);
}

int
raft_msg_decode(const uint8_t *data, size_t len, struct raft_msg *out)
{
	struct buf in;
	int err;

	*out = (struct raft_msg){0};
	buf_view(&in, data, len);
	if ((err = get_parts(&in, out)) != 0)
		raft_msg_fini(out);
	return err;
}
