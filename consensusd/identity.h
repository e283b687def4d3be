/*
 * identity: tells a sibling who this node is (mesh.ipc.Identity), and who is not to be in the mesh.
 */
#ifndef CONSENSUSD_IDENTITY_H
#define CONSENSUSD_IDENTITY_H

#include <stdint.h>

struct channel;
struct engine;
struct idset;

/* Sends it as a message of this type, with the next incarnation; closes the channel if that fails. */
void identity_send(struct engine *e, struct channel *ch, uint32_t type);
/* Likewise, which nodes are not to be let in. */
void identity_send_evicted(struct channel *ch, uint32_t type, const struct idset *evicted);

#endif
