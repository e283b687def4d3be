#include "transportd/conn_auth.h"

#include <stdio.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/frame.h"
#include "common/os/clock.h"
#include "common/os/log.h"
#include "common/os/loop.h"
#include "transportd/core/goaway.h"
#include "transportd/lane.h"
#include "transportd/stats.h"
#include "transportd/tls.h"
#include "transportd/tls_token.h"
#include "transportd/token.h"
#include "transportd/transport.h"
#include "transportd/ws.h"

static int64_t
now_unix_s(void)
{
	return (int64_t)(clock_unix_ms() / 1000);
}

static bool
by_token(const struct conn *c)
{
	uint8_t hash[HELLO_EXPORTER_BYTES];

	return ws_token_hash(c->ws, hash);
}

bool
conn_auth_names(const struct conn *c, const struct hello *h)
{
	char mesh[ULID_TEXT_SIZE], node[NODEID_TEXT_SIZE], want[TLS_URI_SIZE], uri[TLS_URI_SIZE];
	const struct token *token = ws_token(c->ws);

	if (token != NULL)
		return token->node_id == h->node_id && ulid_compare(&token->mesh_id, &h->mesh_id) == 0;
	/* Behind a proxy it is the proxy's certificate that we see: the node id is configured, and the
	 * token that the listener owes names it (conn_auth_begin()). */
	if (c->dialled && by_token(c))
		return c->expected == h->node_id;
	ulid_format(mesh, &h->mesh_id);
	nodeid_format(node, h->node_id);
	snprintf(want, sizeof(want), "spiffe://%s/node/%s", mesh, node);
	return tls_peer_uri(ws_session(c->ws), uri) == 0 && strcmp(uri, want) == 0;
}

bool
conn_auth_revoked(const struct conn *c)
{
	void *session = ws_session(c->ws);

	return session != NULL && tls_peer_revoked(c->t->tls, session);
}

/* --- showing ours --- */

static void
arm(struct conn *c)
{
	loop_timer_arm(c->auth_timer, reauth_next(&c->auth));
}

/* False: it could not be made; it is tried again. */
static bool
show_token(struct conn *c)
{
	char text[TOKEN_MAX_BYTES + 1], node[NODEID_TEXT_SIZE];
	int64_t life_s = c->t->peers.token_lifetime_s;
	int len;

	nodeid_format(node, c->hello.node_id);
	len = tls_token_make(c->t->tls, node, now_unix_s(), life_s, text);
	if (len < 0 || conn_put(c, FRAME_TOKEN, text, (size_t)len) != 0) {
		log_warn("%s: no token can be shown: %s", c->address, err_text(len < 0 ? len : ERR_NOMEM));
		return false;
	}
	stat_inc(STAT_TOKENS_SENT);
	/* With mutual TLS the certificate goes on to hold; the next is shown when that is renewed. */
	reauth_sent(&c->auth, clock_mono(), by_token(c) ? life_s * 1000000 : 0,
	    (unsigned)rng_below(&c->t->rng, 1000));
	return true;
}

static void
on_timer(void *arg)
{
	struct conn *c = arg;
	struct mono now = clock_mono();
	uint16_t code = GOAWAY_NONE;

	switch (reauth_step(&c->auth, now, &code)) {
	case REAUTH_END:
		conn_fail(c, code, "");
		return;
	case REAUTH_SEND:
		if (!show_token(c)) {
			reauth_sent(&c->auth, now, 0, 0);
			reauth_due(&c->auth, mono_add_ms(now, REAUTH_RETRY_MS));
		}
		break;
	case REAUTH_NOTHING:
		break;
	}
	arm(c);
}

void
conn_auth_begin(struct conn *c)
{
	const struct token *token = ws_token(c->ws);
	struct mono now = clock_mono();
	int64_t unix_s = now_unix_s();

	c->auth_timer = loop_timer_new(c->t->loop, on_timer, c);
	if (c->auth_timer == NULL) {
		conn_fail(c, GOAWAY_INTERNAL, "out of memory");
		return;
	}
	if (token != NULL) {
		reauth_init(&c->auth, reauth_map(now, unix_s, token_until(token)));
		reauth_due(&c->auth, now);
	} else if (by_token(c)) {
		reauth_init_owed(&c->auth, mono_add_ms(now, REAUTH_OWED_MS));
		reauth_sent(&c->auth, now, c->t->peers.token_lifetime_s * 1000000,
		    (unsigned)rng_below(&c->t->rng, 1000));
	} else {
		reauth_init(&c->auth, reauth_map(now, unix_s, tls_peer_not_after(ws_session(c->ws))));
	}
	arm(c);
}

void
conn_auth_end(struct conn *c)
{
	/* Who never was proven has none. */
	if (c->auth_timer != NULL)
		loop_timer_disarm(c->auth_timer);
}

/* --- the peer's --- */

static bool
right_node(const struct conn *c, const struct token *token)
{
	return token->node_id == c->hello.node_id && ulid_compare(&token->mesh_id, &c->hello.mesh_id) == 0;
}

void
conn_auth_token(struct conn *c, const struct frame *f)
{
	const char *why = "of another node";
	char self[NODEID_TEXT_SIZE];
	struct mono now = clock_mono();
	int64_t unix_s = now_unix_s();
	struct token token;
	int err;

	if (!reauth_takes(&c->auth, now)) {
		conn_fail(c, GOAWAY_FLOW, "tokens come too often");
		return;
	}
	nodeid_format(self, c->t->identity.node_id);
	err =
	    tls_token_check(c->t->tls, (const char *)f->payload, f->payload_len, self, unix_s, &token, &why);
	if (err != 0 || !right_node(c, &token)) {
		conn_fail(c, GOAWAY_TOKEN, why);
		return;
	}
	stat_inc(STAT_TOKENS_TAKEN);
	reauth_shown(&c->auth, reauth_map(now, unix_s, by_token(c) ? token_until(&token) : token.cert_until));
	arm(c);
}

void
conn_auth_reload(struct transport *t)
{
	struct conn *c;

	LIST_FOREACH (c, &t->conns, entry) {
		if (c->dead)
			continue;
		/* On its way up as well: its TLS was done with the old lists. */
		if (conn_auth_revoked(c)) {
			conn_fail(c, GOAWAY_DENIED, "its certificate is revoked");
		} else if (c->lane != NULL) {
			reauth_due(&c->auth, clock_mono());
			arm(c);
		}
	}
}

/* --- for people --- */

const char *
conn_auth_kind(const struct conn *c)
{
	return by_token(c) ? "token" : "certificate";
}

uint64_t
conn_auth_until_ms(const struct conn *c)
{
	int64_t left_us = mono_is_never(c->auth.until) ? 0 : mono_diff_us(c->auth.until, clock_mono());

	return left_us > 0 ? clock_unix_ms() + (uint64_t)left_us / 1000 : 0;
}
