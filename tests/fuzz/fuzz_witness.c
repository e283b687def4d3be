/* Any bytes are a note or an error; a note is written as the same bytes again. */
#include "tests/fuzz/fuzz.h"

#include "common/base/crc32c.h"
#include "consensusd/witness.h"

static void
check(const uint8_t *data, size_t size)
{
	uint8_t again[WITNESS_SLOT_BYTES];
	struct witness_note note;
	uint64_t turn;

	if (witness_decode(data, size, &turn, &note) != 0)
		return;
	FUZZ_CHECK(size == WITNESS_SLOT_BYTES);
	witness_encode(again, turn, &note);
	FUZZ_CHECK(memcmp(data, again, size) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t fixed[WITNESS_SLOT_BYTES];
	uint32_t crc;

	check(data, size);
	if (size != WITNESS_SLOT_BYTES)
		return 0;
	/* And with a checksum that fits, which no chance finds. */
	memcpy(fixed, data, size);
	crc = crc32c(0, fixed, size - 4);
	for (int i = 0; i < 4; i++)
		fixed[size - 4 + (size_t)i] = (uint8_t)(crc >> (24 - 8 * i));
	check(fixed, size);
	return 0;
}
