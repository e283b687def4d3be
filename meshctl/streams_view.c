/* streams_view: see streams_view.h. */
#include "meshctl/streams_view.h"

#include <stdio.h>
#include <string.h>

#include "meshctl/api_json.h"
#include "meshctl/command.h"
#include "meshctl/out.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

enum { VALUE_SIZE = 64 };

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

static const char *
show(const json_t *o, const char *key, enum column_kind kind, char buf[VALUE_SIZE])
{
	return out_format(kind, json_object_get(o, key), buf, VALUE_SIZE);
}

/* One word: what an operator did comes first, where the stream is open. */
static const char *
state_of(const json_t *s)
{
	const char *status = text_of(s, "status");

	if (strcmp(status, "open") != 0)
		return status;
	if (json_is_true(json_object_get(s, "paused")))
		return "paused";
	if (number(s, "limit_messages_per_s") != 0 || number(s, "limit_bytes_per_s") != 0)
		return "throttled";
	return status;
}

void
streams_view_table(const struct ctl *ctl, json_t *rows)
{
	static const struct column columns[] = {{"STREAM", "stream_id", COLUMN_TEXT},
	    {"TENANT", "tenant_id", COLUMN_TEXT}, {"ROLE", "role", COLUMN_TEXT},
	    {"STATE", "state", COLUMN_STATE}, {"WAITING", "backlog_messages", COLUMN_COUNT},
	    {"BYTES", "backlog_bytes", COLUMN_BYTES}, {"OLDEST", "oldest_ms", COLUMN_SPAN_MS},
	    {"IN/s", "messages_per_s", COLUMN_COUNT}, {"DONE/s", "processed_per_s", COLUMN_COUNT}};
	json_t *row;
	size_t i;

	if (!ctl->json)
		json_array_foreach (rows, i, row)
			json_object_set_new(row, "state", json_string(state_of(row)));
	out_table(ctl, columns, COUNT(columns), rows, "no stream");
}

/* --- one stream --- */

static void
print_head(const struct ctl *ctl, const json_t *s)
{
	char id[VALUE_SIZE], tenant[VALUE_SIZE], node[VALUE_SIZE], age[VALUE_SIZE];

	printf("%s%s%s  tenant %s, %s", ctl->color ? "\033[1m" : "", show(s, "stream_id", COLUMN_TEXT, id),
	    ctl->color ? "\033[0m" : "", show(s, "tenant_id", COLUMN_TEXT, tenant), state_of(s));
	if (strcmp(text_of(s, "role"), "source") == 0)
		printf(", from this node");
	else
		printf(", from node %s", show(s, "source_node", COLUMN_TEXT, node));
	if (strcmp(text_of(s, "handler"), "subscriber") != 0)
		printf(", handler %s", show(s, "handler", COLUMN_TEXT, node));
	else if (strcmp(text_of(s, "role"), "source") != 0)
		printf(", %s",
		    json_is_true(json_object_get(s, "subscribed")) ? "with a subscriber" : "no subscriber");
	printf("\n  opened %s ago, priority %lld", show(s, "created_at", COLUMN_AGE_MS, age),
	    (long long)number(s, "priority"));
	if (text_of(s, "qos")[0] != '\0')
		printf(", qos %s", show(s, "qos", COLUMN_TEXT, node));
	printf("%s\n", json_is_true(json_object_get(s, "striping")) ? ", striped" : "");
}

static void
print_offsets(const json_t *s)
{
	char bytes[VALUE_SIZE], age[VALUE_SIZE];

	printf("  next %lld, stored %lld, processed %lld", (long long)number(s, "next_seq"),
	    (long long)number(s, "stored_seq"), (long long)number(s, "committed_seq"));
	if (number(s, "backlog_messages") == 0)
		printf("; nothing waits\n");
	else
		printf("; %lld wait (%s), the oldest for %s\n", (long long)number(s, "backlog_messages"),
		    show(s, "backlog_bytes", COLUMN_BYTES, bytes), show(s, "oldest_ms", COLUMN_MS, age));
}

/* All behind it waits for it. */
static void
print_failed(const json_t *s)
{
	char error[1024];

	if (number(s, "failed_seq") == 0)
		return;
	out_format(COLUMN_TEXT, json_object_get(s, "failed_error"), error, sizeof(error));
	printf("  message %lld has failed %lld times, and is tried again: %s\n",
	    (long long)number(s, "failed_seq"), (long long)number(s, "failed_attempts"), error);
}

/* How much is kept for targets that are behind, and what was given up. */
static void
print_kept(const json_t *s)
{
	char bytes[VALUE_SIZE], age[VALUE_SIZE];

	if (number(s, "retention_bytes") != 0 || number(s, "retention_ms") != 0)
		printf("  keeps %s for %s, then: %s\n",
		    number(s, "retention_bytes") != 0 ? show(s, "retention_bytes", COLUMN_BYTES, bytes)
						      : "as much as it may",
		    number(s, "retention_ms") != 0 ? show(s, "retention_ms", COLUMN_SPAN_MS, age) : "ever",
		    text_of(s, "overflow"));
	if (number(s, "skipped_seq") != 0)
		printf("  given up, where it was not processed: up to %lld\n",
		    (long long)number(s, "skipped_seq"));
}

/* Targets know only the epoch. */
static void
print_ack(json_t *s)
{
	printf("  producer epoch %lld", (long long)number(s, "producer_epoch"));
	if (strcmp(text_of(s, "role"), "source") == 0) {
		api_json_ack_text(s);
		printf(", answered when %s: up to %lld", text_of(s, "ack_text"),
		    (long long)number(s, "answered_seq"));
	}
	putchar('\n');
	print_kept(s);
}

static void
print_traffic(const json_t *s)
{
	bool source = strcmp(text_of(s, "role"), "source") == 0;
	char rate[VALUE_SIZE], bytes[VALUE_SIZE];

	printf("  %s %lld/s (%s/s), processed %lld/s; %lld (%s) since the daemon was started\n",
	    source ? "published" : "received", (long long)number(s, "messages_per_s"),
	    show(s, "bytes_per_s", COLUMN_BYTES, rate), (long long)number(s, "processed_per_s"),
	    (long long)number(s, "messages"), show(s, "bytes", COLUMN_BYTES, bytes));
	if (number(s, "retransmits") != 0)
		printf("  %lld batches %s\n", (long long)number(s, "retransmits"),
		    source ? "sent again" : "came again");
}

static void
print_control(const json_t *s)
{
	json_int_t messages = number(s, "limit_messages_per_s"), bytes = number(s, "limit_bytes_per_s");
	char text[VALUE_SIZE], reason[2 * VALUE_SIZE];

	out_format(COLUMN_TEXT, json_object_get(s, "control_reason"), reason, sizeof(reason));
	if (json_is_true(json_object_get(s, "paused")))
		printf("  paused");
	else if (messages != 0 || bytes != 0)
		printf("  at most");
	else
		return;
	if (messages != 0)
		printf(" %lld messages/s", (long long)messages);
	if (bytes != 0)
		printf(" %s/s", show(s, "limit_bytes_per_s", COLUMN_BYTES, text));
	printf("%s%s\n", strcmp(reason, "-") != 0 ? ": " : "", strcmp(reason, "-") != 0 ? reason : "");
}

static void
print_targets(const struct ctl *ctl, const json_t *s)
{
	static const struct column columns[] = {{"  TARGET", "shown_id", COLUMN_TEXT},
	    {"STATE", "state", COLUMN_STATE}, {"STORED", "stored_seq", COLUMN_COUNT},
	    {"PROCESSED", "processed_seq", COLUMN_COUNT}, {"BEHIND", "lag_messages", COLUMN_COUNT},
	    {"OLDEST", "oldest_ms", COLUMN_SPAN_MS}, {"DONE/s", "processed_per_s", COLUMN_COUNT},
	    {"IN FLIGHT", "in_flight_bytes", COLUMN_BYTES}, {"TAKES", "window_bytes", COLUMN_BYTES},
	    {"RTT", "rtt_us", COLUMN_US}, {"AGAIN", "retransmits", COLUMN_COUNT}};
	json_t *targets = json_object_get(s, "targets"), *t;
	char id[VALUE_SIZE], error[4 * VALUE_SIZE];
	size_t i;

	if (json_array_size(targets) == 0)
		return;
	json_array_foreach (targets, i, t) {
		json_object_set_new(t, "shown_id", json_sprintf("  %s", text_of(t, "node_id")));
		if (number(t, "rtt_us") == 0)
			json_object_del(t, "rtt_us");
	}
	putchar('\n');
	out_table(ctl, columns, COUNT(columns), targets, "");
	json_array_foreach (targets, i, t) {
		if (text_of(t, "error")[0] == '\0')
			continue;
		out_format(COLUMN_TEXT, json_object_get(t, "error"), error, sizeof(error));
		printf("  %s: %s\n", show(t, "node_id", COLUMN_TEXT, id), error);
	}
}

void
streams_view_all(const struct ctl *ctl, json_t *rows)
{
	json_t *row;
	size_t i;

	if (ctl->json || json_array_size(rows) == 0) {
		streams_view_table(ctl, rows);
		return;
	}
	json_array_foreach (rows, i, row) {
		if (i > 0)
			putchar('\n');
		print_head(ctl, row);
		print_offsets(row);
		print_failed(row);
		print_ack(row);
		print_traffic(row);
		print_control(row);
		print_targets(ctl, row);
	}
}
