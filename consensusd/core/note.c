/* note: see note.h. */
#include "consensusd/core/note.h"

#include <string.h>

#include "common/base/be.h"
#include "common/base/mem.h"

bool
note_type_valid(const char *type)
{
	size_t n = 0;

	for (; type[n] != '\0'; n++)
		if (n == NOTE_TYPE_MAX || type[n] <= ' ' || type[n] > '~')
			return false;
	return n > 0;
}

struct note *
note_new(uint64_t node, const char *type, uint64_t version, const void *payload, size_t len)
{
	struct note *n;

	MUST(len <= NOTE_PAYLOAD_MAX_BYTES && note_type_valid(type) && version <= INT64_MAX);
	if ((n = mem_calloc(1, sizeof(*n) + len)) == NULL)
		return NULL;
	n->refs = 1;
	n->node = node;
	n->version = version;
	n->len = (uint32_t)len;
	memcpy(n->type, type, strlen(type) + 1);
	if (payload != NULL && len > 0)
		memcpy(n->payload, payload, len);
	return n;
}

struct note *
note_ref(struct note *n)
{
	n->refs++;
	return n;
}

void
note_unref(struct note *n)
{
	if (n == NULL)
		return;
	MUST(n->refs != 0);
	if (--n->refs == 0)
		mem_free(n);
}

size_t
note_bytes(const struct note *n)
{
	return sizeof(*n) + n->len;
}

size_t
note_statement(const struct note *n, const uint8_t payload_hash[32], uint8_t out[NOTE_STATEMENT_MAX_BYTES])
{
	size_t type_len = strlen(n->type);
	uint8_t *p = out;

	be_store64(p, n->node);
	p += 8;
	*p++ = (uint8_t)type_len;
	memcpy(p, n->type, type_len);
	p += type_len;
	be_store64(p, n->version);
	be_store64(p + 8, n->unix_ms);
	p[16] = n->removed;
	memcpy(p + 17, payload_hash, 32);
	return (size_t)(p + 17 + 32 - out);
}

uint64_t
note_stamp(const struct note *n)
{
	return be_load64(n->signature);
}

bool
note_beats(uint64_t version, const uint8_t signature[64], const struct note *b)
{
	if (b == NULL || version != b->version)
		return b == NULL || version > b->version;
	return memcmp(signature, b->signature, sizeof(b->signature)) > 0;
}

bool
note_beats_stamp(uint64_t version, uint64_t stamp, const struct note *b)
{
	if (b == NULL || version != b->version)
		return b == NULL || version > b->version;
	return stamp > note_stamp(b);
}
