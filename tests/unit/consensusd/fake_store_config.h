/*
 * fake_store_config: rules of operators, keys of tenants and the mesh's configuration in fake_store.h, which
 * includes this.
 */
#ifndef TESTS_UNIT_CONSENSUSD_FAKE_STORE_CONFIG_H
#define TESTS_UNIT_CONSENSUSD_FAKE_STORE_CONFIG_H

#include "tests/unit/consensusd/fake_store.h"

static bool
fake_same_rule(const struct control *a, const struct control *b)
{
	return a->kind == b->kind && a->side == b->side &&
	       memcmp(&a->scope, &b->scope, sizeof(a->scope)) == 0;
}

int64_t
store_put_rule(struct store *s, const struct store_rule *row)
{
	struct fake_db *d = s->db;
	size_t i = 0;

	while (i < d->rule_count && !fake_same_rule(&d->rules[i], &row->control))
		i++;
	if (row->drop && i < d->rule_count) {
		d->rules[i] = d->rules[--d->rule_count];
	} else if (!row->drop) {
		MUST(i < FAKE_RULES);
		d->rules[i] = row->control;
		d->rule_count += i == d->rule_count;
	}
	return fake_put(s, (struct fake_put){.kind = FAKE_OTHER});
}

/* Durable at once: a key that is there early does no harm. */
int64_t
store_put_key(struct store *s, const struct store_key *row)
{
	struct fake_db *d = s->db;
	size_t i = 0;

	while (i < d->key_count && (strcmp(d->keys[i].tenant_id, row->tenant_id) != 0 ||
				       memcmp(d->keys[i].key_id, row->key_id, sizeof(row->key_id)) != 0))
		i++;
	MUST(i < FAKE_KEYS);
	d->keys[i] = *row;
	d->key_count += i == d->key_count;
	return fake_put(s, (struct fake_put){.kind = FAKE_OTHER});
}

int64_t
store_put_config(struct store *s, const struct store_config *row)
{
	struct fake_change *c = calloc(1, sizeof(*c));

	MUST(c != NULL && strlen(row->key) < sizeof(c->key));
	c->row = *row;
	memcpy(c->key, row->key, strlen(row->key));
	c->row.key = c->key;
	if (row->json != NULL)
		c->row.json = c->json = fake_copy(row->json, row->len);
	return fake_put(s, (struct fake_put){.kind = FAKE_CHANGE, .change = c});
}

int64_t
store_put_config_clear(struct store *s)
{
	return fake_put(s, (struct fake_put){.kind = FAKE_CHANGES_CLEAR});
}

/* Answered at once: a caller has to bear that, too. */
int
store_read_config_history(
    struct store *s, const char *key, bool prefix, size_t limit, store_config_fn *fn, void *arg)
{
	if (!s->ready)
		return ERR_UNAVAIL;
	for (size_t i = s->db->change_count; i-- > 0 && limit > 0;) {
		const struct fake_change *c = s->db->changes[i];

		if (prefix ? strncmp(c->key, key, strlen(key)) != 0 : strcmp(c->key, key) != 0)
			continue;
		fn(arg, &c->row, 0);
		limit--;
	}
	fn(arg, NULL, 0);
	return 0;
}

#endif
