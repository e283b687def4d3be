/* Of mcg: the tokens that nodes were admitted with; each is good for one node. */
#include "common/base/err.h"
#include "common/base/mem.h"
#include "consensusd/core/codec.h"
#include "consensusd/core/mcg_impl.h"

static int
compare(const void *key, const void *item)
{
	return ulid_compare(key, &((const struct mcg_token *)item)->id);
}

bool
mcg_token_free(const struct mcg *m, const struct mcg_cmd_member *who)
{
	const struct mcg_token *token = sorted_get(&m->tokens, &who->token_id, compare);

	return token == NULL || token->node == who->node;
}

int
mcg_token_reserve(struct mcg *m, const struct mcg_cmd_member *who, struct mcg_token **out)
{
	*out = NULL;
	if (ulid_is_zero(&who->token_id) || sorted_get(&m->tokens, &who->token_id, compare) != NULL)
		return 0;
	if (sorted_reserve(&m->tokens) != 0 || (*out = mem_calloc(1, sizeof(**out))) == NULL)
		return ERR_NOMEM;
	(*out)->id = who->token_id;
	(*out)->node = who->node;
	return 0;
}

static void
forget_first(struct mcg *m)
{
	size_t first = 0;

	for (size_t i = 1; i < m->tokens.count; i++)
		if (((struct mcg_token *)m->tokens.at[i])->index <
		    ((struct mcg_token *)m->tokens.at[first])->index)
			first = i;
	mem_free(sorted_take(&m->tokens, first));
}

void
mcg_token_put(struct mcg *m, struct mcg_token *token, uint64_t index)
{
	size_t pos;

	if (token == NULL)
		return;
	if (m->tokens.count == MCG_TOKENS_MAX)
		forget_first(m);
	token->index = index;
	MUST(!sorted_find(&m->tokens, &token->id, compare, &pos));
	sorted_put(&m->tokens, pos, token);
}

void
mcg_tokens_fields(struct mcg *m, struct codec *c)
{
	size_t count = m->tokens.count;

	codec_count(c, &count, MCG_TOKENS_MAX, ULID_BYTES + 8 + 8);
	for (size_t i = 0; i < count && c->err == 0; i++) {
		struct mcg_token *token = mcg_item_at(c, &m->tokens, i, sizeof(*token));

		if (token == NULL)
			return;
		codec_ulid(c, &token->id);
		codec_u64(c, &token->node);
		codec_u64(c, &token->index);
		codec_check(c, token->node != 0 && !ulid_is_zero(&token->id), ERR_FORMAT);
		codec_check(c, i == 0 || compare(&token->id, m->tokens.at[i - 1]) > 0, ERR_FORMAT);
	}
}
