/*
 * bench_limits: what the machine allows in encryption (tests/bench/limits.h says how it is measured).
 *
 * usage: bench_limits [SECONDS]      seconds per figure, 2 if not given
 *
 *	limit_tls_raw   Gbit/s through one TLS connection with both ends on this machine
 *	limit_aes_gcm   Gbit/s that one core encrypts
 */
#include "tests/bench/limits.h"

int
main(int argc, char **argv)
{
	double seconds = argc > 1 ? strtod(argv[1], NULL) : 2;

	if (argc > 2 || !(seconds > 0)) {
		fprintf(stderr, "usage: bench_limits [SECONDS]\n");
		return 2;
	}
	printf("bench limit_tls_raw %.2f Gbit/s\n", limit_tls_raw(seconds).rate / 1e9);
	fflush(stdout);
	printf("bench limit_aes_gcm %.2f Gbit/s\n", limit_aes_gcm(seconds) / 1e9);
	return 0;
}
