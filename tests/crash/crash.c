/*
 * crash: linked with consensusd (ld --wrap), whose objects stay those that ship: makes it die at a point of
 * points.def.
 *
 * MESH_CRASH_FILE names a file that the test shares with it.  It is mapped before main() begins, since the
 * sandbox lets nobody open it later, so that the test can arm a point at any time, count what was passed, and
 * see which point it died of, whatever happened to the process.  It dies of a forbidden instruction: at once,
 * with nothing written that was buffered, and without a system call.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "consensusd/api.h"
#include "consensusd/bulletin.h"
#include "consensusd/cache_ids.h"
#include "consensusd/call.h"
#include "consensusd/core/dsg.h"
#include "consensusd/core/mcg.h"
#include "consensusd/core/raft.h"
#include "consensusd/dbsink_impl.h"
#include "consensusd/e2e.h"
#include "consensusd/peers.h"
#include "consensusd/sink.h"
#include "consensusd/source.h"
#include "consensusd/store.h"
#include "consensusd/store_pg.h"
#include "consensusd/store_pg_flush.h"
#include "consensusd/transport.h"
#include "consensusd/witness.h"

enum point {
#define CRASH(name, sides) P_##name, P_##name##_after,
#include "tests/crash/points.def"
#undef CRASH
	POINT_COUNT,
	NOWHERE = POINT_COUNT,
};

static const struct {
	const char *name, *sides;
} points[POINT_COUNT] = {
#define CRASH(name, sides) {#name ":before", sides}, {#name ":after", sides},
#include "tests/crash/points.def"
#undef CRASH
};

/* The file, as tests/system/crashfile.py knows it: in the machine's order of bytes. */
struct crash_file {
	char magic[8];
	uint32_t count;
	volatile uint32_t armed; /* point + 1; 0: none.  Set last, cleared when it dies. */
	volatile uint32_t left;  /* dies at this pass, the next one is 1 */
	volatile uint32_t died;  /* point + 1 */
	struct {
		char name[48], sides[8];
		volatile uint64_t passed;
	} points[POINT_COUNT];
};

static struct crash_file *file;

__attribute__((constructor)) static void
map(void)
{
	const char *path = getenv("MESH_CRASH_FILE");
	struct crash_file *f;
	int fd;

	if (path == NULL)
		return;
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd == -1 || ftruncate(fd, sizeof(*f)) == -1)
		abort();
	f = mmap(NULL, sizeof(*f), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (f == MAP_FAILED)
		abort();
	close(fd);
	f->count = POINT_COUNT;
	for (int i = 0; i < POINT_COUNT; i++) {
		snprintf(f->points[i].name, sizeof(f->points[i].name), "%s", points[i].name);
		snprintf(f->points[i].sides, sizeof(f->points[i].sides), "%s", points[i].sides);
	}
	/* The test reads on when it sees this. */
	__sync_synchronize();
	memcpy(f->magic, "crashpts", sizeof(f->magic));
	file = f;
}

static void
pass(int point)
{
	struct crash_file *f = file;

	if (f == NULL || point >= NOWHERE)
		return;
	f->points[point].passed++;
	if (f->armed != (uint32_t)point + 1 || --f->left > 0)
		return;
	f->died = f->armed;
	f->armed = 0;
	__builtin_trap();
}

/* after(): of the point before. */
static void
pass_after(int point)
{
	pass(point < NOWHERE ? point + 1 : NOWHERE);
}

/* The Makefile takes the functions of these lines, and those that are written out below, for ld's --wrap: one
 * that is no more, or is called another name, can't be linked; one with other arguments can't be compiled. */
#define WRAP(fn, type, point, params, args)                                                                  \
	__typeof__(fn) __real_##fn, __wrap_##fn;                                                             \
	type __wrap_##fn params                                                                              \
	{                                                                                                    \
		int at = (point);                                                                            \
		type result;                                                                                 \
                                                                                                             \
		pass(at);                                                                                    \
		result = __real_##fn args;                                                                   \
		pass_after(at);                                                                              \
		return result;                                                                               \
	}

#define WRAP_VOID(fn, point, params, args)                                                                   \
	__typeof__(fn) __real_##fn, __wrap_##fn;                                                             \
	void __wrap_##fn params                                                                              \
	{                                                                                                    \
		int at = (point);                                                                            \
                                                                                                             \
		pass(at);                                                                                    \
		__real_##fn args;                                                                            \
		pass_after(at);                                                                              \
	}

/* --- the store --- */

static int
letter_point(enum store_letter_kind kind)
{
	switch (kind) {
	case STORE_LETTER_ATTEMPT:
		return P_put_letter_attempt;
	case STORE_LETTER_AGAIN:
		return P_put_letter_again;
	case STORE_LETTER_DONE:
		return P_put_letter_done;
	case STORE_LETTER_DISCARD:
		return P_put_letter_discard;
	case STORE_LETTER_CUT:
		return P_put_letter_cut;
	default:
		return NOWHERE;
	}
}

WRAP(store_put_stream, int64_t, P_put_stream, (struct store * s, const struct store_stream *row), (s, row))
WRAP(store_put_outbox, int64_t, P_put_outbox, (struct store * s, uint8_t class, struct batch *b),
    (s, class, b))
WRAP(store_put_inbox, int64_t, P_put_inbox, (struct store * s, uint8_t class, struct batch *b, uint64_t node),
    (s, class, b, node))
WRAP(store_put_processed, int64_t, P_put_processed,
    (struct store * s, uint8_t class, const struct ulid *id, uint64_t src, uint64_t dst, uint64_t first,
	uint64_t last),
    (s, class, id, src, dst, first, last))
WRAP(store_put_processed_letters, int64_t, count > 0 ? P_put_processed_letters : P_put_processed,
    (struct store * s, uint8_t class, const struct ulid *id, uint64_t src, uint64_t dst, uint64_t first,
	uint64_t last, const struct store_letter *rows, size_t count),
    (s, class, id, src, dst, first, last, rows, count))
WRAP(store_put_letter, int64_t, letter_point(row->kind),
    (struct store * s, uint8_t class, const struct store_letter *row), (s, class, row))
WRAP(store_put_skipped, int64_t, P_put_skipped,
    (struct store * s, uint8_t class, const struct ulid *id, uint64_t src, uint64_t dst, uint64_t first,
	uint64_t last),
    (s, class, id, src, dst, first, last))
WRAP(store_put_outbox_clear, int64_t, P_put_outbox_clear,
    (struct store * s, uint8_t class, const struct ulid *id, uint64_t upto), (s, class, id, upto))
WRAP(store_put_inbox_clear, int64_t, P_put_inbox_clear,
    (struct store * s, uint8_t class, const struct ulid *id, uint64_t upto), (s, class, id, upto))
WRAP(store_put_node, int64_t, P_put_node, (struct store * s, const struct store_node *row), (s, row))
WRAP(store_put_topology, int64_t, P_put_topology,
    (struct store * s, const struct store_link *links, size_t count), (s, links, count))
WRAP(store_put_raft, int64_t, P_put_raft, (struct store * s, const struct store_raft *row), (s, row))
WRAP(store_put_raft_drop, int64_t, P_put_raft_drop,
    (struct store * s, const uint8_t group[STORE_GROUP_BYTES]), (s, group))
WRAP(store_put_mesh, int64_t, P_put_mesh, (struct store * s, const struct store_mesh *row), (s, row))
WRAP(store_put_config, int64_t, P_put_config, (struct store * s, const struct store_config *row), (s, row))
WRAP(store_put_config_clear, int64_t, P_put_config_clear, (struct store * s), (s))
WRAP(store_put_note, int64_t, P_put_note, (struct store * s, const struct store_note *row), (s, row))
WRAP(store_put_position, int64_t, P_put_position, (struct store * s, const struct store_position *row),
    (s, row))
WRAP(store_put_rule, int64_t, P_put_rule, (struct store * s, const struct store_rule *row), (s, row))
WRAP(store_next_incarnation, uint64_t, P_put_incarnation, (struct store * s), (s))
WRAP(store_migrate_ask, int, P_migrate, (struct store * s), (s))
WRAP(witness_put, int, P_witness_put, (struct witness * w, const struct witness_note *note, bool sync),
    (w, note, sync))

static bool flush_written; /* what leaves next is a flush */

int __real_store_flush_send(const struct store_flush *f, struct pg_conn *pg, struct buf *scratch,
    uint32_t row_type, const char *instance, uint64_t incarnation);
int __wrap_store_flush_send(const struct store_flush *f, struct pg_conn *pg, struct buf *scratch,
    uint32_t row_type, const char *instance, uint64_t incarnation);

int
__wrap_store_flush_send(const struct store_flush *f, struct pg_conn *pg, struct buf *scratch,
    uint32_t row_type, const char *instance, uint64_t incarnation)
{
	int err;

	pass(P_flush_write);
	err = __real_store_flush_send(f, pg, scratch, row_type, instance, incarnation);
	flush_written = err == 0;
	pass(P_flush_write_after);
	return err;
}

static int
leaving(void)
{
	bool flush = flush_written;

	flush_written = false;
	return flush ? P_flush_leave : NOWHERE;
}

WRAP_VOID(store_conn_await, leaving(), (struct store_conn * c, store_result_fn *fn), (c, fn))
WRAP_VOID(store_flush_free, P_flush_done, (struct store_flush * f), (f))

/* --- what is durable --- */

WRAP_VOID(order_durable, P_durable,
    (struct order * o, uint64_t ticket, struct mono now, void (*done)(void *arg, const struct order_entry *e),
	void *arg),
    (o, ticket, now, done, arg))
WRAP_VOID(source_row_durable, P_durable_stream_row, (struct stream * st, uint64_t state), (st, state))
WRAP_VOID(sink_row_durable, P_durable_target_row, (struct target * t, uint64_t state), (t, state))
WRAP_VOID(source_outbox_durable, P_durable_outbox, (struct stream * st), (st))
WRAP_VOID(sink_inbox_durable, P_durable_inbox, (struct target * t), (t))
WRAP_VOID(sink_processed_durable, P_durable_processed, (struct target * t, uint64_t seq), (t, seq))
WRAP_VOID(source_flow_recorded, P_durable_recorded, (struct flow * f), (f))
WRAP_VOID(source_skip_durable, P_durable_skipped, (struct stream * st, uint64_t upto), (st, upto))
WRAP_VOID(api_dead_durable, P_durable_letter, (void *arg), (arg))
WRAP_VOID(api_control_durable, P_durable_control, (struct api * a, uint64_t call), (a, call))
WRAP_VOID(bulletin_durable, P_durable_note, (struct bulletin * b, uint64_t position), (b, position))
WRAP_VOID(raft_durable, P_durable_raft, (struct raft * r, uint64_t mark, struct mono now), (r, mark, now))

/* --- frames and messages --- */

static int
frame_point(uint32_t msg_type)
{
	switch (msg_type) {
	case mesh_e2e_MsgType_MSG_ACK:
		return P_send_ack;
	case mesh_e2e_MsgType_MSG_OPEN:
		return P_send_open;
	case mesh_e2e_MsgType_MSG_CHALLENGE:
		return P_send_challenge;
	case mesh_e2e_MsgType_MSG_OPENED:
		return P_send_opened;
	case mesh_e2e_MsgType_MSG_REFUSED:
		return P_send_refused;
	case mesh_e2e_MsgType_MSG_UNKNOWN_STREAM:
		return P_send_unknown;
	case mesh_e2e_MsgType_MSG_SKIP:
		return P_send_skip;
	case mesh_e2e_MsgType_MSG_CLOSE:
		return P_send_close;
	case mesh_e2e_MsgType_MSG_CLOSED:
		return P_send_closed;
	default:
		return NOWHERE;
	}
}

static int
message_point(enum peers_kind kind)
{
	switch (kind) {
	case PEERS_RAFT:
		return P_send_raft;
	case PEERS_ASK:
		return P_send_ask;
	case PEERS_ANSWER:
		return P_send_answer;
	case PEERS_APPLIED:
		return P_send_applied;
	case PEERS_NOTES:
		return P_send_notes;
	default:
		return NOWHERE;
	}
}

WRAP_VOID(transport_send, frame_point(h->msg_type),
    (struct transport * t, mesh_e2e_Header *h, uint64_t node, const void *payload, size_t len),
    (t, h, node, payload, len))
WRAP_VOID(transport_send_batch, P_send_batch,
    (struct transport * t, const struct batch *b, const struct store_stream *row, uint64_t node,
	uint64_t ack),
    (t, b, row, node, ack))
WRAP(transport_turn, bool, P_frames_out, (struct transport * t), (t))
WRAP(peers_send, int, message_point(kind),
    (struct peers * p, uint64_t node, enum peers_kind kind, enum peers_class class, const struct iovec *parts,
	int count),
    (p, node, kind, class, parts, count))
WRAP_VOID(raft_step, P_raft_step, (struct raft * r, struct raft_msg *m, struct mono now), (r, m, now))
WRAP(mcg_apply, int, P_apply, (struct mcg * m, struct raft_entry *e, struct mcg_result *out), (m, e, out))
WRAP(dsg_apply, int, P_apply_stream, (struct dsg * d, const uint8_t *data, size_t len), (d, data, len))
WRAP_VOID(raft_applied, P_raft_applied, (struct raft * r, uint64_t index), (r, index))

/* --- the application's tables --- */

WRAP(dbsink_batch, bool, P_db_batch, (struct dbsink * d), (d))
WRAP_VOID(dbline_send, P_db_send, (struct dbline * l, dbline_fn *done), (l, done))
WRAP(dbsink_take_current, struct dbsink *, P_db_answer, (struct dbsinks * all), (all))

/* --- applications --- */

static int
item_point(const struct call *c)
{
	return c->kind == CALL_PUBLISH     ? P_answer_confirmed
	       : c->kind == CALL_SUBSCRIBE ? P_answer_message
					   : NOWHERE;
}

WRAP(sink_ack, int, P_take_ack, (struct sink * s, uint64_t seq), (s, seq))
WRAP_VOID(call_item, item_point(c), (struct call * c, const struct iovec *iov, int n), (c, iov, n))
WRAP_VOID(call_reply, P_answer_unary, (struct call * c, const void *body, size_t len), (c, body, len))
WRAP(cache_ids_add, int, P_cache_add,
    (struct cache_ids * c, const struct ulid *stream, const struct cache_id *ids, size_t count),
    (c, stream, ids, count))
