#include "transportd/core/keytab.h"

#include <string.h>

#include "common/base/mem.h"

void
keytab_init(struct keytab *t, uint64_t seed)
{
	memset(t, 0, sizeof(*t));
	t->seed = seed;
	t->slots = t->few;
	t->cap = KEYTAB_FEW;
}

static void
slots_free(struct keytab *t)
{
	if (t->slots != t->few)
		mem_free(t->slots);
}

void
keytab_fini(struct keytab *t)
{
	slots_free(t);
	keytab_init(t, t->seed);
}

/* The finalizer of SplitMix64 (Steele et al. 2014): each bit depends on all of them. */
static uint64_t
mix(uint64_t h)
{
	h = (h ^ h >> 30) * 0xbf58476d1ce4e5b9ULL;
	h = (h ^ h >> 27) * 0x94d049bb133111ebULL;
	return h ^ h >> 31;
}

/* One after the other: were both added to the seed at once, the same pairs would meet whatever it is. */
uint32_t
keytab_hash(const struct keytab *t, uint64_t src, uint32_t id)
{
	return (uint32_t)(mix(mix(src ^ t->seed) ^ id) >> 32);
}

static struct keytab_node **
slot(const struct keytab *t, uint64_t src, uint32_t id)
{
	return &t->slots[keytab_hash(t, src, id) & (t->cap - 1)];
}

struct keytab_node *
keytab_get(const struct keytab *t, uint64_t src, uint32_t id)
{
	struct keytab_node *n = *slot(t, src, id);

	while (n != NULL && (n->src != src || n->id != id))
		n = n->next;
	return n;
}

static void
link_node(struct keytab *t, struct keytab_node *n)
{
	struct keytab_node **at = slot(t, n->src, n->id);

	n->next = *at;
	*at = n;
}

static void
grow(struct keytab *t)
{
	struct keytab old = *t;
	struct keytab_node **slots = mem_calloc(old.cap * 2, sizeof(struct keytab_node *));

	if (slots == NULL)
		return;
	t->slots = slots;
	t->cap = old.cap * 2;
	if (old.slots == t->few)
		old.slots = old.few;
	for (size_t i = 0; i < old.cap; i++)
		for (struct keytab_node *n = old.slots[i], *next; n != NULL; n = next) {
			next = n->next;
			link_node(t, n);
		}
	slots_free(&old);
}

void
keytab_add(struct keytab *t, struct keytab_node *n)
{
	if (t->count == t->cap)
		grow(t);
	link_node(t, n);
	t->count++;
}

void
keytab_del(struct keytab *t, struct keytab_node *n)
{
	struct keytab_node **at = slot(t, n->src, n->id);

	while (*at != n)
		at = &(*at)->next;
	*at = n->next;
	n->next = NULL;
	if (--t->count == 0)
		keytab_fini(t);
}

struct keytab_node *
keytab_next(const struct keytab *t, const struct keytab_node *n)
{
	size_t i = 0;

	if (n != NULL) {
		if (n->next != NULL)
			return n->next;
		i = (size_t)(slot(t, n->src, n->id) - t->slots) + 1;
	}
	while (i < t->cap && t->slots[i] == NULL)
		i++;
	return i < t->cap ? t->slots[i] : NULL;
}

size_t
keytab_memory(const struct keytab *t)
{
	return t->slots == t->few ? 0 : t->cap * sizeof(struct keytab_node *);
}
