/*
 * handlers: the functions and option lists that the rows of the command table name, by the file that
 * has them.  Each returns an enum exit_code and prints what goes wrong.
 */
#ifndef MESHCTL_HANDLERS_H
#define MESHCTL_HANDLERS_H

struct args;
struct ctl;
struct option_def;

typedef int command_fn(struct ctl *ctl, const struct args *a);

/* cmd_ca.c */
command_fn cmd_ca_init, cmd_ca_node, cmd_ca_server, cmd_ca_client, cmd_ca_show;
extern const struct option_def cmd_ca_init_options[], cmd_ca_leaf_options[];

/* cmd_ca_crl.c */
command_fn cmd_ca_crl;
extern const struct option_def cmd_ca_crl_options[];

/* cmd_keys.c */
command_fn cmd_id, cmd_keygen, cmd_tenant_key, cmd_token;
extern const struct option_def cmd_keygen_options[], cmd_tenant_key_options[], cmd_token_options[];

/* cmd_status.c */
command_fn cmd_status, cmd_metrics;

/* cmd_mesh.c */
command_fn cmd_nodes, cmd_routes;
extern const struct option_def cmd_nodes_options[];

/* cmd_topology.c */
command_fn cmd_topology;
extern const struct option_def cmd_topology_options[];

/* cmd_links.c */
command_fn cmd_links;
extern const struct option_def cmd_links_options[];

/* cmd_link.c */
command_fn cmd_link_add, cmd_link_drop, cmd_link_full, cmd_leave, cmd_event;
extern const struct option_def cmd_link_add_options[];

/* cmd_streams.c */
command_fn cmd_streams, cmd_stream_show, cmd_message, cmd_close;
extern const struct option_def cmd_streams_options[];

/* cmd_stream.c */
command_fn cmd_stream_pause, cmd_stream_resume, cmd_stream_throttle, cmd_stream_unthrottle, cmd_stream_rules;
extern const struct option_def cmd_stream_pause_options[], cmd_stream_resume_options[],
    cmd_stream_throttle_options[], cmd_stream_unthrottle_options[];

/* cmd_stream_targets.c */
command_fn cmd_stream_targets;
extern const struct option_def cmd_stream_targets_options[];

/* cmd_publish.c */
command_fn cmd_open, cmd_publish;
extern const struct option_def cmd_open_options[], cmd_publish_options[];

/* cmd_subscribe.c */
command_fn cmd_subscribe;
extern const struct option_def cmd_subscribe_options[];

/* cmd_member.c */
command_fn cmd_seed, cmd_join, cmd_start, cmd_stop, cmd_evict, cmd_readmit, cmd_join_token, cmd_settings;
extern const struct option_def cmd_seed_options[], cmd_join_options[], cmd_evict_options[],
    cmd_join_token_options[], cmd_settings_options[];

/* cmd_raft.c */
command_fn cmd_raft, cmd_raft_transfer;
extern const struct option_def cmd_raft_options[], cmd_raft_transfer_options[];

/* cmd_update.c */
command_fn cmd_update_node, cmd_update_mesh, cmd_update_db;
extern const struct option_def cmd_update_node_options[], cmd_update_mesh_options[], cmd_update_db_options[];

/* cmd_follow.c */
command_fn cmd_update_follow;
extern const struct option_def cmd_update_follow_options[];

/* cmd_config.c */
command_fn cmd_config_get, cmd_config_set, cmd_config_remove, cmd_config_history;
extern const struct option_def cmd_config_get_options[], cmd_config_set_options[],
    cmd_config_history_options[];

/* cmd_key.c */
command_fn cmd_key_rotate, cmd_key_list;
extern const struct option_def cmd_key_rotate_options[];

/* cmd_dead_letter.c */
command_fn cmd_dead_letter_list, cmd_dead_letter_replay, cmd_dead_letter_discard;
extern const struct option_def cmd_dead_letter_list_options[], cmd_dead_letter_options[];
/* cmd_letters.c */
command_fn cmd_letters, cmd_letters_retry, cmd_letters_discard;
extern const struct option_def cmd_letters_options[];

/* cmd_watch.c */
command_fn cmd_watch;
extern const struct option_def cmd_watch_options[];

/* cmd_help.c */
command_fn cmd_help, cmd_commands;

#endif
