/*
 * bench_chain: what a message would take from publisher to target and back if the nodes did nothing but hand
 * it on: as many processes as on the way through a relay (gatewayd, consensusd and transportd of both ends,
 * the relay's transportd), connected by Unix sockets, and the two commits that it has to wait for, each in a
 * database of its own, all that came meanwhile in the next one.  No TLS, no encryption, no protocol.  No
 * mesh can be quicker on this machine.
 *
 * usage: bench_chain [SECONDS [RATE]]      10 seconds, 1,000 messages a second of 256 bytes
 *
 *	limit_chain_p50, limit_chain_p99      ms
 */
#include <poll.h>
#include <stdint.h>
#include <sys/socket.h>

#include "tests/pg_server.h"

enum {
	HOPS = 8, /* processes: the load first, then gatewayd, consensusd, transportd, ... */
	SOURCE = 2,
	TARGET = 6,
	MESSAGE = 256,
	READ_MAX = 1 << 18,
	WARM_SECONDS = 1,
	SAMPLES_MAX = 1 << 22,
};

/* One of the processes.  What comes on one side goes to the other; on the side `held`, after a commit. */
struct hop {
	int side[2]; /* to the process before, to the process after */
	int held;    /* -1: none */
	PGconn *pg;
	bool busy;
	char waits[READ_MAX], flies[READ_MAX];
	size_t waits_len, flies_len;
};

static void
send_all(int fd, const char *data, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, data, len);

		if (n <= 0)
			_exit(0); /* the end of the run */
		data += n;
		len -= (size_t)n;
	}
}

/* --- commits --- */

static void
commit_open(struct hop *h, const char *conninfo)
{
	h->pg = PQconnectdb(conninfo);
	MUST(PQstatus(h->pg) == CONNECTION_OK);
	PQclear(PQexec(h->pg, "CREATE TABLE chain (id bigserial PRIMARY KEY, payload bytea)"));
	PQclear(PQprepare(h->pg, "one", "INSERT INTO chain (payload) VALUES ($1)", 1, NULL));
}

static void
commit_begin(struct hop *h)
{
	const char *value = h->flies;
	int len, binary = 1;

	if (h->busy || h->waits_len == 0)
		return;
	memcpy(h->flies, h->waits, h->waits_len);
	h->flies_len = h->waits_len;
	h->waits_len = 0;
	len = (int)h->flies_len;
	MUST(PQsendQueryPrepared(h->pg, "one", 1, &value, &len, &binary, 0) == 1);
	h->busy = true;
}

static void
commit_end(struct hop *h)
{
	PGresult *res;

	MUST(PQconsumeInput(h->pg) == 1);
	if (PQisBusy(h->pg))
		return;
	while ((res = PQgetResult(h->pg)) != NULL) {
		MUST(PQresultStatus(res) == PGRES_COMMAND_OK);
		PQclear(res);
	}
	h->busy = false;
	send_all(h->side[1 - h->held], h->flies, h->flies_len);
	commit_begin(h);
}

/* --- a process that hands on --- */

static void
hand_on(struct hop *h, int from)
{
	char data[READ_MAX];
	size_t room = from == h->held ? sizeof(h->waits) - h->waits_len : sizeof(data);
	ssize_t n = read(h->side[from], data, room);

	if (n <= 0)
		_exit(0);
	if (from != h->held) {
		send_all(h->side[1 - from], data, (size_t)n);
		return;
	}
	memcpy(h->waits + h->waits_len, data, (size_t)n);
	h->waits_len += (size_t)n;
	commit_begin(h);
}

static void __attribute__((noreturn)) hop_run(struct hop *h)
{
	struct pollfd p[3] = {{h->side[0], POLLIN, 0}, {h->side[1], POLLIN, 0},
	    {h->pg != NULL ? PQsocket(h->pg) : -1, POLLIN, 0}};

	for (;;) {
		for (int i = 0; i < 2; i++)
			p[i].events = i == h->held && h->waits_len == sizeof(h->waits) ? 0 : POLLIN;
		MUST(poll(p, 3, -1) > 0);
		if (p[2].revents != 0)
			commit_end(h);
		for (int i = 0; i < 2; i++)
			if (p[i].revents != 0)
				hand_on(h, i);
	}
}

static pid_t hops[HOPS];

/* Links are in a ring: side 1 of one process is side 0 of the next. */
static void
hops_start(int ring[HOPS][2], const char *source, const char *target)
{
	for (int i = 1; i < HOPS; i++) {
		static struct hop h;

		if ((hops[i] = fork()) != 0)
			continue;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		h.side[0] = ring[i - 1][1];
		h.side[1] = ring[i][0];
		h.held = i == SOURCE ? 0 : i == TARGET ? 1 : -1;
		for (int k = 0; k < HOPS; k++)
			for (int e = 0; e < 2; e++)
				if (ring[k][e] != h.side[0] && ring[k][e] != h.side[1])
					close(ring[k][e]);
		if (h.held >= 0)
			commit_open(&h, i == TARGET ? target : source);
		hop_run(&h);
	}
}

/* --- the load: publisher and target's application --- */

struct load {
	int out, far; /* to the first process, from the last one */
	double began, seconds, rate;
	uint64_t sent, done;
	char out_part[READ_MAX + MESSAGE];
	size_t part_len;
	double *took;
	size_t count;
};

static void
publish(struct load *l)
{
	char message[MESSAGE] = "";
	double now;

	while (now = pg_seconds(),
	    now < l->began + l->seconds && (double)l->sent <= (now - l->began) * l->rate) {
		memcpy(message, &now, sizeof(now));
		send_all(l->out, message, sizeof(message));
		l->sent++;
	}
}

static void
confirmed(struct load *l)
{
	ssize_t n = read(l->out, l->out_part + l->part_len, READ_MAX);
	double now = pg_seconds();
	size_t at = 0;

	MUST(n > 0);
	l->part_len += (size_t)n;
	for (; l->part_len - at >= MESSAGE; at += MESSAGE) {
		double sent_at;

		memcpy(&sent_at, l->out_part + at, sizeof(sent_at));
		l->done++;
		if (sent_at > l->began + WARM_SECONDS && l->count < SAMPLES_MAX)
			l->took[l->count++] = now - sent_at;
	}
	memmove(l->out_part, l->out_part + at, l->part_len - at);
	l->part_len -= at;
}

/* The application has processed what came. */
static void
process(struct load *l)
{
	static char data[READ_MAX];
	ssize_t n = read(l->far, data, sizeof(data));

	MUST(n > 0);
	send_all(l->far, data, (size_t)n);
}

static void
load_run(struct load *l)
{
	struct pollfd p[2] = {{l->out, POLLIN, 0}, {l->far, POLLIN, 0}};

	l->began = pg_seconds();
	while (l->done < l->sent || pg_seconds() < l->began + l->seconds) {
		publish(l);
		MUST(poll(p, 2, 1) >= 0);
		if (p[1].revents != 0)
			process(l);
		if (p[0].revents != 0)
			confirmed(l);
	}
}

static int
compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void
database_start(struct pg_server *s)
{
	pg_server_init(s);
	pg_server_start(s, NULL);
}

int
main(int argc, char **argv)
{
	static struct load l;
	static struct pg_server source, target;
	int ring[HOPS][2];

	l.seconds = (argc > 1 ? strtod(argv[1], NULL) : 10) + WARM_SECONDS;
	l.rate = argc > 2 ? strtod(argv[2], NULL) : 1000;
	if (argc > 3 || l.seconds < 1 + WARM_SECONDS || l.seconds > 3600 || l.rate < 1 || l.rate > 100000) {
		fprintf(stderr, "usage: bench_chain [SECONDS [RATE]]\n");
		return 2;
	}
	database_start(&source);
	database_start(&target);
	for (int i = 0; i < HOPS; i++)
		MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, ring[i]) == 0);
	hops_start(ring, source.conninfo, target.conninfo);
	for (int i = 1; i < HOPS - 1; i++)
		for (int e = 0; e < 2; e++)
			close(ring[i][e]);
	close(ring[0][1]);
	close(ring[HOPS - 1][0]);
	l.out = ring[0][0];
	l.far = ring[HOPS - 1][1];
	MUST((l.took = calloc(SAMPLES_MAX, sizeof(l.took[0]))) != NULL);
	load_run(&l);
	qsort(l.took, l.count, sizeof(l.took[0]), compare_doubles);
	MUST(l.count > 0);
	printf("bench limit_chain_p50 %.2f ms\n", l.took[l.count / 2] * 1e3);
	printf("bench limit_chain_p99 %.2f ms\n", l.took[l.count * 99 / 100] * 1e3);
	/* The processes end one after the other. */
	close(l.out);
	close(l.far);
	for (int i = 1; i < HOPS; i++)
		MUST(waitpid(hops[i], NULL, 0) == hops[i]);
	pg_server_fini(&source);
	pg_server_fini(&target);
	return 0;
}
