/*
 * limits_piped: what the machine allows when the bytes of a TLS connection come from another process and
 * end in one, as frames do between daemons.
 *
 * limit_tls_piped: as limit_tls_raw (limits.h), but a third process is the source and the sink, with a Unix
 * socket to the writing process and one from the reading process, in pieces of LIMITS_PIECE_BYTES, with at
 * most LIMITS_WINDOW_BYTES on their way.  No frames, no event loop, nothing kept to be sent again.
 */
#ifndef TESTS_BENCH_LIMITS_PIPED_H
#define TESTS_BENCH_LIMITS_PIPED_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>

#include "tests/bench/limits.h"

enum { LIMITS_PIECE_BYTES = 65536, LIMITS_WINDOW_BYTES = 1024 * 1024 };

static inline void
limits_pipe_in(int from, int fd)
{
	static uint8_t piece[LIMITS_PIECE_BYTES];
	SSL *ssl = limits_dial(fd);
	ssize_t n;

	while ((n = read(from, piece, sizeof(piece))) > 0)
		LIMITS_MUST(SSL_write(ssl, piece, (int)n) == (int)n);
	(void)SSL_shutdown(ssl);
	_exit(0);
}

static inline void
limits_pipe_out(int listener, int to)
{
	static uint8_t piece[LIMITS_PIECE_BYTES];
	SSL *ssl = limits_accept(listener);
	size_t have = 0;
	int n;

	while ((n = SSL_read(ssl, piece + have, LIMITS_RECORD_BYTES)) > 0) {
		have += (size_t)n;
		/* A piece is full, or nothing more is at hand. */
		if (have <= sizeof(piece) - LIMITS_RECORD_BYTES && SSL_has_pending(ssl))
			continue;
		LIMITS_MUST(write(to, piece, have) == (ssize_t)have);
		have = 0;
	}
	_exit(0);
}

/* Sends and receives for a while; the bytes that came in that time. */
static inline double
limits_pump(int to, int from, double seconds, double *took)
{
	static uint8_t piece[LIMITS_PIECE_BYTES];
	double began = limits_seconds();
	uint64_t sent = 0, got = 0;

	while (limits_seconds() - began < seconds) {
		bool room = sent - got + LIMITS_PIECE_BYTES <= LIMITS_WINDOW_BYTES;
		struct pollfd fds[] = {
		    {.fd = from, .events = POLLIN}, {.fd = to, .events = room ? POLLOUT : 0}};
		ssize_t n;

		LIMITS_MUST(poll(fds, 2, 1000) > 0);
		if (fds[1].revents & POLLOUT) {
			n = write(to, piece, sizeof(piece));
			LIMITS_MUST(n > 0 || errno == EAGAIN);
			sent += n > 0 ? (uint64_t)n : 0;
		}
		if (fds[0].revents & POLLIN) {
			LIMITS_MUST((n = read(from, piece, sizeof(piece))) > 0);
			got += (uint64_t)n;
		}
	}
	*took = limits_seconds() - began;
	return (double)got;
}

static inline struct limit_tls
limit_tls_piped(double seconds)
{
	double cpu = limits_cpu(), bytes, took;
	int in[2], out[2], listener, fd = limits_connection(&listener), status;
	uint8_t rest[4096];
	pid_t pid[2];

	LIMITS_MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, in) == 0 &&
		    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, out) == 0);
	for (unsigned i = 0; i < 2; i++) {
		LIMITS_MUST((pid[i] = fork()) != -1);
		if (pid[i] != 0)
			continue;
		close(in[0]);
		close(out[0]);
		if (i == 0)
			limits_pipe_out(listener, out[1]);
		close(out[1]);
		limits_pipe_in(in[1], fd);
	}
	close(in[1]);
	close(out[1]);
	close(fd);
	LIMITS_MUST(fcntl(in[0], F_SETFL, O_NONBLOCK) == 0);
	bytes = limits_pump(in[0], out[0], seconds, &took);
	close(in[0]);
	while (read(out[0], rest, sizeof(rest)) > 0)
		;
	close(out[0]);
	close(listener);
	for (unsigned i = 0; i < 2; i++)
		LIMITS_MUST(waitpid(pid[i], &status, 0) == pid[i] && status == 0);
	return (struct limit_tls){.rate = bytes * 8 / took, .cpu_per_gb = (limits_cpu() - cpu) * 1e9 / bytes};
}

#endif
