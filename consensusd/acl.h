/*
 * acl: access control of streams: the shell around core/acl.h.
 *
 * Policies are keys of the configuration that all nodes share (acl_json.h).  They are enforced where streams
 * begin (publish), where they end (subscribe) and in between (forward): each node does it by itself, and a
 * source sends nothing to a target that may not have it.  A change acts at once on what is open.
 *
 * A policy that can't be read (the API refuses it, but a node of another version may have let it in) denies
 * everything to its tenant.
 */
#ifndef CONSENSUSD_ACL_H
#define CONSENSUSD_ACL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"
#include "consensusd/core/acl.h"

struct acl;
struct caller;
struct channel;
struct engine;
struct sink;
struct source;
struct store_stream;

enum { ACL_WHY_SIZE = 512 };

/* What was decided last about a stream and a client that publishes to it. */
struct acl_seen {
	uint64_t generation, caller; /* generation 0: nothing */
	bool allowed;
};

struct acl *acl_new(struct engine *e) MUST_USE;
void acl_free(struct acl *a);

/* Is the key one of a policy? */
bool acl_concerns(const char *key);
/* This key (NULL: any of them) may have another value. */
void acl_changed(struct acl *a, const char *key);
/* It may be known now what the control group says. */
void acl_look(struct acl *a);

/* May the client do it at this node?  stream NULL: to any stream of the tenant.  False: why is filled. */
bool acl_may(const struct acl *a, enum acl_action action, const struct caller *who, const char *tenant,
    const struct ulid *stream, char why[ACL_WHY_SIZE]) MUST_USE;
/* May the client know of the stream (NULL: of any of the tenant), and pause it?  If it may publish to it, or
 * subscribe; operators may in any case. */
bool acl_may_see(
    const struct acl *a, const struct caller *who, const char *tenant, const struct ulid *stream) MUST_USE;
/* May it do so with the streams of all tenants, also such as there are not yet? */
bool acl_may_see_all(const struct acl *a, const struct caller *who) MUST_USE;
/* May the node be where the action happens, whoever its client is? */
bool acl_node_may(const struct acl *a, enum acl_action action, uint64_t node, const char *tenant,
    const struct ulid *stream, char why[ACL_WHY_SIZE]) MUST_USE;
/* acl_may() publish to this stream: decided once per client and policy. */
bool acl_may_publish(struct source *s, const struct caller *who, char why[ACL_WHY_SIZE]) MUST_USE;
/* May this node send the stream to the node? */
bool acl_may_send(const struct source *s, uint64_t node, char why[ACL_WHY_SIZE]) MUST_USE;
/* May a stream from this source be received here? */
bool acl_may_receive(const struct acl *a, const struct store_stream *row, char why[ACL_WHY_SIZE]) MUST_USE;

/* Applies the policies to everything that is open (acl_apply.c). */
void acl_apply(struct engine *e);

/* Tells transportd which tenants this node may not forward; closes the channel if that fails. */
void acl_send(const struct acl *a, struct channel *ch, uint32_t type);
/* What is wrong with policies; false: nothing. */
bool acl_trouble(const struct acl *a, char *detail, size_t size);

#endif
