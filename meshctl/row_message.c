/* row_message: see row_message.h. */
#include "meshctl/row_message.h"

#include <stdio.h>
#include <string.h>

#include "common/base/err.h"
#include "meshctl/args.h"
#include "meshctl/exit_code.h"
#include "meshctl/json_text.h"
#include "meshctl/out.h"
#include "meshctl/source.h"
#include "proto/mesh.pb.h"
#include "proto/pb.h"

enum {
	OBJECT_MAX_BYTES = 1024 * 1024, /* that a target takes */
	UPDATE_SLACK_BYTES = 1024,      /* table, operation, tags */
};

static int
fits(const char *option, const char *text, size_t size)
{
	if (strlen(text) > 0 && strlen(text) < size)
		return CODE_OK;
	out_error("%s: 1 to %zu characters", option, size - 1);
	return CODE_USAGE;
}

static int
check(const struct row_message *r)
{
	mesh_v1_DBUpdate u;
	int code = fits("--db", r->table, sizeof(u.table));

	if (code == CODE_OK)
		code = fits("--operation", r->operation, sizeof(u.operation));
	if (code == CODE_OK && r->key != NULL)
		code = json_text_check("--key", r->key, true, OBJECT_MAX_BYTES);
	if (code == CODE_OK && r->key != NULL && strcmp(r->operation, "delete") == 0) {
		out_error("--key: for delete, the messages are the keys");
		code = CODE_USAGE;
	}
	return code;
}

int
row_message_init(struct row_message *r, const struct args *a)
{
	*r = (struct row_message){.table = args_str(a, "db", NULL),
	    .operation = args_str(a, "operation", "upsert"),
	    .key = args_str(a, "key", NULL)};
	buf_init(&r->text, SOURCE_MESSAGE_MAX_BYTES + 1);
	buf_init(&r->out, 2 * OBJECT_MAX_BYTES + UPDATE_SLACK_BYTES);
	if (r->table != NULL)
		return check(r);
	if (r->key == NULL && args_str(a, "operation", NULL) == NULL)
		return CODE_OK;
	out_error("--operation and --key are for --db");
	return CODE_USAGE;
}

void
row_message_fini(struct row_message *r)
{
	buf_fini(&r->text);
	buf_fini(&r->out);
}

/* The text that is checked is the one that is sent, digit by digit. */
static int
check_object(struct row_message *r, const uint8_t *data, size_t len)
{
	if (memchr(data, '\0', len) != NULL) {
		out_error("message: a JSON object has no NUL in it");
		return ERR_FORMAT;
	}
	buf_reset(&r->text);
	if (buf_put_bytes(&r->text, data, len) != 0 || buf_put_u8(&r->text, 0) != 0)
		return ERR_NOMEM;
	return json_text_check("message", (const char *)buf_head(&r->text), true, OBJECT_MAX_BYTES) == CODE_OK
		   ? 0
		   : ERR_FORMAT;
}

int
row_message_make(void *arg, const uint8_t **data, size_t *len)
{
	struct row_message *r = arg;
	mesh_v1_DBUpdate u = mesh_v1_DBUpdate_init_zero;
	struct pb_slice given = {*data, *len}, key = {0};
	int err = check_object(r, *data, *len);

	if (err != 0)
		return err;
	snprintf(u.table, sizeof(u.table), "%s", r->table);
	snprintf(u.operation, sizeof(u.operation), "%s", r->operation);
	if (r->key != NULL)
		key = (struct pb_slice){(const uint8_t *)r->key, strlen(r->key)};
	if (strcmp(r->operation, "delete") == 0) {
		pb_slice_encode(&u.key, &given);
	} else {
		pb_slice_encode(&u.key, &key);
		pb_slice_encode(&u.row, &given);
	}
	buf_reset(&r->out);
	if (pb_pack(&r->out, mesh_v1_DBUpdate_fields, &u) != 0)
		return ERR_NOMEM;
	*data = buf_head(&r->out);
	*len = buf_left(&r->out);
	return 0;
}
