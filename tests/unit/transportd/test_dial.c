/* How transportd dials: races of addresses, names, tokens, and its resolver. */
#include "tests/rig/dial.h"

#include <openssl/ssl.h>
#include <sched.h>
#include <sys/mount.h>

enum { FILL = 3 };

struct hole {
	int fds[1 + FILL];
	uint16_t port;
};

/* A port where nothing answers: the queue of the listener is full, so the kernel drops each SYN. */
static void
hole_open(struct hole *h, int family)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);

	h->fds[0] = listen_on(family, &h->port, 0);
	assert_int_equal(getsockname(h->fds[0], (struct sockaddr *)&ss, &len), 0);
	for (int i = 1; i <= FILL; i++) {
		h->fds[i] = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		(void)connect(h->fds[i], (struct sockaddr *)&ss, len);
	}
}

static void
hole_close(struct hole *h)
{
	for (int i = 0; i <= FILL; i++)
		close(h->fds[i]);
}

/* --- races --- */

/* How long a takes to be linked with b when these addresses stand before b's. */
static int
linked_behind(const char *addresses)
{
	struct rig_node *a, *b;
	struct rig r;
	int ms;

	rig_init(&r);
	a = rig_add(&r, "a");
	b = rig_add(&r, "b");
	rig_conf(a, "\thandshake-timeout 60s\n\tpeer b { address %s 127.0.0.1:%u }", addresses, b->port);
	rig_conf(b, "");
	rig_start(b);
	assert_true(rig_wait_routes(b));
	rig_start(a);
	ms = (int)wait_link(a, b);
	rig_fini(&r);
	return ms;
}

static void
black_holes_are_passed(void **state)
{
	char addresses[128];
	struct hole v4, v6;
	uint16_t mute;
	int ms, fd = listen_on(AF_INET, &mute, 16);

	(void)state;
	hole_open(&v4, AF_INET);
	hole_open(&v6, AF_INET6);
	/* One by one each would have had its minute. */
	snprintf(addresses, sizeof(addresses), "127.0.0.1:%u", v4.port);
	ms = linked_behind(addresses);
	print_message("a black hole before it: linked after %d ms\n", ms);
	assert_in_range(ms, 0, 15000);
	/* And one that takes the connection, but never answers. */
	snprintf(addresses, sizeof(addresses), "127.0.0.1:%u [::1]:%u 127.0.0.1:%u", v4.port, v6.port, mute);
	ms = linked_behind(addresses);
	print_message("three before it: linked after %d ms\n", ms);
	assert_in_range(ms, 0, 15000);
	hole_close(&v4);
	hole_close(&v6);
	close(fd);
}

static void
an_address_that_leads_astray_is_tried_last(void **state)
{
	struct rig_node *a, *b, *c;
	char id[NODEID_TEXT_SIZE];
	struct rig r;

	(void)state;
	rig_init(&r);
	a = rig_add(&r, "a");
	b = rig_add(&r, "b");
	c = rig_add(&r, "c");
	nodeid_format(id, b->id);
	/* c wins the first race, being the first in the list. */
	rig_conf(a, "\tpeer b { address 127.0.0.1:%u 127.0.0.1:%u; node-id %s }", c->port, b->port, id);
	rig_conf(b, "");
	rig_conf(c, "");
	rig_start(b);
	rig_start(c);
	assert_true(rig_wait_routes(b));
	assert_true(rig_wait_routes(c));
	rig_start(a);
	(void)wait_link(a, b);
	assert_int_equal(c->link_ups, 0);
	rig_fini(&r);
}

static void
ipv6_alone(void **state)
{
	struct rig_node *a, *b;
	uint16_t port;
	struct rig r;

	(void)state;
	close(listen_on(AF_INET6, &port, 1));
	rig_init(&r);
	a = rig_add(&r, "a");
	b = rig_add(&r, "b");
	rig_conf(a, "\tpeer b { address 127.0.0.1:1 [::1]:%u }", port);
	rig_conf(b, "\tlisten [::1]:%u", port);
	rig_start(a);
	rig_start(b);
	(void)wait_link(a, b);
	assert_non_null(strstr(a->last_link.address, "[::1]:"));
	rig_fini(&r);
}

/* --- names in TLS and HTTP, tokens --- */

struct front {
	char dir[128]; /* its certificate, and what it has seen */
};

static int
on_sni(SSL *ssl, int *alert, void *arg)
{
	const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);

	(void)alert;
	snprintf(arg, 256, "%s", name != NULL ? name : "none");
	return SSL_TLSEXT_ERR_OK;
}

static int
anyone(int ok, X509_STORE_CTX *ctx)
{
	(void)ok;
	(void)ctx;
	return 1;
}

/* Ends TLS, notes what it sees, and refuses. */
static void
front(int fd, const void *arg)
{
	static const char answer[] = "HTTP/1.1 418 teapot\r\nContent-Length: 0\r\n\r\n";
	const struct front *f = arg;
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
	char path[PATH_MAX], seen[PATH_MAX], sni[256], request[16384];

	snprintf(seen, sizeof(seen), "%s/front.seen", f->dir);
	snprintf(path, sizeof(path), "%s/front.crt", f->dir);
	SSL_CTX_use_certificate_file(ctx, path, SSL_FILETYPE_PEM);
	snprintf(path, sizeof(path), "%s/front.key", f->dir);
	SSL_CTX_use_PrivateKey_file(ctx, path, SSL_FILETYPE_PEM);
	SSL_CTX_set_tlsext_servername_callback(ctx, on_sni);
	SSL_CTX_set_tlsext_servername_arg(ctx, sni);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, anyone);
	for (;;) {
		SSL *ssl = SSL_new(ctx);
		FILE *out;
		int n, s = accept(fd, NULL, NULL);

		SSL_set_fd(ssl, s);
		snprintf(sni, sizeof(sni), "none");
		n = SSL_accept(ssl) == 1 ? SSL_read(ssl, request, sizeof(request) - 1) : 0;
		out = fopen(seen, "a");
		fprintf(out, "sni=%s certificate=%s\n%.*s\n", sni,
		    SSL_get0_peer_certificate(ssl) != NULL ? "yes" : "no", n > 0 ? n : 0, request);
		fclose(out);
		SSL_write(ssl, answer, sizeof(answer) - 1);
		SSL_free(ssl);
		close(s);
	}
}

struct seen_wait {
	const char *path, *text;
};

static bool
has_seen(void *arg)
{
	struct seen_wait *w = arg;

	return file_has(w->path, w->text);
}

static void
wait_seen(struct rig_node *n, const char *text)
{
	char path[PATH_MAX];
	struct seen_wait w = {path, text};

	snprintf(path, sizeof(path), "%s/front.seen", n->dir);
	if (!rig_wait(n->rig, has_seen, &w, RIG_WAIT_MS))
		fail_msg("not seen: %s", text);
}

static pid_t
front_start(struct rig_node *n, uint16_t *port)
{
	static struct front f;

	snprintf(f.dir, sizeof(f.dir), "%s", n->dir);
	return in_child(front, listen_on(AF_INET, port, 16), &f);
}

static void
names_are_as_configured(void **state)
{
	struct rig_node *a;
	char text[128];
	struct rig r;
	uint16_t port;
	pid_t pid;

	(void)state;
	rig_init(&r);
	a = rig_add(&r, "a");
	/* Of the mesh's authority, for whatever name: that does not count here. */
	issue_front(a, r.ca, r.ca_key, "DNS:elsewhere.test");
	pid = front_start(a, &port);
	rig_conf(a, "\tpeer b { address 127.0.0.1:%u }", port);
	rig_start(a);
	/* A numeric address is no server name. */
	wait_seen(a, "sni=none certificate=yes");
	snprintf(text, sizeof(text), "Host: 127.0.0.1:%u\r", port);
	wait_seen(a, text);
	wait_log(a, "the peer answered with HTTP 418");
	rig_conf(a, "\tpeer b { address localhost:%u }", port);
	kill(a->pid, SIGHUP);
	wait_seen(a, "sni=localhost certificate=yes");
	snprintf(text, sizeof(text), "Host: localhost:%u\r", port);
	wait_seen(a, text);
	rig_conf(a, "\tpeer b { address localhost:%u; sni name-in-tls.test; host name-in-http.test }", port);
	kill(a->pid, SIGHUP);
	wait_seen(a, "sni=name-in-tls.test certificate=yes");
	wait_seen(a, "Host: name-in-http.test\r");
	end_child(pid);
	rig_fini(&r);
}

static void
a_token_instead_of_a_certificate(void **state)
{
	static const char conf[] = "\tpeer b { address 127.0.0.1:%u; node-id %s; admission token\n"
				   "server-ca %s; sni %s }";
	char id[NODEID_TEXT_SIZE];
	struct rig_node *a;
	EVP_PKEY *ca_key;
	struct rig r;
	uint16_t port;
	pid_t pid;
	X509 *ca;

	(void)state;
	rig_init(&r);
	a = rig_add(&r, "a");
	nodeid_format(id, a->id ^ 1);
	ca_key = EVP_EC_gen("P-256");
	ca = rig_cert(ca_key, "front CA", NULL, NULL, NULL, 86400);
	issue_front(a, ca, ca_key, "DNS:front.test");
	rig_pem(a->dir, "front-ca.crt", ca, NULL);
	X509_free(ca);
	EVP_PKEY_free(ca_key);
	pid = front_start(a, &port);
	rig_conf(a, conf, port, id, "front-ca.crt", "front.test");
	rig_start(a);
	wait_seen(a, "sni=front.test certificate=no");
	wait_seen(a, "uthorization: Bearer eyJ");
	wait_log(a, "the peer answered with HTTP 418");
	/* Another name than the certificate's, then another authority. */
	rig_conf(a, conf, port, id, "front-ca.crt", "other.test");
	kill(a->pid, SIGHUP);
	wait_log(a, "refused the peer's certificate or parameters: ");
	rig_kill(a, SIGTERM);
	put_file(a, "transportd.log", "");
	rig_conf(a, conf, port, id, "ca.crt", "front.test");
	rig_spawn(a);
	wait_log(a, "refused the peer's certificate or parameters: unknown CA");
	assert_true(rig_alive(a));
	end_child(pid);
	rig_fini(&r);
}

/* --- the resolver --- */

static void
bind_over(const char *from, const char *to)
{
	if (mount(from, to, NULL, MS_BIND, NULL) != 0)
		_exit(125);
}

/* Starts the daemon with files of its own that say how names are resolved. */
static void
spawn_with_names(struct rig_node *n)
{
	char path[PATH_MAX], conf[PATH_MAX];

	n->pid = fork();
	assert_int_not_equal(n->pid, -1);
	if (n->pid != 0)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
		_exit(125);
	snprintf(path, sizeof(path), "%s/resolv.conf", n->dir);
	bind_over(path, "/etc/resolv.conf");
	snprintf(path, sizeof(path), "%s/hosts", n->dir);
	bind_over(path, "/etc/hosts");
	snprintf(path, sizeof(path), "%s/nsswitch.conf", n->dir);
	bind_over(path, "/etc/nsswitch.conf");
	snprintf(path, sizeof(path), "%s/transportd.log", n->dir);
	dup2(open(path, O_WRONLY | O_CREAT | O_APPEND, 0600), 2);
	snprintf(conf, sizeof(conf), "%s/mesh.conf", n->dir);
	execl(n->rig->program, "transportd", "-c", conf, (char *)NULL);
	_exit(127);
}

/* May this process do that at all? */
static bool
may_mount(void)
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		_exit(unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
		      mount("/etc/hosts", "/etc/resolv.conf", NULL, MS_BIND, NULL) != 0);
	return waitpid(pid, &status, 0) == pid && status == 0;
}

/* A name server that never answers: its socket and its address. */
static int
silent_name_server(char ip[INET_ADDRSTRLEN])
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(53)};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	/* Of its own, so that tests of others are not disturbed. */
	sa.sin_addr.s_addr = htonl(0x7f000000u | ((uint32_t)getpid() & 0xffff) << 8 | 53);
	inet_ntop(AF_INET, &sa.sin_addr, ip, INET_ADDRSTRLEN);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	return fd;
}

static void
put_names(struct rig_node *n, const char *server)
{
	char text[128];

	snprintf(text, sizeof(text), "nameserver %s\noptions timeout:30 attempts:1\n", server);
	put_file(n, "resolv.conf", text);
	put_file(n, "hosts", "127.0.0.1 localhost fast.test\n");
	put_file(n, "nsswitch.conf", "hosts: files dns\n");
}

/* A child of parent; 0: it has none. */
static pid_t
child_of(pid_t parent)
{
	char path[64];
	int pid = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)parent, (int)parent);
	f = fopen(path, "r");
	if (f != NULL && fscanf(f, "%d", &pid) != 1)
		pid = 0;
	if (f != NULL)
		fclose(f);
	return pid;
}

struct worker_wait {
	pid_t keeper, but, found;
};

static bool
has_worker(void *arg)
{
	struct worker_wait *w = arg;

	w->found = child_of(w->keeper);
	return w->found != 0 && w->found != w->but;
}

static void
a_query_that_hangs_harms_nobody(void **state)
{
	struct worker_wait w = {0};
	char ip[INET_ADDRSTRLEN];
	struct rig_node *a, *b;
	struct rig r;
	int fd;

	(void)state;
	if (!may_mount())
		skip();
	fd = silent_name_server(ip);
	rig_init(&r);
	a = rig_add(&r, "a");
	b = rig_add(&r, "b");
	put_names(a, ip);
	/* Alone, and beside a name that is known. */
	rig_conf(
	    a, "\tpeer c { address slow.test:1 }\n\tpeer b { address slow.test:1 fast.test:%u }", b->port);
	rig_conf(b, "");
	rig_start(b);
	spawn_with_names(a);
	rig_connect_gateway(a);
	rig_connect_consensus(a);
	rig_connect_router(a);
	print_message("beside a name server that hangs: linked after %d ms\n", (int)wait_link(a, b));
	/* One that dies is no name found, and the next query has a process again. */
	w.keeper = child_of(a->pid);
	assert_int_not_equal(w.keeper, 0);
	assert_true(rig_wait(&r, has_worker, &w, RIG_WAIT_MS));
	for (int i = 0; i < 2; i++) {
		w.but = w.found;
		assert_int_equal(kill(w.but, SIGKILL), 0);
		assert_true(rig_wait(&r, has_worker, &w, RIG_WAIT_MS));
	}
	wait_log(a, "peer c at slow.test can't be linked: its name can't be resolved");
	assert_true(rig_alive(a));
	assert_int_equal(a->link_downs, 0);
	close(fd);
	rig_fini(&r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(black_holes_are_passed),
	    cmocka_unit_test(an_address_that_leads_astray_is_tried_last),
	    cmocka_unit_test(ipv6_alone),
	    cmocka_unit_test(names_are_as_configured),
	    cmocka_unit_test(a_token_instead_of_a_certificate),
	    cmocka_unit_test(a_query_that_hangs_harms_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
