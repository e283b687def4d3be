/* caller: see caller.h. */
#include "consensusd/caller.h"

#include <string.h>

#include "common/base/mem.h"

struct caller *
caller_new(const void *text, size_t len)
{
	static uint64_t last_serial;
	struct caller *c = mem_calloc(1, sizeof(*c) + len + 1);

	if (c == NULL)
		return NULL;
	c->serial = ++last_serial;
	c->refs = 1;
	memcpy(c->text, text, len);
	return c;
}

struct caller *
caller_ref(struct caller *c)
{
	if (c != NULL)
		c->refs++;
	return c;
}

void
caller_unref(struct caller *c)
{
	if (c != NULL && --c->refs == 0)
		mem_free(c);
}

const char *
caller_text(const struct caller *c)
{
	return c != NULL ? c->text : "";
}

bool
caller_is_local(const struct caller *c)
{
	static const char prefix[] = "local:";

	return strncmp(caller_text(c), prefix, sizeof(prefix) - 1) == 0;
}

uint64_t
caller_serial(const struct caller *c)
{
	return c != NULL ? c->serial : 0;
}
