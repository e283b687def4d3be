/*
 * swim_meta_body: what a member said about itself, as it is kept: encoded, with the version of it.
 *
 * It counts who holds it: what is kept many times can be there once.
 */
#ifndef ROUTERD_CORE_SWIM_META_BODY_H
#define ROUTERD_CORE_SWIM_META_BODY_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"

struct swim_meta_body {
	uint64_t version;
	uint32_t refs;
	uint16_t len;
	uint8_t data[]; /* as swim_meta_decode() takes it */
};

/* Copies the data.  The caller holds it.  NULL when memory is out. */
struct swim_meta_body *swim_meta_body_new(uint64_t version, const uint8_t *data, size_t len) MUST_USE;
/* One more holds it. */
struct swim_meta_body *swim_meta_body_ref(struct swim_meta_body *b);
/* One less; the last one frees it.  b may be NULL. */
void swim_meta_body_unref(struct swim_meta_body *b);
/* *b gets this version, for the one who holds it alone: others keep theirs.  ERR_NOMEM: it stays. */
int swim_meta_body_set_version(struct swim_meta_body **b, uint64_t version) MUST_USE;

#endif
