/* Links through HTTP proxies: a real one, and fakes that fail. */
#include "tests/rig/dial.h"

#include <netinet/tcp.h>
#include <poll.h>

/* --- a real one --- */

#define TINYPROXY "/usr/bin/tinyproxy"

static pid_t
tinyproxy_start(const struct rig *r, uint16_t port, const char *extra)
{
	char path[PATH_MAX];
	pid_t pid;
	FILE *f;

	snprintf(path, sizeof(path), "%s/tinyproxy.conf", r->dir);
	f = fopen(path, "w");
	assert_non_null(f);
	fprintf(f, "Port %u\nListen 127.0.0.1\nTimeout 600\nMaxClients 20\nAllow 127.0.0.1\n%s", port, extra);
	fclose(f);
	pid = fork();
	assert_int_not_equal(pid, -1);
	if (pid == 0) {
		int null = open("/dev/null", O_RDWR);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(null, 1);
		dup2(null, 2);
		execl(TINYPROXY, "tinyproxy", "-d", "-c", path, (char *)NULL);
		_exit(127);
	}
	return pid;
}

static void
through_a_real_proxy(void **state)
{
	uint16_t port = rig_free_port();
	struct rig_node *a, *b;
	char via[64];
	struct rig r;
	pid_t proxy;

	(void)state;
	if (access(TINYPROXY, X_OK) != 0)
		skip();
	rig_init(&r);
	a = rig_add(&r, "a");
	b = rig_add(&r, "b");
	/* The target's name is the proxy's to resolve, the proxy's name ours. */
	rig_conf(a, "\tpeer b { address localhost:%u; proxy localhost:%u }", b->port, port);
	rig_conf(b, "");
	rig_start(a);
	rig_start(b);
	proxy = tinyproxy_start(&r, port, "");
	(void)wait_link(a, b);
	snprintf(via, sizeof(via), "localhost:%u via 127.0.0.1:%u", b->port, port);
	assert_string_equal(a->last_link.address, via);
	/* Every lane of the link goes that way. */
	snprintf(via, sizeof(via), "lane 2 (bulk) is up, dialled localhost:%u via", b->port);
	wait_log(a, via);
	assert_true(rig_alive(a));
	end_child(proxy);
	rig_fini(&r);
}

static void
a_proxy_that_wants_a_password(void **state)
{
	uint16_t port = rig_free_port();
	struct rig_node *a, *b;
	char text[128];
	struct rig r;
	pid_t proxy;

	(void)state;
	if (access(TINYPROXY, X_OK) != 0)
		skip();
	rig_init(&r);
	a = rig_add(&r, "a");
	b = rig_add(&r, "b");
	proxy = tinyproxy_start(&r, port, "BasicAuth mesh open-sesame\n");
	rig_conf(a, "\tpeer b { address 127.0.0.1:%u; proxy 127.0.0.1:%u }", b->port, port);
	rig_conf(b, "");
	rig_start(a);
	rig_start(b);
	snprintf(text, sizeof(text), "the proxy at 127.0.0.1:%u answered 407: set proxy-auth", port);
	wait_log(a, text);
	put_file(a, "proxy.auth", "mesh:wrong\n");
	rig_conf(
	    a, "\tpeer b { address 127.0.0.1:%u; proxy 127.0.0.1:%u; proxy-auth proxy.auth }", b->port, port);
	kill(a->pid, SIGHUP);
	snprintf(text, sizeof(text), "the proxy at 127.0.0.1:%u answered 40", port);
	wait_log(a, text);
	assert_int_equal(a->link_ups, 0);
	/* The same file, with what is right. */
	put_file(a, "proxy.auth", "mesh:open-sesame\n");
	kill(a->pid, SIGHUP);
	(void)wait_link(a, b);
	put_file(a, "proxy.auth", "no colon\n");
	kill(a->pid, SIGHUP);
	wait_log(a, "must hold user:password in one line");
	assert_int_equal(a->link_downs, 0);
	end_child(proxy);
	rig_fini(&r);
}

/* --- fakes --- */

/* Reads up to the end of a header. */
static void
read_request(int fd, char *out, size_t size)
{
	size_t n = 0;

	while (n + 1 < size && (n < 4 || memcmp(out + n - 4, "\r\n\r\n", 4) != 0))
		if (read(fd, out + n, 1) == 1)
			n++;
		else
			break;
	out[n] = '\0';
}

/* What a fake proxy says to every CONNECT before it hangs up; NULL: nothing, and it stays. */
static void
fake_proxy(int fd, const void *arg)
{
	const char *answer = arg;
	char request[4096];

	for (;;) {
		int s = accept(fd, NULL, NULL);

		if (s == -1)
			return;
		if (answer == NULL)
			continue;
		read_request(s, request, sizeof(request));
		(void)!write(s, answer, strlen(answer));
		shutdown(s, SHUT_WR);
		(void)!read(s, request, sizeof(request));
		close(s);
	}
}

static void
proxies_that_fail(void **state)
{
	static const struct {
		const char *answer, *complaint;
	} cases[] = {
	    {NULL, "has not answered"},
	    {"SSH-2.0-OpenSSH_9.2\r\n", "does not answer as HTTP has it"},
	    {"HTTP/1.1 20", "closed the connection before it had answered"},
	    {"HTTP/1.1 200 OK\r\nVia: x\r\n", "closed the connection before it had answered"},
	    {"", "closed the connection before it had answered"},
	    {"HTTP/1.1 502 Bad Gateway\r\n\r\n", "answered 502: it can't reach the peer"},
	    {"HTTP/1.1 403 no\r\n\r\n", "answered 403: it does not let this node connect there"},
	    {"HTTP/1.1 200 OK\r\n\r\nand more", "does not answer as HTTP has it"},
	    /* Open, and gone. */
	    {"HTTP/1.1 200 OK\r\n\r\n", "connection closed during the TLS handshake"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		char text[160];
		struct rig_node *a;
		struct rig r;
		uint16_t port;
		int fd = listen_on(AF_INET, &port, 16);
		pid_t proxy = in_child(fake_proxy, fd, cases[i].answer);

		rig_init(&r);
		a = rig_add(&r, "a");
		rig_conf(a,
		    "\thandshake-timeout 500ms\n\tpeer b { address b.invalid:443; proxy 127.0.0.1:%u }",
		    port);
		rig_start(a);
		snprintf(text, sizeof(text), "%s%s", "peer b at b.invalid can't be linked: ",
		    i + 1 < COUNT(cases) ? "the proxy at 127.0.0.1:" : "");
		wait_log(a, text);
		wait_log(a, cases[i].complaint);
		assert_true(rig_alive(a));
		end_child(proxy);
		rig_fini(&r);
	}
}

static int
connect_to(const char *host, const char *port)
{
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback};
	int s = socket(AF_INET6, SOCK_STREAM, 0);

	v6.sin6_port = htons((uint16_t)strtoul(port, NULL, 10));
	if (strcmp(host, "[::1]") != 0 || connect(s, (struct sockaddr *)&v6, sizeof(v6)) != 0)
		_exit(1);
	return s;
}

static void
relay(int a, int b)
{
	struct pollfd p[2] = {{.fd = a, .events = POLLIN}, {.fd = b, .events = POLLIN}};
	char mem[4096];

	while (poll(p, 2, -1) > 0) {
		for (int i = 0; i < 2; i++) {
			ssize_t n = p[i].revents != 0 ? read(p[i].fd, mem, sizeof(mem)) : -1;

			if (n == 0 || (n > 0 && write(p[1 - i].fd, mem, (size_t)n) != n))
				return;
		}
	}
}

/* Answers one byte at a time, and then is a proxy. */
static void
slow_proxy(int fd, const void *arg)
{
	static const char answer[] = "HTTP/1.0 200 Connection established\r\nProxy-agent: slow\r\n\r\n";
	char request[4096], host[256], port[8];
	int s = accept(fd, NULL, NULL), one = 1, target;

	(void)arg;
	read_request(s, request, sizeof(request));
	if (sscanf(request, "CONNECT %255[^ :]:%7[0-9] ", host, port) != 2 &&
	    sscanf(request, "CONNECT %255[^]]]:%7[0-9] ", host, port) != 2)
		_exit(1);
	strcat(host, host[0] == '[' ? "]" : "");
	target = connect_to(host, port);
	setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	for (const char *p = answer; *p != '\0'; p++)
		(void)!write(s, p, 1);
	relay(s, target);
}

static void
an_answer_in_pieces_and_an_ipv6_target(void **state)
{
	struct rig_node *a, *b;
	uint16_t port, listen;
	struct rig r;
	pid_t proxy;
	int fd = listen_on(AF_INET, &port, 16);

	(void)state;
	close(listen_on(AF_INET6, &listen, 1));
	rig_init(&r);
	a = rig_add(&r, "a");
	b = rig_add(&r, "b");
	rig_conf(a, "\tpeer b { address [::1]:%u; proxy 127.0.0.1:%u }", listen, port);
	rig_conf(b, "\tlisten [::1]:%u", listen);
	rig_start(b);
	assert_true(rig_wait_routes(b));
	proxy = in_child(slow_proxy, fd, NULL);
	rig_start(a);
	(void)wait_link(a, b);
	end_child(proxy);
	rig_fini(&r);
}

/* --- one that ends TLS --- */

static pid_t
nginx_start(const struct rig_node *n, uint16_t port, uint16_t behind)
{
	char path[PATH_MAX];
	const char *dir = n->dir;
	pid_t pid;
	FILE *f;

	snprintf(path, sizeof(path), "%s/nginx.conf", dir);
	f = fopen(path, "w");
	assert_non_null(f);
	fprintf(f,
	    "daemon off; pid %s/nginx.pid; error_log %s/nginx.log; worker_processes 1;\n%s\nevents {}\n"
	    "http {\n access_log off; client_body_temp_path %s/t1; proxy_temp_path %s/t2;\n"
	    " fastcgi_temp_path %s/t3; uwsgi_temp_path %s/t4; scgi_temp_path %s/t5;\n"
	    " server {\n  listen 127.0.0.1:%u ssl; server_name front.test; ssl_protocols TLSv1.3;\n"
	    "  ssl_certificate %s/front.crt; ssl_certificate_key %s/front.key;\n"
	    "  location = /mesh/v1 {\n   proxy_pass http://127.0.0.1:%u; proxy_http_version 1.1;\n"
	    "   proxy_set_header Host $host; proxy_set_header Upgrade $http_upgrade;\n"
	    "   proxy_set_header Connection \"upgrade\"; proxy_buffering off;\n  }\n }\n}\n",
	    dir, dir, geteuid() == 0 ? "user root;" : "", dir, dir, dir, dir, dir, port, dir, dir, behind);
	fclose(f);
	pid = fork();
	assert_int_not_equal(pid, -1);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGTERM);
		execl("/usr/sbin/nginx", "nginx", "-c", path, "-e", "stderr", (char *)NULL);
		_exit(127);
	}
	return pid;
}

static void
a_peer_behind_one_that_ends_tls(void **state)
{
	uint16_t port = rig_free_port(), behind = rig_free_port();
	char id[NODEID_TEXT_SIZE], text[64];
	struct rig_node *a, *b;
	EVP_PKEY *ca_key;
	struct rig r;
	pid_t nginx;
	X509 *ca;

	(void)state;
	if (access("/usr/sbin/nginx", X_OK) != 0)
		skip();
	rig_init(&r);
	a = rig_add(&r, "a");
	b = rig_add(&r, "b");
	ca_key = EVP_EC_gen("P-256");
	ca = rig_cert(ca_key, "front CA", NULL, NULL, NULL, 86400);
	issue_front(b, ca, ca_key, "DNS:front.test");
	rig_pem(a->dir, "front-ca.crt", ca, NULL);
	X509_free(ca);
	EVP_PKEY_free(ca_key);
	nodeid_format(id, b->id);
	rig_conf(a,
	    "\tpeer b { address 127.0.0.1:%u; node-id %s; admission token\n"
	    "server-ca front-ca.crt; sni front.test; host front.test }",
	    port, id);
	rig_conf(b, "\tlisten-proxied 127.0.0.1:%u", behind);
	nginx = nginx_start(b, port, behind);
	rig_start(a);
	rig_start(b);
	(void)wait_link(a, b);
	snprintf(text, sizeof(text), "lane 2 (bulk) is up, dialled 127.0.0.1:%u", port);
	wait_log(a, text);
	/* nginx ends its workers itself. */
	kill(nginx, SIGTERM);
	assert_int_equal(waitpid(nginx, NULL, 0), nginx);
	rig_fini(&r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(through_a_real_proxy),
	    cmocka_unit_test(a_proxy_that_wants_a_password),
	    cmocka_unit_test(proxies_that_fail),
	    cmocka_unit_test(an_answer_in_pieces_and_an_ipv6_target),
	    cmocka_unit_test(a_peer_behind_one_that_ends_tls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
