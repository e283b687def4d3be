/*
 * shared: the configuration that all nodes share, as far as it is the daemons' own.
 *
 * Keys named SECTION.DIRECTIVE ("routerd.paths") are directives of mesh.conf(5) for all nodes; others are the
 * applications'.  This makes an overlay (common/os/conf_overlay.h) of the keys of each daemon's section,
 * gives it to the siblings on each connection and when it changes, and to this daemon itself.  What can't be
 * a directive is left out: the API refuses it, but a node of another version may have let it in.
 *
 * Nothing is said before it is known what the control group says: siblings keep what they have while this
 * process starts, or while the node enters its group again.
 */
#ifndef CONSENSUSD_SHARED_H
#define CONSENSUSD_SHARED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"
#include "common/os/conf_overlay.h"

struct channel;
struct engine;
struct shared;

enum shared_section { SHARED_TRANSPORTD, SHARED_ROUTERD, SHARED_CONSENSUSD, SHARED_GATEWAYD, SHARED_COUNT };

enum { SHARED_WHY_SIZE = CONF_OVERLAY_WHY_SIZE };

/* What consensusd itself is to do with its section's; body is borrowed.  An error is logged here. */
typedef int shared_own_fn(void *ctx, const uint8_t *body, size_t len);

struct shared *shared_new(struct engine *e) MUST_USE;
void shared_free(struct shared *s);
void shared_own(struct shared *s, shared_own_fn *fn, void *ctx);

/* Is the key a daemon's, whatever its value? */
bool shared_concerns(const char *key);
/* This key (NULL: any of them) may have another value. */
void shared_changed(struct shared *s, const char *key);
/* It may be known now what the control group says. */
void shared_look(struct shared *s);

/* Sends what there is for the section as a message of this type, if it is known; closes the channel if that
 * fails. */
void shared_send(const struct shared *s, enum shared_section which, struct channel *ch, uint32_t type);

/* May the key have this value?  False: it names a daemon's section, and why is what is wrong. */
bool shared_check(const char *key, const void *json, size_t len, char why[SHARED_WHY_SIZE]) MUST_USE;

#endif
