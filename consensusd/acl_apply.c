/* acl: what is open when policies change; see acl.h. */
#include "consensusd/acl.h"
#include "consensusd/api_impl.h"
#include "consensusd/engine.h"
#include "consensusd/sink.h"
#include "consensusd/source.h"
#include "consensusd/stats.h"
#include "consensusd/subscriber.h"

static void
apply_source(struct source *s)
{
	char why[ACL_WHY_SIZE];

	for (size_t i = 0; i < s->stream->flow_count; i++) {
		struct source_flow *f = &s->flows[i];

		if (acl_may_send(s, f->flow->node, why))
			source_flow_allow(f);
		else
			source_flow_deny(f, why);
	}
}

/* Streaming publishers whose last message was for a stream that they may not publish to any more. */
static void
apply_calls(struct engine *e)
{
	struct client *client;
	struct call *c, *next;
	struct source *s;
	char why[ACL_WHY_SIZE];

	TAILQ_FOREACH (client, &e->api->clients, entry) {
		HASH_ITER (hh, client->calls, c, next) {
			if (c->kind != CALL_PUBLISH || (s = source_find(e, &c->stream)) == NULL ||
			    acl_may_publish(s, c->who, why))
				continue;
			metric_inc(&stats.acl_publish);
			call_done(c, CODE_PERMISSION_DENIED, "%s", why);
		}
	}
}

void
acl_apply(struct engine *e)
{
	struct source *s, *s_next;
	struct sink *k, *k_next;
	char why[ACL_WHY_SIZE];

	if (e->api == NULL)
		return;
	apply_calls(e);
	HASH_ITER (hh, e->sources, s, s_next)
		apply_source(s);
	HASH_ITER (hh, e->sinks, k, k_next)
		sink_permit(k, acl_may_receive(e->acl, &k->row, why) ? NULL : why);
	subscribers_permit(&e->api->subscribers);
	engine_wake(e);
}
