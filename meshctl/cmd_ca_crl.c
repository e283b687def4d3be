/* cmd_ca_crl: revoked certificates: `meshctl ca revoke`, `meshctl ca crl`. */
#include <stdio.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/clock.h"
#include "meshctl/args.h"
#include "meshctl/ca_crl.h"
#include "meshctl/ca_x509.h"
#include "meshctl/cmd_ca.h"
#include "meshctl/command.h"
#include "meshctl/handlers.h"
#include "meshctl/out.h"
#include "meshctl/secfile.h"

enum { LIST_DAYS = 30, DAYS_MAX = 36500, DAY_S = 86400 };

const struct option_def cmd_ca_crl_options[] = {
    {"days", 'd', "N", "days until the list should be renewed (default 30)"},
    {NULL, 0, NULL, NULL},
};

/* The list with what it has so far. */
static int
list_open(const struct ca_x509 *ca, const char *path, struct ca_crl **out)
{
	char *pem = NULL;
	size_t len = 0;
	int r;

	*out = NULL;
	if (access(path, F_OK) == 0 && (r = secfile_read(path, &pem, &len)) != 0)
		return cmd_ca_code(r);
	*out = ca_crl_new(ca, pem, len);
	secfile_free(pem, len);
	return *out != NULL ? CODE_OK : CODE_FAILED;
}

static int
revoke_file(struct ca_crl *list, const char *path, int64_t now)
{
	char *pem;
	size_t len;
	int r = secfile_read(path, &pem, &len);

	if (r != 0)
		return cmd_ca_code(r);
	r = ca_crl_add(list, pem, len, now);
	secfile_free(pem, len);
	if (r < 0)
		out_error("%s: not revoked", path);
	return r < 0 ? CODE_FAILED : CODE_OK;
}

static int
list_write(struct ca_crl *list, const char *path, int64_t now, int64_t next_update)
{
	char *pem;
	size_t len;
	int r;

	if (ca_crl_sign(list, now, next_update, &pem, &len) != 0)
		return CODE_FAILED;
	r = secfile_write(path, pem, len, true, true);
	mem_free(pem);
	return r == 0 ? CODE_OK : cmd_ca_code(r);
}

static void
report(const struct ctl *ctl, const char *path, size_t count, int64_t next_update)
{
	static const struct column columns[] = {{"List", "list", COLUMN_TEXT},
	    {"Certificates", "revoked", COLUMN_COUNT}, {"Renew before", "next_update_ms", COLUMN_TIME_MS}};
	json_t *o = json_pack("{s:s, s:I, s:I}", "list", path, "revoked", (json_int_t)count, "next_update_ms",
	    (json_int_t)next_update * 1000);

	out_fields(ctl, columns, sizeof(columns) / sizeof(columns[0]), o);
	json_decref(o);
}

/* All certificates named are listed, or the list stays as it was. */
int
cmd_ca_crl(struct ctl *ctl, const struct args *a)
{
	int64_t days, now = (int64_t)(clock_unix_ms() / 1000);
	char path[CMD_CA_PATH_SIZE];
	struct ca_x509 *ca = NULL;
	struct ca_crl *list = NULL;
	int code;

	if (args_int(a, "days", LIST_DAYS, 1, DAYS_MAX, &days) != 0)
		return CODE_USAGE;
	snprintf(path, sizeof(path), "%s/crl.pem", args_word(a, 0));
	code = cmd_ca_open(args_word(a, 0), &ca);
	if (code == CODE_OK)
		code = list_open(ca, path, &list);
	for (size_t i = 1; code == CODE_OK && args_word(a, i) != NULL; i++)
		code = revoke_file(list, args_word(a, i), now);
	if (code == CODE_OK)
		code = list_write(list, path, now, now + days * DAY_S);
	if (code == CODE_OK)
		report(ctl, path, ca_crl_count(list), now + days * DAY_S);
	ca_crl_free(list);
	ca_x509_free(ca);
	return code;
}
