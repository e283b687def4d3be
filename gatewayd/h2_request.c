/*
 * h2_request: what the headers of a gRPC request say (gRPC over HTTP/2, "Requests"), see h2_stream.h.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "gatewayd/auth.h"
#include "gatewayd/core/grpc_timeout.h"
#include "gatewayd/gateway_metrics.h"
#include "gatewayd/h2_stream.h"
#include "gatewayd/limits.h"

enum { HEADER_OVERHEAD_BYTES = 32, HTTP_METHOD_NOT_ALLOWED = 405, HTTP_UNSUPPORTED_MEDIA = 415 };

static void reject(struct h2_request *r, enum grpc_status status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static void
reject(struct h2_request *r, enum grpc_status status, const char *fmt, ...)
{
	va_list ap;

	if (r->reject != GRPC_OK)
		return;
	r->reject = status;
	va_start(ap, fmt);
	vsnprintf(r->reject_text, sizeof(r->reject_text), fmt, ap);
	va_end(ap);
}

static bool
is(const char *text, size_t len, const char *what)
{
	return strlen(what) == len && memcmp(text, what, len) == 0;
}

static void
on_path(struct h2_request *r, const struct auth *auth, const char *value, size_t len)
{
	int shown = (int)(len < 96 ? len : 96);

	(void)auth;
	r->method = method_find(value, len);
	if (r->method != NULL)
		return;
	reject(r, GRPC_UNIMPLEMENTED, "there is no %s %.*s",
	    method_service_known(value, len) ? "method" : "service with the method", shown, value);
}

static void
on_method(struct h2_request *r, const struct auth *auth, const char *value, size_t len)
{
	(void)auth;
	r->post = is(value, len, "POST");
}

/* "application/grpc", with "+proto" or parameters or another suffix. */
static void
on_content_type(struct h2_request *r, const struct auth *auth, const char *value, size_t len)
{
	static const char grpc[] = "application/grpc";
	size_t n = sizeof(grpc) - 1;

	(void)auth;
	r->grpc = len >= n && memcmp(value, grpc, n) == 0 &&
		  (len == n || value[n] == '+' || value[n] == ';' || value[n] == ' ');
	if (r->grpc && len > n && value[n] == '+' && !is(value + n, len - n, "+proto"))
		reject(
		    r, GRPC_UNIMPLEMENTED, "messages must be protobuf (content-type application/grpc+proto)");
}

static void
on_te(struct h2_request *r, const struct auth *auth, const char *value, size_t len)
{
	(void)auth;
	r->trailers = is(value, len, "trailers");
}

static void
on_timeout(struct h2_request *r, const struct auth *auth, const char *value, size_t len)
{
	(void)auth;
	if (grpc_timeout_parse(value, len, &r->timeout_us) != 0)
		reject(r, GRPC_INTERNAL, "grpc-timeout is not 1-8 digits and one of H M S m u n");
}

static void
on_encoding(struct h2_request *r, const struct auth *auth, const char *value, size_t len)
{
	(void)auth;
	r->gzip = is(value, len, "gzip");
	if (!r->gzip && !is(value, len, "identity"))
		reject(r, GRPC_UNIMPLEMENTED, "grpc-encoding %.*s is not supported; identity and gzip are",
		    (int)(len < 32 ? len : 32), value);
}

static void
on_authorization(struct h2_request *r, const struct auth *auth, const char *value, size_t len)
{
	r->has_token = true;
	r->token[0] = '\0';
	r->token_error = auth_token(auth, value, len, r->token);
}

static const struct {
	const char *name;
	void (*fn)(struct h2_request *r, const struct auth *auth, const char *value, size_t len);
} headers[] = {
    {":path", on_path},
    {":method", on_method},
    {"te", on_te},
    {"content-type", on_content_type},
    {"grpc-timeout", on_timeout},
    {"grpc-encoding", on_encoding},
    {"authorization", on_authorization},
};

void
h2_request_header(struct h2_request *r, const struct auth *auth, const char *name, size_t name_len,
    const char *value, size_t value_len)
{
	r->header_bytes += name_len + value_len + HEADER_OVERHEAD_BYTES;
	if (r->header_bytes > H2_HEADERS_MAX_BYTES) {
		reject(r, GRPC_RESOURCE_EXHAUSTED, "the call's metadata is over the limit of %d bytes",
		    H2_HEADERS_MAX_BYTES);
		return;
	}
	for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++)
		if (is(name, name_len, headers[i].name)) {
			headers[i].fn(r, auth, value, value_len);
			return;
		}
}

int
h2_request_end(struct h2_request *r, const struct principal *who)
{
	const char *refused;

	if (!r->post)
		return HTTP_METHOD_NOT_ALLOWED;
	if (!r->grpc)
		return HTTP_UNSUPPORTED_MEDIA;
	if (!r->trailers)
		reject(r, GRPC_INTERNAL,
		    "the header 'te: trailers' is missing: the client, or a proxy on the way, does not do "
		    "gRPC");
	if (r->reject != GRPC_OK)
		return 0;
	refused = auth_check(who, r->method, r->has_token, r->token_error);
	if (refused != NULL) {
		gateway_metrics_unauthenticated();
		reject(r, GRPC_UNAUTHENTICATED, "%s", refused);
	}
	return 0;
}
