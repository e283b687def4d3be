/*
 * limits: what the machine allows in encryption, to be printed beside what the suite reaches.
 *
 * limit_tls_raw: two processes on this machine, one writing and one reading records of 16 KiB through
 * plain OpenSSL (TLS 1.3, AES-128-GCM as on links) over a TCP connection of the loopback interface, no
 * frames, no event loop; in bits per second, and the CPU time of both.  limit_aes_gcm: AES-128-GCM over
 * blocks of 16 KiB in memory, one core, a new nonce for each; in bits per second.  Header-only, because
 * benchmarks are single files.
 */
#ifndef TESTS_BENCH_LIMITS_H
#define TESTS_BENCH_LIMITS_H

#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/be.h"
#include "common/os/clock.h"

enum { LIMITS_RECORD_BYTES = 16384, LIMITS_READ_AHEAD_BYTES = 65536 };

#define LIMITS_MUST(x)                                                                                       \
	do {                                                                                                 \
		if (!(x)) {                                                                                  \
			fprintf(stderr, "limits: %s:%d: %s\n", __FILE__, __LINE__, #x);                      \
			abort();                                                                             \
		}                                                                                            \
	} while (0)

static inline double
limits_seconds(void)
{
	return (double)clock_mono().us / 1e6;
}

/* --- AES-GCM --- */

static inline double
limit_aes_gcm(double seconds)
{
	static uint8_t in[LIMITS_RECORD_BYTES], out[LIMITS_RECORD_BYTES];
	uint8_t nonce[12] = {0}, tag[16];
	const uint8_t key[16] = {1};
	EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	double began = limits_seconds();
	uint64_t n = 0;
	int len;

	LIMITS_MUST(c != NULL && EVP_EncryptInit_ex(c, EVP_aes_128_gcm(), NULL, key, nonce) == 1);
	for (; limits_seconds() - began < seconds; n++) {
		be_store64(nonce + 4, n);
		LIMITS_MUST(EVP_EncryptInit_ex(c, NULL, NULL, NULL, nonce) == 1 &&
			    EVP_EncryptUpdate(c, out, &len, in, sizeof(in)) == 1 &&
			    EVP_EncryptFinal_ex(c, out + len, &len) == 1 &&
			    EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_GET_TAG, sizeof(tag), tag) == 1);
	}
	EVP_CIPHER_CTX_free(c);
	return (double)n * LIMITS_RECORD_BYTES * 8 / (limits_seconds() - began);
}

/* --- TLS --- */

static inline X509 *
limits_cert(EVP_PKEY *key)
{
	X509 *x = X509_new();

	LIMITS_MUST(x != NULL && X509_set_version(x, 2) == 1);
	ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
	X509_gmtime_adj(X509_getm_notBefore(x), -3600);
	X509_gmtime_adj(X509_getm_notAfter(x), 86400);
	LIMITS_MUST(X509_set_pubkey(x, key) == 1 && X509_sign(x, key, EVP_sha256()) != 0);
	return x;
}

static inline SSL_CTX *
limits_context(const SSL_METHOD *method)
{
	SSL_CTX *ctx = SSL_CTX_new(method);

	LIMITS_MUST(ctx != NULL && SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) == 1 &&
		    SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_GCM_SHA256") == 1);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	return ctx;
}

/* A connection over the loopback interface: who dialled, and *listener, which has it waiting. */
static inline int
limits_connection(int *listener)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(sa);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	*listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	LIMITS_MUST(fd != -1 && *listener != -1 && bind(*listener, (struct sockaddr *)&sa, len) == 0 &&
		    listen(*listener, 1) == 0 && getsockname(*listener, (struct sockaddr *)&sa, &len) == 0 &&
		    connect(fd, (struct sockaddr *)&sa, len) == 0);
	return fd;
}

/* The reading end accepts and is the TLS server. */
static inline SSL *
limits_accept(int listener)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	SSL_CTX *ctx = limits_context(TLS_server_method());
	X509 *cert = limits_cert(key);
	int fd = accept(listener, NULL, NULL);
	SSL *ssl;

	LIMITS_MUST(SSL_CTX_use_certificate(ctx, cert) == 1 && SSL_CTX_use_PrivateKey(ctx, key) == 1);
	SSL_CTX_set_read_ahead(ctx, 1);
	SSL_CTX_set_default_read_buffer_len(ctx, LIMITS_READ_AHEAD_BYTES);
	ssl = SSL_new(ctx);
	LIMITS_MUST(fd != -1 && ssl != NULL && SSL_set_fd(ssl, fd) == 1 && SSL_accept(ssl) == 1);
	return ssl;
}

/* One byte goes back when the writer has ended. */
static inline void
limits_reader(int listener)
{
	static uint8_t in[LIMITS_RECORD_BYTES];
	SSL *ssl = limits_accept(listener);

	while (SSL_read(ssl, in, sizeof(in)) > 0)
		;
	LIMITS_MUST(SSL_write(ssl, in, 1) == 1);
	_exit(0);
}

/* The writing end dials and is the TLS client. */
static inline SSL *
limits_dial(int fd)
{
	SSL_CTX *ctx = limits_context(TLS_client_method());
	SSL *ssl = SSL_new(ctx);

	LIMITS_MUST(ssl != NULL && SSL_set_fd(ssl, fd) == 1 && SSL_connect(ssl) == 1);
	SSL_CTX_free(ctx);
	return ssl;
}

/* The bytes that went through, and the seconds they took. */
static inline double
limits_writer(int fd, double seconds, double *took)
{
	static const uint8_t out[LIMITS_RECORD_BYTES];
	SSL *ssl = limits_dial(fd);
	uint64_t n = 0;
	double began;
	uint8_t done;

	for (began = limits_seconds(); limits_seconds() - began < seconds; n++)
		LIMITS_MUST(SSL_write(ssl, out, sizeof(out)) == (int)sizeof(out));
	(void)SSL_shutdown(ssl);
	LIMITS_MUST(SSL_read(ssl, &done, 1) == 1);
	*took = limits_seconds() - began;
	SSL_free(ssl);
	return (double)n * LIMITS_RECORD_BYTES;
}

/* CPU time of this process and of its children that have ended, user and system. */
static inline double
limits_cpu(void)
{
	static const int whose[] = {RUSAGE_SELF, RUSAGE_CHILDREN};
	struct rusage used;
	double sum = 0;

	for (size_t i = 0; i < sizeof(whose) / sizeof(whose[0]); i++) {
		LIMITS_MUST(getrusage(whose[i], &used) == 0);
		sum += (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
		       (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
	}
	return sum;
}

struct limit_tls {
	double rate;       /* bits per second */
	double cpu_per_gb; /* seconds of CPU of both processes for 10^9 bytes */
};

static inline struct limit_tls
limit_tls_raw(double seconds)
{
	double cpu = limits_cpu(), bytes, took;
	int listener, fd = limits_connection(&listener), status;
	pid_t pid = fork();

	LIMITS_MUST(pid != -1);
	if (pid == 0)
		limits_reader(listener);
	bytes = limits_writer(fd, seconds, &took);
	close(fd);
	close(listener);
	LIMITS_MUST(waitpid(pid, &status, 0) == pid && status == 0);
	return (struct limit_tls){.rate = bytes * 8 / took, .cpu_per_gb = (limits_cpu() - cpu) * 1e9 / bytes};
}

#endif
