/* Links where TLS ends at a proxy: who is let in by a token, and what its proof is bound to. */
#include "tests/rig/raw_peer.h"
#include "tests/unit/unit.h"

#include <poll.h>

#include "transportd/core/credit.h"
#include "transportd/core/reauth.h"
#include "transportd/tls.h"
#include "transportd/tls_token.h"
#include "transportd/token.h"

enum { LIFE_S = 300 };

static struct rig r;
static struct rig_node *node, *other; /* other has no daemon: it is played by hand */
static uint16_t proxied_port, nginx_port;
static pid_t nginx;
static char token[TOKEN_MAX_BYTES + 1], request[TOKEN_MAX_BYTES + 1024], answer[4096];

static bool
knows_itself(void *arg)
{
	struct rig_node *n = arg;

	return n->consensus_up && n->router_up;
}

static int
setup(void **state)
{
	(void)state;
	rig_init(&r);
	node = rig_add(&r, "n");
	other = rig_add(&r, "o");
	proxied_port = rig_free_port();
	/* Beats are not answered here. */
	rig_conf(node,
	    "\thandshake-timeout 2s\n\tlisten-proxied 127.0.0.1:%u\n\theartbeat-interval 1min\n"
	    "\tlink-queue 64MB\n\tstream-quota 64MB\n\ttenant-quota 64MB\n",
	    proxied_port);
	rig_start(node);
	return rig_wait(&r, knows_itself, node, RIG_WAIT_MS) ? 0 : -1;
}

static int
teardown(void **state)
{
	(void)state;
	assert_true(rig_alive(node));
	if (nginx > 0) {
		kill(nginx, SIGTERM);
		waitpid(nginx, NULL, 0);
	}
	rig_fini(&r);
	return 0;
}

static void
on_alert(void *arg, int fd, bool sent, const char *text)
{
	(void)arg;
	(void)fd;
	(void)sent;
	(void)text;
}

static struct tls *
tls_of(const struct rig_node *n)
{
	char cert[PATH_MAX], key[PATH_MAX], ca[PATH_MAX];
	struct tls_files files = {.cert = cert, .key = key, .ca = ca};
	struct tls *t = tls_new(on_alert, NULL);

	snprintf(cert, sizeof(cert), "%s/tls.crt", n->dir);
	snprintf(key, sizeof(key), "%s/tls.key", n->dir);
	snprintf(ca, sizeof(ca), "%s/ca.crt", n->dir);
	assert_int_equal(tls_load(t, &files), 0);
	return t;
}

/* A token of n's certificate for audience, made age_s ago. */
static void
make_token(const struct rig_node *n, uint64_t audience, int64_t age_s)
{
	char id[NODEID_TEXT_SIZE];
	struct tls *t = tls_of(n);

	nodeid_format(id, audience);
	assert_true(tls_token_make(t, id, (int64_t)(clock_unix_ms() / 1000) - age_s, LIFE_S, token) > 0);
	tls_free(t);
}

/* The upgrade with an Authorization header. */
static const char *
upgrade_with(const char *authorization)
{
	snprintf(request, sizeof(request),
	    "GET /mesh/v1 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
	    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
	    "Sec-WebSocket-Protocol: mesh.v1\r\nX-Forwarded-For: 192.0.2.1\r\n%s\r\n",
	    authorization);
	return request;
}

static const char *
upgrade_with_token(const char *scheme)
{
	static char header[TOKEN_MAX_BYTES + 64];

	snprintf(header, sizeof(header), "Authorization: %s %s\r\n", scheme, token);
	return upgrade_with(header);
}

/* The whole answer, to the end of the connection. */
static void
assert_refused(const char *req, const char *words)
{
	struct raw_peer p;
	int n, used = 0;

	assert_true(raw_connect_plain(&p, proxied_port));
	assert_true(raw_send(&p, req, strlen(req)) > 0);
	while (used < (int)sizeof(answer) - 1 &&
	       (n = raw_recv(&p, answer + used, sizeof(answer) - 1 - (size_t)used)) > 0)
		used += n;
	answer[used] = '\0';
	if (strncmp(answer, "HTTP/1.", 7) != 0 || strstr(answer, " 401 ") == NULL ||
	    strstr(answer, words) == NULL ||
	    strcasestr(answer, "\r\nwww-authenticate: Bearer realm=\"mesh\"") == NULL)
		fail_msg("answer \"%s\" lacks \"%s\"", answer, words);
	raw_free(&p);
}

static unsigned
refused_tokens(void)
{
	const char *at = node->metrics != NULL ? strstr(node->metrics, "reason=\"token\"} ") : NULL;

	return at != NULL ? (unsigned)strtoul(at + strlen("reason=\"token\"} "), NULL, 10) : 0;
}

static bool
has_counted(void *arg)
{
	if (refused_tokens() == *(const unsigned *)arg)
		return true;
	if (channel_up(node->gateway))
		RIG_MUST(channel_send(node->gateway, GT_METRICS, RIG_ASK_METRICS, NULL, 0) == 0);
	return false;
}

static void
who_is_refused(void **state)
{
	unsigned count = 7;

	(void)state;
	assert_refused(upgrade_with(""), "peers show a token here");
	assert_null(strstr(answer, "invalid_token"));
	assert_refused(upgrade_with("Authorization: Basic YTpi\r\n"), "the scheme must be Bearer");
	assert_refused(upgrade_with("Authorization: Bearer x\r\n"), "three parts");
	assert_non_null(strstr(answer, "error=\"invalid_token\", error_description=\"token: three parts"));
	make_token(other, node->id ^ 1, 0);
	assert_refused(upgrade_with_token("Bearer"), "made for another node");
	make_token(other, node->id, LIFE_S + TOKEN_LEEWAY_S + 5);
	assert_refused(upgrade_with_token("Bearer"), "expired");
	make_token(other, node->id, 0);
	memset(token + strlen(token), 'A', sizeof(token) - strlen(token) - 1);
	token[sizeof(token) - 1] = '\0';
	assert_refused(upgrade_with_token("Bearer"), "token: ");
	make_token(other, node->id, 0);
	token[strlen(token) - 20] ^= 1;
	assert_refused(upgrade_with_token("Bearer"), "token: ");
	assert_true(rig_wait(&r, has_counted, &count, RIG_WAIT_MS));
}

static void
a_token_is_no_certificate(void **state)
{
	struct raw_peer p;

	(void)state;
	make_token(other, node->id, 0);
	assert_false(raw_connect(&p, node->port, NULL) && raw_http(&p, upgrade_with_token("Bearer")) != 0);
	raw_free(&p);
	/* And TLS is nothing that the listener for proxies understands. */
	assert_false(raw_connect(&p, proxied_port, other->dir));
	raw_free(&p);
}

/* Upgrades with the token and says hello, through nginx if it runs; the length of the hello in own. */
static size_t
say_hello(struct raw_peer *p, uint8_t *own, size_t size)
{
	size_t len = raw_hello(other, &r.mesh, own, size);

	assert_true(nginx > 0 ? raw_connect(p, nginx_port, NULL) : raw_connect_plain(p, proxied_port));
	assert_int_equal(raw_http(p, upgrade_with_token("bearer")), 101);
	raw_frame(p, FRAME_HELLO, other->id, own, len);
	return len;
}

/* The handshake as other, with the proof bound to the hash of bound_to. */
static void
prove(struct raw_peer *p, const char *bound_to)
{
	uint8_t own[512], theirs[1024], statement[HELLO_STATEMENT_BYTES], sig[HELLO_SIG_BYTES];
	struct hello_proof proof = {.role = HELLO_DIALLER, .mesh_id = r.mesh};
	size_t own_len = say_hello(p, own, sizeof(own)), len;

	assert_true(raw_expect(p, FRAME_HELLO, theirs, &len));
	crypto_hash(proof.own_hash, own, own_len);
	crypto_hash(proof.peer_hash, theirs, len);
	crypto_hash(proof.exporter, bound_to, strlen(bound_to));
	hello_statement(&proof, statement);
	RIG_MUST(crypto_sign(other->key, CRYPTO_CONTEXT_HELLO, statement, sizeof(statement), sig) == 0);
	raw_frame(p, FRAME_AUTH, other->id, sig, sizeof(sig));
}

static bool
linked(void *arg)
{
	(void)arg;
	return rig_has_link(node, other->id);
}

static bool
not_linked(void *arg)
{
	return !linked(arg);
}

static void
a_link_comes_up(void **state)
{
	struct raw_peer p;

	(void)state;
	make_token(other, node->id, 0);
	prove(&p, token);
	assert_true(rig_wait(&r, linked, NULL, RIG_WAIT_MS));
	raw_free(&p);
	assert_true(rig_wait(&r, not_linked, NULL, RIG_WAIT_MS));
}

static void
expect_goaway(struct raw_peer *p, uint16_t want)
{
	uint16_t close_code;

	assert_int_equal(raw_goaway(p, &close_code), want);
	raw_free(p);
}

static void
a_proof_fits_one_token(void **state)
{
	uint8_t own[512];
	struct raw_peer p;

	(void)state;
	make_token(other, node->id, 0);
	prove(&p, "another token");
	expect_goaway(&p, GOAWAY_BAD_PROOF);
	/* The node key alone is not enough: the token must be the same node's. */
	rig_issue(other, other->id ^ 1, NULL, NULL, 86400);
	make_token(other, node->id, 0);
	rig_issue(other, other->id, NULL, NULL, 86400);
	(void)say_hello(&p, own, sizeof(own));
	expect_goaway(&p, GOAWAY_BAD_CERT);
}

/* --- tokens on a link that is up --- */

/* A link of other; the TOKEN that our end owes is right. */
static void
link_up(struct raw_peer *p)
{
	uint8_t payload[16384];
	char audience[NODEID_TEXT_SIZE];
	struct token proven;
	struct tls *t = tls_of(other);
	const char *why;
	size_t len;

	prove(p, token);
	assert_true(rig_wait(&r, linked, NULL, RIG_WAIT_MS));
	assert_true(raw_expect(p, FRAME_TOKEN, payload, &len));
	nodeid_format(audience, other->id);
	assert_int_equal(tls_token_check(t, (const char *)payload, len, audience,
			     (int64_t)(clock_unix_ms() / 1000), &proven, &why),
	    0);
	assert_true(proven.node_id == node->id);
	tls_free(t);
}

static void
show(struct raw_peer *p)
{
	raw_frame(p, FRAME_TOKEN, other->id, token, strlen(token));
}

static void
wait_end(struct raw_peer *p, uint16_t want)
{
	expect_goaway(p, want);
	assert_true(rig_wait(&r, not_linked, NULL, RIG_WAIT_MS));
}

static void
fresh_tokens_keep_a_link(void **state)
{
	struct mono begin = clock_mono();
	struct raw_peer p;

	(void)state;
	/* Five seconds are left of the first, eight of the second. */
	make_token(other, node->id, LIFE_S + TOKEN_LEEWAY_S - 5);
	link_up(&p);
	make_token(other, node->id, LIFE_S + TOKEN_LEEWAY_S - 8);
	show(&p);
	wait_end(&p, GOAWAY_EXPIRED);
	assert_true(clock_mono().us - begin.us > 6000000);
}

static void
other_tokens_end_it(void **state)
{
	struct raw_peer p;

	(void)state;
	make_token(other, node->id, 0);
	link_up(&p);
	make_token(other, node->id ^ 1, 0);
	show(&p);
	wait_end(&p, GOAWAY_TOKEN);

	make_token(other, node->id, 0);
	link_up(&p);
	token[strlen(token) - 20] ^= 1;
	show(&p);
	wait_end(&p, GOAWAY_TOKEN);

	/* Another node's, and right. */
	make_token(other, node->id, 0);
	link_up(&p);
	rig_issue(other, other->id ^ 1, NULL, NULL, 86400);
	make_token(other, node->id, 0);
	rig_issue(other, other->id, NULL, NULL, 86400);
	show(&p);
	wait_end(&p, GOAWAY_TOKEN);

	make_token(other, node->id, 0);
	link_up(&p);
	for (int i = 0; i <= REAUTH_BURST; i++)
		show(&p);
	wait_end(&p, GOAWAY_FLOW);
}

/* --- frames --- */

enum { PIECES = 200, PIECE_BYTES = 15000 };

static void
send_pieces(void)
{
	static uint8_t payload[PIECE_BYTES], mem[PIECE_BYTES + 1024];

	rig_route(node, other->id, &other->id, 1);
	assert_true(rig_wait_routes(node));
	for (unsigned i = 0; i < PIECES; i++) {
		struct buf out;

		memset(payload, (int)i, sizeof(payload));
		buf_init_fixed(&out, mem, sizeof(mem));
		assert_int_equal(rig_data(&out, node, other->id, payload, sizeof(payload)), 0);
		assert_int_equal(channel_send(node->consensus, CT_FRAMES_OUT, 0, mem, buf_left(&out)), 0);
	}
}

struct reader {
	struct raw_peer *peer;
	unsigned count;
	struct window window; /* what is acknowledged and granted */
};

static void
acknowledge(struct reader *rd)
{
	uint8_t payload[64];
	struct buf out;

	rd->window.limit_frames = rd->window.acked_frames + 65536;
	rd->window.limit_bytes = rd->window.acked_bytes + (4 << 20);
	buf_init_fixed(&out, payload, sizeof(payload));
	assert_int_equal(window_encode(&rd->window, &out), 0);
	raw_frame(rd->peer, FRAME_WINDOW, other->id, payload, buf_left(&out));
}

/* Whole and in order. */
static void
count_pieces(struct reader *rd, const uint8_t *msg, size_t len)
{
	struct buf in;

	buf_view(&in, msg, len);
	while (buf_left(&in) != 0) {
		const uint8_t *at = buf_head(&in);
		struct frame f;
		int err = frame_decode(&in, &f);

		assert_int_equal(err, 0);
		if (f.type != FRAME_DATA)
			continue;
		rd->window.acked_frames++;
		rd->window.acked_bytes += (uint64_t)(buf_head(&in) - at);
		assert_int_equal(f.payload_len, PIECE_BYTES);
		for (size_t i = 0; i < PIECE_BYTES; i++)
			assert_int_equal(f.payload[i], (uint8_t)rd->count);
		rd->count++;
	}
}

static bool
has_read_all(void *arg)
{
	static uint8_t msg[65536];
	struct reader *rd = arg;
	struct pollfd pfd = {.fd = rd->peer->fd, .events = POLLIN};
	unsigned before = rd->count;
	size_t len;

	for (int i = 0; i < 4 && rd->count < PIECES && poll(&pfd, 1, 0) == 1; i++) {
		assert_int_equal(raw_read(rd->peer, msg, &len), WSFRAME_BINARY);
		count_pieces(rd, msg, len);
	}
	if (rd->count != before)
		acknowledge(rd);
	return rd->count == PIECES;
}

static void
frames_arrive_in_order(void **state)
{
	struct raw_peer p;
	struct reader rd = {.peer = &p};

	(void)state;
	make_token(other, node->id, 0);
	prove(&p, token);
	assert_true(rig_wait(&r, linked, NULL, RIG_WAIT_MS));
	send_pieces();
	assert_true(rig_wait(&r, has_read_all, &rd, RIG_WAIT_MS));
	raw_free(&p);
	assert_true(rig_wait(&r, not_linked, NULL, RIG_WAIT_MS));
}

/* --- a real proxy --- */

/* As in transportd(8). */
static void
write_nginx_conf(const char *path)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fprintf(f,
	    "daemon off; pid %s/nginx.pid; error_log %s/nginx.log; worker_processes 1;\n"
	    "%s\nevents {}\n"
	    "http {\n access_log off; client_body_temp_path %s/t1; proxy_temp_path %s/t2;\n"
	    " fastcgi_temp_path %s/t3; uwsgi_temp_path %s/t4; scgi_temp_path %s/t5;\n"
	    " server {\n"
	    "  listen 127.0.0.1:%u ssl;\n"
	    "  ssl_protocols TLSv1.3;\n"
	    "  ssl_certificate %s/tls.crt;\n"
	    "  ssl_certificate_key %s/tls.key;\n"
	    "  location = /mesh/v1 {\n"
	    "   proxy_pass http://127.0.0.1:%u;\n"
	    "   proxy_http_version 1.1;\n"
	    "   proxy_set_header Host $host;\n"
	    "   proxy_set_header Upgrade $http_upgrade;\n"
	    "   proxy_set_header Connection \"upgrade\";\n"
	    "   proxy_buffering off;\n"
	    "   proxy_read_timeout 1h;\n"
	    "   proxy_send_timeout 1h;\n"
	    "  }\n }\n}\n",
	    r.dir, r.dir, geteuid() == 0 ? "user root;" : "", r.dir, r.dir, r.dir, r.dir, r.dir, nginx_port,
	    node->dir, node->dir, proxied_port);
	fclose(f);
}

static bool
nginx_answers(void *arg)
{
	struct raw_peer p;
	bool ok = raw_connect(&p, nginx_port, NULL);

	(void)arg;
	raw_free(&p);
	return ok;
}

static void
start_nginx(void)
{
	char path[PATH_MAX];

	nginx_port = rig_free_port();
	snprintf(path, sizeof(path), "%s/nginx.conf", r.dir);
	write_nginx_conf(path);
	nginx = fork();
	assert_true(nginx != -1);
	if (nginx == 0) {
		prctl(PR_SET_PDEATHSIG, SIGTERM);
		execlp("nginx", "nginx", "-c", path, "-e", "stderr", (char *)NULL);
		execl("/usr/sbin/nginx", "nginx", "-c", path, "-e", "stderr", (char *)NULL);
		_exit(127);
	}
	assert_true(rig_wait(&r, nginx_answers, NULL, RIG_WAIT_MS));
}

/* Last: from here on everybody comes through nginx. */
static void
behind_nginx(void **state)
{
	struct raw_peer p;

	(void)state;
	start_nginx();
	assert_true(raw_connect(&p, nginx_port, NULL));
	assert_int_equal(raw_http(&p, RAW_UPGRADE), 401);
	raw_free(&p);
	make_token(other, node->id, 0);
	prove(&p, "another token");
	expect_goaway(&p, GOAWAY_BAD_PROOF);
	make_token(other, node->id, 0);
	prove(&p, token);
	assert_true(rig_wait(&r, linked, NULL, RIG_WAIT_MS));
	raw_free(&p);
	assert_true(rig_wait(&r, not_linked, NULL, RIG_WAIT_MS));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(who_is_refused),
	    cmocka_unit_test(a_token_is_no_certificate),
	    cmocka_unit_test(a_link_comes_up),
	    cmocka_unit_test(a_proof_fits_one_token),
	    cmocka_unit_test(fresh_tokens_keep_a_link),
	    cmocka_unit_test(other_tokens_end_it),
	    cmocka_unit_test(frames_arrive_in_order),
	    cmocka_unit_test(behind_nginx),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
