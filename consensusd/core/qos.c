/* qos: see qos.h. */
#include "consensusd/core/qos.h"

#include <string.h>

#include "common/base/frame.h"

uint8_t
qos_class(const char *qos)
{
	if (strcmp(qos, "system") == 0)
		return FRAME_CLASS_SYSTEM;
	return strcmp(qos, "db") == 0 ? FRAME_CLASS_DB : FRAME_CLASS_CLIENT;
}

size_t
qos_share(size_t batch_bytes, int32_t priority)
{
	size_t share = batch_bytes > QOS_SHARE_MIN_BYTES ? batch_bytes : QOS_SHARE_MIN_BYTES;

	if (priority >= 0)
		return share << (priority < QOS_STEPS_MAX ? priority : QOS_STEPS_MAX);
	return share >> (priority > -QOS_STEPS_MAX ? -priority : QOS_STEPS_MAX);
}
