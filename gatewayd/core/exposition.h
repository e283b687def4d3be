/*
 * exposition: metrics texts of several processes made into one.
 *
 * Prometheus' text format wants all samples of one metric together, under one HELP and one TYPE; each
 * daemon prints its own.  Merging keeps the order in which metrics appear and the first HELP and TYPE
 * of each.
 */
#ifndef GATEWAYD_CORE_EXPOSITION_H
#define GATEWAYD_CORE_EXPOSITION_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"

struct buf;

enum {
	EXPOSITION_TEXTS_MAX = 8,
	EXPOSITION_METRICS_MAX = 4096, /* names over all texts */
};

struct exposition_text {
	const uint8_t *data;
	size_t len;
};

/* Appends the merged texts to out.  ERR_FORMAT: a line that is neither a comment, empty nor a sample;
 * ERR_LIMIT: too many metrics or out is full; ERR_NOMEM. */
int exposition_merge(struct buf *out, const struct exposition_text *texts, size_t count) MUST_USE;

#endif
