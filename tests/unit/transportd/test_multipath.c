/*
 * One stream over two unequal paths: real transportd processes in a diamond, whose first links go through
 * tools/meshproxy with a rate and a delay each.
 */
#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "tests/rig/dial.h"

enum { OVER_X = 1, OVER_Y = 2, X_MBIT = 20, Y_MBIT = 60, DELAY_MS = 10, WINDOW_MS = 3000, WINDOWS = 12 };

static struct diamond {
	struct rig r;
	struct rig_node *s, *x, *y, *t;
	pid_t proxy;
	char socket[108]; /* as sun_path */
	uint16_t port_x, port_y;
	struct loop_timer *timer;
	uint32_t sent, newest;
	uint64_t frames, bytes[3]; /* by path */
	unsigned disordered;
} d;

/* --- meshproxy --- */

static void
proxy_start(void)
{
	char program[PATH_MAX];
	char *slash;

	memcpy(program, d.r.program, sizeof(program));
	slash = strrchr(program, '/');
	assert_non_null(slash);
	snprintf(slash, sizeof(program) - (size_t)(slash - program), "/meshproxy");
	snprintf(d.socket, sizeof(d.socket), "%s/proxy.sock", d.r.dir);
	d.proxy = fork();
	assert_int_not_equal(d.proxy, -1);
	if (d.proxy == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execl(program, "meshproxy", d.socket, (char *)NULL);
		_exit(127);
	}
}

static int
proxy_connect(void)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	assert_int_not_equal(fd, -1);
	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", d.socket);
	for (int i = 0; connect(fd, (struct sockaddr *)&sun, sizeof(sun)) == -1; i++) {
		if (waitpid(d.proxy, NULL, WNOHANG) == d.proxy)
			fail_msg("meshproxy has ended: was it built beside transportd?");
		assert_in_range(i, 0, 6000); /* it has just begun */
		usleep(5000);
	}
	return fd;
}

static void
proxy_tell(const char *command)
{
	char answer[256] = "";
	size_t len = strlen(command), got = 0;
	int fd = proxy_connect();
	ssize_t n;

	assert_int_equal(write(fd, command, len), (ssize_t)len);
	while ((n = read(fd, answer + got, sizeof(answer) - 1 - got)) > 0)
		got += (size_t)n;
	close(fd);
	if (strncmp(answer, "ok", 2) != 0)
		fail_msg("meshproxy: %s: %s", command, answer);
}

static uint16_t
proxied(const char *name, const struct rig_node *to, int mbit)
{
	uint16_t port = rig_free_port();
	char line[128];

	snprintf(line, sizeof(line), "forward %s %u %u\n", name, port, to->port);
	proxy_tell(line);
	snprintf(line, sizeof(line), "rate %s %d\n", name, mbit);
	proxy_tell(line);
	snprintf(line, sizeof(line), "delay %s %d\n", name, DELAY_MS);
	proxy_tell(line);
	return port;
}

/* --- the stream --- */

static void
pour(void *arg)
{
	static uint8_t payload[FRAME_PAYLOAD_MAX_BYTES];
	struct buf out;

	(void)arg;
	buf_init(&out, 262144);
	while (d.s->holds == d.s->releases && channel_queued_bytes(d.s->consensus) < 128 * 1024) {
		buf_reset(&out);
		for (int i = 0; i < 4; i++) {
			d.sent++;
			memcpy(payload, &d.sent, sizeof(d.sent));
			assert_int_equal(rig_data(&out, d.s, d.t->id, payload, sizeof(payload)), 0);
		}
		assert_int_equal(
		    channel_send(d.s->consensus, CT_FRAMES_OUT, 0, buf_head(&out), buf_left(&out)), 0);
	}
	buf_fini(&out);
	loop_timer_arm_ms(d.timer, 1);
}

static void
on_arrival(struct rig_node *n, const struct frame *f)
{
	uint32_t seq;

	(void)n;
	if (f->type != FRAME_DATA)
		return;
	assert_in_range(f->path_id, OVER_X, OVER_Y);
	memcpy(&seq, f->payload, sizeof(seq));
	d.frames++;
	d.bytes[f->path_id] += f->payload_len;
	if (seq < d.newest)
		d.disordered++;
	else
		d.newest = seq;
}

static void
run_ms(int64_t ms)
{
	(void)rig_wait(&d.r, rig_never, NULL, ms);
}

/* --- the diamond --- */

static void
diamond_up(void)
{
	mesh_ipc_FibRoute there = mesh_ipc_FibRoute_init_default, back = there;

	memset(&d, 0, sizeof(d));
	rig_init(&d.r);
	proxy_start();
	d.s = rig_add(&d.r, "s");
	d.x = rig_add(&d.r, "x");
	d.y = rig_add(&d.r, "y");
	d.t = rig_add(&d.r, "t");
	d.port_x = proxied("sx", d.x, X_MBIT);
	d.port_y = proxied("sy", d.y, Y_MBIT);
	rig_conf(
	    d.s, "\tpeer x { address 127.0.0.1:%u }\n\tpeer y { address 127.0.0.1:%u }", d.port_x, d.port_y);
	rig_conf(d.x, "\tpeer t { address 127.0.0.1:%u }", d.t->port);
	rig_conf(d.y, "\tpeer t { address 127.0.0.1:%u }", d.t->port);
	rig_conf(d.t, "");
	for (size_t i = 0; i < d.r.count; i++)
		rig_start(&d.r.nodes[i]);
	(void)wait_link(d.s, d.x);
	(void)wait_link(d.s, d.y);
	(void)wait_link(d.x, d.t);
	(void)wait_link(d.y, d.t);
	/* The slow one first: even if routerd is wrong about them. */
	rig_path(&there, OVER_X, (uint64_t[]){d.x->id, d.t->id}, 2);
	rig_path(&there, OVER_Y, (uint64_t[]){d.y->id, d.t->id}, 2);
	rig_send_route(d.s, &there);
	rig_path(&back, OVER_X, (uint64_t[]){d.x->id, d.s->id}, 2);
	rig_path(&back, OVER_Y, (uint64_t[]){d.y->id, d.s->id}, 2);
	rig_send_route(d.t, &back);
	rig_route(d.x, d.s->id, (uint64_t[]){d.s->id}, 1);
	rig_route(d.x, d.t->id, (uint64_t[]){d.t->id}, 1);
	rig_route(d.y, d.s->id, (uint64_t[]){d.s->id}, 1);
	rig_route(d.y, d.t->id, (uint64_t[]){d.t->id}, 1);
	assert_true(
	    rig_wait_routes(d.s) && rig_wait_routes(d.t) && rig_wait_routes(d.x) && rig_wait_routes(d.y));
	d.t->on_frame = on_arrival;
	d.timer = loop_timer_new(d.r.loop, pour, NULL);
	loop_timer_arm_ms(d.timer, 0);
}

static void
diamond_down(void)
{
	loop_timer_free(d.timer);
	for (size_t i = 0; i < d.r.count; i++)
		assert_true(rig_alive(&d.r.nodes[i]));
	rig_fini(&d.r);
	kill(d.proxy, SIGTERM);
	(void)waitpid(d.proxy, NULL, 0);
}

static double
mbit(uint64_t bytes)
{
	return (double)bytes * 8 / 1000 / WINDOW_MS;
}

/* What came on both in a while. */
static bool
is_filled(void)
{
	double x, y, sum;
	unsigned holds = d.s->holds;

	memset(d.bytes, 0, sizeof(d.bytes));
	d.frames = d.disordered = 0;
	run_ms(WINDOW_MS);
	x = mbit(d.bytes[OVER_X]);
	y = mbit(d.bytes[OVER_Y]);
	sum = (x + y) / (X_MBIT + Y_MBIT);
	print_message(
	    "%.1f of %d and %.1f of %d Mbit/s, %.0f %% of the sum, 1 to %.2f; %u of %lu frames after "
	    "a later one; held %u times\n",
	    x, X_MBIT, y, Y_MBIT, sum * 100, y / x, d.disordered, (unsigned long)d.frames,
	    d.s->holds - holds);
	return sum > 0.85 && y / x > 2.5 && y / x < 3.5;
}

/* Has the machine no time for six processes?  Then the proxy's rates are not what they should be. */
static bool
is_busy(void)
{
	double load;

	return getloadavg(&load, 1) == 1 && load > (double)sysconf(_SC_NPROCESSORS_ONLN);
}

static void
one_stream_fills_two_paths(void **state)
{
	bool filled = false;

	(void)state;
	diamond_up();
	for (int i = 0; i < WINDOWS && !filled; i++)
		filled = is_filled() && i > 0;
	assert_true(d.s->holds > 0);
	diamond_down();
	if (!filled && is_busy())
		skip();
	assert_true(filled);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(one_stream_fills_two_paths)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
