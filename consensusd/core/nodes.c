/* nodes: see nodes.h. */
#include "consensusd/core/nodes.h"

#include <string.h>

#include "common/base/mem.h"
#include "consensusd/core/limits.h"

enum { NODES_CAP_MIN = 64 };

void
nodes_init(struct nodes *d)
{
	*d = (struct nodes){0};
}

void
nodes_fini(struct nodes *d)
{
	for (size_t i = 0; i < d->count; i++)
		mem_free(d->all[i]);
	mem_free(d->all);
	mem_free(d->by_id);
	mem_free(d->by_name);
	nodes_init(d);
}

static uint32_t *
id_bucket(const struct nodes *d, uint64_t id)
{
	/* Node ids are hashes already. */
	return &d->by_id[id & (d->bucket_count - 1)];
}

static uint32_t *
name_bucket(const struct nodes *d, const char *name)
{
	uint64_t h = 0xcbf29ce484222325u; /* FNV-1a */

	for (; *name != '\0'; name++)
		h = (h ^ (uint8_t)*name) * 0x100000001b3u;
	return &d->by_name[(h ^ h >> 32) & (d->bucket_count - 1)];
}

static void
link_node(struct nodes *d, size_t i)
{
	struct node *n = d->all[i];
	uint32_t *id = id_bucket(d, n->id), *name = name_bucket(d, n->name);

	n->next_id = *id;
	*id = (uint32_t)i + 1;
	n->next_name = 0;
	if (n->name[0] == '\0')
		return;
	n->next_name = *name;
	*name = (uint32_t)i + 1;
}

static int
grow(struct nodes *d)
{
	size_t cap = d->cap == 0 ? NODES_CAP_MIN : d->cap * 2;
	struct node **all = mem_reallocarray(d->all, cap, sizeof(struct node *));
	uint32_t *by_id = mem_calloc(cap, sizeof(*by_id)), *by_name = mem_calloc(cap, sizeof(*by_name));

	if (all != NULL)
		d->all = all;
	if (all == NULL || by_id == NULL || by_name == NULL) {
		mem_free(by_id);
		mem_free(by_name);
		return -1;
	}
	mem_free(d->by_id);
	mem_free(d->by_name);
	d->by_id = by_id;
	d->by_name = by_name;
	d->cap = d->bucket_count = cap;
	for (size_t i = 0; i < d->count; i++)
		link_node(d, i);
	return 0;
}

struct node *
nodes_find(const struct nodes *d, uint64_t id)
{
	if (d->count == 0)
		return NULL;
	for (uint32_t i = *id_bucket(d, id); i != 0; i = d->all[i - 1]->next_id) {
		if (d->all[i - 1]->id == id)
			return d->all[i - 1];
	}
	return NULL;
}

struct node *
nodes_find_name(const struct nodes *d, const char *name)
{
	if (d->count == 0 || name[0] == '\0')
		return NULL;
	for (uint32_t i = *name_bucket(d, name); i != 0; i = d->all[i - 1]->next_name) {
		if (strcmp(d->all[i - 1]->name, name) == 0)
			return d->all[i - 1];
	}
	return NULL;
}

struct node *
nodes_get(struct nodes *d, uint64_t id)
{
	struct node *n = nodes_find(d, id);

	if (n != NULL)
		return n;
	if (d->count >= NODES_MAX || (d->count == d->cap && grow(d) != 0))
		return NULL;
	n = mem_calloc(1, sizeof(*n));
	if (n == NULL)
		return NULL;
	n->id = id;
	d->all[d->count] = n;
	link_node(d, d->count++);
	return n;
}

void
nodes_rename(struct nodes *d, struct node *n, const char *name)
{
	uint32_t *link, self = 0;

	if (strcmp(n->name, name) == 0 || strlen(name) >= sizeof(n->name))
		return;
	if (n->name[0] != '\0') {
		link = name_bucket(d, n->name);
		while (d->all[*link - 1] != n)
			link = &d->all[*link - 1]->next_name;
		*link = n->next_name;
	}
	memset(n->name, 0, sizeof(n->name));
	memcpy(n->name, name, strlen(name));
	n->next_name = 0;
	if (name[0] == '\0')
		return;
	for (uint32_t i = *id_bucket(d, n->id); i != 0; i = d->all[i - 1]->next_id) {
		if (d->all[i - 1] == n)
			self = i;
	}
	link = name_bucket(d, name);
	n->next_name = *link;
	*link = self;
}

struct node *
nodes_resolve(const struct nodes *d, const char *text)
{
	uint64_t id;
	struct node *n = NULL;

	if (nodeid_parse(text, &id) == 0)
		n = nodes_find(d, id);
	return n != NULL ? n : nodes_find_name(d, text);
}
