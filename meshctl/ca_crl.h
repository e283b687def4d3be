/*
 * ca_crl: an authority's list of revoked certificates (RFC 5280 section 5), from memory to memory.
 *
 * The signed list is the only record of what was revoked: a new one starts with the entries of the old.
 * Functions return 0, or -1 after they have printed why.
 */
#ifndef MESHCTL_CA_CRL_H
#define MESHCTL_CA_CRL_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"

struct ca_crl;
struct ca_x509;

/* The list of ca, which must outlive it, with what its last one (PEM; NULL: there is none) has.  That must
 * be signed by ca.  NULL after an error was printed. */
struct ca_crl *ca_crl_new(const struct ca_x509 *ca, const char *pem, size_t len) MUST_USE;
void ca_crl_free(struct ca_crl *l);

/* Adds the first certificate of a PEM text, which ca must have issued; 1 if it is listed already. */
int ca_crl_add(struct ca_crl *l, const char *cert_pem, size_t len, int64_t now_unix_s) MUST_USE;
size_t ca_crl_count(const struct ca_crl *l);

/* Signs it; the PEM text is on the heap (mem_free). */
int ca_crl_sign(
    struct ca_crl *l, int64_t now_unix_s, int64_t next_update, char **pem, size_t *pem_len) MUST_USE;

#endif
