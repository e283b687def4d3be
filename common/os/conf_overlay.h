/*
 * conf_overlay: directives of one section that do not come from mesh.conf: the configuration that all nodes
 * share, as consensusd passes it on to its siblings.
 *
 * It stands between the file and the defaults: what environment or file say explicitly wins.  It can only
 * hold directives that a reload can change and that are not of a block; what is wrong in it is left out,
 * one directive at a time, and never keeps a configuration from being loaded.
 *
 * On a channel an overlay is its directives one after the other: the name (u8 length, bytes), how many values
 * (u8), each value (u16 length, bytes).  No directive is there twice.
 */
#ifndef COMMON_OS_CONF_OVERLAY_H
#define COMMON_OS_CONF_OVERLAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/base/must.h"

struct buf;
struct conf;

enum {
	CONF_OVERLAY_MAX_BYTES = 256 * 1024, /* of a section: refuse */
	CONF_OVERLAY_NAME_SIZE = 64,         /* of a directive, with NUL */
	CONF_OVERLAY_WHY_SIZE = 768,         /* of a reason */
};

/* What conf_load_over() lays over the defaults.  body is borrowed, and has passed conf_overlay_valid(). */
struct conf_overlay {
	const uint8_t *body; /* NULL: nothing */
	size_t len;
	/* Told of each directive that is left out, with the reason as the parser words it. */
	void (*refused)(void *arg, const char *why);
	/* Told of each one that takes effect: neither environment nor file have it. */
	void (*applied)(void *arg, const char *key);
	void *arg;
};

/* Splits "routerd.paths": the table's own name of a daemon's section, and *key what is behind the dot.  NULL:
 * it is not of this form, or there is no such section.  The section mesh is not shared: it says what one node
 * is. */
const char *conf_overlay_section(const char *name, const char **key);

/* Would the section have the directive with these values?  False: why is what mesh.conf's parser would say,
 * or why it can't be shared. */
bool conf_overlay_check(const char *section, const char *key, const char *const *values, size_t count,
    char why[CONF_OVERLAY_WHY_SIZE]) MUST_USE;

/* Appends a directive that has passed conf_overlay_check(); on an error, the buffer's, nothing. */
int conf_overlay_put(struct buf *out, const char *key, const char *const *values, size_t count) MUST_USE;

/* Is this the form of an overlay, whatever is in it?  ERR_SHORT, ERR_LIMIT, ERR_FORMAT. */
int conf_overlay_valid(const uint8_t *body, size_t len) MUST_USE;

/* conf_load() with an overlay of the section `require`. */
struct conf *conf_load_over(
    const char *path, const char *require, const struct conf_overlay *over, FILE *err) MUST_USE;

#endif
