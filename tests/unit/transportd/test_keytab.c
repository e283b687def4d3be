/* The table of streams and tenants: what it finds, and that a source can't choose numbers that meet. */
#include "transportd/core/keytab.h"

#include "tests/unit/unit.h"

enum { KEYS = 1024, SLOTS = 1024, SRC = 77 };

static void
finds_what_is_there(void **state)
{
	static struct keytab_node nodes[KEYS];
	struct keytab t;
	size_t seen = 0;

	(void)state;
	keytab_init(&t, 5);
	for (uint32_t i = 0; i < KEYS; i++) {
		nodes[i] = (struct keytab_node){.src = SRC + i / 2, .id = i % 2};
		assert_null(keytab_get(&t, nodes[i].src, nodes[i].id));
		keytab_add(&t, &nodes[i]);
	}
	for (struct keytab_node *n = keytab_next(&t, NULL); n != NULL; n = keytab_next(&t, n))
		seen++;
	assert_int_equal(seen, KEYS);
	assert_int_equal(keytab_memory(&t), KEYS * sizeof(struct keytab_node *));
	for (uint32_t i = 0; i < KEYS; i++) {
		assert_ptr_equal(keytab_get(&t, nodes[i].src, nodes[i].id), &nodes[i]);
		keytab_del(&t, &nodes[i]);
		assert_null(keytab_get(&t, nodes[i].src, nodes[i].id));
	}
	assert_int_equal(keytab_memory(&t), 0);
	/* Emptied, it hashes as before. */
	assert_int_equal(t.seed, 5);
	keytab_fini(&t);
}

/* The longest chain of the keys in a table of SLOTS. */
static unsigned
longest(const struct keytab *t, const struct keytab_node *keys)
{
	unsigned chain[SLOTS] = {0}, most = 0;

	for (size_t i = 0; i < KEYS; i++) {
		unsigned n = ++chain[keytab_hash(t, keys[i].src, keys[i].id) % SLOTS];

		most = n > most ? n : most;
	}
	return most;
}

/* Numbers that all meet in the table of one seed are spread by another. */
static void
numbers_that_meet(void **state)
{
	static struct keytab_node keys[KEYS];
	struct keytab known, other;
	uint32_t id = 0;

	(void)state;
	keytab_init(&known, 1);
	for (size_t i = 0; i < KEYS; id++)
		if (keytab_hash(&known, SRC, id) % SLOTS == 0)
			keys[i++] = (struct keytab_node){.src = SRC, .id = id};
	assert_int_equal(longest(&known, keys), KEYS);
	for (uint64_t seed = 2; seed < 66; seed++) {
		keytab_init(&other, seed);
		assert_in_range(longest(&other, keys), 1, 12);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(finds_what_is_there),
	    cmocka_unit_test(numbers_that_meet),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
