/*
 * conf_table: every directive of mesh.conf(5).  The manual is checked against this table.
 */
#include "common/os/conf.h"

#define MS 1000LL
#define S 1000000LL
#define KB 1024LL
#define MB (1024LL * 1024)

#define COMMON(daemon)                                                                                       \
	{daemon, NULL, "user", CONF_STRING, 0, "mesh-" daemon, 0, 0, NULL,                                   \
	    "user the daemon runs as when started by root"},                                                 \
	{                                                                                                    \
		daemon, NULL, "log-level", CONF_ENUM, CONF_RELOAD, "info", 0, 0,                             \
		    "error|warning|notice|info|debug", "least important level that is logged"                \
	}

const struct conf_directive conf_table[] = {
    {"mesh", NULL, "id", CONF_ULID, CONF_REQUIRED, NULL, 0, 0, NULL, "id of the mesh"},
    {"mesh", NULL, "name", CONF_NAME, 0, "mesh", 0, 0, NULL, "name of the mesh, for people"},
    {"mesh", NULL, "node-name", CONF_NAME, CONF_REQUIRED, NULL, 0, 0, NULL, "name of this node, for people"},
    {"mesh", NULL, "runtime-dir", CONF_PATH, 0, "/run/mesh", 0, 0, NULL,
	"directory of the daemons' Unix sockets"},
    {"mesh", NULL, "region", CONF_NAME, CONF_RELOAD, NULL, 0, 0, NULL, "region of this node"},

    COMMON("transportd"),
    {"transportd", NULL, "listen", CONF_ADDRESS, CONF_LIST, NULL, 0, 0, NULL,
	"address to accept links on; none: this node only dials"},
    {"transportd", NULL, "tls-cert", CONF_PATH, CONF_REQUIRED, NULL, 0, 0, NULL,
	"certificate chain of this node (PEM)"},
    {"transportd", NULL, "tls-key", CONF_PATH, CONF_REQUIRED, NULL, 0, 0, NULL, "its private key (PEM)"},
    {"transportd", NULL, "tls-ca", CONF_PATH, CONF_REQUIRED, NULL, 0, 0, NULL,
	"certificate authorities that peers' certificates must come from (PEM)"},
    {"transportd", NULL, "heartbeat-interval", CONF_DURATION, CONF_RELOAD, "1s", 50 * MS, 60 * S, NULL,
	"time between heartbeats on a link"},
    {"transportd", NULL, "heartbeat-misses", CONF_INT, CONF_RELOAD, "5", 2, 100, NULL,
	"heartbeats missed before a link is dead"},
    {"transportd", NULL, "dial-backoff-min", CONF_DURATION, CONF_RELOAD, "200ms", 10 * MS, 60 * S, NULL,
	"first delay before a peer is dialled again"},
    {"transportd", NULL, "dial-backoff-max", CONF_DURATION, CONF_RELOAD, "10s", 100 * MS, 3600 * S, NULL,
	"longest delay before a peer is dialled again"},
    {"transportd", NULL, "handshake-timeout", CONF_DURATION, CONF_RELOAD, "10s", 500 * MS, 120 * S, NULL,
	"time for TLS, upgrade, hello and proof of the node key"},
    {"transportd", NULL, "link-queue", CONF_SIZE, CONF_RELOAD, "4MB", 256 * KB, 1024 * MB, NULL,
	"bytes queued to one peer before client data is dropped"},
    {"transportd", NULL, "links-max", CONF_INT, CONF_RELOAD, "256", 1, 4096, NULL, "links this node holds"},
    {"transportd", NULL, "pending-max", CONF_INT, CONF_RELOAD, "64", 1, 4096, NULL,
	"connections that have not proven their identity yet"},
    {"transportd", "peer", "address", CONF_ADDRESS, CONF_LIST | CONF_REQUIRED | CONF_RELOAD, NULL, 0, 0, NULL,
	"host:port to dial"},
    {"transportd", "peer", "node-id", CONF_NODEID, CONF_RELOAD, NULL, 0, 0, NULL,
	"the only node id accepted at this address"},

    COMMON("routerd"),
    {"routerd", NULL, "lsa-refresh", CONF_DURATION, CONF_RELOAD, "60s", 1 * S, 3600 * S, NULL,
	"time after which an unchanged LSA is originated again"},
    {"routerd", NULL, "lsa-max-age", CONF_DURATION, CONF_RELOAD, "200s", 3 * S, 24 * 3600 * S, NULL,
	"time after which an LSA that was not refreshed is removed"},
    {"routerd", NULL, "spf-delay", CONF_DURATION, CONF_RELOAD, "10ms", 0, 10 * S, NULL,
	"time to collect changes before paths are computed"},
    {"routerd", NULL, "nodes-max", CONF_INT, 0, "16384", 2, 1000000, NULL,
	"nodes kept in the link-state database"},

    COMMON("consensusd"),
    {"consensusd", NULL, "keyring", CONF_PATH, CONF_REQUIRED, NULL, 0, 0, NULL,
	"directory with node.key and tenants/<tenant>.key"},
    {"consensusd", NULL, "database", CONF_STRING, CONF_REQUIRED, NULL, 0, 0, NULL,
	"PostgreSQL connection string (Unix socket)"},
    {"consensusd", NULL, "redis-socket", CONF_PATH, 0, NULL, 0, 0, NULL, "Redis' Unix socket"},
    {"consensusd", NULL, "redis-db", CONF_INT, 0, "0", 0, 1023, NULL, "Redis database number"},
    {"consensusd", NULL, "migrate", CONF_ENUM, 0, "apply", 0, 0, "apply|check",
	"apply schema migrations, or only check that they are there"},
    {"consensusd", NULL, "sql-dir", CONF_PATH, 0, "/usr/share/mesh/sql", 0, 0, NULL,
	"directory of the schema migrations"},
    {"consensusd", NULL, "batch-messages", CONF_INT, CONF_RELOAD, "512", 1, 4096, NULL,
	"messages of one stream in one batch"},
    {"consensusd", NULL, "batch-bytes", CONF_SIZE, CONF_RELOAD, "256KB", 1 * KB, 8 * MB, NULL,
	"payload bytes in one batch of several messages"},
    {"consensusd", NULL, "message-max", CONF_SIZE, CONF_RELOAD, "4128768B", 1, 4128768, NULL,
	"largest payload of one message"},
    {"consensusd", NULL, "stream-window", CONF_SIZE, CONF_RELOAD, "4MB", 64 * KB, 1024 * MB, NULL,
	"bytes of one stream in flight to one target"},
    {"consensusd", NULL, "stream-backlog", CONF_SIZE, CONF_RELOAD, "256MB", 1 * MB, 1024 * 1024 * MB, NULL,
	"bytes of one stream kept in the outbox; above, publishers are held"},
    {"consensusd", NULL, "memory-max", CONF_SIZE, CONF_RELOAD, "256MB", 16 * MB, 64 * 1024 * MB, NULL,
	"bytes of payload held in memory; above, publishers and links are held"},
    {"consensusd", NULL, "streams-max", CONF_INT, CONF_RELOAD, "10000", 1, 1000000, NULL,
	"open streams that this node is source or target of"},
    {"consensusd", NULL, "retransmit-min", CONF_DURATION, CONF_RELOAD, "250ms", 10 * MS, 60 * S, NULL,
	"shortest time before a batch is sent again"},
    {"consensusd", NULL, "retransmit-max", CONF_DURATION, CONF_RELOAD, "5s", 100 * MS, 600 * S, NULL,
	"longest time before a batch is sent again"},

    COMMON("gatewayd"),
    {"gatewayd", NULL, "listen", CONF_ADDRESS, CONF_LIST, NULL, 0, 0, NULL, "address of the gRPC API (TLS)"},
    {"gatewayd", NULL, "grpc-socket", CONF_PATH, 0, NULL, 0, 0, NULL, "Unix socket of the gRPC API"},
    {"gatewayd", NULL, "tls-cert", CONF_PATH, 0, NULL, 0, 0, NULL, "certificate chain of the API (PEM)"},
    {"gatewayd", NULL, "tls-key", CONF_PATH, 0, NULL, 0, 0, NULL, "its private key (PEM)"},
    {"gatewayd", NULL, "client-ca", CONF_PATH, 0, NULL, 0, 0, NULL,
	"certificate authorities that client certificates must come from (PEM)"},
    {"gatewayd", NULL, "token-file", CONF_PATH, 0, NULL, 0, 0, NULL,
	"file of bearer tokens, one a line: SHA-256 in hex, name"},
    {"gatewayd", NULL, "message-max", CONF_SIZE, CONF_RELOAD, "4MB", 1 * KB, 4 * MB, NULL,
	"largest gRPC message accepted"},
    {"gatewayd", NULL, "connections-max", CONF_INT, CONF_RELOAD, "1024", 1, 65536, NULL,
	"API connections open at once"},
    {"gatewayd", NULL, "calls-max", CONF_INT, CONF_RELOAD, "256", 1, 65536, NULL,
	"calls open at once on one connection"},
    {"gatewayd", NULL, "keepalive", CONF_DURATION, CONF_RELOAD, "60s", 1 * S, 3600 * S, NULL,
	"idle time before a client is pinged"},
    {"gatewayd", NULL, "drain-timeout", CONF_DURATION, CONF_RELOAD, "5s", 0, 600 * S, NULL,
	"time that calls have to finish when the daemon stops"},
    {NULL, NULL, NULL, 0, 0, NULL, 0, 0, NULL, NULL},
};
