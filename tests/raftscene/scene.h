/*
 * scene: replicas of the shipped Raft core on a table: every step is asked for, and everything that follows
 * is printed.  Scenes are files of commands with what they must print (scenes/).
 *
 * Disks are those of the simulator: a write is done at once, or, when the disk of a host was told to wait,
 * when it is asked for.
 */
#ifndef TESTS_RAFTSCENE_SCENE_H
#define TESTS_RAFTSCENE_SCENE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "common/base/mono.h"
#include "consensusd/core/raft.h"
#include "consensusd/core/raft_msg.h"
#include "tests/raftsim/disk.h"

enum { SCENE_HOSTS = 9, SCENE_MESSAGES = 1024, SCENE_WORDS = 24 };

struct scene_host {
	struct raft *raft; /* NULL: it does not run */
	struct disk disk;
	struct disk_snapshot incoming;
	bool waits; /* its disk */
	struct mono now;
};

/* A message on its way. */
struct scene_message {
	unsigned from, to; /* hosts, from 1 on */
	uint8_t kind;
	void *data; /* encoded; owned */
	size_t len;
};

struct scene {
	FILE *out;
	struct scene_host host[SCENE_HOSTS + 1]; /* from 1 on; ids are the same numbers */
	struct scene_message msg[SCENE_MESSAGES];
	size_t count;
	unsigned group; /* hosts that vote in the beginning */
	size_t append_bytes;
};

void scene_init(struct scene *s, FILE *out);
void scene_fini(struct scene *s);
/* One command, in words.  NULL, or what is wrong with it. */
const char *scene_do(struct scene *s, char *const *word, size_t count);

/* --- table.c: hosts --- */
void table_start(struct scene *s, unsigned h);
void table_crash(struct scene *s, unsigned h);
void table_sync(struct scene *s, unsigned h);
/* Prints and does what follows from an event. */
void table_pump(struct scene *s, unsigned h);
/* Entries of these terms, on a disk that is empty. */
void table_log(struct scene *s, unsigned h, const uint64_t *terms, size_t count);
void table_members(struct scene *s, unsigned voters);
/* Encoded; the caller's to free. */
void table_encode(const struct raft_config *c, uint8_t **out, size_t *len);
void table_show(struct scene *s, unsigned h);

/* --- post.c: messages --- */
void post_put(struct scene *s, const struct raft_msg *m);
/* Delivers, or drops, those that are on their way now and fit; 0 fits all. */
void post_deliver(struct scene *s, unsigned from, unsigned to, uint8_t kind, bool drop);
/* The same message again: the first that fits stays on its way. */
bool post_double(struct scene *s, unsigned from, unsigned to, uint8_t kind);
void post_print(FILE *out, const struct raft_msg *m);

#endif
