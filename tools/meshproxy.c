/*
 * meshproxy: a TCP proxy for development meshes that can be a bad network.
 *
 * usage: meshproxy CONTROL_SOCKET
 *
 * It is told what to do by lines on a Unix socket, one command per connection, answered by lines of which
 * the last is "ok" or "error: …":
 *
 *	forward NAME PORT TO_PORT	listen on 127.0.0.1:PORT, connect to 127.0.0.1:TO_PORT
 *	forward6 NAME PORT TO_PORT	the same, but listen on [::1]:PORT
 *	cut NAME [up|down] [ID]		a silent black hole: nothing passes, nothing is closed, new
 *					connections are accepted and lead nowhere
 *	heal NAME [up|down] [ID]	the opposite; what was held up passes now
 *	refuse NAME			new connections are reset, until heal; those that there are stay
 *	stall NAME [ID] MS		nothing passes for MS
 *	reset NAME [ID]			closes connections with RST
 *	half NAME [up|down] [ID]	closes one direction (default up) behind what is on its way; what
 *					comes after that is not read
 *	delay NAME MS			each way
 *	jitter NAME MS			each way up to so much more, at random; order is kept
 *	rate NAME MBIT			each way, all connections together; 0: no limit
 *	conns NAME			one line per connection: ID, port of the dialler's end, port of the
 *					proxy's end towards the listener (0: not connected), bytes up and
 *					down, age in ms
 *	status				one line per forward
 *
 * up is from the dialler to the listener.  Several forwards may have one name; a command is for all of
 * them.  With ID it is for that connection alone, else for all that there are; cut and heal then hold for
 * those to come, too, and heal without direction and ID undoes every cut.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/os/clock.h"
#include "tools/meshproxy/wire.h"

enum {
	LINE_MAX_BYTES = 256,
	WORDS_MAX = 5,
	WORD_SIZE = NAME_SIZE,
	TIME_MAX_MS = 60000,
	RATE_MAX_MBIT = 100000,
};

/* A command line, taken apart. */
struct ask {
	char words[WORDS_MAX][WORD_SIZE]; /* verb, name, and what follows */
	int count;
	bool ways[WAYS]; /* "up", "down"; without: both */
	bool way_given;
	double numbers[2];
	int number_count;
	unsigned id; /* 0: all connections */
	bool id_found;
};

/* Calls fn for the connections of the forward that are meant; fn may close them. */
static void
each_conn(struct forward *fw, struct ask *a, void (*fn)(struct conn *, const struct ask *))
{
	struct conn *c, *next;

	for (c = TAILQ_FIRST(&fw->conns); c != NULL; c = next) {
		next = TAILQ_NEXT(c, entry);
		if (a->id != 0 && c->id != a->id)
			continue;
		a->id_found = true;
		fn(c, a);
	}
}

static void
cut_conn(struct conn *c, const struct ask *a)
{
	for (int i = 0; i < WAYS; i++)
		c->flows[i].cut |= a->ways[i];
	conn_update(c);
}

static void
heal_conn(struct conn *c, const struct ask *a)
{
	for (int i = 0; i < WAYS; i++)
		c->flows[i].cut &= !a->ways[i];
	conn_update(c);
}

static void
stall_conn(struct conn *c, const struct ask *a)
{
	conn_stall(c, (int64_t)a->numbers[a->number_count - 1]);
}

static void
reset_conn(struct conn *c, const struct ask *a)
{
	(void)a;
	conn_close(c, true);
}

static void
half_conn(struct conn *c, const struct ask *a)
{
	flow_end(&c->flows[a->way_given && a->ways[DOWN] ? DOWN : UP]);
	conn_update(c);
}

/* --- commands on a forward: NULL, or what is wrong --- */

static const char *
cmd_cut(struct forward *fw, struct ask *a, FILE *out)
{
	(void)out;
	if (a->id != 0) {
		each_conn(fw, a, cut_conn);
		return NULL;
	}
	for (int i = 0; i < WAYS; i++)
		fw->lines[i].cut |= a->ways[i];
	forward_update(fw);
	return NULL;
}

static const char *
cmd_heal(struct forward *fw, struct ask *a, FILE *out)
{
	(void)out;
	for (int i = 0; i < WAYS && a->id == 0; i++)
		fw->lines[i].cut &= !a->ways[i];
	if (a->id == 0)
		fw->refuse = false;
	each_conn(fw, a, heal_conn);
	return NULL;
}

static const char *
cmd_refuse(struct forward *fw, struct ask *a, FILE *out)
{
	(void)a;
	(void)out;
	fw->refuse = true;
	return NULL;
}

static const char *
cmd_stall(struct forward *fw, struct ask *a, FILE *out)
{
	(void)out;
	if (a->number_count == 0 || a->numbers[a->number_count - 1] > TIME_MAX_MS)
		return "stall wants a time in ms";
	each_conn(fw, a, stall_conn);
	return NULL;
}

static const char *
cmd_reset(struct forward *fw, struct ask *a, FILE *out)
{
	(void)out;
	each_conn(fw, a, reset_conn);
	return NULL;
}

static const char *
cmd_half(struct forward *fw, struct ask *a, FILE *out)
{
	(void)out;
	each_conn(fw, a, half_conn);
	return NULL;
}

static const char *
cmd_delay(struct forward *fw, struct ask *a, FILE *out)
{
	(void)out;
	if (a->number_count != 1 || a->numbers[0] > TIME_MAX_MS)
		return "delay wants a time in ms";
	fw->delay_ms = (int64_t)a->numbers[0];
	forward_update(fw);
	return NULL;
}

static const char *
cmd_jitter(struct forward *fw, struct ask *a, FILE *out)
{
	(void)out;
	if (a->number_count != 1 || a->numbers[0] > TIME_MAX_MS)
		return "jitter wants a time in ms";
	fw->jitter_ms = (int64_t)a->numbers[0];
	forward_update(fw);
	return NULL;
}

static const char *
cmd_rate(struct forward *fw, struct ask *a, FILE *out)
{
	double mbit = a->numbers[0];

	(void)out;
	if (a->number_count != 1 || mbit > RATE_MAX_MBIT || (mbit > 0 && mbit < 0.001))
		return "rate wants Mbit/s, at least 0.001; or 0 for no limit";
	fw->rate_kbit = (int64_t)(mbit * 1000 + 0.5);
	for (int i = 0; i < WAYS; i++)
		fw->lines[i].free = clock_mono();
	forward_update(fw);
	return NULL;
}

static const char *
cmd_conns(struct forward *fw, struct ask *a, FILE *out)
{
	const struct conn *c;

	(void)a;
	TAILQ_FOREACH (c, &fw->conns, entry)
		fprintf(out, "%u %u %u %" PRIu64 " %" PRIu64 " %" PRId64 "\n", c->id, conn_client_port(c),
		    conn_server_port(c), c->flows[UP].bytes, c->flows[DOWN].bytes,
		    mono_diff_us(clock_mono(), c->since) / 1000);
	return NULL;
}

static const struct command {
	const char *verb;
	const char *(*fn)(struct forward *fw, struct ask *a, FILE *out);
	int numbers_with_id; /* so many numbers: the first is the ID of a connection; 0: takes none */
	bool takes_way;
} commands[] = {
    {"cut", cmd_cut, 1, true},
    {"heal", cmd_heal, 1, true},
    {"refuse", cmd_refuse, 0, false},
    {"stall", cmd_stall, 2, false},
    {"reset", cmd_reset, 1, false},
    {"half", cmd_half, 1, true},
    {"delay", cmd_delay, 0, false},
    {"jitter", cmd_jitter, 0, false},
    {"rate", cmd_rate, 0, false},
    {"conns", cmd_conns, 0, false},
};

/* --- commands without one --- */

static const char *
cmd_forward(struct proxy *p, const struct ask *a, bool ipv6)
{
	for (int i = 0; i < 2; i++)
		if (a->number_count != 2 || a->numbers[i] < 1 || a->numbers[i] > 65535)
			return "a port is a number from 1 to 65535";
	return forward_new(p, a->words[1], (uint16_t)a->numbers[0], (uint16_t)a->numbers[1], ipv6);
}

static const char *
cut_name(const struct forward *fw)
{
	if (fw->lines[UP].cut)
		return fw->lines[DOWN].cut ? "cut" : "cut-up";
	return fw->lines[DOWN].cut ? "cut-down" : "open";
}

static void
cmd_status(const struct proxy *p, FILE *out)
{
	const struct forward *fw;
	const struct conn *c;

	TAILQ_FOREACH (fw, &p->forwards, entry) {
		unsigned count = 0;

		TAILQ_FOREACH (c, &fw->conns, entry)
			count++;
		fprintf(out,
		    "%s %s%u %u %s delay %" PRId64 " jitter %" PRId64 " rate %g connections %u up %" PRIu64
		    " down %" PRIu64 "\n",
		    fw->name, fw->ipv6 ? "[::1]:" : "", fw->port, fw->to_port, cut_name(fw), fw->delay_ms,
		    fw->jitter_ms, (double)fw->rate_kbit / 1000, count, fw->lines[UP].bytes,
		    fw->lines[DOWN].bytes);
	}
}

/* --- a command line --- */

/* A word behind verb and name: a direction or a number. */
static bool
ask_word(struct ask *a, const char *word)
{
	char *end;

	if (strcmp(word, "up") == 0 || strcmp(word, "down") == 0) {
		a->ways[word[0] == 'u' ? UP : DOWN] = true;
		a->way_given = true;
		return true;
	}
	if (a->number_count == 2)
		return false;
	a->numbers[a->number_count] = strtod(word, &end);
	return *end == '\0' && a->numbers[a->number_count++] >= 0;
}

static const char *
ask_parse(struct ask *a, const char *line)
{
	a->count = sscanf(line, "%63s %63s %63s %63s %63s", a->words[0], a->words[1], a->words[2],
	    a->words[3], a->words[4]);
	if (a->count < 1)
		return "no command";
	for (int i = 2; i < a->count; i++)
		if (!ask_word(a, a->words[i]))
			return "what follows the name must be up, down or a number";
	if (!a->way_given)
		a->ways[UP] = a->ways[DOWN] = true;
	return NULL;
}

static const char *
forwards_command(struct proxy *p, const struct command *cmd, struct ask *a, FILE *out)
{
	const char *wrong = NULL;
	bool found = false;
	struct forward *fw;

	if (a->way_given && !cmd->takes_way)
		return "up and down are for cut, heal and half";
	if (cmd->numbers_with_id > 0 && a->number_count == cmd->numbers_with_id)
		a->id = (unsigned)a->numbers[0];
	TAILQ_FOREACH (fw, &p->forwards, entry) {
		if (strcmp(fw->name, a->words[1]) != 0)
			continue;
		found = true;
		if ((wrong = cmd->fn(fw, a, out)) != NULL)
			return wrong;
	}
	if (!found)
		return "no such forward";
	return a->id != 0 && !a->id_found ? "no such connection" : NULL;
}

/* Runs one line; NULL, or what is wrong with it. */
static const char *
command_run(struct proxy *p, const char *line, FILE *out)
{
	struct ask a = {.count = 0};
	const char *wrong = ask_parse(&a, line), *verb = a.words[0];

	if (wrong != NULL)
		return wrong;
	if (strcmp(verb, "status") == 0) {
		cmd_status(p, out);
		return NULL;
	}
	if (strcmp(verb, "forward") == 0 || strcmp(verb, "forward6") == 0)
		return cmd_forward(p, &a, strcmp(verb, "forward6") == 0);
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (strcmp(verb, commands[i].verb) == 0)
			return forwards_command(p, &commands[i], &a, out);
	return "unknown command";
}

/* One command per connection; the client is a local tool that writes its line at once. */
static void
on_control(void *arg, int fd, unsigned events)
{
	struct timeval limit = {.tv_sec = 1};
	char line[LINE_MAX_BYTES + 1];
	const char *wrong;
	ssize_t n;
	FILE *out;
	int conn = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

	(void)events;
	if (conn < 0)
		return;
	(void)setsockopt(conn, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	n = recv(conn, line, LINE_MAX_BYTES, 0);
	out = n > 0 ? fdopen(conn, "w") : NULL;
	if (out == NULL) {
		close(conn);
		return;
	}
	line[n] = '\0';
	wrong = command_run(arg, line, out);
	fprintf(out, wrong == NULL ? "ok\n" : "error: %s\n", wrong);
	fclose(out);
}

static int
control_listen(const char *path)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (strlen(path) >= sizeof(at.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(at.sun_path, path, strlen(path));
	(void)unlink(path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) != 0 || listen(fd, 16) != 0)
		return -1;
	return fd;
}

int
main(int argc, char **argv)
{
	static struct proxy p;
	struct loop *loop;
	int fd;

	if (argc != 2 || argv[1][0] == '-') {
		fprintf(stderr, "usage: meshproxy CONTROL_SOCKET\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	fd = control_listen(argv[1]);
	if (fd < 0) {
		fprintf(stderr, "meshproxy: %s: %s\n", argv[1], strerror(errno));
		return 1;
	}
	loop = loop_event_new();
	if (loop == NULL || loop_fd_add(loop, fd, LOOP_READ, on_control, &p) == NULL) {
		fprintf(stderr, "meshproxy: out of memory\n");
		return 1;
	}
	proxy_init(&p, loop);
	return loop_run(loop) == 0 ? 0 : 1;
}
