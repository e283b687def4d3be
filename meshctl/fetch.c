/* fetch: see fetch.h. */
#include "meshctl/fetch.h"

#include "common/base/buf.h"
#include "meshctl/client.h"
#include "meshctl/command.h"
#include "meshctl/out.h"
#include "proto/pb.h"

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

int
fetch_pb(const struct ctl *ctl, const char *method, const pb_msgdesc_t *fields, const void *request,
    json_t *(*make)(const struct buf *), json_t **out)
{
	struct buf b;
	int code = CODE_FAILED;

	*out = NULL;
	buf_init(&b, CLIENT_MESSAGE_MAX_BYTES);
	if (pb_pack(&b, fields, request) == 0)
		code = fetch(ctl, method, &b, make, out);
	else
		out_error("the request is too long, or there is no memory for it");
	buf_fini(&b);
	return code;
}
