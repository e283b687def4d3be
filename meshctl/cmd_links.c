/* cmd_links: `meshctl links`: the links of the mesh, and with -v the lanes of the node's own. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "meshctl/api_json.h"
#include "meshctl/args.h"
#include "meshctl/command.h"
#include "meshctl/fetch.h"
#include "meshctl/handlers.h"
#include "meshctl/out.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

enum { CIPHER_SIZE = 64, AUTH_SIZE = 64, VALUE_SIZE = 32 };

const struct option_def cmd_links_options[] = {
    {"verbose", 'v', NULL, "show the node's own links with their lanes"},
    {NULL, 0, NULL, NULL},
};

static const char *
text_of(const json_t *o, const char *key)
{
	const char *text = json_string_value(json_object_get(o, key));

	return text != NULL ? text : "";
}

static json_int_t
number(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

/* A field of an object as a column of that kind shows it. */
static const char *
show(const json_t *o, const char *key, enum column_kind kind, char buf[VALUE_SIZE])
{
	return out_format(kind, json_object_get(o, key), buf, VALUE_SIZE);
}

/* --- lanes --- */

/* "TLSv1.3 TLS_AES_256_GCM_SHA384" as "AES_256_GCM": what is always so fills no line. */
static void
short_cipher(const char *cipher, char out[CIPHER_SIZE])
{
	static const char usual[] = "TLSv1.3 TLS_";
	const char *hash = strstr(cipher, "_SHA");
	size_t len = hash != NULL ? (size_t)(hash - cipher) : strlen(cipher);
	size_t skip = strncmp(cipher, usual, strlen(usual)) == 0 ? strlen(usual) : 0;

	snprintf(out, CIPHER_SIZE, "%.*s", skip < len ? (int)(len - skip) : 0, cipher + skip);
}

/* Columns of the tables of lanes that JSON has in another form. */
static void
add_derived(json_t *lanes)
{
	char cipher[CIPHER_SIZE], auth[AUTH_SIZE], left[VALUE_SIZE];
	json_t *lane;
	size_t i;

	json_array_foreach (lanes, i, lane) {
		bool ends = number(lane, "auth_until_unix_ms") != 0;

		short_cipher(text_of(lane, "cipher"), cipher);
		show(lane, "auth_until_unix_ms", COLUMN_LEFT_MS, left);
		snprintf(
		    auth, sizeof(auth), "%s%s%s", text_of(lane, "auth"), ends ? ", " : "", ends ? left : "");
		json_object_set_new(lane, "short_cipher", json_string(cipher));
		json_object_set_new(lane, "auth_left", json_string(auth));
		json_object_set_new(lane, "dialled_by",
		    json_string(json_is_true(json_object_get(lane, "dialled")) ? "us" : "peer"));
	}
}

static void
print_lanes(const struct ctl *ctl, json_t *lanes)
{
	static const struct column what[] = {{"  LANE", "lane", COLUMN_COUNT},
	    {"CLASS", "class", COLUMN_TEXT}, {"STATE", "state", COLUMN_STATE},
	    {"CARRIES", "roles", COLUMN_TEXT}, {"DIALLER", "dialled_by", COLUMN_TEXT},
	    {"AGE", "since_unix_ms", COLUMN_AGE_MS}, {"SENDS", "tx_kbps", COLUMN_RATE},
	    {"RECEIVES", "rx_kbps", COLUMN_RATE}};
	static const struct column how[] = {{"  LANE", "lane", COLUMN_COUNT}, {"RTT", "rtt_us", COLUMN_US},
	    {"VARIES", "rtt_var_us", COLUMN_US}, {"LOSS", "loss_ppm", COLUMN_PPM},
	    {"BANDWIDTH", "bandwidth_kbps", COLUMN_KBPS}, {"USED", "utilization_permille", COLUMN_PERMILLE},
	    {"WINDOW", "window_bytes", COLUMN_BYTES}, {"QUEUED", "queued_bytes", COLUMN_BYTES},
	    {"UNACKED", "unacked_bytes", COLUMN_BYTES}};
	static const struct column whom[] = {{"  LANE", "lane", COLUMN_COUNT},
	    {"LOCAL", "local_address", COLUMN_TEXT}, {"REMOTE", "address", COLUMN_TEXT},
	    {"PROVEN BY", "auth_left", COLUMN_TEXT}, {"CIPHER", "short_cipher", COLUMN_TEXT}};

	if (json_array_size(lanes) == 0)
		return;
	add_derived(lanes);
	putchar('\n');
	out_table(ctl, what, COUNT(what), lanes, "");
	putchar('\n');
	out_table(ctl, how, COUNT(how), lanes, "");
	putchar('\n');
	out_table(ctl, whom, COUNT(whom), lanes, "");
}

/* --- links --- */

static void
print_head(const struct ctl *ctl, const json_t *l)
{
	char a[VALUE_SIZE];

	printf("%s%s -> %s%s  %s for %s, %s %s\n", ctl->color ? "\033[1m" : "", text_of(l, "source_name"),
	    text_of(l, "target_name"), ctl->color ? "\033[0m" : "", text_of(l, "status"),
	    show(l, "since_unix_ms", COLUMN_AGE_MS, a),
	    json_is_true(json_object_get(l, "dialled")) ? "dialled at" : "accepted from",
	    text_of(l, "address"));
}

/* What the members were told of a link, as numbers: there is some where it differs from what it is like now.
 */
static bool
add_told(json_t *l)
{
	static const char *const keys[][2] = {
	    {"member_rtt_us", "told_rtt_us"}, {"member_bandwidth_kbps", "told_bandwidth_kbps"}};
	const json_t *told = json_object_get(l, "metadata");
	bool some = false;

	for (size_t i = 0; i < COUNT(keys); i++) {
		const char *text = text_of(told, keys[i][0]);

		if (text[0] == '\0')
			continue;
		json_object_set_new(l, keys[i][1], json_integer(strtoll(text, NULL, 10)));
		some = true;
	}
	return some;
}

static void
print_measures(const json_t *l)
{
	char a[VALUE_SIZE], b[VALUE_SIZE], c[VALUE_SIZE], d[VALUE_SIZE];

	printf("  rtt %s (least %s, varies by %s), loss %s\n", show(l, "rtt_us", COLUMN_US, a),
	    show(l, "rtt_min_us", COLUMN_US, b), show(l, "rtt_var_us", COLUMN_US, c),
	    show(l, "loss_ppm", COLUMN_PPM, d));
	if (number(l, "bandwidth_kbps") != 0)
		printf("  bandwidth %s, %s used; ", show(l, "bandwidth_kbps", COLUMN_KBPS, a),
		    show(l, "utilization_permille", COLUMN_PERMILLE, b));
	else
		printf("  bandwidth not measured yet; ");
	printf("cost %s", show(l, "cost", COLUMN_COUNT, c));
	if (number(l, "weight") != 0)
		printf(" with the %s that an operator set", show(l, "weight", COLUMN_COUNT, d));
	putchar('\n');
	if (number(l, "told_rtt_us") != 0)
		printf("  members were told rtt %s\n", show(l, "told_rtt_us", COLUMN_US, a));
	if (number(l, "told_bandwidth_kbps") != 0)
		printf("  members were told bandwidth %s\n", show(l, "told_bandwidth_kbps", COLUMN_KBPS, b));
}

static void
print_traffic(const json_t *l)
{
	char a[VALUE_SIZE], b[VALUE_SIZE], c[VALUE_SIZE], d[VALUE_SIZE];

	printf("  sent %s in %s frames, received %s in %s\n", show(l, "tx_bytes", COLUMN_BYTES, a),
	    show(l, "tx_frames", COLUMN_COUNT, b), show(l, "rx_bytes", COLUMN_BYTES, c),
	    show(l, "rx_frames", COLUMN_COUNT, d));
	printf("  queued %s, dropped %s frames", show(l, "queued_bytes", COLUMN_BYTES, a),
	    show(l, "dropped_frames", COLUMN_COUNT, b));
	if (number(l, "memory_max_bytes") != 0)
		printf("; memory %s of at most %s", show(l, "memory_bytes", COLUMN_BYTES, c),
		    show(l, "memory_max_bytes", COLUMN_BYTES, d));
	putchar('\n');
}

static void
print_table(const struct ctl *ctl, const json_t *links, const char *none)
{
	static const struct column columns[] = {{"FROM", "source_name", COLUMN_TEXT},
	    {"TO", "target_name", COLUMN_TEXT}, {"STATUS", "status", COLUMN_STATE},
	    {"RTT", "rtt_us", COLUMN_US}, {"LOSS", "loss_ppm", COLUMN_PPM},
	    {"BANDWIDTH", "bandwidth_kbps", COLUMN_KBPS}, {"USED", "utilization_permille", COLUMN_PERMILLE},
	    {"COST", "cost", COLUMN_COUNT}, {"ADDRESS", "address", COLUMN_TEXT}};

	out_table(ctl, columns, COUNT(columns), links, none);
}

/* Links of others, with what the members were told of them. */
static void
print_told(const struct ctl *ctl, const json_t *links)
{
	static const struct column columns[] = {{"FROM", "source_name", COLUMN_TEXT},
	    {"TO", "target_name", COLUMN_TEXT}, {"STATUS", "status", COLUMN_STATE},
	    {"RTT", "rtt_us", COLUMN_US}, {"TOLD", "told_rtt_us", COLUMN_US},
	    {"LOSS", "loss_ppm", COLUMN_PPM}, {"BANDWIDTH", "bandwidth_kbps", COLUMN_KBPS},
	    {"TOLD", "told_bandwidth_kbps", COLUMN_KBPS}, {"USED", "utilization_permille", COLUMN_PERMILLE},
	    {"COST", "cost", COLUMN_COUNT}};

	out_table(ctl, columns, COUNT(columns), links, "");
}

/* This node's links one by one, then the others as without -v. */
static void
print_verbose(const struct ctl *ctl, const json_t *links)
{
	json_t *others = json_array(), *l;
	bool told = false;
	size_t i;

	json_array_foreach (links, i, l) {
		bool differs = add_told(l);

		if (json_object_get(l, "lanes") == NULL) {
			json_array_append(others, l);
			told |= differs;
			continue;
		}
		print_head(ctl, l);
		print_measures(l);
		print_traffic(l);
		print_lanes(ctl, json_object_get(l, "lanes"));
		putchar('\n');
	}
	if (told)
		print_told(ctl, others);
	else if (json_array_size(others) > 0 || json_array_size(links) == 0)
		print_table(ctl, others, "no link is up");
	json_decref(others);
}

int
cmd_links(struct ctl *ctl, const struct args *a)
{
	json_t *o;
	int code = fetch(ctl, "/mesh.v1.MeshService/GetMeshStatus", NULL, api_json_mesh_status, &o);

	if (code != CODE_OK)
		return code;
	if (args_flag(a, "verbose") && !ctl->json)
		print_verbose(ctl, json_object_get(o, "links"));
	else
		print_table(ctl, json_object_get(o, "links"), "no link is up");
	json_decref(o);
	return code;
}
