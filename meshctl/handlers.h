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
command_fn cmd_streams, cmd_close;
extern const struct option_def cmd_streams_options[];

/* cmd_publish.c */
command_fn cmd_open, cmd_publish;
extern const struct option_def cmd_open_options[], cmd_publish_options[];

/* cmd_subscribe.c */
command_fn cmd_subscribe;
extern const struct option_def cmd_subscribe_options[];

/* cmd_watch.c */
command_fn cmd_watch;
extern const struct option_def cmd_watch_options[];

/* cmd_help.c */
command_fn cmd_help, cmd_commands;

#endif
