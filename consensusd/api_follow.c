/* api: subscriptions to updates; see follower.h. */
#include "consensusd/api_impl.h"
#include "consensusd/follower.h"

void
api_follow_nodes(struct api *a, struct client *c, const struct imsg *m)
{
	follower_begin(a, FOLLOW_NODES, c, m);
}

void
api_follow_mesh(struct api *a, struct client *c, const struct imsg *m)
{
	follower_begin(a, FOLLOW_MESH, c, m);
}

void
api_follow_db(struct api *a, struct client *c, const struct imsg *m)
{
	follower_begin(a, FOLLOW_DB, c, m);
}

void
api_follow_more(struct api *a, struct client *c, const struct imsg *m)
{
	follower_more(a, c, m);
}
