/* ws_socket: what the socket of a connection knows and is told: its two ends, whether the peer's kernel
 * answers, what leaves together. */
#include "transportd/ws_impl.h" /* libwebsockets brings OpenSSL, which comes before err.h */

#include <arpa/inet.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "common/base/be.h"

enum { ADDRESS_BYTES = 16 };

void
ws_endpoint_of(const struct sockaddr_storage *sa, uint8_t out[WS_ENDPOINT_BYTES])
{
	const struct sockaddr_in *v4 = (const void *)sa;
	const struct sockaddr_in6 *v6 = (const void *)sa;

	memset(out, 0, WS_ENDPOINT_BYTES);
	if (sa->ss_family == AF_INET) {
		out[10] = out[11] = 0xff;
		memcpy(out + 12, &v4->sin_addr, sizeof(v4->sin_addr));
		be_store16(out + ADDRESS_BYTES, ntohs(v4->sin_port));
	} else if (sa->ss_family == AF_INET6) {
		memcpy(out, &v6->sin6_addr, ADDRESS_BYTES);
		be_store16(out + ADDRESS_BYTES, ntohs(v6->sin6_port));
	}
}

void
ws_endpoints(struct ws_conn *c, uint8_t local[WS_ENDPOINT_BYTES], uint8_t remote[WS_ENDPOINT_BYTES])
{
	struct sockaddr_storage sa = {0};
	socklen_t len = sizeof(sa);
	int fd = c->wsi != NULL ? lws_get_socket_fd(c->wsi) : -1;

	if (getsockname(fd, (struct sockaddr *)&sa, &len) == -1)
		sa.ss_family = AF_UNSPEC;
	ws_endpoint_of(&sa, local);
	len = sizeof(sa);
	if (getpeername(fd, (struct sockaddr *)&sa, &len) == -1)
		sa.ss_family = AF_UNSPEC;
	ws_endpoint_of(&sa, remote);
}

void
ws_format_endpoint(const uint8_t endpoint_bytes[WS_ENDPOINT_BYTES], char *out, size_t size)
{
	struct in6_addr a;
	char host[INET6_ADDRSTRLEN] = "?";
	unsigned port = be_load16(endpoint_bytes + ADDRESS_BYTES);

	memcpy(&a, endpoint_bytes, sizeof(a));
	if (IN6_IS_ADDR_V4MAPPED(&a)) {
		(void)inet_ntop(AF_INET, endpoint_bytes + 12, host, sizeof(host));
		snprintf(out, size, "%s:%u", host, port);
	} else {
		(void)inet_ntop(AF_INET6, &a, host, sizeof(host));
		snprintf(out, size, "[%s]:%u", host, port);
	}
}

int64_t
ws_kernel_ack_ms(struct ws_conn *c)
{
	struct tcp_info info = {0};
	socklen_t len = sizeof(info);

	if (c->wsi == NULL || getsockopt(lws_get_socket_fd(c->wsi), IPPROTO_TCP, TCP_INFO, &info, &len) == -1)
		return -1;
	return info.tcpi_last_ack_recv;
}

void
ws_gather(struct ws_conn *c, bool on)
{
	int value = on;

	/* Without it, it works too: a segment for each TLS record, and a wake-up of the peer for each. */
	if (c->wsi != NULL)
		(void)setsockopt(lws_get_socket_fd(c->wsi), IPPROTO_TCP, TCP_CORK, &value, sizeof(value));
}
