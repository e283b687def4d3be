/*
 * transport: real transportd processes with a stand-in for consensusd and routerd each.
 *
 * The stand-ins run on the rig's loop: they sign hellos, keep what transportd tells of its links, and
 * pass frames to the test.  Header-only, because tests and benchmarks are single files.
 */
#ifndef TESTS_RIG_TRANSPORT_H
#define TESTS_RIG_TRANSPORT_H

/* OpenSSL before common/base/err.h. */
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/frame.h"
#include "common/base/id.h"
#include "common/os/channel.h"
#include "common/os/clock.h"
#include "common/os/crypto.h"
#include "common/os/log.h"
#include "common/os/loop.h"
#include "proto/ipc.pb.h"
#include "proto/mesh.pb.h"
#include "proto/messages.h"
#include "proto/pb.h"

enum { RIG_NODES_MAX = 8, RIG_LINKS_MAX = 8, RIG_WAIT_MS = 20000 };

struct rig;

struct rig_node {
	struct rig *rig;
	char name[32];
	char dir[128];
	struct crypto_key *key;
	uint64_t id;
	uint64_t incarnation;
	uint16_t port;
	pid_t pid;
	struct channel *consensus, *router, *gateway;
	struct channel_conf consensus_conf, router_conf, gateway_conf;
	bool consensus_up, router_up;
	/* What transportd answers and tells gatewayd: the last of each, and how many. */
	mesh_v1_NodeStatus status;
	mesh_v1_LinkInfo link_info;
	char *metrics;
	unsigned replies, items, dones, events;
	mesh_v1_MeshEvent event;
	mesh_ipc_CallStatus done; /* the last */
	bool refuse_to_sign;
	uint64_t links[RIG_LINKS_MAX];
	size_t link_count;
	unsigned link_ups, link_downs;
	unsigned routes; /* given to it, all to different destinations */
	mesh_ipc_Link last_link;
	mesh_ipc_Addresses advertised;
	mesh_ipc_PathState path_state; /* the last one */
	unsigned path_states;
	uint64_t used; /* the destination that was last told to be */
	unsigned useds, unuseds;
	unsigned holds, releases;
	mesh_ipc_Rerouted rerouted; /* the last one */
	unsigned reroutes;
	uint64_t frames, frame_bytes;
	void (*on_hold)(struct rig_node *n); /* after each HOLD; may be NULL */
	void (*on_sign)(struct rig_node *n); /* before each signature; may be NULL */
	/* Frames for the node and for its routerd; may be NULL. */
	void (*on_frame)(struct rig_node *n, const struct frame *f);
	void (*on_link_state)(struct rig_node *n, uint64_t neighbour, const struct frame *f);
};

struct rig {
	struct loop *loop;
	char dir[96];
	char program[PATH_MAX];
	struct ulid mesh;
	EVP_PKEY *ca_key;
	X509 *ca;
	struct rig_node nodes[RIG_NODES_MAX];
	size_t count;
	struct loop_timer *tick;
	bool (*until)(void *arg);
	void *until_arg;
	int64_t give_up_us;
	bool reached;
};

#define RIG_MUST(x)                                                                                          \
	do {                                                                                                 \
		if (!(x)) {                                                                                  \
			fprintf(stderr, "rig: %s:%d: %s\n", __FILE__, __LINE__, #x);                         \
			abort();                                                                             \
		}                                                                                            \
	} while (0)

/* --- certificates --- */

static inline void
rig_ext(X509 *x, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *e;

	X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
	e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	RIG_MUST(e != NULL && X509_add_ext(x, e, -1) == 1);
	X509_EXTENSION_free(e);
}

/* valid_s: seconds from now until the end; negative: it has ended. */
static inline X509 *
rig_cert(EVP_PKEY *key, const char *cn, const char *san, X509 *ca, EVP_PKEY *ca_key, long valid_s)
{
	X509 *x = X509_new(), *issuer = ca != NULL ? ca : x;
	unsigned char serial[8];

	RIG_MUST(x != NULL);
	X509_set_version(x, 2);
	crypto_random(serial, sizeof(serial));
	ASN1_INTEGER_set_uint64(X509_get_serialNumber(x), serial[0] << 8 | serial[1]);
	X509_gmtime_adj(X509_getm_notBefore(x), -86400);
	X509_gmtime_adj(X509_getm_notAfter(x), valid_s);
	X509_set_pubkey(x, key);
	X509_NAME_add_entry_by_txt(
	    X509_get_subject_name(x), "CN", MBSTRING_ASC, (const unsigned char *)cn, -1, -1, 0);
	X509_set_issuer_name(x, X509_get_subject_name(issuer));
	rig_ext(x, issuer, NID_basic_constraints, ca == NULL ? "critical,CA:TRUE" : "critical,CA:FALSE");
	rig_ext(x, issuer, NID_key_usage,
	    ca == NULL ? "critical,keyCertSign,cRLSign" : "critical,digitalSignature");
	rig_ext(x, issuer, NID_subject_key_identifier, "hash");
	if (san != NULL) {
		rig_ext(x, issuer, NID_ext_key_usage, "serverAuth,clientAuth");
		rig_ext(x, issuer, NID_subject_alt_name, san);
	}
	RIG_MUST(X509_sign(x, ca != NULL ? ca_key : key, EVP_sha256()) != 0);
	return x;
}

static inline void
rig_pem(const char *dir, const char *name, X509 *x, EVP_PKEY *key)
{
	char path[PATH_MAX];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	RIG_MUST(f != NULL && fchmod(fileno(f), 0600) == 0);
	if (x != NULL)
		RIG_MUST(PEM_write_X509(f, x) == 1);
	if (key != NULL)
		RIG_MUST(PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL) == 1);
	fclose(f);
}

/* Writes tls.crt and tls.key naming id; by another authority if ca is given. */
static inline void
rig_issue(struct rig_node *n, uint64_t id, X509 *ca, EVP_PKEY *ca_key, long valid_s)
{
	char mesh[ULID_TEXT_SIZE], node[NODEID_TEXT_SIZE], san[160];
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *x;

	ulid_format(mesh, &n->rig->mesh);
	nodeid_format(node, id);
	snprintf(san, sizeof(san), "URI:spiffe://%s/node/%s,IP:127.0.0.1", mesh, node);
	x = rig_cert(
	    key, n->name, san, ca != NULL ? ca : n->rig->ca, ca != NULL ? ca_key : n->rig->ca_key, valid_s);
	rig_pem(n->dir, "tls.crt", x, NULL);
	rig_pem(n->dir, "tls.key", NULL, key);
	rig_pem(n->dir, "ca.crt", n->rig->ca, NULL);
	X509_free(x);
	EVP_PKEY_free(key);
}

/* --- stand-ins --- */

static inline int
rig_send_pb(struct channel *ch, uint32_t type, const pb_msgdesc_t *fields, const void *msg)
{
	uint8_t mem[8192];
	struct buf out;
	int err;

	buf_init_fixed(&out, mem, sizeof(mem));
	if ((err = pb_pack(&out, fields, msg)) != 0)
		return err;
	return channel_send(ch, type, 0, mem, buf_left(&out));
}

static inline int
rig_send_identity(struct rig_node *n)
{
	mesh_ipc_Identity id = mesh_ipc_Identity_init_default;

	memcpy(id.mesh_id, n->rig->mesh.b, ULID_BYTES);
	id.node_id = n->id;
	crypto_key_public(n->key, id.public_key);
	snprintf(id.node_name, sizeof(id.node_name), "%s", n->name);
	id.incarnation = ++n->incarnation;
	return rig_send_pb(n->consensus, CT_IDENTITY, mesh_ipc_Identity_fields, &id);
}

static inline int
rig_consensus_up(void *ctx, struct channel *ch)
{
	struct rig_node *n = ctx;

	(void)ch;
	n->consensus_up = true;
	return rig_send_identity(n);
}

static inline void
rig_consensus_down(void *ctx, struct channel *ch, int err)
{
	(void)ch;
	(void)err;
	((struct rig_node *)ctx)->consensus_up = false;
}

static inline int
rig_on_sign(void *ctx, struct channel *ch, struct imsg *m)
{
	struct rig_node *n = ctx;
	uint8_t sig[CRYPTO_SIG_BYTES];

	if (n->on_sign != NULL)
		n->on_sign(n);
	if (n->refuse_to_sign)
		return channel_send(ch, CT_SIGNATURE, m->peerid, NULL, 0);
	RIG_MUST(crypto_sign(n->key, CRYPTO_CONTEXT_HELLO, m->body, m->len, sig) == 0);
	return channel_send(ch, CT_SIGNATURE, m->peerid, sig, sizeof(sig));
}

static inline int
rig_on_frames_in(void *ctx, struct channel *ch, struct imsg *m)
{
	struct rig_node *n = ctx;
	struct buf in;

	(void)ch;
	buf_view(&in, m->body, m->len);
	while (buf_left(&in) != 0) {
		struct frame f;
		int err = frame_decode(&in, &f);

		RIG_MUST(err == 0);
		n->frames++;
		n->frame_bytes += f.payload_len;
		if (n->on_frame != NULL)
			n->on_frame(n, &f);
	}
	return 0;
}

static inline int
rig_on_hold(void *ctx, struct channel *ch, struct imsg *m)
{
	struct rig_node *n = ctx;
	mesh_ipc_Hold h = mesh_ipc_Hold_init_default;

	(void)ch;
	RIG_MUST(pb_unpack(m->body, m->len, mesh_ipc_Hold_fields, &h) == 0);
	if (h.hold)
		n->holds++;
	else
		n->releases++;
	if (n->on_hold != NULL)
		n->on_hold(n);
	return 0;
}

static inline int
rig_on_rerouted(void *ctx, struct channel *ch, struct imsg *m)
{
	struct rig_node *n = ctx;

	(void)ch;
	RIG_MUST(pb_unpack(m->body, m->len, mesh_ipc_Rerouted_fields, &n->rerouted) == 0);
	n->reroutes++;
	return 0;
}

static channel_handler *const rig_consensus_handlers[] = {
    [CT_SIGN] = rig_on_sign,
    [CT_FRAMES_IN] = rig_on_frames_in,
    [CT_HOLD] = rig_on_hold,
    [CT_REROUTED] = rig_on_rerouted,
};

static inline int
rig_router_up(void *ctx, struct channel *ch)
{
	(void)ch;
	((struct rig_node *)ctx)->router_up = true;
	return 0;
}

static inline void
rig_router_down(void *ctx, struct channel *ch, int err)
{
	struct rig_node *n = ctx;

	(void)ch;
	(void)err;
	n->router_up = false;
	n->link_count = 0;
}

static inline int
rig_on_links_begin(void *ctx, struct channel *ch, struct imsg *m)
{
	(void)ch;
	(void)m;
	((struct rig_node *)ctx)->link_count = 0;
	return 0;
}

static inline bool
rig_has_link(const struct rig_node *n, uint64_t peer)
{
	for (size_t i = 0; i < n->link_count; i++)
		if (n->links[i] == peer)
			return true;
	return false;
}

static inline int
rig_on_link(void *ctx, struct channel *ch, struct imsg *m)
{
	struct rig_node *n = ctx;

	(void)ch;
	RIG_MUST(pb_unpack(m->body, m->len, mesh_ipc_Link_fields, &n->last_link) == 0);
	if (rig_has_link(n, n->last_link.peer))
		return 0;
	RIG_MUST(n->link_count < RIG_LINKS_MAX);
	n->links[n->link_count++] = n->last_link.peer;
	n->link_ups++;
	return 0;
}

static inline int
rig_on_links_end(void *ctx, struct channel *ch, struct imsg *m)
{
	(void)ctx;
	(void)ch;
	(void)m;
	return 0;
}

static inline int
rig_on_link_down(void *ctx, struct channel *ch, struct imsg *m)
{
	struct rig_node *n = ctx;
	mesh_ipc_LinkDown d = mesh_ipc_LinkDown_init_default;

	(void)ch;
	RIG_MUST(pb_unpack(m->body, m->len, mesh_ipc_LinkDown_fields, &d) == 0);
	for (size_t i = 0; i < n->link_count; i++)
		if (n->links[i] == d.peer)
			n->links[i] = n->links[--n->link_count];
	n->link_downs++;
	return 0;
}

static inline int
rig_on_path_state(void *ctx, struct channel *ch, struct imsg *m)
{
	struct rig_node *n = ctx;

	(void)ch;
	RIG_MUST(pb_unpack(m->body, m->len, mesh_ipc_PathState_fields, &n->path_state) == 0);
	n->path_states++;
	return 0;
}

static inline int
rig_on_used(void *ctx, struct channel *ch, struct imsg *m)
{
	struct rig_node *n = ctx;
	mesh_ipc_FibDestination d = mesh_ipc_FibDestination_init_default;

	(void)ch;
	RIG_MUST(pb_unpack(m->body, m->len, mesh_ipc_FibDestination_fields, &d) == 0);
	n->used = d.destination;
	n->useds++;
	return 0;
}

static inline int
rig_on_unused(void *ctx, struct channel *ch, struct imsg *m)
{
	(void)ch;
	(void)m;
	((struct rig_node *)ctx)->unuseds++;
	return 0;
}

static inline int
rig_on_frame_in(void *ctx, struct channel *ch, struct imsg *m)
{
	struct rig_node *n = ctx;
	uint64_t neighbour;
	struct frame f;
	struct buf in;

	(void)ch;
	buf_view(&in, m->body, m->len);
	RIG_MUST(buf_get_u64(&in, &neighbour) == 0 && frame_decode(&in, &f) == 0 && buf_end(&in) == 0);
	if (n->on_link_state != NULL)
		n->on_link_state(n, neighbour, &f);
	return 0;
}

static inline int
rig_on_addresses(void *ctx, struct channel *ch, struct imsg *m)
{
	struct rig_node *n = ctx;

	(void)ch;
	RIG_MUST(pb_unpack(m->body, m->len, mesh_ipc_Addresses_fields, &n->advertised) == 0);
	return 0;
}

static channel_handler *const rig_router_handlers[] = {
    [RT_LINKS_BEGIN] = rig_on_links_begin,
    [RT_LINK] = rig_on_link,
    [RT_LINKS_END] = rig_on_links_end,
    [RT_LINK_DOWN] = rig_on_link_down,
    [RT_FRAME_IN] = rig_on_frame_in,
    [RT_ADDRESSES] = rig_on_addresses,
    [RT_PATH_STATE] = rig_on_path_state,
    [RT_USED] = rig_on_used,
    [RT_UNUSED] = rig_on_unused,
};

enum { RIG_ASK_STATUS = 1, RIG_ASK_METRICS = 2 };

static inline int
rig_on_reply(void *ctx, struct channel *ch, struct imsg *m)
{
	struct rig_node *n = ctx;

	(void)ch;
	n->replies++;
	if (m->peerid == RIG_ASK_METRICS) {
		free(n->metrics);
		n->metrics = strndup((const char *)m->body, m->len);
		return 0;
	}
	RIG_MUST(pb_unpack(m->body, m->len, mesh_v1_NodeStatus_fields, &n->status) == 0);
	return 0;
}

static inline int
rig_on_item(void *ctx, struct channel *ch, struct imsg *m)
{
	struct rig_node *n = ctx;

	(void)ch;
	n->items++;
	RIG_MUST(pb_unpack(m->body, m->len, mesh_v1_LinkInfo_fields, &n->link_info) == 0);
	return 0;
}

static inline int
rig_on_done(void *ctx, struct channel *ch, struct imsg *m)
{
	struct rig_node *n = ctx;

	(void)ch;
	RIG_MUST(pb_unpack(m->body, m->len, mesh_ipc_CallStatus_fields, &n->done) == 0);
	n->dones++;
	return 0;
}

static inline int
rig_on_event(void *ctx, struct channel *ch, struct imsg *m)
{
	struct rig_node *n = ctx;

	(void)ch;
	n->events++;
	RIG_MUST(pb_unpack(m->body, m->len, mesh_v1_MeshEvent_fields, &n->event) == 0);
	return 0;
}

static channel_handler *const rig_gateway_handlers[] = {
    [GT_REPLY] = rig_on_reply,
    [GT_ITEM] = rig_on_item,
    [GT_DONE] = rig_on_done,
    [GT_EVENT] = rig_on_event,
};

static inline int
rig_gateway_up(void *ctx, struct channel *ch)
{
	(void)ctx;
	(void)ch;
	return 0;
}

static inline void
rig_gateway_down(void *ctx, struct channel *ch, int err)
{
	(void)ctx;
	(void)ch;
	(void)err;
}

/* --- the loop --- */

static inline void
rig_tick(void *arg)
{
	struct rig *r = arg;

	r->reached = r->until(r->until_arg);
	if (r->reached || clock_mono().us > r->give_up_us) {
		loop_stop(r->loop);
		return;
	}
	loop_timer_arm_ms(r->tick, 2);
}

/* Runs the stand-ins until the condition holds; false after wait_ms. */
static inline bool
rig_wait(struct rig *r, bool (*until)(void *arg), void *arg, int64_t wait_ms)
{
	r->until = until;
	r->until_arg = arg;
	r->give_up_us = clock_mono().us + wait_ms * 1000;
	loop_timer_arm_ms(r->tick, 0);
	RIG_MUST(loop_run(r->loop) == 0);
	return r->reached;
}

static inline bool
rig_never(void *arg)
{
	(void)arg;
	return false;
}

/* --- nodes --- */

static inline uint16_t
rig_free_port(void)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(sa);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	RIG_MUST(fd != -1 && bind(fd, (struct sockaddr *)&sa, len) == 0 &&
		 getsockname(fd, (struct sockaddr *)&sa, &len) == 0);
	close(fd);
	return ntohs(sa.sin_port);
}

/* The daemon of the same build: $BUILD/bin/transportd from anywhere below $BUILD/tests. */
/* The nodes that are started from now on run this one, a path below the build directory. */
static inline void
rig_program(struct rig *r, const char *path)
{
	char *end;
	ssize_t n = readlink("/proc/self/exe", r->program, sizeof(r->program) - 1);

	RIG_MUST(n > 0);
	r->program[n] = '\0';
	end = strstr(r->program, "/tests/");
	RIG_MUST(end != NULL);
	snprintf(end, sizeof(r->program) - (size_t)(end - r->program), "%s", path);
}

static inline void
rig_init(struct rig *r)
{
	uint8_t random[10];

	memset(r, 0, sizeof(*r));
	rig_program(r, "/bin/transportd");
	RIG_MUST(crypto_init() == 0);
	snprintf(r->dir, sizeof(r->dir), "/tmp/mesh-rig.XXXXXX");
	RIG_MUST(mkdtemp(r->dir) != NULL);
	r->loop = loop_event_new();
	RIG_MUST(r->loop != NULL);
	r->tick = loop_timer_new(r->loop, rig_tick, r);
	crypto_random(random, sizeof(random));
	ulid_make(&r->mesh, clock_unix_ms(), random);
	r->ca_key = EVP_EC_gen("P-256");
	r->ca = rig_cert(r->ca_key, "test CA", NULL, NULL, NULL, 86400);
	signal(SIGPIPE, SIG_IGN);
}

static inline struct rig_node *
rig_add(struct rig *r, const char *name)
{
	struct rig_node *n = &r->nodes[r->count++];
	uint8_t seed[CRYPTO_SEED_BYTES], pub[CRYPTO_PUBKEY_BYTES];

	RIG_MUST(r->count <= RIG_NODES_MAX);
	n->rig = r;
	snprintf(n->name, sizeof(n->name), "%s", name);
	snprintf(n->dir, sizeof(n->dir), "%s/%s", r->dir, name);
	RIG_MUST(mkdir(n->dir, 0700) == 0);
	crypto_random(seed, sizeof(seed));
	n->key = crypto_key_new(seed);
	crypto_key_public(n->key, pub);
	n->id = crypto_node_id(pub);
	log_set_level(LOG_WARNING);
	n->port = rig_free_port();
	rig_issue(n, n->id, NULL, NULL, 86400);
	return n;
}

/* Writes mesh.conf: extra is put into the section of transportd. */
static inline void
rig_conf(struct rig_node *n, const char *extra, ...)
{
	char path[PATH_MAX], mesh[ULID_TEXT_SIZE];
	va_list ap;
	FILE *f;

	snprintf(path, sizeof(path), "%s/mesh.conf", n->dir);
	ulid_format(mesh, &n->rig->mesh);
	f = fopen(path, "w");
	RIG_MUST(f != NULL);
	fprintf(f, "mesh {\n\tid %s\n\tnode-name %s\n\truntime-dir %s\n}\n", mesh, n->name, n->dir);
	fprintf(f,
	    "transportd {\n\tuser root\n\tlisten 127.0.0.1:%u\n\ttls-cert tls.crt\n\ttls-key "
	    "tls.key\n\ttls-ca ca.crt\n",
	    n->port);
	fprintf(f, "\tlog-level debug\n\tdial-backoff-min 50ms\n\tdial-backoff-max 500ms\n");
	va_start(ap, extra);
/* No format attribute instead: it would forbid "". */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	vfprintf(f, extra, ap);
#pragma GCC diagnostic pop
	va_end(ap);
	fprintf(f, "\n}\n");
	fclose(f);
}

static inline void
rig_spawn(struct rig_node *n)
{
	n->pid = fork();
	RIG_MUST(n->pid != -1);
	if (n->pid == 0) {
		char log[PATH_MAX], conf[PATH_MAX];
		int fd;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		snprintf(log, sizeof(log), "%s/transportd.log", n->dir);
		snprintf(conf, sizeof(conf), "%s/mesh.conf", n->dir);
		fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
		dup2(fd, 2);
		execl(n->rig->program, "transportd", "-c", conf, (char *)NULL);
		_exit(127);
	}
}

static inline void
rig_connect_consensus(struct rig_node *n)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/transportd.sock", n->dir);
	n->consensus_conf = (struct channel_conf){
	    .edge = &edge_consensus_transport,
	    .handlers = rig_consensus_handlers,
	    .handler_count = sizeof(rig_consensus_handlers) / sizeof(rig_consensus_handlers[0]),
	    .on_up = rig_consensus_up,
	    .on_down = rig_consensus_down,
	    .ctx = n,
	};
	n->consensus = channel_connect(n->rig->loop, path, "consensusd", &n->consensus_conf);
	RIG_MUST(n->consensus != NULL);
}

static inline void
rig_connect_router(struct rig_node *n)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/transportd.sock", n->dir);
	n->router_conf = (struct channel_conf){
	    .edge = &edge_router_transport,
	    .handlers = rig_router_handlers,
	    .handler_count = sizeof(rig_router_handlers) / sizeof(rig_router_handlers[0]),
	    .on_up = rig_router_up,
	    .on_down = rig_router_down,
	    .ctx = n,
	};
	n->router = channel_connect(n->rig->loop, path, "routerd", &n->router_conf);
	RIG_MUST(n->router != NULL);
}

static inline void
rig_connect_gateway(struct rig_node *n)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/transportd.sock", n->dir);
	n->gateway_conf = (struct channel_conf){
	    .edge = &edge_gateway_transport,
	    .handlers = rig_gateway_handlers,
	    .handler_count = sizeof(rig_gateway_handlers) / sizeof(rig_gateway_handlers[0]),
	    .on_up = rig_gateway_up,
	    .on_down = rig_gateway_down,
	    .ctx = n,
	};
	n->gateway = channel_connect(n->rig->loop, path, "gatewayd", &n->gateway_conf);
	RIG_MUST(n->gateway != NULL);
}

static inline void
rig_start(struct rig_node *n)
{
	rig_spawn(n);
	rig_connect_gateway(n);
	rig_connect_consensus(n);
	rig_connect_router(n);
}

/* Ends the daemon; its exit status as of waitpid(2). */
static inline int
rig_kill(struct rig_node *n, int sig)
{
	int status = 0;

	if (n->pid <= 0)
		return 0;
	kill(n->pid, sig);
	RIG_MUST(waitpid(n->pid, &status, 0) == n->pid);
	n->pid = 0;
	return status;
}

/* Is it still there?  A sandbox violation shows here. */
static inline bool
rig_alive(struct rig_node *n)
{
	int status;

	return n->pid > 0 && waitpid(n->pid, &status, WNOHANG) == 0;
}

static inline void
rig_fini(struct rig *r)
{
	char cmd[160];

	for (size_t i = 0; i < r->count; i++) {
		RIG_MUST(rig_kill(&r->nodes[i], SIGTERM) == 0);
		channel_free(r->nodes[i].consensus);
		channel_free(r->nodes[i].router);
		channel_free(r->nodes[i].gateway);
		free(r->nodes[i].metrics);
		crypto_key_free(r->nodes[i].key);
	}
	loop_timer_free(r->tick);
	loop_free(r->loop);
	X509_free(r->ca);
	EVP_PKEY_free(r->ca_key);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", r->dir);
	if (getenv("KEEP") == NULL && system(cmd) != 0)
		fprintf(stderr, "rig: %s stays\n", r->dir);
}

/* What the siblings would send. */
#include "tests/rig/routes.h"

#endif
