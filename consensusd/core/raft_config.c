#include "consensusd/core/raft_config.h"

#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"

/* --- making them --- */

static bool
role_valid(uint8_t role)
{
	switch (role) {
	case RAFT_VOTER:
	case RAFT_OLD_VOTER:
	case RAFT_VOTER | RAFT_OLD_VOTER:
	case RAFT_LEARNER:
	case RAFT_LEARNER | RAFT_OLD_VOTER:
		return true;
	default:
		return false;
	}
}

static size_t
voters(const struct raft_config *c, uint8_t role)
{
	size_t n = 0;

	for (size_t i = 0; i < c->count; i++)
		n += (c->members[i].role & role) != 0;
	return n;
}

static int
check(const struct raft_config *c)
{
	for (size_t i = 0; i < c->count; i++) {
		const struct raft_member *m = &c->members[i];

		if (m->id == 0 || !role_valid(m->role) || (i != 0 && c->members[i - 1].id >= m->id))
			return ERR_RANGE;
	}
	if (voters(c, RAFT_VOTER) > RAFT_VOTERS_MAX || voters(c, RAFT_OLD_VOTER) > RAFT_VOTERS_MAX ||
	    (c->count != 0 && voters(c, RAFT_VOTER) == 0))
		return ERR_RANGE;
	return 0;
}

static struct raft_config *
blank(size_t count)
{
	return mem_calloc(1, sizeof(struct raft_config) + count * sizeof(struct raft_member));
}

/* Ids ascend mostly when they come: insertion is cheap. */
static void
insert(struct raft_config *c, const struct raft_member *m)
{
	size_t i = c->count++;

	for (; i != 0 && c->members[i - 1].id > m->id; i--)
		c->members[i] = c->members[i - 1];
	c->members[i] = *m;
}

static int
finish(struct raft_config *c, struct raft_config **out)
{
	int err = check(c);

	if (err != 0) {
		raft_config_free(c);
		return err;
	}
	*out = c;
	return 0;
}

int
raft_config_new(const struct raft_member *members, size_t count, struct raft_config **out)
{
	struct raft_config *c;

	if (count > RAFT_MEMBERS_MAX)
		return ERR_RANGE;
	if ((c = blank(count)) == NULL)
		return ERR_NOMEM;
	for (size_t i = 0; i < count; i++)
		insert(c, &members[i]);
	return finish(c, out);
}

void
raft_config_free(struct raft_config *c)
{
	mem_free(c);
}

/* --- asking --- */

const struct raft_member *
raft_config_get(const struct raft_config *c, uint64_t id)
{
	size_t low = 0, high = c->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (c->members[middle].id < id)
			low = middle + 1;
		else
			high = middle;
	}
	return low < c->count && c->members[low].id == id ? &c->members[low] : NULL;
}

bool
raft_config_joint(const struct raft_config *c)
{
	return voters(c, RAFT_OLD_VOTER) != 0;
}

static bool
votes(const struct raft_config *c, uint64_t id)
{
	const struct raft_member *m = raft_config_get(c, id);

	return m != NULL && (m->role & RAFT_VOTER) != 0;
}

bool
raft_config_same_voters(const struct raft_config *a, const struct raft_config *b)
{
	for (size_t i = 0; i < a->count; i++)
		if ((a->members[i].role & RAFT_VOTER) != 0 && !votes(b, a->members[i].id))
			return false;
	return voters(a, RAFT_VOTER) == voters(b, RAFT_VOTER);
}

/* --- steps of a change --- */

int
raft_config_between(const struct raft_config *from, const struct raft_config *to, struct raft_config **out)
{
	struct raft_config *c;

	if (raft_config_joint(from) || raft_config_joint(to) || to->count == 0)
		return ERR_RANGE;
	if ((c = blank(from->count + to->count)) == NULL)
		return ERR_NOMEM;
	for (size_t i = 0; i < to->count; i++) {
		struct raft_member m = to->members[i];

		m.role |= votes(from, m.id) ? RAFT_OLD_VOTER : 0;
		insert(c, &m);
	}
	for (size_t i = 0; i < from->count; i++) {
		struct raft_member m = from->members[i];

		m.role = RAFT_OLD_VOTER;
		if (votes(from, m.id) && raft_config_get(to, m.id) == NULL)
			insert(c, &m);
	}
	if (c->count > RAFT_MEMBERS_MAX) {
		raft_config_free(c);
		return ERR_RANGE;
	}
	return finish(c, out);
}

int
raft_config_after(const struct raft_config *joint, struct raft_config **out)
{
	struct raft_config *c = blank(joint->count);

	if (c == NULL)
		return ERR_NOMEM;
	for (size_t i = 0; i < joint->count; i++) {
		struct raft_member m = joint->members[i];

		m.role &= (uint8_t)~RAFT_OLD_VOTER;
		if (m.role != 0)
			insert(c, &m);
	}
	return finish(c, out);
}

/* --- bytes --- */

int
raft_config_encode(const struct raft_config *c, struct buf *out)
{
	int err;

	if ((err = buf_put_u8(out, RAFT_CONFIG_VERSION)) != 0 ||
	    (err = buf_put_u16(out, (uint16_t)c->count)) != 0)
		return err;
	for (size_t i = 0; i < c->count; i++) {
		const struct raft_member *m = &c->members[i];

		if ((err = buf_put_u64(out, m->id)) != 0 || (err = buf_put_u64(out, m->node)) != 0 ||
		    (err = buf_put_u8(out, m->role)) != 0)
			return err;
	}
	return 0;
}

static int
decode_head(struct buf *in, size_t *count)
{
	uint8_t version;
	uint16_t n;
	int err;

	if ((err = buf_get_u8(in, &version)) != 0)
		return err;
	if (version != RAFT_CONFIG_VERSION)
		return ERR_VERSION;
	if ((err = buf_get_u16(in, &n)) != 0)
		return err;
	*count = n;
	if (n > RAFT_MEMBERS_MAX)
		return ERR_RANGE;
	return buf_left(in) < n * (size_t)RAFT_MEMBER_BYTES ? ERR_SHORT : 0;
}

int
raft_config_decode(const uint8_t *data, size_t len, struct raft_config **out)
{
	struct raft_config *c;
	struct buf in;
	size_t count;
	int err;

	buf_view(&in, data, len);
	if ((err = decode_head(&in, &count)) != 0)
		return err;
	if (buf_left(&in) != count * (size_t)RAFT_MEMBER_BYTES)
		return ERR_LEFTOVER;
	if ((c = blank(count)) == NULL)
		return ERR_NOMEM;
	for (; c->count < count; c->count++) {
		struct raft_member *m = &c->members[c->count];

		MUST(buf_get_u64(&in, &m->id) == 0 && buf_get_u64(&in, &m->node) == 0 &&
		     buf_get_u8(&in, &m->role) == 0);
	}
	/* Out of order is refused, too: there is one encoding of each. */
	return finish(c, out);
}
