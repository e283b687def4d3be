/* commands: the table of what meshctl can do; see command.h. */
#include <stdio.h>
#include <string.h>

#include "meshctl/command.h"
#include "meshctl/handlers.h"

const struct option_def command_common_options[] = {
    {"socket", 's', "SOCKET", "control socket of the node (default: MESH_SOCKET, else that of mesh.conf)"},
    {"config", 'c', "FILE", "mesh.conf that names the node's runtime directory"},
    {"json", 'j', NULL, "print JSON"},
    {"color", 0, "WHEN", "auto, always or never (default auto: on a terminal)"},
    {"timeout", 0, "DURATION", "how long to wait for an answer of the node (default 10s)"},
    {"help", 'h', NULL, "show help"},
    {"version", 'V', NULL, "show the version"},
    {NULL, 0, NULL, NULL},
};

const struct command command_table[] = {
    {"status", "", "show the node, its daemons and its mesh",
	"Exits with 1 if the node answers but is not serving.", NULL, 0, 0, cmd_status},
    {"nodes", "", "list the nodes of the mesh",
	"With an option: only those that fit, the nearest first (DiscoverNodes of the API).",
	cmd_nodes_options, 0, 0, cmd_nodes},
    {"links", "", "list the links of the mesh", "With -v the node's own links come with their lanes.",
	cmd_links_options, 0, 0, cmd_links},
    {"link add", "NODE [ADDRESS ...]", "link the node with another one",
	"NODE is an id or a name, ADDRESS a host:port that the other node can be dialled at; without one,\n"
	"those that it has made known are dialled.  The link is kept until it is dropped or transportd\n"
	"restarts: for good it belongs into mesh.conf.",
	cmd_link_add_options, 1, 9, cmd_link_add},
    {"link drop", "NODE", "end the link with another node, and keep it from coming back",
	"Until it is added again, or transportd restarts; also if mesh.conf has the node as a peer.", NULL, 1,
	1, cmd_link_drop},
    {"link full", "", "have all nodes of the mesh link with all others",
	"Each node dials those that it has no link with and that have made known an address.", NULL, 0, 0,
	cmd_link_full},
    {"leave", "", "have the node leave the control group and say goodbye to the mesh",
	"If it is a member of the control group it is none any more: meshctl join makes it one again.  The\n"
	"other nodes route around it and send it nothing more.  Stop its daemons then; when routerd is\n"
	"started again, the node has links again.",
	NULL, 0, 0, cmd_leave},
    {"seed", "", "begin the mesh's control group, with this node as its first member",
	"Once per mesh, at one node; the others join.  Other nodes are asked before whether there is one.",
	cmd_seed_options, 0, 0, cmd_seed},
    {"join", "", "make the node a member of the mesh's control group", NULL, cmd_join_options, 0, 0,
	cmd_join},
    {"join-token", "", "make a token with which one node may join",
	"Prints the token alone: meshctl join-token | ssh node meshctl join --token-file -",
	cmd_join_token_options, 0, 0, cmd_join_token},
    {"start", "", "have a member that was stopped take part again", NULL, NULL, 0, 0, cmd_start},
    {"stop", "", "have the node tell the others that it goes down, and take part no more",
	"It hands over what it leads, and stays a member.  Until meshctl start, or until it is started "
	"again.",
	NULL, 0, 0, cmd_stop},
    {"evict", "NODE", "lock a node out of the mesh",
	"By consensus: no node links with it, and the keys that it has are replaced.", cmd_evict_options, 1,
	1, cmd_evict},
    {"readmit", "NODE", "let a node join again that was locked out", NULL, NULL, 1, 1, cmd_readmit},
    {"settings", "", "show what the control group says of the mesh, or change it",
	"Without an option nothing is changed.", cmd_settings_options, 0, 0, cmd_settings},
    {"raft transfer", "[NODE]", "hand the leadership of a Raft group to another voter",
	"Without NODE to whoever is best.", cmd_raft_transfer_options, 0, 1, cmd_raft_transfer},
    {"raft", "", "list the Raft groups that the node is a member of", NULL, cmd_raft_options, 0, 0, cmd_raft},
    {"update mesh", "TYPE [TEXT]", "tell all nodes something, in one order",
	"The nodes get all such updates in the same order, by consensus; those that are away when they are\n"
	"back.  TEXT - is standard input.  --timeout is for how long the node waits, too.",
	cmd_update_mesh_options, 1, 2, cmd_update_mesh},
    {"update node", "TYPE [TEXT]", "tell all nodes something of this node",
	"Signed by it, and without consensus: of each TYPE the newest of each node reaches all.  TEXT - is\n"
	"standard input.",
	cmd_update_node_options, 1, 2, cmd_update_node},
    {"update db", "TABLE OPERATION", "change a row in the databases of all nodes",
	"OPERATION is insert, update, delete or upsert.  All nodes apply such updates in the same order; "
	"what\n"
	"one can't apply is among its meshctl letters.",
	cmd_update_db_options, 2, 2, cmd_update_db},
    {"update follow", "KIND", "print updates as they come, and acknowledge them",
	"KIND is mesh, node or db.  Without --from: what comes from now on, or with --subscriber, what it "
	"has\n"
	"not acknowledged.",
	cmd_update_follow_options, 1, 1, cmd_update_follow},
    {"config get", "[KEY]", "show the configuration that all nodes share",
	"Of one KEY: its value alone.  A KEY that ends in * means all that begin so.", cmd_config_get_options,
	0, 1, cmd_config_get},
    {"config set", "KEY JSON", "set a key of the configuration that all nodes share", NULL,
	cmd_config_set_options, 2, 2, cmd_config_set},
    {"config remove", "KEY", "remove a key of the configuration that all nodes share", NULL,
	cmd_config_set_options, 1, 1, cmd_config_remove},
    {"config history", "KEY", "list the values that a key had, the newest first", NULL,
	cmd_config_history_options, 1, 1, cmd_config_history},
    {"key rotate", "", "make a new key for the mesh or a tenant",
	"It is sealed to the nodes that may have it; the one before stays good for a while.",
	cmd_key_rotate_options, 0, 0, cmd_key_rotate},
    {"key list", "", "list the keys of the mesh and its tenants", NULL, NULL, 0, 0, cmd_key_list},
    {"letters list", "", "list the database updates that the node could not apply", NULL, cmd_letters_options,
	0, 0, cmd_letters},
    {"letters retry", "[POSITION]", "try to apply one of them again, or all", NULL, NULL, 0, 1,
	cmd_letters_retry},
    {"letters discard", "[POSITION]", "give one of them up, or all", NULL, NULL, 0, 1, cmd_letters_discard},
    {"letters", "", "the same as letters list", NULL, cmd_letters_options, 0, 0, cmd_letters},
    {"topology", "", "show which nodes are linked, as a table or as a picture",
	"meshctl topology --format svg >mesh.svg draws it; --format dot is for Graphviz: | neato -Tpng.",
	cmd_topology_options, 0, 0, cmd_topology},
    {"routes", "", "list the paths to the other nodes", NULL, NULL, 0, 0, cmd_routes},
    {"streams", "[STREAM ...]", "list the streams that the node is source or target of", NULL,
	cmd_streams_options, 0, 64, cmd_streams},
    {"message", "STREAM SEQ|ID", "show where a message is",
	"By its number in the stream, or its message id.  At its source: of all its targets; at a target: "
	"of\n"
	"that one.  Also of closed streams, as long as the node's tables have them.",
	NULL, 2, 2, cmd_message},
    {"stream show", "STREAM", "show all that is known of a stream", NULL, NULL, 1, 1, cmd_stream_show},
    {"stream close", "STREAM", "the same as close", NULL, NULL, 1, 1, cmd_close},
    {"stream pause", "[STREAM ...]", "have streams send and deliver nothing at this node",
	"What is published is kept, up to the limits of the outbox.  It holds over restarts, and for "
	"streams\n"
	"opened later, too.",
	cmd_stream_pause_options, 0, 64, cmd_stream_pause},
    {"stream resume", "[STREAM ...]", "let paused streams go on",
	"Also streams that only a wider rule pauses: they become an exception of it.",
	cmd_stream_resume_options, 0, 64, cmd_stream_resume},
    {"stream throttle", "[STREAM ...]", "limit how fast streams are sent from this node",
	"Streams named one by one have a limit each; those of a tenant, of priorities or all share one.",
	cmd_stream_throttle_options, 0, 64, cmd_stream_throttle},
    {"stream unthrottle", "[STREAM ...]", "let streams be sent as fast as can be again", NULL,
	cmd_stream_unthrottle_options, 0, 64, cmd_stream_unthrottle},
    {"stream rules", "", "list what was said of streams: pauses and limits", NULL, NULL, 0, 0,
	cmd_stream_rules},
    {"stream targets", "STREAM", "add targets to a stream that is open at this node, or remove some",
	"A new target gets what is published after the change, nothing older.  What a removed one has not\n"
	"processed is not waited for any more.  A repeated call changes nothing more.",
	cmd_stream_targets_options, 1, 1, cmd_stream_targets},
    {"open", "", "open a stream, or show one that is open",
	"Prints the stream's id.  With --stream ID and --to, a repeated call opens nothing new.",
	cmd_open_options, 0, 0, cmd_open},
    {"publish", "[MESSAGE ...]",
	"publish messages and wait until they are processed, or what else --ack asks for",
	"The messages are the operands, or the lines of standard input, or what --file or --count say.\n"
	"Each has its number and id before it is sent; with --retry those that are not confirmed when the\n"
	"node goes away are sent again, and none is lost or doubled.",
	cmd_publish_options, 0, -1, cmd_publish},
    {"subscribe", "[STREAM ...]", "receive messages and acknowledge them",
	"Without STREAM: all streams of the tenant, also those opened later.  A message counts as\n"
	"processed when it is written.  With --resume-file a restart, even after a crash, goes on exactly\n"
	"behind what the output has.",
	cmd_subscribe_options, 0, 64, cmd_subscribe},
    {"close", "STREAM", "close a stream once all of it is processed", NULL, NULL, 1, 1, cmd_close},
    {"dead-letter list", "[STREAM]", "list the messages of streams that were given up at the node", NULL,
	cmd_dead_letter_list_options, 0, 1, cmd_dead_letter_list},
    {"dead-letter replay", "STREAM [SEQ]", "deliver one of them once more, or all of a stream",
	"The stream's subscriber gets it beside the order of the stream, marked as what it is.  It is gone\n"
	"when that is acknowledged.",
	cmd_dead_letter_options, 1, 2, cmd_dead_letter_replay},
    {"dead-letter discard", "STREAM [SEQ]", "remove one of them, or all of a stream", NULL,
	cmd_dead_letter_options, 1, 2, cmd_dead_letter_discard},
    {"watch", "", "print events of the mesh as they happen", NULL, cmd_watch_options, 0, 0, cmd_watch},
    {"event", "NAME [TEXT]", "tell all nodes of the mesh something",
	"Whoever watches gets it as user_event.  It is not kept.", NULL, 1, 2, cmd_event},
    {"metrics", "", "print the metrics of the node's daemons (Prometheus text)", NULL, NULL, 0, 0,
	cmd_metrics},
    {"ca init", "CADIR", "make a certificate authority for a mesh",
	"Writes CADIR/ca.crt, to give to every node, and CADIR/ca.key, to keep secret.  The certificate\n"
	"names the mesh, so that what it issues does too.  With --parent the authority is an intermediate\n"
	"one: certificates from it carry it along, and peers need only the parent's ca.crt.",
	cmd_ca_init_options, 1, 1, cmd_ca_init},
    {"ca node", "CADIR NODE_ID", "issue a node's certificate",
	"The certificate names spiffe://MESH/node/NODE_ID and the --dns and --ip names that peers dial.\n"
	"meshctl keygen prints the node's id.",
	cmd_ca_leaf_options, 2, 2, cmd_ca_node},
    {"ca server", "CADIR NAME", "issue a certificate for the API of a gateway",
	"Clients check the --dns and --ip names, so give those under which they reach the gateway.",
	cmd_ca_leaf_options, 2, 2, cmd_ca_server},
    {"ca client", "CADIR NAME", "issue a certificate for a user of the API", NULL, cmd_ca_leaf_options, 2, 2,
	cmd_ca_client},
    {"ca revoke", "CADIR CERTIFICATE ...", "revoke certificates that the authority has issued",
	"Adds them to CADIR/crl.pem, the list of the authority, and signs it anew.  Give the list to every\n"
	"node, in the file that mesh.conf names as tls-crl, and reload its transportd.",
	cmd_ca_crl_options, 2, -1, cmd_ca_crl},
    {"ca crl", "CADIR", "sign the authority's list of revoked certificates anew",
	"Writes CADIR/crl.pem with what it has; an empty list if nothing was revoked yet.",
	cmd_ca_crl_options, 1, 1, cmd_ca_crl},
    {"ca show", "FILE", "show the certificates in a file", NULL, NULL, 1, 1, cmd_ca_show},
    {"keygen", "KEYRING", "make a node's key; prints the node's id",
	"KEYRING is the directory that mesh.conf names as keyring; it is made if needed.", cmd_keygen_options,
	1, 1, cmd_keygen},
    {"tenant-key", "TENANT KEYRING ...", "put a tenant's key into keyrings; prints the key's id",
	"One new key goes into all keyrings named; it seals from now on, and older ones still open what\n"
	"they sealed.  To carry a key to another machine:\n\n"
	"    meshctl tenant-key --from KEYRING --print TENANT | ssh node meshctl tenant-key --stdin TENANT "
	"KEYRING",
	cmd_tenant_key_options, 1, -1, cmd_tenant_key},
    {"token", "NAME", "make a bearer token for the API",
	"Prints the token, for the client, and the line for the token file of gatewayd, which holds only\n"
	"its hash; or appends the line with --file.",
	cmd_token_options, 1, 1, cmd_token},
    {"id", "", "make a new id for a mesh or a stream", NULL, NULL, 0, 0, cmd_id},
    {"help", "[COMMAND]", "show help", NULL, NULL, 0, 2, cmd_help},
    {"commands", "", "list the names of all commands and options, for shell completion", NULL, NULL, 0, 0,
	cmd_commands},
    {NULL, NULL, NULL, NULL, NULL, 0, 0, NULL},
};

const struct command *
command_find(const char *w1, const char *w2, int *used)
{
	size_t len = strlen(w1);

	for (const struct command *c = command_table; c->name != NULL; c++) {
		if (w2 != NULL && strncmp(c->name, w1, len) == 0 && c->name[len] == ' ' &&
		    strcmp(c->name + len + 1, w2) == 0) {
			*used = 2;
			return c;
		}
		if (strcmp(c->name, w1) == 0) {
			*used = 1;
			return c;
		}
	}
	return NULL;
}

bool
command_is_group(const char *w1)
{
	size_t len = strlen(w1);

	for (const struct command *c = command_table; c->name != NULL; c++)
		if (strncmp(c->name, w1, len) == 0 && c->name[len] == ' ')
			return true;
	return false;
}
