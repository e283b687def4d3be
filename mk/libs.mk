# Libraries, each named once: its headers, the only files that may include them (make lint checks it),
# and what it is for.  All come from Debian 12.
LIB_SODIUM  = -lsodium
#   <sodium.h> in common/os/crypto.c: signatures, AEAD, hashes
LIB_SECCOMP = -lseccomp
#   <seccomp.h> in common/os/sandbox*.c: system call filter
LIB_EVENT   = -levent_core
#   <event2/event.h> <event2/event_struct.h> in common/os/loop_event.c: event loop
LIB_NANOPB  = -lprotobuf-nanopb
#   <pb_encode.h> <pb_decode.h> in proto/pb*.c: protobuf messages (<pb.h>, the types, comes with each of them)
LIB_WS      = -lwebsockets
#   <libwebsockets.h> in transportd/ws*.c transportd/ws*.h: WebSocket links
LIB_CRYPTO  = -lcrypto
#   <openssl/evp.h> in common/os/crypto_bulk.c: AEAD and hashes of long texts
LIB_TLS     = -lssl
#   <openssl/*> in transportd/tls*.c transportd/tls_impl.h gatewayd/tls*.c meshctl/ca*.c meshctl/ca_impl.h: TLS and certificates
LIB_PG      = -lpq
#   <postgresql/libpq-fe.h> in consensusd/store_pg*.c consensusd/store_pg*.h consensusd/dbline_pg.c: PostgreSQL
LIB_REDIS   = -lhiredis
#   <hiredis/*> in consensusd/cache_redis*.c: Redis
LIB_H2      = -lnghttp2
#   <nghttp2/*> in gatewayd/h2*.c gatewayd/h2*.h: HTTP/2
LIB_ZIP     = -lz
#   <zlib.h> in gatewayd/gunzip.c: compressed gRPC messages
LIB_JSON    = -ljansson
#   <jansson.h> in meshctl/* transportd/token.c consensusd/json_text.c consensusd/acl_json.c: JSON output, tokens of links, JSON from API clients
LIB_TEST    = -lcmocka
#   <cmocka.h> in tests/*: unit tests

LIBS_common     = $(LIB_SODIUM) $(LIB_CRYPTO) $(LIB_SECCOMP) $(LIB_EVENT) $(LIB_NANOPB)
LIBS_transportd = $(LIB_WS) $(LIB_TLS) $(LIB_JSON) $(LIBS_common)
LIBS_routerd    = $(LIBS_common)
LIBS_consensusd = $(LIB_PG) $(LIB_REDIS) $(LIB_JSON) $(LIBS_common)
LIBS_gatewayd   = $(LIB_H2) $(LIB_ZIP) $(LIB_TLS) $(LIBS_common)
LIBS_meshctl    = $(LIB_JSON) $(LIB_TLS) $(LIBS_common) -lm
