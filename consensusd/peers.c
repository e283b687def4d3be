/* peers: see peers.h. */
#include "consensusd/peers.h"

#include <string.h>
#include <bsd/sys/queue.h>

#include "common/base/be.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/frame.h"
#include "common/base/mem.h"
#include "common/os/clock.h"
#include "common/os/crypto.h"
#include "common/os/log.h"
#include "consensusd/core/envelope.h"
#include "consensusd/engine.h"
#include "consensusd/hash.h"
#include "consensusd/keyring.h"
#include "consensusd/limits.h"
#include "consensusd/pairkeys.h"
#include "consensusd/stats.h"
#include "consensusd/transport.h"

/* A sealed packet: the sender's public key, nonce, sealed messages and their tag. */
enum {
	SEAL_HEAD_BYTES = CRYPTO_PUBKEY_BYTES + CRYPTO_NONCE_BYTES,
	SEAL_BYTES = SEAL_HEAD_BYTES + CRYPTO_TAG_BYTES,
	AD_BYTES = 8 + 8 + ULID_BYTES + 1, /* from, to, mesh, class */
};

_Static_assert(PEERS_MESSAGE_MAX_BYTES + ENVELOPE_MESSAGE_BYTES + SEAL_BYTES <= ENVELOPE_PACKET_MAX_BYTES,
    "the largest message fits a packet");
_Static_assert((int)PEERS_PARTIAL_MAX_COUNT == (int)ENVELOPE_NODE_MAX_COUNT, "one limit");

/* Messages for one node; what goes before them in the sealed packet is left free. */
struct packet {
	TAILQ_ENTRY(packet) entry;
	struct buf body;
	size_t charged; /* of PEERS_OUT_MAX_BYTES */
	unsigned messages;
	bool sealed;
	uint64_t number;
	uint16_t next; /* fragment to send */
};

TAILQ_HEAD(packet_list, packet);

/* A node for which something waits. */
struct peer {
	UT_hash_handle hh;
	TAILQ_ENTRY(peer) entry;
	uint64_t node;
	uint8_t public_key[CRYPTO_PUBKEY_BYTES];
	struct packet_list queues[PEERS_CLASSES];
};

TAILQ_HEAD(peer_list, peer);

/* Who has sent something, and is not in the directory (yet): can be answered. */
struct stranger {
	uint64_t node; /* 0: free */
	uint8_t public_key[CRYPTO_PUBKEY_BYTES];
};

struct peers {
	struct engine *engine;
	struct pairkeys *keys;
	struct peer *by_node;
	struct peer_list waiting; /* whose turn is next comes first */
	size_t queued_bytes;
	uint64_t number; /* of the next packet: begins anywhere, so that none is used again after a restart */
	struct envelope in;
	struct stranger strangers[PEERS_STRANGERS_MAX];
	size_t stranger_next; /* which is forgotten for the next one */
	struct loop_timer *expiry;
	struct {
		peers_fn *fn;
		void *ctx;
	} handlers[PEERS_KINDS];
};

static const uint8_t frame_classes[PEERS_CLASSES] = {
    [PEERS_URGENT] = FRAME_CLASS_CONTROL,
    [PEERS_BULK] = FRAME_CLASS_SYSTEM,
};

/* --- what is put together --- */

static void
watch_partials(struct peers *p)
{
	metric_add(&stats.peers_incomplete, (int64_t)p->in.dropped);
	p->in.dropped = 0;
	loop_timer_arm(p->expiry, envelope_next(&p->in));
}

static void
on_expiry(void *arg)
{
	struct peers *p = arg;

	envelope_expire(&p->in, clock_mono());
	watch_partials(p);
}

struct peers *
peers_new(struct engine *e)
{
	struct peers *p = mem_calloc(1, sizeof(*p));

	if (p == NULL)
		return NULL;
	p->engine = e;
	TAILQ_INIT(&p->waiting);
	envelope_init(&p->in, PEERS_PARTIAL_MAX_BYTES);
	crypto_random(&p->number, sizeof(p->number));
	p->keys = pairkeys_new(keyring_node_key(e->keyring));
	p->expiry = loop_timer_new(e->loop, on_expiry, p);
	if (p->keys == NULL || p->expiry == NULL) {
		peers_free(p);
		return NULL;
	}
	return p;
}

const uint8_t *
peers_pair_key(struct peers *p, const uint8_t public_key[32])
{
	return pairkeys_get(p->keys, public_key);
}

void
peers_handle(struct peers *p, enum peers_kind kind, peers_fn *fn, void *ctx)
{
	MUST(kind > 0 && kind < PEERS_KINDS);
	p->handlers[kind].fn = fn;
	p->handlers[kind].ctx = ctx;
}

/* --- what waits --- */

static void
charge(struct peers *p, struct packet *x, size_t bytes)
{
	x->charged += bytes;
	p->queued_bytes += bytes;
	metric_set(&stats.peers_queued, (int64_t)p->queued_bytes);
}

static void
packet_free(struct peers *p, struct packet_list *q, struct packet *x)
{
	TAILQ_REMOVE(q, x, entry);
	p->queued_bytes -= x->charged;
	metric_set(&stats.peers_queued, (int64_t)p->queued_bytes);
	/* What is not sealed yet was meant for one node only. */
	if (x->body.data != NULL && !x->sealed)
		crypto_wipe(x->body.data, x->body.wpos);
	buf_fini(&x->body);
	mem_free(x);
}

static void
peer_free(struct peers *p, struct peer *peer)
{
	for (unsigned c = 0; c < PEERS_CLASSES; c++)
		MUST(TAILQ_EMPTY(&peer->queues[c]));
	TAILQ_REMOVE(&p->waiting, peer, entry);
	MUST(p->by_node != NULL);
	HASH_DEL(p->by_node, peer);
	mem_free(peer);
}

/* Forgets a node for which nothing waits any more. */
static void
peer_tidy(struct peers *p, struct peer *peer)
{
	if (TAILQ_EMPTY(&peer->queues[PEERS_URGENT]) && TAILQ_EMPTY(&peer->queues[PEERS_BULK]))
		peer_free(p, peer);
}

static void
queue_drop(struct peers *p, struct packet_list *q)
{
	struct packet *x;

	while ((x = TAILQ_FIRST(q)) != NULL) {
		metric_add(&stats.peers_lost, x->messages);
		packet_free(p, q, x);
	}
}

void
peers_down(struct peers *p)
{
	struct peer *peer;

	while ((peer = TAILQ_FIRST(&p->waiting)) != NULL) {
		for (unsigned c = 0; c < PEERS_CLASSES; c++)
			queue_drop(p, &peer->queues[c]);
		peer_free(p, peer);
	}
}

void
peers_free(struct peers *p)
{
	if (p == NULL)
		return;
	peers_down(p);
	envelope_fini(&p->in);
	pairkeys_free(p->keys);
	loop_timer_free(p->expiry);
	mem_free(p);
}

/* --- whose key is known --- */

static const struct stranger *
stranger_find(const struct peers *p, uint64_t node)
{
	for (size_t i = 0; i < PEERS_STRANGERS_MAX; i++)
		if (p->strangers[i].node == node)
			return &p->strangers[i];
	return NULL;
}

/* NULL: it is not. */
static const uint8_t *
key_of(const struct peers *p, uint64_t node)
{
	const struct node *n = nodes_find(&p->engine->nodes, node);
	const struct stranger *s;

	if (n != NULL && n->has_key)
		return n->public_key;
	s = stranger_find(p, node);
	return s != NULL ? s->public_key : NULL;
}

/* Whoever invents nodes makes others forgotten that are not in the directory, no more. */
static void
remember(struct peers *p, uint64_t node, const uint8_t public_key[CRYPTO_PUBKEY_BYTES])
{
	struct stranger *s = &p->strangers[p->stranger_next];

	if (key_of(p, node) != NULL)
		return;
	p->stranger_next = (p->stranger_next + 1) % PEERS_STRANGERS_MAX;
	s->node = node;
	memcpy(s->public_key, public_key, sizeof(s->public_key));
}

/* --- queues --- */

static struct peer *
peer_get(struct peers *p, uint64_t node, const uint8_t *public_key)
{
	struct peer *peer;

	HASH_FIND(hh, p->by_node, &node, sizeof(node), peer);
	if (peer != NULL || (peer = mem_calloc(1, sizeof(*peer))) == NULL)
		return peer;
	peer->node = node;
	memcpy(peer->public_key, public_key, sizeof(peer->public_key));
	for (unsigned c = 0; c < PEERS_CLASSES; c++)
		TAILQ_INIT(&peer->queues[c]);
	HASH_ADD(hh, p->by_node, node, sizeof(peer->node), peer);
	if (!HASH_ADDED(peer)) {
		mem_free(peer);
		return NULL;
	}
	TAILQ_INSERT_TAIL(&p->waiting, peer, entry);
	return peer;
}

static struct packet *
packet_new(struct peers *p, struct packet_list *q)
{
	struct packet *x = mem_calloc(1, sizeof(*x));
	uint8_t *head;

	if (x == NULL)
		return NULL;
	buf_init(&x->body, ENVELOPE_PACKET_MAX_BYTES);
	if (buf_reserve(&x->body, SEAL_HEAD_BYTES, &head) != 0) {
		mem_free(x);
		return NULL;
	}
	buf_commit(&x->body, SEAL_HEAD_BYTES);
	TAILQ_INSERT_TAIL(q, x, entry);
	charge(p, x, sizeof(*x) + sizeof(struct peer) + SEAL_BYTES);
	return x;
}

/* The packet that the next message of len bytes goes into.  A packet is lost with any of its fragments: so
 * none is made larger than it has to be. */
static struct packet *
packet_open(struct peers *p, struct packet_list *q, size_t len)
{
	struct packet *x = TAILQ_LAST(q, packet_list);

	if (x != NULL && !x->sealed && buf_left(&x->body) + len <= PEERS_PACKET_BYTES)
		return x;
	return packet_new(p, q);
}

static int
append(struct peers *p, struct packet *x, enum peers_kind kind, const struct iovec *parts, int part_count,
    size_t len)
{
	uint8_t *room;
	int err = buf_reserve(&x->body, ENVELOPE_MESSAGE_BYTES + len, &room);

	if (err != 0)
		return err;
	/* There is room now: it is all or nothing. */
	MUST(envelope_put(&x->body, (uint8_t)kind, len) == 0);
	for (int i = 0; i < part_count; i++)
		MUST(buf_put_bytes(&x->body, parts[i].iov_base, parts[i].iov_len) == 0);
	x->messages++;
	charge(p, x, ENVELOPE_MESSAGE_BYTES + len);
	return 0;
}

static int
queue(struct peers *p, struct peer *peer, enum peers_kind kind, enum peers_class class,
    const struct iovec *parts, int part_count, size_t len)
{
	struct packet *x = NULL;
	int err = ERR_NOMEM;

	if (peer == NULL)
		return ERR_NOMEM;
	x = packet_open(p, &peer->queues[class], ENVELOPE_MESSAGE_BYTES + len);
	if (x != NULL)
		err = append(p, x, kind, parts, part_count, len);
	if (x != NULL && x->messages == 0)
		packet_free(p, &peer->queues[class], x);
	if (err != 0)
		peer_tidy(p, peer);
	return err;
}

static bool
total_len(const struct iovec *parts, int part_count, size_t max, size_t *out)
{
	*out = 0;
	for (int i = 0; i < part_count; i++) {
		if (parts[i].iov_len > max - *out)
			return false;
		*out += parts[i].iov_len;
	}
	return true;
}

int
peers_send(struct peers *p, uint64_t node, enum peers_kind kind, enum peers_class class,
    const struct iovec *parts, int part_count)
{
	const uint8_t *key = key_of(p, node);
	size_t len, max = class == PEERS_URGENT ? PEERS_URGENT_MAX_BYTES : PEERS_MESSAGE_MAX_BYTES;
	int err;

	MUST(kind > 0 && kind < PEERS_KINDS && class < PEERS_CLASSES);
	if (node == p->engine->self)
		return ERR_RANGE;
	if (!total_len(parts, part_count, max, &len))
		return ERR_LIMIT;
	if (!transport_up(p->engine->transport))
		return ERR_UNAVAIL;
	if (node == 0 || key == NULL)
		return ERR_NOENT;
	if (p->queued_bytes + len + PEERS_OVERHEAD_BYTES > PEERS_OUT_MAX_BYTES)
		err = ERR_FULL;
	else
		err = queue(p, peer_get(p, node, key), kind, class, parts, part_count, len);
	if (err != 0)
		metric_inc(&stats.peers_refused);
	else
		engine_wake(p->engine);
	return err;
}

/* --- out --- */

static void
make_ad(const struct peers *p, uint8_t ad[AD_BYTES], uint64_t from, uint64_t to, uint8_t class)
{
	be_store64(ad, from);
	be_store64(ad + 8, to);
	memcpy(ad + 16, p->engine->mesh_id.b, ULID_BYTES);
	ad[AD_BYTES - 1] = class;
}

static int
seal(struct peers *p, struct peer *peer, enum peers_class class, struct packet *x)
{
	const uint8_t *key = pairkeys_get(p->keys, peer->public_key);
	uint8_t ad[AD_BYTES], *tag, *head, *plain;
	size_t len = buf_left(&x->body) - SEAL_HEAD_BYTES;
	int err;

	if (key == NULL)
		return ERR_CRYPTO;
	if ((err = buf_reserve(&x->body, CRYPTO_TAG_BYTES, &tag)) != 0)
		return err;
	head = x->body.data + x->body.rpos;
	plain = head + SEAL_HEAD_BYTES;
	memcpy(head, p->engine->public_key, CRYPTO_PUBKEY_BYTES);
	crypto_random(head + CRYPTO_PUBKEY_BYTES, CRYPTO_NONCE_BYTES);
	make_ad(p, ad, p->engine->self, peer->node, (uint8_t) class);
	err = crypto_seal(plain, plain, len, ad, sizeof(ad), head + CRYPTO_PUBKEY_BYTES, key);
	if (err != 0)
		return err;
	buf_commit(&x->body, CRYPTO_TAG_BYTES);
	x->sealed = true;
	x->number = p->number++;
	return 0;
}

static int
send_fragment(struct peers *p, struct peer *peer, enum peers_class class, struct packet *x)
{
	uint8_t mem[FRAME_PAYLOAD_MAX_BYTES];
	struct envelope_fragment f = {.class = (uint8_t) class, .number = x->number};
	struct buf out;

	envelope_cut(&f, buf_head(&x->body), buf_left(&x->body), x->next);
	buf_init_fixed(&out, mem, sizeof(mem));
	MUST(envelope_put_fragment(&out, &f) == 0);
	return transport_send_control(
	    p->engine->transport, peer->node, frame_classes[class], buf_head(&out), buf_left(&out));
}

/* Sends what comes next of a packet, and forgets it after its last fragment.  The bytes that went. */
static size_t
packet_step(struct peers *p, struct peer *peer, enum peers_class class, struct packet *x)
{
	int err = x->sealed ? 0 : seal(p, peer, class, x);
	size_t len = buf_left(&x->body);

	if (err == 0)
		err = send_fragment(p, peer, class, x);
	if (err == 0 && ++x->next < envelope_count(len))
		return ENVELOPE_FULL_BYTES;
	if (err == 0) {
		metric_inc(&stats.peers_sent_packets);
		metric_add(&stats.peers_sent_messages, x->messages);
		metric_add(&stats.peers_sent_bytes, (int64_t)len);
	} else {
		metric_add(&stats.peers_lost, x->messages);
		log_warn(
		    "messages for %s are lost: %s", engine_node_text(p->engine, peer->node), err_text(err));
	}
	packet_free(p, &peer->queues[class], x);
	return ENVELOPE_FULL_BYTES;
}

static void
turn_urgent(struct peers *p)
{
	struct peer *peer, *next;
	struct packet *x;

	TAILQ_FOREACH_SAFE (peer, &p->waiting, entry, next) {
		while ((x = TAILQ_FIRST(&peer->queues[PEERS_URGENT])) != NULL)
			packet_step(p, peer, PEERS_URGENT, x);
		peer_tidy(p, peer);
	}
}

static bool
is_held(const struct peers *p, uint64_t node)
{
	const struct node *n = nodes_find(&p->engine->nodes, node);

	return n != NULL && n->held;
}

/* What waits for one node.  False: no more goes now, for any node. */
static bool
send_bulk(struct peers *p, struct peer *peer, size_t *left)
{
	struct packet *x;
	size_t sent;

	while ((x = TAILQ_FIRST(&peer->queues[PEERS_BULK])) != NULL) {
		/* The next turn comes when transportd has taken some of what waits for it. */
		if (!transport_ready(p->engine->transport, peer->node))
			return false;
		if (*left == 0) {
			engine_wake(p->engine);
			return false;
		}
		sent = packet_step(p, peer, PEERS_BULK, x);
		*left -= sent < *left ? sent : *left;
	}
	return true;
}

static void
turn_bulk(struct peers *p)
{
	size_t left = ENGINE_TURN_SEND_BYTES;
	struct peer *peer, *next;

	TAILQ_FOREACH_SAFE (peer, &p->waiting, entry, next) {
		if (is_held(p, peer->node))
			continue;
		if (!send_bulk(p, peer, &left)) {
			/* The others come first the next time. */
			TAILQ_REMOVE(&p->waiting, peer, entry);
			TAILQ_INSERT_TAIL(&p->waiting, peer, entry);
			return;
		}
		peer_tidy(p, peer);
	}
}

void
peers_turn(struct peers *p)
{
	if (!transport_up(p->engine->transport))
		return;
	turn_urgent(p);
	turn_bulk(p);
}

/* --- in --- */

static void
reject(struct peers *p, uint64_t node, struct metric *counter, const char *why)
{
	metric_inc(counter);
	log_debug("control frame from %s dropped: %s", engine_node_text(p->engine, node), why);
}

static void
deliver(struct peers *p, uint64_t node, const uint8_t *plain, size_t len)
{
	struct envelope_message m;
	struct buf in;

	buf_view(&in, plain, len);
	while (buf_left(&in) > 0) {
		if (envelope_get(&in, &m) != 0 || m.len > PEERS_MESSAGE_MAX_BYTES) {
			reject(p, node, &stats.peers_malformed, "not a list of messages");
			return;
		}
		if (m.kind >= PEERS_KINDS || p->handlers[m.kind].fn == NULL) {
			reject(p, node, &stats.peers_unknown, "a message of unknown kind");
			continue;
		}
		metric_inc(&stats.peers_received_messages);
		p->handlers[m.kind].fn(p->handlers[m.kind].ctx, node, m.body, m.len);
	}
}

static void
open_packet(struct peers *p, uint64_t node, uint8_t class, uint8_t *packet, size_t len)
{
	uint8_t ad[AD_BYTES], *sealed = packet + SEAL_HEAD_BYTES;
	const uint8_t *key;

	if (len < SEAL_BYTES) {
		reject(p, node, &stats.peers_malformed, "too short to be sealed");
		return;
	}
	if (crypto_node_id(packet) != node || (key = pairkeys_get(p->keys, packet)) == NULL) {
		reject(p, node, &stats.peers_wrong_key, "the public key is another node's");
		return;
	}
	make_ad(p, ad, node, p->engine->self, class);
	if (crypto_open(sealed, sealed, len - SEAL_HEAD_BYTES, ad, sizeof(ad), packet + CRYPTO_PUBKEY_BYTES,
		key) != 0) {
		reject(p, node, &stats.peers_unsealed, "the seal is broken");
		return;
	}
	remember(p, node, packet);
	metric_inc(&stats.peers_received_packets);
	metric_add(&stats.peers_received_bytes, (int64_t)len);
	deliver(p, node, sealed, len - SEAL_BYTES);
	crypto_wipe(sealed, len - SEAL_BYTES);
}

void
peers_on_frame(struct peers *p, const struct frame *f)
{
	struct envelope_fragment part;
	uint8_t *packet;
	size_t len;
	int err = envelope_get_fragment(f->payload, f->payload_len, &part);

	if (err == 0 &&
	    (f->e2e_len != 0 || part.class >= PEERS_CLASSES || f->class != frame_classes[part.class]))
		err = ERR_FORMAT;
	if (err != 0) {
		reject(p, f->src, &stats.peers_malformed, err_text(err));
		return;
	}
	err = envelope_add(&p->in, f->src, &part, clock_mono(), &packet, &len);
	watch_partials(p);
	if (err != 0)
		reject(p, f->src, &stats.peers_no_memory, err_text(err));
	if (packet == NULL)
		return;
	open_packet(p, f->src, part.class, packet, len);
	mem_free(packet);
}
