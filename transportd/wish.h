/*
 * wish: links that somebody asked for, or against, while the node runs (mesh-api(7), AddLink, DropLink,
 * EstablishFullLinks), and where this node says it can be dialled.
 *
 * An added link is a peer like those of mesh.conf(5), kept until it is dropped or transportd restarts.  A
 * dropped node is neither dialled nor let in until it is added again, or a restart, whatever mesh.conf
 * says.  A peer that comes from a wish for full links is let go if it could not be linked for a while:
 * not everybody can dial everybody.
 */
#ifndef TRANSPORTD_WISH_H
#define TRANSPORTD_WISH_H

#include <bsd/sys/queue.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/ipc.pb.h"
#include "proto/mesh.pb.h"

struct conf;
struct loop_timer;
struct transport;
struct wish;

LIST_HEAD(wish_list, wish);

struct wishes {
	struct wish_list all; /* of nodes that are dropped, or whose link has a weight: at most WISHES_MAX */
	size_t count;
	struct loop_timer *trial; /* then peers of full links that did not answer go */
};

/* ERR_NOMEM. */
int wishes_init(struct transport *t) __attribute__((warn_unused_result));
void wishes_fini(struct transport *t);

/* Takes the wish, or says in *status (a gRPC status) why not. */
void wish_add_link(struct transport *t, const mesh_v1_AddLinkReq *req, mesh_ipc_CallStatus *status);
void wish_drop_link(struct transport *t, const mesh_v1_DropLinkReq *req, mesh_ipc_CallStatus *status);
/* From routerd: full links are wished for, and this node has none with us. */
void wish_dial(struct transport *t, const mesh_ipc_Dial *dial);

/* Is no link to be held with the node? */
bool wish_dropped(const struct transport *t, uint64_t node);
/* What is added to the cost of the link with the node. */
uint32_t wish_weight(const struct transport *t, uint64_t node);

/* Where other nodes can dial this one: what advertise says, else the addresses that it listens on. */
void advertise_read(const struct conf *c, mesh_ipc_Addresses *out);

#endif
