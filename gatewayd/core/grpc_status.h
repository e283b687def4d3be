/*
 * grpc_status: the status codes of gRPC and their way over the wire.
 */
#ifndef GATEWAYD_CORE_GRPC_STATUS_H
#define GATEWAYD_CORE_GRPC_STATUS_H

#include <stddef.h>
#include <stdint.h>

#define GRPC_STATUS_LIST(X)                                                                                  \
	X(OK, 0)                                                                                             \
	X(CANCELLED, 1)                                                                                      \
	X(UNKNOWN, 2)                                                                                        \
	X(INVALID_ARGUMENT, 3)                                                                               \
	X(DEADLINE_EXCEEDED, 4)                                                                              \
	X(NOT_FOUND, 5)                                                                                      \
	X(ALREADY_EXISTS, 6)                                                                                 \
	X(PERMISSION_DENIED, 7)                                                                              \
	X(RESOURCE_EXHAUSTED, 8)                                                                             \
	X(FAILED_PRECONDITION, 9)                                                                            \
	X(ABORTED, 10)                                                                                       \
	X(OUT_OF_RANGE, 11)                                                                                  \
	X(UNIMPLEMENTED, 12)                                                                                 \
	X(INTERNAL, 13)                                                                                      \
	X(UNAVAILABLE, 14)                                                                                   \
	X(DATA_LOSS, 15)                                                                                     \
	X(UNAUTHENTICATED, 16)

enum grpc_status {
#define X(name, value) GRPC_##name = (value),
	GRPC_STATUS_LIST(X)
#undef X
};

enum {
	GRPC_STATUS_COUNT = 17,
	GRPC_MESSAGE_MAX_BYTES = 512, /* of a status message before encoding; longer ones are cut */
	/* Every byte can become %XX. */
	GRPC_MESSAGE_ENCODED_SIZE = 3 * GRPC_MESSAGE_MAX_BYTES + 1,
};

/* "NOT_FOUND"; "UNKNOWN" for a number that is none.  Borrowed, static. */
const char *grpc_status_name(uint32_t code);
/* The code itself, or GRPC_UNKNOWN for a number that is none. */
enum grpc_status grpc_status_valid(uint32_t code);

/*
 * Percent-encodes text for the grpc-message header: bytes outside 0x20-0x7E and '%' become %XX (gRPC
 * over HTTP/2, "Status-Message").  The length written, without NUL; text beyond GRPC_MESSAGE_MAX_BYTES
 * is cut at the start of a UTF-8 character.
 */
size_t grpc_status_encode(char out[GRPC_MESSAGE_ENCODED_SIZE], const char *text);

#endif
