/* Any bytes are a message between replicas, which is written as it was read, or an error; and no message, in
 * whatever role it comes, makes a replica fail. */
#include "tests/fuzz/fuzz.h"

#include "common/base/buf.h"
#include "common/base/err.h"
#include "consensusd/core/raft.h"
#include "consensusd/core/raft_entry.h"
#include "consensusd/core/raft_msg.h"

enum { MAX_BYTES = 1 << 20, SELF = 1 };

static struct raft *
replica(void)
{
	static const struct raft_member members[] = {
	    {SELF, 1, RAFT_VOTER}, {2, 2, RAFT_VOTER}, {3, 3, RAFT_LEARNER}};
	const struct raft_conf conf = {
	    .set = {100000, 10000, 1000000, 4096, 16384, 65536, 4096, 1024},
	    .id = SELF,
	    .node = 1,
	    .seed = 1,
	};
	struct raft_config *config;
	struct raft_state state = {.term = 1};
	struct raft *r;

	FUZZ_CHECK(raft_config_new(members, 3, &config) == 0);
	state.snap_config = config;
	FUZZ_CHECK(raft_new(&conf, &state, MONO_ZERO, &r) == 0);
	raft_config_free(config);
	return r;
}

static void
effects(struct raft *r)
{
	struct raft_persist p;
	struct raft_chunk chunk;
	struct raft_chunk_wanted want;
	struct raft_msg m;
	uint64_t a, b;

	while (raft_chunk_next(r, &want))
		raft_chunk_give(r, &want, NULL, MONO_ZERO);
	while (raft_chunk_came(r, &chunk))
		raft_chunk_kept(r, chunk.id, true, MONO_ZERO);
	while (raft_persist(r, &p))
		raft_durable(r, p.mark, MONO_ZERO);
	while (raft_apply(r, &a, &b))
		raft_applied(r, b);
	while (raft_read_next(r, &a, &b))
		;
	while (raft_send(r, &m))
		raft_msg_fini(&m);
}

/* The first byte says which role the replica has; then messages, each with its length (u16). */
static void
feed(struct raft *r, const uint8_t *data, size_t size)
{
	while (size >= 2) {
		size_t len = (size_t)(data[0] << 8 | data[1]);
		struct raft_msg m;

		data += 2;
		size -= 2;
		len = len < size ? len : size;
		if (raft_msg_decode(data, len, &m) == 0) {
			m.to = SELF;
			raft_step(r, &m, MONO_ZERO);
			effects(r);
		}
		data += len;
		size -= len;
	}
}

static void
same_again(const uint8_t *data, size_t size)
{
	struct raft_msg m;
	struct buf out;

	if (raft_msg_decode(data, size, &m) != 0)
		return;
	buf_init(&out, MAX_BYTES);
	FUZZ_CHECK(raft_msg_encode(&m, &out) == 0);
	FUZZ_CHECK(buf_left(&out) == size && memcmp(buf_head(&out), data, size) == 0);
	buf_fini(&out);
	raft_msg_fini(&m);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct raft *r;

	if (size < 3)
		return 0;
	same_again(data + 3, size - 3);
	r = replica();
	if ((data[0] & 1) != 0) {
		/* Voted for by the other one, it leads. */
		struct raft_msg yes = {.kind = RAFT_PREVOTE_ANSWER, .to = SELF, .from = 2, .term = 2};

		raft_campaign(r, MONO_ZERO);
		raft_step(r, &yes, MONO_ZERO);
		effects(r);
		yes = (struct raft_msg){.kind = RAFT_VOTE_ANSWER, .to = SELF, .from = 2, .term = 2};
		raft_step(r, &yes, MONO_ZERO);
		effects(r);
	}
	feed(r, data + 1, size - 1);
	raft_free(r);
	return 0;
}
