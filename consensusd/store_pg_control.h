/*
 * store_pg_control: what of a flush the control group keeps, for people and for the next start: the mesh, its
 * configuration, updates of nodes, and positions of subscribers.
 */
#ifndef CONSENSUSD_STORE_PG_CONTROL_H
#define CONSENSUSD_STORE_PG_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"
#include "consensusd/hash.h"
#include "consensusd/store.h"

struct buf;
struct pg_conn;

struct flush_mesh {
	struct ulid mesh_id;
	char *texts; /* name, description, status, each with its NUL */
	bool allow_join;
	uint64_t created_unix_ms;
};

struct flush_config {
	bool clear; /* all keys lose their values; nothing else is filled in */
	bool removed;
	uint64_t version, index, node, unix_ms;
	char key[STORE_CONFIG_KEY_SIZE];
	uint8_t *json;
	size_t len;
};

struct flush_note {
	UT_hash_handle hh;
	struct flush_note_key {
		uint64_t node_id;
		char type[STORE_NOTE_TYPE_SIZE]; /* zeros behind it */
	} key;
	uint64_t version, unix_ms, position;
	bool removed;
	uint8_t *bytes; /* payload, then signature */
	size_t payload_len, signature_len;
};

struct flush_position {
	UT_hash_handle hh;
	struct flush_position_key {
		uint8_t kind;
		char subscriber[STORE_SUBSCRIBER_SIZE]; /* zeros behind it */
	} key;
	uint64_t position;
};

/* Zeroed before its first use. */
struct flush_control {
	struct flush_mesh *mesh;
	struct flush_config *configs; /* in order */
	size_t config_count, config_cap;
	uint64_t *drops; /* nodes whose notes go, before those that come */
	size_t drop_count, drop_cap;
	struct flush_note *notes; /* the newest of each */
	struct flush_position *positions;
};

enum {
	CONTROL_STATEMENT_ROWS = 1024,
	CONTROL_STATEMENT_BYTES = 2 * 1024 * 1024, /* in one statement, but one row at least */
};

void store_control_fini(struct flush_control *c);

/* Puts; *bytes is what they hold.  ERR_NOMEM, ERR_RANGE: nothing has changed. */
int store_control_mesh(struct flush_control *c, const struct store_mesh *row, size_t *bytes) MUST_USE;
/* NULL: the clearing of all. */
int store_control_config(struct flush_control *c, const struct store_config *row, size_t *bytes) MUST_USE;
int store_control_note(struct flush_control *c, const struct store_note *row, size_t *bytes) MUST_USE;
int store_control_notes_drop(struct flush_control *c, uint64_t node_id, size_t *bytes) MUST_USE;
int store_control_position(struct flush_control *c, const struct store_position *row, size_t *bytes) MUST_USE;

/* Queue what prepares the statements, and the statements.  ERR_CLOSED, ERR_NOMEM. */
int store_control_prepare(struct pg_conn *pg) MUST_USE;
int store_control_send(const struct flush_control *c, struct pg_conn *pg, struct buf *scratch) MUST_USE;

#endif
