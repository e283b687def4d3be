/*
 * dial: how one connection to a peer is made.
 *
 * Filled by peer.c from a peer block and one of its addresses, used by ws_dial().  What is worth
 * keeping of a connection that worked: further lanes are dialled the same way.
 */
#ifndef TRANSPORTD_DIAL_H
#define TRANSPORTD_DIAL_H

#include <stdbool.h>
#include <stdint.h>

enum { PEER_HOST_SIZE = 256, PEER_IP_SIZE = 46, PROXY_AUTH_SIZE = 256 };

struct dial_way {
	char ip[PEER_IP_SIZE]; /* where TCP goes: the target, or the proxy */
	uint16_t port;
	char target_host[PEER_HOST_SIZE]; /* named in CONNECT, and default of sni and host */
	uint16_t target_port;
	char sni[PEER_HOST_SIZE], host[PEER_HOST_SIZE]; /* overrides, "" none */
	bool extra; /* one more lane of a link that is up: nothing races with it */
	bool via_proxy;
	char proxy_auth[PROXY_AUTH_SIZE]; /* base64 of user:password, "" none */
	bool token;                       /* admission by token, for node; our certificate is not shown */
	bool check_name;                  /* the server's certificate must be for the name in TLS */
	uint64_t node;                    /* configured for this peer, 0: any */
	int64_t token_lifetime_s;
	void *authorities; /* borrowed, of tls_authorities_read(); NULL: those of tls-ca */
};

#endif
