/* shared: see shared.h. */
#include "consensusd/shared.h"

#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/channel.h"
#include "common/os/log.h"
#include "consensusd/acl.h"
#include "consensusd/api.h"
#include "consensusd/engine.h"
#include "consensusd/json_text.h"
#include "consensusd/mesh.h"
#include "consensusd/router.h"
#include "consensusd/stats.h"
#include "consensusd/transport.h"

static const char *const sections[SHARED_COUNT] = {
    [SHARED_TRANSPORTD] = "transportd",
    [SHARED_ROUTERD] = "routerd",
    [SHARED_CONSENSUSD] = "consensusd",
    [SHARED_GATEWAYD] = "gatewayd",
};

struct shared {
	struct engine *engine;
	struct buf overlays[SHARED_COUNT];
	bool known; /* they are what the control group says, or said last */
	bool dirty; /* keys may have changed since */
	struct loop_defer look;
	shared_own_fn *own;
	void *own_ctx;
};

static void look(void *arg);

struct shared *
shared_new(struct engine *e)
{
	struct shared *s = mem_calloc(1, sizeof(*s));

	if (s == NULL)
		return NULL;
	s->engine = e;
	s->look.fn = look;
	s->look.arg = s;
	for (unsigned i = 0; i < SHARED_COUNT; i++)
		buf_init(&s->overlays[i], CONF_OVERLAY_MAX_BYTES);
	return s;
}

void
shared_free(struct shared *s)
{
	if (s == NULL)
		return;
	loop_defer_del(&s->look);
	for (unsigned i = 0; i < SHARED_COUNT; i++)
		buf_fini(&s->overlays[i]);
	mem_free(s);
}

void
shared_own(struct shared *s, shared_own_fn *fn, void *ctx)
{
	s->own = fn;
	s->own_ctx = ctx;
}

/* --- one key --- */

/* Reads and checks the value of a directive.  ERR_FORMAT with why filled. */
static int
words_of(const char *section, const char *key, const void *json, size_t len, struct json_words *out,
    char why[SHARED_WHY_SIZE])
{
	char reason[SHARED_WHY_SIZE / 2];

	if (!json_text_words(json, len, out, reason, sizeof(reason))) {
		snprintf(why, SHARED_WHY_SIZE, "%s: %s: %s", section, key, reason);
		return ERR_FORMAT;
	}
	if (conf_overlay_check(section, key, (const char *const *)out->at, out->count, why))
		return 0;
	json_words_fini(out);
	return ERR_FORMAT;
}

bool
shared_check(const char *key, const void *json, size_t len, char why[SHARED_WHY_SIZE])
{
	struct json_words words;
	const char *directive, *section = conf_overlay_section(key, &directive);

	if (section == NULL)
		return true;
	if (words_of(section, directive, json, len, &words, why) != 0)
		return false;
	json_words_fini(&words);
	return true;
}

static void
refuse(const char *key, const char *why)
{
	metric_inc(&stats.shared_refused);
	log_warn("the key %s of the shared configuration is ignored: %s", key, why);
}

static void
add(struct buf *out, const char *section, const char *directive, const struct mcg_value *v)
{
	char why[SHARED_WHY_SIZE];
	struct json_words words;
	int err;

	if (words_of(section, directive, v->json, v->len, &words, why) != 0) {
		refuse(v->key, why);
		return;
	}
	err = conf_overlay_put(out, directive, (const char *const *)words.at, words.count);
	json_words_fini(&words);
	if (err != 0)
		refuse(v->key, err_text(err));
}

/* --- all of them --- */

static void
collect(const struct shared *s, const char *wanted, struct buf *out)
{
	const struct mcg *mcg = mesh_mcg(s->engine->mesh);
	struct mcg_value v;

	for (size_t i = 0; mcg_value_at(mcg, i, &v); i++) {
		const char *directive, *section = conf_overlay_section(v.key, &directive);

		if (section != NULL && strcmp(section, wanted) == 0)
			add(out, section, directive, &v);
	}
}

static void
tell(struct shared *s, enum shared_section which)
{
	const struct buf *b = &s->overlays[which];
	struct engine *e = s->engine;
	int err;

	switch (which) {
	case SHARED_TRANSPORTD:
		transport_shared(e->transport);
		break;
	case SHARED_ROUTERD:
		router_shared(e->router);
		break;
	case SHARED_GATEWAYD:
		if (e->api != NULL)
			api_shared(e->api);
		break;
	case SHARED_CONSENSUSD:
		err = s->own != NULL ? s->own(s->own_ctx, buf_head(b), buf_left(b)) : 0;
		if (err != 0)
			log_error("the shared configuration can't be applied: %s", err_text(err));
		break;
	case SHARED_COUNT:
		break;
	}
}

/* The section's overlay is made anew; who has it is told if it is another one. */
static void
renew(struct shared *s, enum shared_section which, bool first)
{
	struct buf fresh, *b = &s->overlays[which];
	bool same;

	buf_init(&fresh, CONF_OVERLAY_MAX_BYTES);
	collect(s, sections[which], &fresh);
	same = buf_left(&fresh) == buf_left(b) && memcmp(buf_head(&fresh), buf_head(b), buf_left(b)) == 0;
	buf_fini(b);
	*b = fresh;
	if (first || !same)
		tell(s, which);
}

static void
look(void *arg)
{
	struct shared *s = arg;
	bool first = !s->known;

	if (!s->dirty || !mesh_config_known(s->engine->mesh))
		return;
	s->dirty = false;
	s->known = true;
	for (unsigned i = 0; i < SHARED_COUNT; i++)
		renew(s, i, first);
}

void
shared_look(struct shared *s)
{
	acl_look(s->engine->acl);
	if (s->dirty)
		loop_defer_add(s->engine->loop, &s->look);
}

bool
shared_concerns(const char *key)
{
	const char *directive;

	return conf_overlay_section(key, &directive) != NULL;
}

void
shared_changed(struct shared *s, const char *key)
{
	if (key == NULL || shared_concerns(key))
		s->dirty = true;
	acl_changed(s->engine->acl, key);
	shared_look(s);
}

void
shared_send(const struct shared *s, enum shared_section which, struct channel *ch, uint32_t type)
{
	const struct buf *b = &s->overlays[which];
	int err;

	if (!s->known)
		return;
	err = channel_send(ch, type, 0, buf_head(b), buf_left(b));
	/* On the next connection it is said again. */
	if (err != 0)
		channel_close(ch, err);
}
