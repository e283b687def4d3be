/*
 * identity: tells a sibling who this node is (mesh.ipc.Identity).
 */
#ifndef CONSENSUSD_IDENTITY_H
#define CONSENSUSD_IDENTITY_H

#include <stdint.h>

struct channel;
struct engine;

/* Sends it as a message of this type, with the next incarnation; closes the channel if that fails. */
void identity_send(struct engine *e, struct channel *ch, uint32_t type);

#endif
