/* The witness: what was written last is read, whatever a crash left of the slot that was being written. */
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/err.h"
#include "consensusd/witness.h"

static int
file_new(void)
{
	char path[] = "/tmp/mesh-witness-XXXXXX";
	int fd = mkstemp(path);

	assert_true(fd != -1);
	unlink(path);
	return fd;
}

static struct witness_note
note_of(uint64_t number)
{
	return (struct witness_note){.database = {1, 2, 3}, .number = number};
}

static void
put(struct witness *w, uint64_t number, bool sync)
{
	struct witness_note n = note_of(number);

	assert_int_equal(witness_put(w, &n, sync), 0);
}

static void
break_slot(int fd, uint64_t turn)
{
	off_t at = (off_t)(turn % WITNESS_SLOTS * WITNESS_SLOT_DISTANCE) + 20;
	uint8_t byte;

	assert_int_equal(pread(fd, &byte, 1, at), 1);
	byte ^= 0x10;
	assert_int_equal(pwrite(fd, &byte, 1, at), 1);
}

static void
test_an_empty_file_has_none(void **state)
{
	int fd = file_new();
	struct witness w;

	(void)state;
	assert_int_equal(witness_init(&w, fd), 0);
	assert_false(w.present);
	assert_false(w.unreadable);
	close(fd);
}

static void
test_the_last_note_is_read(void **state)
{
	int fd = file_new();
	struct witness w, again;

	(void)state;
	assert_int_equal(witness_init(&w, fd), 0);
	for (uint64_t i = 10; i < 20; i++) {
		put(&w, i, i % 3 == 0);
		assert_int_equal(witness_init(&again, fd), 0);
		assert_true(again.present && !again.note.refused);
		assert_int_equal(again.note.number, i);
		assert_int_equal(again.note.database[2], 3);
	}
	w.note.refused = true;
	assert_int_equal(witness_put(&w, &(struct witness_note){.number = 3, .refused = true}, true), 0);
	assert_int_equal(witness_init(&again, fd), 0);
	assert_true(again.note.refused);
	assert_int_equal(again.note.number, 3);
	close(fd);
}

static void
test_torn_slots(void **state)
{
	int fd = file_new();
	struct witness w;

	(void)state;
	assert_int_equal(witness_init(&w, fd), 0);
	put(&w, 1, false);
	put(&w, 2, false);
	put(&w, 3, false);
	/* The last one is torn: the one before counts, and is not overwritten next. */
	break_slot(fd, w.turn);
	assert_int_equal(witness_init(&w, fd), 0);
	assert_true(w.present);
	assert_int_equal(w.note.number, 2);
	put(&w, 4, false);
	assert_int_equal(witness_init(&w, fd), 0);
	assert_int_equal(w.note.number, 4);
	break_slot(fd, 0);
	break_slot(fd, 1);
	assert_int_equal(witness_init(&w, fd), 0);
	assert_false(w.present);
	assert_true(w.unreadable);
	/* It can be begun anew. */
	put(&w, 5, false);
	assert_int_equal(witness_init(&w, fd), 0);
	assert_true(w.present && !w.unreadable);
	assert_int_equal(w.note.number, 5);
	close(fd);
}

static void
test_other_contents(void **state)
{
	uint8_t data[WITNESS_SLOT_BYTES + 1] = {0};
	struct witness_note n = note_of(7);
	uint64_t turn;
	int fd = file_new();
	struct witness w;

	(void)state;
	witness_encode(data, 9, &n);
	assert_int_equal(witness_decode(data, WITNESS_SLOT_BYTES, &turn, &n), 0);
	assert_int_equal(turn, 9);
	assert_int_equal(witness_decode(data, WITNESS_SLOT_BYTES - 1, &turn, &n), ERR_SHORT);
	assert_int_equal(witness_decode(data, WITNESS_SLOT_BYTES + 1, &turn, &n), ERR_LEFTOVER);
	data[WITNESS_SLOT_BYTES - 1] ^= 1;
	assert_int_equal(witness_decode(data, WITNESS_SLOT_BYTES, &turn, &n), ERR_CHECKSUM);
	data[7] = '2';
	assert_int_equal(witness_decode(data, WITNESS_SLOT_BYTES, &turn, &n), ERR_VERSION);
	assert_int_equal(write(fd, data, 30), 30);
	assert_int_equal(witness_init(&w, fd), 0);
	assert_true(w.unreadable);
	close(fd);
}

static void
test_a_file_that_fails(void **state)
{
	struct witness w;
	struct witness_note n = note_of(1);
	int fd = open("/dev/full", O_RDWR);

	(void)state;
	assert_int_equal(witness_init(&w, -1), ERR_IO);
	w = (struct witness){.fd = fd};
	assert_int_equal(witness_put(&w, &n, true), ERR_IO);
	assert_false(w.present);
	close(fd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_an_empty_file_has_none),
	    cmocka_unit_test(test_the_last_note_is_read),
	    cmocka_unit_test(test_torn_slots),
	    cmocka_unit_test(test_other_contents),
	    cmocka_unit_test(test_a_file_that_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
