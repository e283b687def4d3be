/*
 * relay: moves frames between links and siblings as core/forward decides.
 */
#ifndef TRANSPORTD_RELAY_H
#define TRANSPORTD_RELAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"
#include "transportd/core/forward.h"

struct frame;
struct link;
struct relay;
struct transport;

struct relay *relay_new(struct transport *t) MUST_USE;
void relay_free(struct relay *r);

/* A frame that a neighbour sent; raw are its bytes. */
void relay_received(struct link *from, struct frame *f, const uint8_t *raw, size_t size);
/* A frame of transportd's own to the last node of its visit list, over the best path of the FIB, or over the
 * one of the class that has this id.  False: there is no way, or no room. */
bool relay_own(struct transport *t, struct frame *f) MUST_USE;
/* The same in answer to a frame that came over the neighbour via. */
bool relay_back(struct transport *t, struct frame *f, uint64_t via) MUST_USE;
bool relay_over(struct transport *t, struct frame *f, uint8_t class, uint32_t path_id) MUST_USE;
/* The best way to a node for a frame of the class that starts here. */
enum forward_verdict relay_way(
    struct transport *t, uint64_t dst, uint8_t class, struct forward_way *way) MUST_USE;
/* A frame that consensusd sends: one node to visit, the destination.  ERR_DENIED: not its to send. */
int relay_originate(struct transport *t, struct frame *f) MUST_USE;

#endif
