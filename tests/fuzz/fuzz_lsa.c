/*
 * Any bytes are an LSA or an error, and what decodes has no other encoding; any payloads from neighbours
 * leave the router consistent, even if all signatures are valid.
 */
#include "tests/fuzz/fuzz.h"

#include "common/base/buf.h"
#include "common/base/err.h"
#include "routerd/core/linkstate.h"
#include "routerd/core/router.h"

enum { NODES_MAX = 8, STEP_US = 50 * 1000 };

static void
try_lsa(const uint8_t *data, size_t len)
{
	static uint8_t again[LSA_MAX_BYTES];
	static struct lsa lsa;
	struct buf b;

	if (lsa_decode(data, len, &lsa) != 0)
		return;
	buf_init_fixed(&b, again, sizeof(again));
	FUZZ_CHECK(lsa_encode_unsigned(&lsa, &b) == 0);
	FUZZ_CHECK(buf_left(&b) + LSA_SIG_BYTES == len);
	FUZZ_CHECK(memcmp(again, data, buf_left(&b)) == 0);
}

/* --- a router with two neighbours --- */

struct host {
	bool asked;
	uint32_t ticket;
};

static int
op_verify(void *arg, const struct lsa *lsa, const uint8_t *raw, size_t len)
{
	(void)arg;
	(void)lsa;
	(void)raw;
	(void)len;
	return 0;
}

static void
op_send(void *arg, uint64_t neighbour, const uint8_t *payload, size_t len)
{
	struct linkstate_msg m;
	struct buf in;
	int more;

	(void)arg;
	FUZZ_CHECK(neighbour == 2 || neighbour == 3);
	FUZZ_CHECK(len <= FRAME_PAYLOAD_MAX_BYTES);
	buf_view(&in, payload, len);
	FUZZ_CHECK(linkstate_open(&in) == 0);
	while ((more = linkstate_next(&in, &m)) > 0)
		continue;
	FUZZ_CHECK(more == 0);
}

static void
op_sign(void *arg, uint32_t ticket, const uint8_t *text, size_t len)
{
	struct host *h = arg;

	(void)text;
	(void)len;
	h->asked = true;
	h->ticket = ticket;
}

static int
op_fib_mark(void *arg, uint64_t version)
{
	(void)arg;
	(void)version;
	return 0;
}

static int
op_route_set(void *arg, uint64_t destination, uint8_t class_mask, const struct fib_paths *p)
{
	(void)arg;
	FUZZ_CHECK(class_mask != 0 && p->count >= 1 && p->count <= ROUTE_PATHS_MAX);
	for (uint32_t i = 0; i < p->count; i++) {
		const struct spf_path *path = &p->path[i].path;

		FUZZ_CHECK(path->hop_count >= 1 && path->hop_count <= PATH_HOPS_MAX);
		FUZZ_CHECK(path->hops[0] == 2 || path->hops[0] == 3);
		FUZZ_CHECK(path->hops[path->hop_count - 1] == destination);
	}
	return 0;
}

static void
op_node(void *arg, const struct lsdb_entry *e)
{
	struct address_list list;
	struct label_list labels;

	(void)arg;
	lsdb_addresses(e, &list);
	for (size_t i = 0; i < list.count; i++)
		FUZZ_CHECK(address_valid(list.text[i]));
	lsdb_services(e, &labels);
	for (size_t i = 0; i < labels.count; i++)
		FUZZ_CHECK(label_valid(labels.text[i]));
	FUZZ_CHECK(node_name_valid(e->lsa->name));
}

static void
op_event(void *arg, enum router_event ev, uint64_t a, uint64_t b)
{
	(void)arg;
	(void)ev;
	(void)a;
	(void)b;
}

static void
op_wish(void *arg, uint64_t node, uint64_t unix_ms)
{
	(void)arg;
	FUZZ_CHECK(node != 1 && unix_ms != 0);
}

static const struct router_ops ops = {
    .verify = op_verify,
    .send = op_send,
    .sign = op_sign,
    .fib_begin = op_fib_mark,
    .route_set = op_route_set,
    .route_del = op_fib_mark,
    .fib_end = op_fib_mark,
    .node = op_node,
    .event = op_event,
    .wish = op_wish,
};

static void
step(struct router *r, struct host *h, struct mono now)
{
	static const uint8_t sig[LSA_SIG_BYTES];

	router_step(r, now);
	while (h->asked) {
		h->asked = false;
		router_signature(r, h->ticket, sig, now);
		router_step(r, now);
	}
	FUZZ_CHECK(router_lsdb(r)->count <= NODES_MAX + 1);
}

static struct router *
start(struct host *h, struct mono now)
{
	const struct router_conf conf = {60000000, 200000000, 10000, NODES_MAX, "1.0", .paths_max = 3};
	const struct router_identity id = {.node = 1, .incarnation = 1, .name = "a"};
	struct router *r = router_new(&conf, &ops, h, 1);

	if (r == NULL || router_identity(r, &id, now) != 0)
		return r;
	router_links_begin(r);
	for (uint64_t peer = 2; peer <= 3; peer++) {
		const struct router_link l = {.peer = peer, .since_unix_ms = 1, .rtt_us = 1000};

		FUZZ_CHECK(router_link(r, &l, now) == 0);
	}
	router_links_end(r, now);
	return r;
}

/* The input: {u8 neighbour and time, u16 length, payload}, again and again. */
static void
try_router(const uint8_t *data, size_t len)
{
	struct mono now = {1000000};
	struct host h = {0};
	struct router *r = start(&h, now);
	struct buf in;
	uint16_t size;
	uint8_t how;

	buf_view(&in, data, len);
	step(r, &h, now);
	while (buf_get_u8(&in, &how) == 0 && buf_get_u16(&in, &size) == 0) {
		size_t n = size < buf_left(&in) ? size : buf_left(&in);
		const uint8_t *payload = buf_head(&in);

		if (how == 0xff)
			router_link_down(r, 2, now);
		router_feed(r, 2 + (how & 1), payload, n, now);
		now = mono_add_us(now, (int64_t)(how >> 1) * STEP_US);
		step(r, &h, now);
		if (buf_skip(&in, n) != 0)
			break;
	}
	step(r, &h, mono_add_us(now, 300000000));
	router_free(r);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	if (len == 0)
		return 0;
	if (data[0] == 'L')
		try_lsa(data + 1, len - 1);
	else
		try_router(data + 1, len - 1);
	return 0;
}
