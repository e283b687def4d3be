#include "consensusd/core/acl.h"

#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"

struct word {
	struct word *next;
	uint64_t node; /* of a node that is named by its id; else 0 */
	struct ulid stream;
	bool prefix; /* ended with '*', which is not in text */
	size_t len;
	char text[];
};

struct rule {
	bool deny;
	struct word *words[ACL_KIND_COUNT]; /* NULL: any */
	size_t counts[ACL_KIND_COUNT];
};

struct list {
	bool spoken;
	struct rule *rules;
	size_t count, cap;
};

struct acl_policy {
	char tenant[TENANT_TEXT_SIZE]; /* once it is in a set */
	bool broken;
	struct list lists[ACL_ACTION_COUNT];
};

const char *
acl_action_name(enum acl_action action)
{
	static const char *const names[] = {
	    [ACL_PUBLISH] = "publish", [ACL_SUBSCRIBE] = "subscribe", [ACL_FORWARD] = "forward"};

	return (unsigned)action < ACL_ACTION_COUNT ? names[action] : "?";
}

/* --- one policy --- */

struct acl_policy *
acl_policy_new(bool broken)
{
	struct acl_policy *p = mem_calloc(1, sizeof(*p));

	if (p != NULL)
		p->broken = broken;
	return p;
}

static void
words_free(struct word *w)
{
	while (w != NULL) {
		struct word *next = w->next;

		mem_free(w);
		w = next;
	}
}

static void
list_fini(struct list *l)
{
	for (size_t i = 0; i < l->count; i++)
		for (unsigned kind = 0; kind < ACL_KIND_COUNT; kind++)
			words_free(l->rules[i].words[kind]);
	mem_free(l->rules);
}

void
acl_policy_free(struct acl_policy *p)
{
	if (p == NULL)
		return;
	for (unsigned i = 0; i < ACL_ACTION_COUNT; i++)
		list_fini(&p->lists[i]);
	mem_free(p);
}

void
acl_policy_begin(struct acl_policy *p, enum acl_action action)
{
	p->lists[action].spoken = true;
}

int
acl_policy_rule(struct acl_policy *p, enum acl_action action, bool deny)
{
	struct list *l = &p->lists[action];
	struct rule *rules;

	if (l->count == ACL_RULES_MAX)
		return ERR_LIMIT;
	if (l->count == l->cap) {
		size_t cap = l->cap != 0 ? l->cap * 2 : 4;

		rules = mem_reallocarray(l->rules, cap, sizeof(*rules));
		if (rules == NULL)
			return ERR_NOMEM;
		l->rules = rules;
		l->cap = cap;
	}
	l->rules[l->count++] = (struct rule){.deny = deny};
	return 0;
}

/* KIND:NAME, and something behind the colon. */
static bool
client_valid(const char *text)
{
	static const char *const kinds[] = {"cert:", "token:", "local:"};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		size_t n = strlen(kinds[i]);

		if (strncmp(text, kinds[i], n) == 0)
			return text[n] != '\0';
	}
	return false;
}

/* The id of a node, if the text is one exactly as ids are shown: else it is a name, which may look alike. */
static uint64_t
id_of(const char *text)
{
	char shown[NODEID_TEXT_SIZE];
	uint64_t id;

	if (nodeid_parse(text, &id) != 0)
		return 0;
	nodeid_format(shown, id);
	return strcmp(shown, text) == 0 ? id : 0;
}

/* A '*' only stands at the end of a client. */
static int
word_check(struct word *w, enum acl_kind kind)
{
	const char *star = strchr(w->text, '*');

	if (w->len == 0 || w->len >= ACL_CLIENT_SIZE)
		return ERR_FORMAT;
	if (star != NULL && (star[1] != '\0' || (kind != ACL_CLIENTS && w->len > 1)))
		return ERR_FORMAT;
	if (w->len == 1 && star != NULL)
		return 0;
	switch (kind) {
	case ACL_CLIENTS:
		return client_valid(w->text) ? 0 : ERR_FORMAT;
	case ACL_NODES:
		w->node = id_of(w->text);
		return node_name_valid(w->text) ? 0 : ERR_FORMAT;
	case ACL_STREAMS:
		return ulid_parse(w->text, &w->stream) == 0 ? 0 : ERR_FORMAT;
	case ACL_KIND_COUNT:
		break;
	}
	return ERR_FORMAT;
}

static struct word *
word_new(const char *text)
{
	size_t len = strlen(text);
	struct word *w = mem_calloc(1, sizeof(*w) + len + 1);

	if (w != NULL) {
		memcpy(w->text, text, len);
		w->len = len;
	}
	return w;
}

int
acl_policy_word(struct acl_policy *p, enum acl_action action, enum acl_kind kind, const char *text)
{
	struct list *l = &p->lists[action];
	struct rule *r;
	struct word *w;
	int err;

	MUST(l->count > 0);
	r = &l->rules[l->count - 1];
	if (r->counts[kind] == ACL_WORDS_MAX)
		return ERR_LIMIT;
	if ((w = word_new(text)) == NULL)
		return ERR_NOMEM;
	if ((err = word_check(w, kind)) != 0) {
		mem_free(w);
		return err;
	}
	w->prefix = w->text[w->len - 1] == '*';
	if (w->prefix)
		w->text[--w->len] = '\0';
	w->next = r->words[kind];
	r->words[kind] = w;
	r->counts[kind]++;
	return 0;
}

/* --- all of them --- */

static int
compare_policy(const void *key, const void *item)
{
	return strcmp(key, ((const struct acl_policy *)item)->tenant);
}

static void
drop_policy(void *p)
{
	acl_policy_free(p);
}

void
acl_set_fini(struct acl_set *s)
{
	sorted_fini(&s->policies, drop_policy);
}

int
acl_set_put(struct acl_set *s, const char *tenant, struct acl_policy *p)
{
	size_t pos, n = strlen(tenant);
	int err = n < TENANT_TEXT_SIZE && s->policies.count < ACL_TENANTS_MAX ? 0 : ERR_LIMIT;

	if (err == 0 && sorted_find(&s->policies, tenant, compare_policy, &pos))
		err = ERR_EXISTS;
	if (err == 0)
		err = sorted_reserve(&s->policies);
	if (err != 0) {
		acl_policy_free(p);
		return err;
	}
	memcpy(p->tenant, tenant, n + 1);
	sorted_put(&s->policies, pos, p);
	return 0;
}

bool
acl_set_empty(const struct acl_set *s)
{
	return s->policies.count == 0;
}

/* --- deciding --- */

static bool
word_fits(const struct word *w, enum acl_kind kind, const struct acl_query *q)
{
	if (w->len == 0)
		return true;
	switch (kind) {
	case ACL_CLIENTS:
		return w->prefix ? strncmp(q->client, w->text, w->len) == 0 : strcmp(q->client, w->text) == 0;
	case ACL_NODES:
		/* What is named by its id is nobody who only has such a name. */
		return w->node != 0 ? w->node == q->node : strcmp(w->text, q->node_name) == 0;
	case ACL_STREAMS:
		return ulid_compare(&w->stream, q->stream) == 0;
	case ACL_KIND_COUNT:
		break;
	}
	return false;
}

static bool
rule_names(const struct rule *r, enum acl_kind kind, const struct acl_query *q)
{
	const struct word *w = r->words[kind];
	bool any = (kind == ACL_CLIENTS && q->client == NULL) || (kind == ACL_STREAMS && q->stream == NULL);

	if (w == NULL || (any && !r->deny))
		return true;
	for (; w != NULL; w = w->next)
		if (any ? w->len == 0 : word_fits(w, kind, q))
			return true;
	return false;
}

static bool
rule_fits(const struct rule *r, const struct acl_query *q)
{
	for (unsigned kind = 0; kind < ACL_KIND_COUNT; kind++)
		if (!rule_names(r, kind, q))
			return false;
	return true;
}

/* The policy that speaks of it; NULL. */
static const struct acl_policy *
policy_for(const struct acl_set *s, const char *tenant, enum acl_action action)
{
	const struct acl_policy *p = sorted_get(&s->policies, tenant, compare_policy);

	return p != NULL && (p->broken || p->lists[action].spoken) ? p : NULL;
}

void
acl_decide(const struct acl_set *s, const struct acl_query *q, struct acl_verdict *out)
{
	const struct acl_policy *p = policy_for(s, q->tenant, q->action);
	const struct list *l;

	*out = (struct acl_verdict){.own = p != NULL};
	if (p == NULL)
		p = policy_for(s, "", q->action);
	out->decided = p != NULL;
	if (p == NULL || p->broken) {
		out->allowed = p == NULL;
		out->broken = p != NULL;
		return;
	}
	l = &p->lists[q->action];
	for (size_t i = 0; i < l->count; i++) {
		if (!rule_fits(&l->rules[i], q))
			continue;
		out->rule = (unsigned)i + 1;
		out->allowed = !l->rules[i].deny;
		return;
	}
}

/* --- for transportd --- */

int
acl_forward_encode(const struct acl_set *s, uint64_t node, const char *node_name, struct buf *out)
{
	struct acl_query q = {.action = ACL_FORWARD, .tenant = "", .node = node, .node_name = node_name};
	struct acl_verdict all, one;
	bool any = false;
	int err;

	acl_decide(s, &q, &all);
	err = buf_put_u8(out, !all.allowed);
	for (size_t i = 0; i < s->policies.count && err == 0; i++) {
		const struct acl_policy *p = s->policies.at[i];

		q.tenant = p->tenant;
		acl_decide(s, &q, &one);
		if (p->tenant[0] == '\0' || one.allowed == all.allowed)
			continue;
		any = true;
		err = buf_put_str8(out, p->tenant);
	}
	if (err == 0 && all.allowed && !any)
		buf_reset(out);
	return err;
}
