#include "routerd/core/swim_user.h"

#include <string.h>

#include "common/base/err.h"
#include "common/base/id.h"
#include "common/base/mem.h"
#include "routerd/core/swim_impl.h"

void
swim_user_fini(struct swim *s)
{
	mem_free(s->users.table);
	s->users.table = NULL;
}

static struct swim_user_table *
table_get(struct swim *s)
{
	if (s->users.table == NULL && (s->users.table = mem_calloc(1, sizeof(*s->users.table))) == NULL)
		s->counters.memory_out++;
	return s->users.table;
}

void
swim_user_witness(struct swim *s, uint64_t ltime)
{
	struct swim_users *u = &s->users;

	/* A newcomer takes any clock; later ones may not jump. */
	if (ltime > u->clock && ltime < UINT64_MAX / 2 &&
	    (u->clock == 0 || ltime - u->clock <= SWIM_CLOCK_JUMP_MAX))
		u->clock = ltime;
}

static uint64_t
event_key(uint64_t ltime, uint64_t node, uint32_t id)
{
	uint64_t h = ltime * 0x9e3779b97f4a7c15u ^ node;

	h = (h ^ h >> 29) * 0xbf58476d1ce4e5b9u + id;
	return (h ^ h >> 32) * 0x94d049bb133111ebu;
}

/* Is it new?  Then it is known from now on. */
static bool
remember(struct swim *s, uint64_t ltime, uint64_t key)
{
	struct swim_user_slot *slot = &s->users.table->slots[ltime % SWIM_EVENT_WINDOW];

	if (slot->ltime != ltime)
		*slot = (struct swim_user_slot){.ltime = ltime};
	for (size_t i = 0; i < slot->count; i++)
		if (slot->keys[i] == key)
			return false;
	if (slot->count == SWIM_EVENT_SLOT) {
		s->counters.events_dropped++;
		return false;
	}
	slot->keys[slot->count++] = key;
	return true;
}

/* Is it of a time that can still be judged? */
static bool
timely(struct swim *s, uint64_t ltime)
{
	uint64_t clock = s->users.clock;

	if (ltime + SWIM_EVENT_WINDOW > clock && ltime != 0 && ltime < UINT64_MAX / 2 &&
	    (clock == 0 || ltime <= clock + SWIM_CLOCK_JUMP_MAX))
		return true;
	s->counters.events_dropped++;
	return false;
}

static int
user_compare(const struct swim_user *a, const struct swim_user *b)
{
	if (a->ltime != b->ltime)
		return a->ltime < b->ltime ? -1 : 1;
	if (a->node != b->node)
		return a->node < b->node ? -1 : 1;
	return a->id < b->id ? -1 : a->id > b->id;
}

static void
tell(struct swim *s, const struct swim_user *u)
{
	const struct swim_user_event ev = {u->ltime, u->node, u->name, u->payload, u->len};

	s->ops->user_event(s->arg, &ev);
}

static void
push(struct swim *s, const struct swim_user *u)
{
	struct swim_user_table *t = s->users.table;
	size_t i;

	if (t->pending_count == SWIM_EVENTS_PENDING) {
		tell(s, &t->pending[0]);
		t->pending_count--;
		memmove(&t->pending[0], &t->pending[1], t->pending_count * sizeof(t->pending[0]));
	}
	for (i = t->pending_count; i > 0 && user_compare(&t->pending[i - 1], u) > 0; i--)
		t->pending[i] = t->pending[i - 1];
	t->pending[i] = *u;
	t->pending_count++;
}

static void
keep(struct swim_user_table *t, const struct swim_user *u)
{
	t->recent[t->recent_next] = *u;
	t->recent_next = (t->recent_next + 1) % SWIM_EVENTS_RECENT;
	if (t->recent_count < SWIM_EVENTS_RECENT)
		t->recent_count++;
}

static void
user_message(const struct swim_user *u, struct swim_msg *out)
{
	*out = (struct swim_msg){
	    .kind = SWIM_USER_EVENT,
	    .ltime = u->ltime,
	    .node = u->node,
	    .id = u->id,
	    .data = u->payload,
	    .data_len = u->len,
	};
	memcpy(out->name, u->name, sizeof(out->name));
}

/* All members shall have it. */
static int
spread(struct swim *s, const struct swim_user *u)
{
	uint8_t mem[SWIM_MSG_HEAD_BYTES + SWIM_EVENT_MAX_BYTES + 128];
	struct swim_msg m;
	struct buf b;

	user_message(u, &m);
	buf_init_fixed(&b, mem, sizeof(mem));
	MUST(swim_msg_put(&b, &m) == 0);
	return swim_broadcasts_put(&s->broadcasts, SWIM_TOPIC_NONE, 0, buf_head(&b), buf_left(&b));
}

static void
user_of(const struct swim_msg *m, struct swim_user *out)
{
	memset(out, 0, sizeof(*out));
	out->ltime = m->ltime;
	out->node = m->node;
	out->id = m->id;
	out->key = event_key(m->ltime, m->node, m->id);
	out->len = m->data_len;
	memcpy(out->name, m->name, sizeof(out->name));
	if (m->data_len != 0)
		memcpy(out->payload, m->data, m->data_len);
}

void
swim_user_message(struct swim *s, const struct swim_msg *m)
{
	struct swim_user u;

	if (!timely(s, m->ltime) || table_get(s) == NULL)
		return;
	user_of(m, &u);
	if (!remember(s, u.ltime, u.key))
		return;
	swim_user_witness(s, u.ltime);
	s->counters.events_received++;
	keep(s->users.table, &u);
	push(s, &u);
	if (spread(s, &u) != 0)
		s->counters.memory_out++; /* push/pull will bring it to others */
}

int
swim_user_event(struct swim *s, const char *name, const uint8_t *payload, size_t len, struct mono now)
{
	struct swim_users *users = &s->users;
	struct swim_user u = {0};
	int err;

	(void)now;
	if (!node_name_valid(name) || len > SWIM_EVENT_MAX_BYTES)
		return ERR_RANGE;
	if (s->self == NULL)
		return ERR_STATE;
	if (table_get(s) == NULL)
		return ERR_NOMEM;
	u.ltime = users->clock + 1;
	u.node = s->self->node;
	u.id = users->id + 1;
	u.key = event_key(u.ltime, u.node, u.id);
	u.len = (uint16_t)len;
	memcpy(u.name, name, strlen(name) + 1);
	if (len != 0)
		memcpy(u.payload, payload, len);
	if ((err = spread(s, &u)) != 0)
		return err;
	users->clock++;
	users->id++;
	(void)remember(s, u.ltime, u.key);
	keep(users->table, &u);
	push(s, &u);
	return 0;
}

void
swim_user_step(struct swim *s)
{
	struct swim_user_table *t = s->users.table;

	if (t == NULL)
		return;
	for (size_t i = 0; i < t->pending_count; i++)
		tell(s, &t->pending[i]);
	t->pending_count = 0;
}

bool
swim_user_waiting(const struct swim *s)
{
	return s->users.table != NULL && s->users.table->pending_count != 0;
}

uint64_t
swim_user_sum(const struct swim *s)
{
	const struct swim_user_table *t = s->users.table;
	uint64_t sum = 0;

	for (size_t i = 0; t != NULL && i < t->recent_count; i++)
		sum += t->recent[i].key;
	return sum;
}

void
swim_user_send_recent(struct swim *s, uint64_t to)
{
	const struct swim_user_table *t = s->users.table;
	struct swim_msg m;

	for (size_t i = 0; t != NULL && i < t->recent_count; i++) {
		user_message(&t->recent[i], &m);
		swim_send_add(s, to, &m);
	}
}
