/* fetch: see fetch.h. */
#include "meshctl/fetch.h"

#include "common/base/buf.h"
#include "meshctl/client.h"
#include "meshctl/command.h"

int
fetch(const struct ctl *ctl, const char *method, const struct buf *request,
    json_t *(*make)(const struct buf *), json_t **out)
{
	struct client *c;
	struct buf reply;
	int code = client_open(ctl, 0, &c);

	*out = NULL;
	buf_init(&reply, CLIENT_MESSAGE_MAX_BYTES);
	if (code == CODE_OK)
		code = client_unary(c, method, request, &reply);
	if (code == CODE_OK) {
		*out = make(&reply);
		code = *out != NULL ? CODE_OK : CODE_FAILED;
	}
	buf_fini(&reply);
	client_free(c);
	return code;
}
