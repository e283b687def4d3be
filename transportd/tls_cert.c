/* tls_cert: what a certificate says, and whether it was revoked. */
#include "transportd/tls_impl.h" /* OpenSSL comes before err.h */

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <time.h>

#include "common/base/err.h"

int
tls_cert_uri(X509 *cert, char out[TLS_URI_SIZE])
{
	GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
	int err = ERR_NOENT;

	for (int i = 0; names != NULL && i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
		int len;

		if (name->type != GEN_URI)
			continue;
		len = ASN1_STRING_length(name->d.uniformResourceIdentifier);
		if (err == 0 || len <= 0 || len >= TLS_URI_SIZE ||
		    memchr(ASN1_STRING_get0_data(name->d.uniformResourceIdentifier), 0, (size_t)len) !=
			NULL) {
			err = ERR_FORMAT;
			break;
		}
		memcpy(out, ASN1_STRING_get0_data(name->d.uniformResourceIdentifier), (size_t)len);
		out[len] = '\0';
		err = 0;
	}
	GENERAL_NAMES_free(names);
	return err;
}

int64_t
tls_cert_until(X509 *cert)
{
	struct tm tm;

	return ASN1_TIME_to_tm(X509_get0_notAfter(cert), &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

/*
 * Not X509_V_FLAG_CRL_CHECK: that demands a valid list of every issuer, and a callback that let the
 * missing ones pass would be one that can admit.  This can only refuse.
 */
static bool
names(X509_CRL *crl, X509 *cert, X509 *issuer)
{
	X509_REVOKED *entry;

	return X509_NAME_cmp(X509_CRL_get_issuer(crl), X509_get_issuer_name(cert)) == 0 &&
	       X509_CRL_get0_by_cert(crl, &entry, cert) == 1 &&
	       X509_CRL_verify(crl, X509_get0_pubkey(issuer)) == 1;
}

bool
tls_cert_revoked(STACK_OF(X509_CRL) * crls, STACK_OF(X509) * chain)
{
	bool found = false;

	/* The last one is an authority that tls-ca holds: it is trusted as long as it stands there. */
	for (int i = 0; i + 1 < sk_X509_num(chain) && !found; i++)
		for (int k = 0; k < sk_X509_CRL_num(crls) && !found; k++)
			found = names(
			    sk_X509_CRL_value(crls, k), sk_X509_value(chain, i), sk_X509_value(chain, i + 1));
	ERR_clear_error();
	return found;
}
