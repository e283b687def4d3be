/*
 * fetch: one unary call whose answer becomes JSON.
 */
#ifndef MESHCTL_FETCH_H
#define MESHCTL_FETCH_H

#include <jansson.h>
#include <pb.h>

#include "common/base/must.h"

struct buf;
struct ctl;

/* Calls a method (request NULL: without arguments) and makes JSON of the answer; *out is a new reference,
 * NULL after an error.  An exit_code; errors are printed. */
int fetch(const struct ctl *ctl, const char *method, const struct buf *request,
    json_t *(*make)(const struct buf *), json_t **out) MUST_USE;
/* The same with a message of these fields as its request. */
int fetch_pb(const struct ctl *ctl, const char *method, const pb_msgdesc_t *fields, const void *request,
    json_t *(*make)(const struct buf *), json_t **out) MUST_USE;

#endif
