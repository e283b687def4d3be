/* witness: see witness.h. */
#include "consensusd/witness.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/crc32c.h"
#include "common/base/err.h"

static const uint8_t magic[8] = {'m', 'e', 's', 'h', 'w', 'i', 't', '1'};

enum { CHECKED_BYTES = WITNESS_SLOT_BYTES - 4 };

void
witness_encode(uint8_t out[WITNESS_SLOT_BYTES], uint64_t turn, const struct witness_note *note)
{
	struct buf b;

	buf_init_fixed(&b, out, WITNESS_SLOT_BYTES);
	MUST(buf_put_bytes(&b, magic, sizeof(magic)) == 0 && buf_put_u64(&b, turn) == 0 &&
	     buf_put_bytes(&b, note->database, sizeof(note->database)) == 0 &&
	     buf_put_u64(&b, note->number) == 0 && buf_put_u8(&b, note->refused) == 0 &&
	     buf_put_u32(&b, crc32c(0, out, CHECKED_BYTES)) == 0 && buf_room(&b) == 0);
}

int
witness_decode(const uint8_t *data, size_t len, uint64_t *turn, struct witness_note *out)
{
	struct buf b;
	uint8_t refused;
	uint32_t crc;
	int err;

	if (len != WITNESS_SLOT_BYTES)
		return len < WITNESS_SLOT_BYTES ? ERR_SHORT : ERR_LEFTOVER;
	if (memcmp(data, magic, sizeof(magic)) != 0)
		return ERR_VERSION;
	buf_view(&b, data + sizeof(magic), len - sizeof(magic));
	if ((err = buf_get_u64(&b, turn)) != 0 ||
	    (err = buf_get_bytes(&b, out->database, sizeof(out->database))) != 0 ||
	    (err = buf_get_u64(&b, &out->number)) != 0 || (err = buf_get_u8(&b, &refused)) != 0 ||
	    (err = buf_get_u32(&b, &crc)) != 0)
		return err;
	if (crc != crc32c(0, data, CHECKED_BYTES))
		return ERR_CHECKSUM;
	out->refused = refused != 0;
	return refused <= 1 ? 0 : ERR_FORMAT;
}

/* A slot's bytes; *len is less at the end of the file. */
static int
slot_read(int fd, unsigned slot, uint8_t out[WITNESS_SLOT_BYTES], size_t *len)
{
	*len = 0;
	while (*len < WITNESS_SLOT_BYTES) {
		ssize_t n = pread(
		    fd, out + *len, WITNESS_SLOT_BYTES - *len, (off_t)(slot * WITNESS_SLOT_DISTANCE + *len));

		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1)
			return ERR_IO;
		if (n == 0)
			break;
		*len += (size_t)n;
	}
	return 0;
}

int
witness_init(struct witness *w, int fd)
{
	*w = (struct witness){.fd = fd};
	for (unsigned slot = 0; slot < WITNESS_SLOTS; slot++) {
		uint8_t data[WITNESS_SLOT_BYTES];
		struct witness_note note;
		uint64_t turn;
		size_t len;
		int err = slot_read(fd, slot, data, &len);

		if (err != 0)
			return err;
		if (witness_decode(data, len, &turn, &note) != 0) {
			w->unreadable |= len > 0;
			continue;
		}
		if (!w->present || turn > w->turn) {
			w->present = true;
			w->turn = turn;
			w->note = note;
		}
	}
	w->unreadable &= !w->present;
	return 0;
}

int
witness_put(struct witness *w, const struct witness_note *note, bool sync)
{
	uint64_t turn = w->turn + 1;
	off_t at = (off_t)(turn % WITNESS_SLOTS * WITNESS_SLOT_DISTANCE);
	uint8_t data[WITNESS_SLOT_BYTES];
	size_t done = 0;

	witness_encode(data, turn, note);
	while (done < sizeof(data)) {
		ssize_t n = pwrite(w->fd, data + done, sizeof(data) - done, at + (off_t)done);

		if (n == -1 && errno == EINTR)
			continue;
		if (n <= 0)
			return ERR_IO;
		done += (size_t)n;
	}
	if ((sync || !w->present) && fdatasync(w->fd) == -1)
		return ERR_IO;
	w->turn = turn;
	w->present = true;
	w->unreadable = false;
	w->note = *note;
	return 0;
}
