/*
 * picture_impl: what picture.c and picture_svg.c share.  Nobody else includes it.
 */
#ifndef MESHCTL_PICTURE_IMPL_H
#define MESHCTL_PICTURE_IMPL_H

#include <jansson.h>
#include <stddef.h>

const char *picture_text(const json_t *o, const char *key); /* "": not there */
json_int_t picture_number(const json_t *o, const char *key);
const char *picture_colour(const char *state);
/* What is said of a node beside its name: its state, and its load where it is known. */
void picture_state(const json_t *n, char *out, size_t size);
/* What is written at a link: round trip, bandwidth where it is known. */
void picture_label(const json_t *l, char *out, size_t size);

#endif
