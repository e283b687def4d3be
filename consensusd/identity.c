/* identity: see identity.h. */
#include "consensusd/identity.h"

#include <string.h>

#include "common/base/buf.h"
#include "common/base/idset.h"
#include "common/os/channel.h"
#include "common/os/log.h"
#include "consensusd/engine.h"
#include "consensusd/store.h"
#include "proto/ipc.pb.h"
#include "proto/pb.h"

void
identity_send_evicted(struct channel *ch, uint32_t type, const struct idset *evicted)
{
	struct buf out;
	int err;

	buf_init(&out, IDSET_MAX_BYTES);
	err = idset_encode(evicted, &out);
	if (err == 0)
		err = channel_send(ch, type, 0, buf_head(&out), buf_left(&out));
	buf_fini(&out);
	/* On the next connection it is said again. */
	if (err != 0)
		channel_close(ch, err);
}

void
identity_send(struct engine *e, struct channel *ch, uint32_t type)
{
	mesh_ipc_Identity id = mesh_ipc_Identity_init_zero;
	uint8_t mem[512];
	struct buf out;
	int err;

	memcpy(id.mesh_id, e->mesh_id.b, ULID_BYTES);
	id.node_id = e->self;
	memcpy(id.public_key, e->public_key, sizeof(id.public_key));
	memcpy(id.node_name, e->node_name, sizeof(id.node_name));
	memcpy(id.region, e->region, sizeof(id.region));
	id.incarnation = store_next_incarnation(e->store);
	buf_init_fixed(&out, mem, sizeof(mem));
	err = pb_pack(&out, mesh_ipc_Identity_fields, &id);
	if (err == 0)
		err = channel_send(ch, type, 0, buf_head(&out), buf_left(&out));
	if (err != 0)
		channel_close(ch, err);
}
