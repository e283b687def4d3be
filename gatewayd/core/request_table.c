/* request_table: see request_table.h. */
#include "gatewayd/core/request_table.h"

#include "common/base/err.h"
#include "common/base/mem.h"

enum { SLOTS_FIRST = 64 };

void
request_table_init(struct request_table *t, size_t max)
{
	MUST(max > 0 && max <= REQUEST_TABLE_MAX);
	*t = (struct request_table){.max = max};
}

void
request_table_fini(struct request_table *t)
{
	mem_free(t->slots);
	*t = (struct request_table){0};
}

static int
table_grow(struct request_table *t)
{
	size_t cap = t->cap == 0 ? SLOTS_FIRST : t->cap * 2;
	struct request_slot *slots;

	if (cap > t->max)
		cap = t->max;
	slots = mem_reallocarray(t->slots, cap, sizeof(*slots));
	if (slots == NULL)
		return ERR_NOMEM;
	t->slots = slots;
	for (size_t i = cap; i-- > t->cap;) {
		slots[i] = (struct request_slot){.generation = 1, .next_free = t->first_free};
		t->first_free = (uint16_t)(i + 1);
	}
	t->cap = cap;
	return 0;
}

int
request_table_add(struct request_table *t, void *value, uint32_t *id)
{
	struct request_slot *s;
	uint16_t number;
	int rc;

	MUST(value != NULL);
	if (t->count >= t->max)
		return ERR_FULL;
	if (t->first_free == 0 && (rc = table_grow(t)) != 0)
		return rc;
	number = t->first_free;
	s = &t->slots[number - 1];
	t->first_free = s->next_free;
	s->value = value;
	t->count++;
	*id = (uint32_t)s->generation << 16 | number;
	return 0;
}

static struct request_slot *
slot_of(const struct request_table *t, uint32_t id)
{
	size_t number = id & 0xFFFF;

	if (number == 0 || number > t->cap)
		return NULL;
	if (t->slots[number - 1].value == NULL || t->slots[number - 1].generation != id >> 16)
		return NULL;
	return &t->slots[number - 1];
}

void *
request_table_get(const struct request_table *t, uint32_t id)
{
	struct request_slot *s = slot_of(t, id);

	return s != NULL ? s->value : NULL;
}

void *
request_table_del(struct request_table *t, uint32_t id)
{
	struct request_slot *s = slot_of(t, id);
	void *value;

	if (s == NULL)
		return NULL;
	value = s->value;
	s->value = NULL;
	s->generation++;
	s->next_free = t->first_free;
	t->first_free = (uint16_t)(id & 0xFFFF);
	t->count--;
	return value;
}
