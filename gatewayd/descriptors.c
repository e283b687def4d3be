/* descriptors: see descriptors.h. */
#include "gatewayd/descriptors.h"

const uint8_t descriptors[] = {
#include "gatewayd/descriptors.inc"
};
const size_t descriptors_len = sizeof(descriptors);
