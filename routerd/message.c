#include "routerd/message.h"

#include "common/base/buf.h"
#include "common/os/channel.h"
#include "proto/pb.h"
#include "routerd/routerd.h"

int
message_send(struct channel *ch, uint32_t type, uint32_t peerid, const pb_msgdesc_t *fields, const void *msg)
{
	uint8_t mem[ROUTERD_MESSAGE_MAX_BYTES];
	struct buf b;
	int err;

	buf_init_fixed(&b, mem, sizeof(mem));
	if ((err = pb_pack(&b, fields, msg)) != 0)
		return err;
	return channel_send(ch, type, peerid, buf_head(&b), buf_left(&b));
}
