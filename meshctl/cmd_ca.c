/* cmd_ca: the local PKI: `meshctl ca …`. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/base/err.h"
#include "common/base/id.h"
#include "common/base/mem.h"
#include "common/os/clock.h"
#include "common/os/crypto.h"
#include "meshctl/args.h"
#include "meshctl/ca_x509.h"
#include "meshctl/cmd_ca.h"
#include "meshctl/command.h"
#include "meshctl/handlers.h"
#include "meshctl/out.h"
#include "meshctl/secfile.h"

enum {
	PATH_SIZE = CMD_CA_PATH_SIZE,
	DAY_S = 86400,
	ROOT_DAYS = 3650,
	LEAF_DAYS = 397,
	DAYS_MAX = 36500,
	CLOCK_SKEW_S = 300, /* certificates are valid at once for peers whose clock is behind */
};

#define URI_PREFIX "spiffe://"

#define COMMON_OPTIONS                                                                                       \
	{"algorithm", 0, "p256|ed25519", "kind of key (default p256)"},                                      \
	    {"not-before", 0, "YYYY-MM-DD", "first day of validity (default now)"},                          \
	{                                                                                                    \
		"force", 'f', NULL, "overwrite files that exist"                                             \
	}

const struct option_def cmd_ca_init_options[] = {
    {"mesh", 'm', "ID", "id of the mesh (default: the parent's, else a new one)"},
    {"name", 'n', "TEXT", "name of the authority (default: mesh CA)"},
    {"parent", 'p', "DIR", "make an intermediate authority, signed by the one in DIR"},
    {"days", 'd', "N", "days of validity (default 3650)"},
    COMMON_OPTIONS,
    {NULL, 0, NULL, NULL},
};

const struct option_def cmd_ca_leaf_options[] = {
    {"name", 'n', "NAME", "name of the node, for people (ca node)"},
    {"dns", 0, "NAME", "DNS name that it answers to (may be repeated)"},
    {"ip", 0, "ADDRESS", "IP address that it answers to (may be repeated)"},
    {"out", 'o', "PREFIX", "write PREFIX.crt and PREFIX.key (default: CADIR/NAME)"},
    {"days", 'd', "N", "days of validity (default 397)"},
    COMMON_OPTIONS,
    {NULL, 0, NULL, NULL},
};

/* Fills algorithm and validity from the options. */
static int
request_init(struct ca_x509_request *r, const struct args *a, enum ca_x509_kind kind, int64_t days)
{
	const char *algorithm = args_str(a, "algorithm", "p256"), *from = args_str(a, "not-before", NULL);
	struct tm tm = {0};

	*r = (struct ca_x509_request){.kind = kind};
	if (strcmp(algorithm, "ed25519") == 0) {
		r->algorithm = CA_X509_ED25519;
	} else if (strcmp(algorithm, "p256") != 0) {
		out_error("--algorithm: '%s' is neither p256 nor ed25519", algorithm);
		return CODE_USAGE;
	}
	if (args_int(a, "days", days, 1, DAYS_MAX, &days) != 0)
		return CODE_USAGE;
	r->not_before = (int64_t)(clock_unix_ms() / 1000) - CLOCK_SKEW_S;
	if (from != NULL) {
		const char *end = strptime(from, "%Y-%m-%d", &tm);

		if (end == NULL || *end != '\0') {
			out_error("--not-before: '%s' is not a date like 2026-01-31", from);
			return CODE_USAGE;
		}
		r->not_before = (int64_t)timegm(&tm);
	}
	r->not_after = r->not_before + days * DAY_S;
	return CODE_OK;
}

int
cmd_ca_code(int err)
{
	return err == ERR_EXISTS ? CODE_EXISTS : err == ERR_NOENT ? CODE_NOTFOUND : CODE_FAILED;
}

/* Writes PREFIX.key, then PREFIX.crt: a certificate without its key would be of no use. */
static int
write_pair(const char *prefix, const struct ca_x509_pair *pair, bool force)
{
	char cert[PATH_SIZE], key[PATH_SIZE];
	int r;

	if (snprintf(key, sizeof(key), "%s.key", prefix) >= (int)sizeof(key) ||
	    snprintf(cert, sizeof(cert), "%s.crt", prefix) >= (int)sizeof(cert)) {
		out_error("%.64s...: name too long", prefix);
		return CODE_USAGE;
	}
	r = secfile_write(key, pair->key, pair->key_len, false, force);
	if (r == 0)
		r = secfile_write(cert, pair->cert, pair->cert_len, true, force);
	return r == 0 ? CODE_OK : cmd_ca_code(r);
}

int
cmd_ca_open(const char *dir, struct ca_x509 **out)
{
	char path[PATH_SIZE], *cert = NULL, *key = NULL;
	size_t cert_len = 0, key_len = 0;
	int r;

	*out = NULL;
	snprintf(path, sizeof(path), "%s/ca.crt", dir);
	r = secfile_read(path, &cert, &cert_len);
	if (r == 0) {
		snprintf(path, sizeof(path), "%s/ca.key", dir);
		r = secfile_read(path, &key, &key_len);
	}
	if (r == 0)
		*out = ca_x509_open(cert, cert_len, key, key_len);
	else if (r == ERR_NOENT)
		out_error("make an authority first: meshctl ca init %s", dir);
	secfile_free(cert, cert_len);
	secfile_free(key, key_len);
	return *out != NULL ? CODE_OK : r != 0 ? cmd_ca_code(r) : CODE_FAILED;
}

/* The mesh id in the authority's URI. */
static int
ca_mesh_id(const struct ca_x509 *ca, char out[ULID_TEXT_SIZE])
{
	const char *uri = ca_x509_uri(ca);
	struct ulid id;

	if (strncmp(uri, URI_PREFIX, strlen(URI_PREFIX)) != 0 ||
	    ulid_parse(uri + strlen(URI_PREFIX), &id) != 0) {
		out_error("the authority's certificate names no mesh (URI:spiffe://<mesh id>)");
		return CODE_FAILED;
	}
	ulid_format(out, &id);
	return CODE_OK;
}

static int
init_mesh_id(const struct args *a, const struct ca_x509 *parent, char out[ULID_TEXT_SIZE])
{
	const char *text = args_str(a, "mesh", NULL);
	uint8_t random[10];
	struct ulid id;

	if (text == NULL && parent != NULL)
		return ca_mesh_id(parent, out);
	if (text == NULL) {
		crypto_random(random, sizeof(random));
		ulid_make(&id, clock_unix_ms(), random);
	} else if (ulid_parse(text, &id) != 0) {
		out_error("--mesh: '%s' is not a mesh id (26 characters; meshctl id makes one)", text);
		return CODE_USAGE;
	}
	ulid_format(out, &id);
	return CODE_OK;
}

static void
report(const struct ctl *ctl, const char *prefix, const char *mesh, const struct ca_x509_request *r)
{
	static const struct column columns[] = {{"Certificate", "certificate", COLUMN_TEXT},
	    {"Key", "key", COLUMN_TEXT}, {"Mesh", "mesh_id", COLUMN_TEXT}, {"Names", "uri", COLUMN_TEXT},
	    {"Valid until", "not_after_ms", COLUMN_TIME_MS}};
	char cert[PATH_SIZE + 4], key[PATH_SIZE + 4];
	json_t *o;

	snprintf(cert, sizeof(cert), "%s.crt", prefix);
	snprintf(key, sizeof(key), "%s.key", prefix);
	o = json_pack("{s:s, s:s, s:s, s:s, s:I}", "certificate", cert, "key", key, "mesh_id", mesh, "uri",
	    r->uri != NULL ? r->uri : "", "not_after_ms", (json_int_t)r->not_after * 1000);
	out_fields(ctl, columns, sizeof(columns) / sizeof(columns[0]), o);
	json_decref(o);
}

/* No certificate outlives what signed it: peers would refuse it anyway, and later than they should. */
static void
cap_validity(struct ca_x509_request *r, const struct ca_x509 *ca)
{
	if (ca != NULL && r->not_after > ca_x509_not_after(ca))
		r->not_after = ca_x509_not_after(ca);
}

int
cmd_ca_init(struct ctl *ctl, const struct args *a)
{
	const char *dir = args_word(a, 0), *parent_dir = args_str(a, "parent", NULL);
	char mesh[ULID_TEXT_SIZE], uri[CA_X509_URI_SIZE], prefix[PATH_SIZE];
	struct ca_x509 *parent = NULL;
	struct ca_x509_request r;
	struct ca_x509_pair pair = {0};
	int code = request_init(&r, a, parent_dir != NULL ? CA_X509_INTERMEDIATE : CA_X509_ROOT, ROOT_DAYS);

	if (code == CODE_OK && parent_dir != NULL)
		code = cmd_ca_open(parent_dir, &parent);
	if (code == CODE_OK)
		code = init_mesh_id(a, parent, mesh);
	if (code == CODE_OK && secfile_mkdir(dir) != 0)
		code = CODE_FAILED;
	if (code == CODE_OK) {
		snprintf(uri, sizeof(uri), URI_PREFIX "%s", mesh);
		snprintf(prefix, sizeof(prefix), "%s/ca", dir);
		r.uri = uri;
		r.common_name = args_str(a, "name", parent != NULL ? "mesh intermediate CA" : "mesh CA");
		cap_validity(&r, parent);
		code = ca_x509_issue(parent, &r, &pair) == 0
			   ? write_pair(prefix, &pair, args_flag(a, "force"))
			   : CODE_FAILED;
	}
	if (code == CODE_OK)
		report(ctl, prefix, mesh, &r);
	ca_x509_pair_fini(&pair);
	ca_x509_free(parent);
	return code;
}

/* Host names as in RFC 1123, with one leading "*." allowed. */
static bool
dns_valid(const char *name)
{
	size_t len = strlen(name);

	if (strncmp(name, "*.", 2) == 0)
		name += 2;
	return len > 0 && len <= 253 && name[0] != '.' && name[0] != '\0' &&
	       name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.")] == '\0';
}

static int
request_names(struct ca_x509_request *r, const struct args *a)
{
	const char *name;

	while ((name = args_item(a, "dns", r->dns_count)) != NULL && r->dns_count < CA_X509_NAMES_MAX) {
		if (!dns_valid(name)) {
			out_error("--dns: '%s' is not a host name", name);
			return CODE_USAGE;
		}
		r->dns[r->dns_count++] = name;
	}
	while (r->ip_count < CA_X509_NAMES_MAX && (name = args_item(a, "ip", r->ip_count)) != NULL)
		r->ip[r->ip_count++] = name;
	if (args_item(a, "dns", r->dns_count) == NULL && args_item(a, "ip", r->ip_count) == NULL)
		return CODE_OK;
	out_error("at most %d names of one kind", CA_X509_NAMES_MAX);
	return CODE_USAGE;
}

/* Issues one certificate: what is "node", "server" or "client" in the URI, id its last part. */
static int
issue(struct ctl *ctl, const struct args *a, enum ca_x509_kind kind, const char *what, const char *id,
    const char *name)
{
	const char *dir = args_word(a, 0);
	char mesh[ULID_TEXT_SIZE], uri[CA_X509_URI_SIZE + 64], prefix[PATH_SIZE];
	struct ca_x509 *ca = NULL;
	struct ca_x509_pair pair = {0};
	struct ca_x509_request r;
	int code = request_init(&r, a, kind, LEAF_DAYS);

	if (code == CODE_OK)
		code = request_names(&r, a);
	if (code == CODE_OK)
		code = cmd_ca_open(dir, &ca);
	if (code == CODE_OK)
		code = ca_mesh_id(ca, mesh);
	if (code == CODE_OK) {
		snprintf(uri, sizeof(uri), URI_PREFIX "%s/%s/%s", mesh, what, id);
		r.uri = uri;
		r.common_name = name;
		cap_validity(&r, ca);
		if (args_str(a, "out", NULL) != NULL)
			snprintf(prefix, sizeof(prefix), "%s", args_str(a, "out", NULL));
		else
			snprintf(prefix, sizeof(prefix), "%s/%s", dir, name);
		code = ca_x509_issue(ca, &r, &pair) == 0 ? write_pair(prefix, &pair, args_flag(a, "force"))
							 : CODE_FAILED;
	}
	if (code == CODE_OK)
		report(ctl, prefix, mesh, &r);
	ca_x509_pair_fini(&pair);
	ca_x509_free(ca);
	return code;
}

int
cmd_ca_node(struct ctl *ctl, const struct args *a)
{
	const char *text = args_word(a, 1), *name;
	char id[NODEID_TEXT_SIZE];
	uint64_t node;

	if (nodeid_parse(text, &node) != 0) {
		out_error("'%s' is not a node id (13 characters; meshctl keygen prints it)", text);
		return CODE_USAGE;
	}
	nodeid_format(id, node);
	name = args_str(a, "name", id);
	if (!node_name_valid(name)) {
		out_error("--name: '%s' is not a name (1-63 of A-Z a-z 0-9 . _ -)", name);
		return CODE_USAGE;
	}
	return issue(ctl, a, CA_X509_NODE, "node", id, name);
}

static int
issue_named(struct ctl *ctl, const struct args *a, enum ca_x509_kind kind, const char *what)
{
	const char *name = args_word(a, 1);

	if (!node_name_valid(name)) {
		out_error("'%s' is not a name (1-63 of A-Z a-z 0-9 . _ -)", name);
		return CODE_USAGE;
	}
	return issue(ctl, a, kind, what, name, name);
}

int
cmd_ca_server(struct ctl *ctl, const struct args *a)
{
	return issue_named(ctl, a, CA_X509_SERVER, "server");
}

int
cmd_ca_client(struct ctl *ctl, const struct args *a)
{
	return issue_named(ctl, a, CA_X509_CLIENT, "client");
}

static void
add_info(void *rows, const struct ca_x509_info *i)
{
	json_array_append_new(
	    rows, json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I}", "subject", i->subject, "issuer",
		      i->issuer, "serial", i->serial, "sha256", i->fingerprint, "algorithm", i->algorithm,
		      "names", i->names, "usage", i->usage, "not_before_ms", (json_int_t)i->not_before * 1000,
		      "not_after_ms", (json_int_t)i->not_after * 1000));
}

static void
show_text(const struct ctl *ctl, const json_t *rows)
{
	static const struct column columns[] = {{"Subject", "subject", COLUMN_TEXT},
	    {"Issuer", "issuer", COLUMN_TEXT}, {"Names", "names", COLUMN_TEXT}, {"For", "usage", COLUMN_TEXT},
	    {"Key", "algorithm", COLUMN_TEXT}, {"Serial", "serial", COLUMN_TEXT},
	    {"SHA-256", "sha256", COLUMN_TEXT}, {"Valid from", "not_before_ms", COLUMN_TIME_MS},
	    {"Valid until", "not_after_ms", COLUMN_TIME_MS}};
	const json_t *row;
	size_t i;

	json_array_foreach (rows, i, row) {
		if (i > 0)
			putchar('\n');
		out_fields(ctl, columns, sizeof(columns) / sizeof(columns[0]), row);
	}
}

int
cmd_ca_show(struct ctl *ctl, const struct args *a)
{
	char *pem;
	size_t len;
	json_t *rows;
	int r = secfile_read(args_word(a, 0), &pem, &len);

	if (r != 0)
		return cmd_ca_code(r);
	rows = json_array();
	r = ca_x509_each(pem, len, add_info, rows);
	if (r > 0 && ctl->json)
		out_table(ctl, NULL, 0, rows, "");
	else if (r > 0)
		show_text(ctl, rows);
	json_decref(rows);
	secfile_free(pem, len);
	return r > 0 ? CODE_OK : CODE_FAILED;
}
