/*
 * Random networks under random failures, from a seed: when it is quiet again every node must have the
 * best paths, and the same seed must give the same history.  ROUTERD_SEED=N runs one seed alone;
 * ROUTERD_SEEDS=N that many.  Then: a scenario in which each allocation fails once.
 */
#include "tests/unit/routerd/net.h"

static struct net net;

static void
random_links(int count)
{
	for (int i = 1; i < count; i++)
		net_connect(&net, i, (int)rng_below(&net.rng, (uint64_t)i),
		    100 + (uint32_t)rng_below(&net.rng, 40000));
	for (uint64_t extra = rng_below(&net.rng, (uint64_t)count); extra != 0; extra--) {
		int a = (int)rng_below(&net.rng, (uint64_t)count),
		    b = (int)rng_below(&net.rng, (uint64_t)count);

		if (a != b && !net_link(&net, a, b)->up)
			net_connect(&net, a, b, 100 + (uint32_t)rng_below(&net.rng, 40000));
	}
}

static void
flip_link(void)
{
	int a = (int)rng_below(&net.rng, (uint64_t)net.count),
	    b = (int)rng_below(&net.rng, (uint64_t)net.count);

	if (a == b)
		return;
	if (net_link(&net, a, b)->up)
		net_cut(&net, a, b);
	else
		net_connect(&net, a, b, 100 + (uint32_t)rng_below(&net.rng, 40000));
}

static void
flip_node(void)
{
	int i = (int)rng_below(&net.rng, (uint64_t)net.count);

	if (net.nodes[i].router == NULL)
		net_start(&net, i);
	else
		net_kill(&net, i);
}

static void
flip_signer(void)
{
	int i = (int)rng_below(&net.rng, (uint64_t)net.count);

	if (net.nodes[i].router == NULL)
		return;
	if (net.nodes[i].signer)
		net_signer_down(&net, i);
	else
		net_signer_up(&net, i);
}

static void
disturb(void)
{
	switch (rng_below(&net.rng, 8)) {
	case 0:
		flip_node();
		break;
	case 1:
		flip_signer();
		break;
	case 2:
		net.loss_percent = (unsigned)rng_below(&net.rng, 40);
		break;
	case 3:
		net.jitter_us = (unsigned)rng_below(&net.rng, 30000);
		break;
	default:
		flip_link();
	}
	net_run(&net, (int64_t)rng_below(&net.rng, 2 * NET_SECOND));
}

static void
calm(void)
{
	net.loss_percent = net.duplicate_percent = 0;
	for (int i = 0; i < net.count; i++) {
		if (net.nodes[i].router == NULL)
			net_start(&net, i);
		else if (!net.nodes[i].signer)
			net_signer_up(&net, i);
	}
	net_run(&net, 15 * NET_SECOND);
	/* Links that were damped are as good as others again. */
	for (int i = 0; i < net.count; i++) {
		struct router_summary sum;

		for (router_show(net.nodes[i].router, &sum); sum.links_damped != 0;
		     router_show(net.nodes[i].router, &sum))
			net_run(&net, NET_SECOND);
	}
	net_run(&net, NET_SECOND);
}

static uint64_t
history(uint64_t seed)
{
	uint64_t hash;

	net_init(&net, 0, seed);
	net.count = 3 + (int)rng_below(&net.rng, 14);
	for (int i = 0; i < net.count; i++)
		net.nodes[i] = (struct net_node){.net = &net, .index = i};
	net.duplicate_percent = (unsigned)rng_below(&net.rng, 20);
	net.conf.hysteresis_percent = seed % 2 == 0 ? 0 : 15;
	net.conf.paths_max = 1 + seed % ROUTE_PATHS_MAX;
	random_links(net.count);
	net_start_all(&net);
	for (int round = 0; round < 3; round++) {
		for (uint64_t n = 1 + rng_below(&net.rng, 15); n != 0; n--)
			disturb();
		calm();
		net_check(&net);
	}
	/* Longer than the periodic comparison: databases are equal, too. */
	net_run(&net, 120 * (int64_t)NET_SECOND);
	net_check(&net);
	net_check_equal(&net);
	hash = net.hash;
	net_fini(&net);
	return hash;
}

static void
test_seeds(void **state)
{
	const char *one = getenv("ROUTERD_SEED"), *many = getenv("ROUTERD_SEEDS");
	uint64_t first = one != NULL ? strtoull(one, NULL, 0) : 1;
	uint64_t last = one != NULL ? first : many != NULL ? strtoull(many, NULL, 0) : 40;

	(void)state;
	for (uint64_t seed = first; seed <= last; seed++) {
		uint64_t hash;

		printf("seed %llu\n", (unsigned long long)seed);
		hash = history(seed);
		if (history(seed) != hash)
			fail_msg("seed %llu has two histories", (unsigned long long)seed);
	}
}

/* --- failing allocations --- */

static unsigned long
scenario(unsigned long fail_at)
{
	unsigned long count;

	net_init(&net, 4, 5);
	net_start_all(&net);
	net_run(&net, NET_SECOND);
	mem_fail_at(fail_at);
	net_connect(&net, 0, 1, 500);
	net_connect(&net, 1, 2, 500);
	net_connect(&net, 2, 3, 500);
	net_run(&net, NET_SECOND);
	net_cut(&net, 1, 2);
	net_run(&net, NET_SECOND);
	net_connect(&net, 0, 3, 500);
	net_run(&net, NET_SECOND);
	count = mem_count();
	mem_fail_at(0);
	net_run(&net, 15 * NET_SECOND);
	net_check(&net);
	/* What was not flooded for lack of memory comes with the periodic comparison. */
	net_run(&net, 200 * (int64_t)NET_SECOND);
	net_check_equal(&net);
	net_fini(&net);
	return count;
}

static void
test_each_allocation_fails_once(void **state)
{
	unsigned long count = scenario(0);

	(void)state;
	assert_true(count > 100);
	for (unsigned long k = 1; k <= count; k++)
		scenario(k);
}

static void
test_no_memory_for_a_router(void **state)
{
	(void)state;
	net_init(&net, 1, 1);
	mem_fail_at(1);
	assert_null(router_new(&net.conf, &net_ops, &net.nodes[0], 1));
	mem_fail_at(0);
	router_free(NULL);
	net_fini(&net);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_seeds),
	    cmocka_unit_test(test_each_allocation_fails_once),
	    cmocka_unit_test(test_no_memory_for_a_router),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
