/*
 * descriptors: the API's .proto files as an encoded google.protobuf.FileDescriptorSet (mk/descriptors.mk
 * makes it).
 */
#ifndef GATEWAYD_DESCRIPTORS_H
#define GATEWAYD_DESCRIPTORS_H

#include <stddef.h>
#include <stdint.h>

extern const uint8_t descriptors[];
extern const size_t descriptors_len;

#endif
