/*
 * api_json_impl: what the files of api_json have in common.
 */
#ifndef MESHCTL_API_JSON_IMPL_H
#define MESHCTL_API_JSON_IMPL_H

#include <jansson.h>
#include <pb.h>
#include <stdint.h>

#include "common/base/must.h"

struct pb_raw_list;
struct pb_slice;

static inline json_int_t
api_json_num(int64_t v)
{
	return (json_int_t)v;
}

/* Prints that the answer can't be read; NULL. */
json_t *api_json_unreadable(const char *what);

/* Room for a repeated field of up to API_JSON_ROWS_MAX entries, to be decoded into; ERR_NOMEM.  Its items are
 * the caller's to free. */
int api_json_list(struct pb_raw_list *list, pb_callback_t *cb) MUST_USE;
/* A list of entries that make() turns into values; NULL if one of them can't be read. */
json_t *api_json_rows(const struct pb_raw_list *list, json_t *(*make)(const struct pb_slice *));
/* For that: an entry that is a string. */
json_t *api_json_text_row(const struct pb_slice *entry);
/* The JSON value that a text is, or the text itself if it is none. */
json_t *api_json_parsed(const struct pb_slice *text);

json_t *api_json_group_row(const struct pb_slice *entry);

#endif
