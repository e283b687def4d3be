/*
 * streams_view: streams as meshctl shows them: a table, or one after the other with all that is known.
 */
#ifndef MESHCTL_STREAMS_VIEW_H
#define MESHCTL_STREAMS_VIEW_H

#include <jansson.h>

struct ctl;

/* rows as api_json_streams() makes them; with -j printed as they are. */
void streams_view_table(const struct ctl *ctl, json_t *rows);
void streams_view_all(const struct ctl *ctl, json_t *rows);

#endif
