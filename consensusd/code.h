/*
 * code: gRPC status codes, as API clients see them
 * (https://grpc.github.io/grpc/core/md_doc_statuscodes.html).
 */
#ifndef CONSENSUSD_CODE_H
#define CONSENSUSD_CODE_H

enum code {
	CODE_OK = 0,
	CODE_CANCELLED = 1,
	CODE_INVALID_ARGUMENT = 3,
	CODE_DEADLINE_EXCEEDED = 4,
	CODE_NOT_FOUND = 5,
	CODE_ALREADY_EXISTS = 6,
	CODE_PERMISSION_DENIED = 7,
	CODE_RESOURCE_EXHAUSTED = 8,
	CODE_FAILED_PRECONDITION = 9,
	CODE_ABORTED = 10,
	CODE_OUT_OF_RANGE = 11,
	CODE_INTERNAL = 13,
	CODE_UNAVAILABLE = 14,
	CODE_DATA_LOSS = 15,
};

#endif
