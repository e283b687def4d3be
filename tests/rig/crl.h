/*
 * crl: lists of revoked certificates for tests.  Header-only, as transport.h.
 */
#ifndef TESTS_RIG_CRL_H
#define TESTS_RIG_CRL_H

#include "tests/rig/transport.h"

/* The list of an authority with one certificate (NULL: none); next_s: seconds until it is out of date. */
static inline X509_CRL *
crl_new(X509 *issuer, EVP_PKEY *issuer_key, X509 *revoked, long next_s)
{
	X509_CRL *crl = X509_CRL_new();
	ASN1_TIME *t = X509_gmtime_adj(NULL, -7200);

	X509_CRL_set_version(crl, 1);
	X509_CRL_set_issuer_name(crl, X509_get_subject_name(issuer));
	X509_CRL_set1_lastUpdate(crl, t);
	ASN1_TIME_free(t);
	t = X509_gmtime_adj(NULL, next_s);
	X509_CRL_set1_nextUpdate(crl, t);
	ASN1_TIME_free(t);
	if (revoked != NULL) {
		X509_REVOKED *e = X509_REVOKED_new();

		t = X509_gmtime_adj(NULL, -3600);
		X509_REVOKED_set_serialNumber(e, X509_get_serialNumber(revoked));
		X509_REVOKED_set_revocationDate(e, t);
		ASN1_TIME_free(t);
		X509_CRL_add0_revoked(crl, e);
	}
	X509_CRL_sort(crl);
	RIG_MUST(X509_CRL_sign(crl, issuer_key, EVP_sha256()) != 0);
	return crl;
}

/* Writes one or two lists into a file, and frees them. */
static inline void
crl_write(const char *dir, const char *name, X509_CRL *first, X509_CRL *second)
{
	char path[PATH_MAX];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	RIG_MUST(f != NULL && PEM_write_X509_CRL(f, first) == 1);
	if (second != NULL)
		RIG_MUST(PEM_write_X509_CRL(f, second) == 1);
	fclose(f);
	X509_CRL_free(first);
	X509_CRL_free(second);
}

#endif
