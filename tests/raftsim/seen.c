#include "tests/raftsim/seen.h"

#include <stdlib.h>
#include <uthash.h>

#include "tests/sim/queue.h"

enum kind { LEADER, VOTE, LOST, ENTRY };

struct fact {
	struct fact_key {
		uint64_t kind, a, b;
	} key;
	struct seen_entry value;
	UT_hash_handle hh;
};

struct seen {
	struct fact *facts;
};

struct seen *
seen_new(void)
{
	return sim_alloc(1, sizeof(struct seen));
}

void
seen_free(struct seen *s)
{
	struct fact *f, *next;

	HASH_ITER (hh, s->facts, f, next) {
		HASH_DEL(s->facts, f);
		free(f);
	}
	free(s);
}

static struct seen_entry *
get(struct seen *s, enum kind kind, uint64_t a, uint64_t b)
{
	struct fact_key key = {kind, a, b};
	struct fact *f;

	HASH_FIND(hh, s->facts, &key, sizeof(key), f);
	if (f == NULL) {
		f = sim_alloc(1, sizeof(*f));
		f->key = key;
		HASH_ADD(hh, s->facts, key, sizeof(key), f);
	}
	return &f->value;
}

uint64_t *
seen_leader(struct seen *s, uint64_t term)
{
	return &get(s, LEADER, term, 0)->hash;
}

uint64_t *
seen_vote(struct seen *s, uint64_t term, uint64_t voter)
{
	return &get(s, VOTE, term, voter)->hash;
}

uint64_t *
seen_lost(struct seen *s, uint64_t id)
{
	return &get(s, LOST, id, 0)->hash;
}

struct seen_entry *
seen_entry(struct seen *s, uint64_t term, uint64_t index)
{
	return get(s, ENTRY, term, index);
}
