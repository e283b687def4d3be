/*
 * descriptor_index: finding files and symbols in an encoded google.protobuf.FileDescriptorSet.
 *
 * The set is walked when it is asked: it is small, and the question is rare.
 */
#ifndef GATEWAYD_CORE_DESCRIPTOR_INDEX_H
#define GATEWAYD_CORE_DESCRIPTOR_INDEX_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"

struct descriptor_file {     /* all borrowed from the set */
	const uint8_t *data; /* the encoded FileDescriptorProto */
	size_t len;
};

/* The file with this name: 1 and *out, 0, or ERR_FORMAT if the set is broken. */
int descriptor_by_name(const uint8_t *set, size_t set_len, const char *name, size_t name_len,
    struct descriptor_file *out) MUST_USE;
/* The file that defines a fully qualified service, method, message, field, enum or enum value. */
int descriptor_by_symbol(const uint8_t *set, size_t set_len, const char *symbol, size_t symbol_len,
    struct descriptor_file *out) MUST_USE;
/* Calls fn with the name of each service ("mesh.v1.MeshService").  The first error of fn ends it. */
int descriptor_services(const uint8_t *set, size_t set_len,
    int (*fn)(void *arg, const char *name, size_t len), void *arg) MUST_USE;
/* Calls fn with each file that file imports. */
int descriptor_imports(const struct descriptor_file *file, int (*fn)(void *arg, const char *name, size_t len),
    void *arg) MUST_USE;

#endif
