/* subscriber: what policies let it have; see subscriber.h. */
#include "consensusd/acl.h"
#include "consensusd/api_impl.h"
#include "consensusd/sink.h"
#include "consensusd/stats.h"
#include "consensusd/subscriber_impl.h"

bool
subscriber_may_have(const struct subscriber *s, const struct sink *k, char why[ACL_WHY_SIZE])
{
	return acl_may(k->engine->acl, ACL_SUBSCRIBE, s->call->who, k->row.tenant_id, &k->row.stream_id, why);
}

bool
subscriber_may_select(const struct engine *e, const struct caller *who, const mesh_v1_StreamSelector *in,
    char why[ACL_WHY_SIZE])
{
	struct ulid id;

	for (pb_size_t i = 0; i < in->stream_ids_count; i++) {
		if (ulid_parse(in->stream_ids[i], &id) == 0 &&
		    !acl_may(e->acl, ACL_SUBSCRIBE, who, in->tenant_id, &id, why))
			return false;
	}
	return in->stream_ids_count != 0 || acl_may(e->acl, ACL_SUBSCRIBE, who, in->tenant_id, NULL, why);
}

/* Ends it if it has what it may not have; why is filled then. */
static bool
permit(struct subscriber *s)
{
	const struct sink *k;
	char why[ACL_WHY_SIZE];
	bool may = subscriber_may_select(s->all->engine, s->call->who, &s->selector, why);

	TAILQ_FOREACH (k, &s->sinks, subscribed) {
		if (!may)
			break;
		may = subscriber_may_have(s, k, why);
	}
	if (!may) {
		metric_inc(&stats.acl_subscribe);
		call_done(s->call, CODE_PERMISSION_DENIED, "%s", why);
	}
	return may;
}

void
subscribers_permit(struct subscribers *all)
{
	struct subscriber *s, *next;
	struct sink *k, *k_next;

	for (s = TAILQ_FIRST(&all->all); s != NULL; s = next) {
		next = TAILQ_NEXT(s, entry);
		(void)permit(s);
	}
	HASH_ITER (hh, all->engine->sinks, k, k_next) {
		if (k->subscriber == NULL && k->target->state != TARGET_OPENING)
			subscriber_stream_opened(all->engine, k);
	}
}
