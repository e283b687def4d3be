#include "consensusd/core/mcg.h"

#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "consensusd/core/mcg_impl.h"
#include "consensusd/core/raft_entry.h"
#include "consensusd/core/raft_sessions.h"

struct mcg *
mcg_new(void)
{
	struct mcg *m = mem_calloc(1, sizeof(*m));

	if (m == NULL)
		return NULL;
	RB_INIT(&m->updates.ids);
	if ((m->sessions = raft_sessions_new()) == NULL) {
		mem_free(m);
		return NULL;
	}
	return m;
}

void
mcg_free(struct mcg *m)
{
	if (m == NULL)
		return;
	mcg_members_fini(m);
	mcg_config_fini(m);
	mcg_keys_fini(m);
	mcg_updates_fini(m);
	raft_sessions_free(m->sessions);
	mem_free(m);
}

uint64_t
mcg_index(const struct mcg *m)
{
	return m->index;
}

const struct mcg_mesh *
mcg_mesh(const struct mcg *m)
{
	return m->seeded ? &m->mesh : NULL;
}

/* --- the mesh --- */

static int
seed_check(const struct mcg *m, const struct mcg_cmd *cmd)
{
	(void)cmd;
	return m->seeded ? ERR_EXISTS : 0;
}

static int
seed_run(struct mcg *m, const struct mcg_run *x)
{
	const struct mcg_cmd_seed *s = &x->cmd->u.seed;
	int err;

	if ((err = mcg_seed_member(m, x)) != 0)
		return err;
	m->seeded = true;
	m->mesh = (struct mcg_mesh){
	    .mesh_id = s->mesh_id,
	    .seed_id = s->seed_id,
	    .allow_join = s->allow_join,
	    .created_unix_ms = x->cmd->unix_ms,
	    .voters = s->voters,
	    .updates_max_bytes = s->updates_max_bytes,
	};
	memcpy(m->mesh.name, s->name, sizeof(s->name));
	memcpy(m->mesh.description, s->description, sizeof(s->description));
	x->out->changes |= MCG_CHANGE_MESH;
	return 0;
}

static int
settings_check(const struct mcg *m, const struct mcg_cmd *cmd)
{
	(void)m;
	(void)cmd;
	return 0;
}

static int
settings_run(struct mcg *m, const struct mcg_run *x)
{
	const struct mcg_cmd_settings *s = &x->cmd->u.settings;

	if (s->has_description)
		memcpy(m->mesh.description, s->description, sizeof(s->description));
	if (s->has_allow_join)
		m->mesh.allow_join = s->allow_join;
	if (s->has_voters)
		m->mesh.voters = s->voters;
	x->out->changes |= MCG_CHANGE_MESH;
	return 0;
}

/* --- commands --- */

static const struct {
	int (*check)(const struct mcg *m, const struct mcg_cmd *cmd);
	int (*run)(struct mcg *m, const struct mcg_run *x); /* 0 or ERR_NOMEM */
} commands[MCG_CMD_TYPES] = {
    [MCG_SEED] = {seed_check, seed_run},
    [MCG_ADMIT] = {mcg_admit_check, mcg_admit_run},
    [MCG_REMOVE] = {mcg_remove_check, mcg_remove_run},
    [MCG_STATE] = {mcg_state_check, mcg_state_run},
    [MCG_SETTINGS] = {settings_check, settings_run},
    [MCG_CONFIG] = {mcg_config_check, mcg_config_run},
    [MCG_UPDATE] = {mcg_update_check, mcg_update_run},
    [MCG_KEY] = {mcg_key_check, mcg_key_run},
    [MCG_SEAL] = {mcg_seal_check, mcg_seal_run},
    [MCG_PRUNE] = {mcg_prune_check, mcg_prune_run},
};

int
mcg_check(const struct mcg *m, const struct mcg_cmd *cmd)
{
	if (cmd->type == 0 || cmd->type >= MCG_CMD_TYPES)
		return ERR_UNKNOWN;
	if (cmd->type != MCG_SEED && !m->seeded)
		return ERR_STATE;
	if (cmd->type != MCG_SEED && !mcg_present_node(m, cmd->node))
		return ERR_DENIED;
	return commands[cmd->type].check(m, cmd);
}

/* The command of an entry, once.  ERR_NOMEM, or 0 with the result in *out. */
static int
run(struct mcg *m, struct raft_entry *e, struct mcg_result *out)
{
	struct mcg_cmd cmd;

	if ((out->err = mcg_cmd_decode(e->data, e->len, &cmd)) != 0)
		return 0;
	if ((out->err = mcg_check(m, &cmd)) == 0)
		return commands[cmd.type].run(m, &(struct mcg_run){e, &cmd, out});
	if (out->err == ERR_EXISTS && cmd.type == MCG_UPDATE)
		out->index = mcg_updates_find(m, &cmd.u.update.id)->update.index;
	return 0;
}

static int
run_in_session(struct mcg *m, struct raft_entry *e, struct mcg_result *out)
{
	uint64_t index = 0;
	int err, result = 0;

	if (e->seq == 0)
		return raft_sessions_open(m->sessions, e->client, e->index);
	err = raft_sessions_begin(m->sessions, e->client, e->seq, &result, &index);
	if (err == ERR_NOMEM)
		return err;
	if (err == ERR_EXISTS) {
		out->repeated = true;
		out->err = result;
		out->index = index;
		return 0;
	}
	if (err != 0) {
		out->session = true;
		out->err = err;
		return 0;
	}
	if ((err = run(m, e, out)) == 0)
		raft_sessions_done(m->sessions, e->client, e->seq, out->err, out->index);
	return err;
}

int
mcg_apply(struct mcg *m, struct raft_entry *e, struct mcg_result *out)
{
	int err = 0;

	MUST(e->index > m->index);
	*out = (struct mcg_result){.index = e->index};
	if (e->type == RAFT_DATA)
		err = e->client != 0 ? run_in_session(m, e, out) : run(m, e, out);
	if (err == 0)
		m->index = e->index;
	return err;
}
