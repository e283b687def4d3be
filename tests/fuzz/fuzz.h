/*
 * fuzz: what every fuzz target starts with.
 *
 * A target is one file tests/fuzz/fuzz_<noun>.c that defines LLVMFuzzerTestOneInput; its first inputs
 * lie in tests/fuzz/corpus/<noun>/.  FUZZ_CHECK states a property that must hold for any input.
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "common/base/must.h"

#define FUZZ_CHECK(expr) MUST(expr)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
