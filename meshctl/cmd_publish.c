/* cmd_publish: `meshctl open` and `publish`. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "meshctl/api_json.h"
#include "meshctl/args.h"
#include "meshctl/command.h"
#include "meshctl/handlers.h"
#include "meshctl/out.h"
#include "meshctl/publisher.h"
#include "meshctl/row_message.h"
#include "meshctl/source.h"
#include "meshctl/stream_open.h"

enum { MADE_BYTES = 256, COUNT_MAX = 1000000000, RATE_MAX = 10000000 };

const struct option_def cmd_open_options[] = {
    STREAM_OPEN_OPTIONS,
    {NULL, 0, NULL, NULL},
};

const struct option_def cmd_publish_options[] = {
    STREAM_OPEN_OPTIONS,
    ROW_MESSAGE_OPTIONS,
    {"file", 'f', "FILE", "publish a file in pieces (with --lines: its lines); - is standard input"},
    {"lines", 'l', NULL, "each line is a message"},
    {"piece", 0, "SIZE", "size of the pieces of a file (default 64KB)"},
    {"count", 'n', "N", "publish N made-up messages"},
    {"size", 0, "SIZE", "size of made-up messages (default 256)"},
    {"digest", 0, NULL, "send the BLAKE2b-256 of each message: it is checked, and handed to the subscriber"},
    {"epoch", 0, "N", "the producer epoch that open --fence gave: ends when another one has begun"},
    {"rate", 'r', "N", "at most N messages a second"},
    {"window", 'w', "N", "messages that may wait for their answer (default 4096)"},
    {"retry", 0, "DURATION", "go on when the node went away and comes back within this time"},
    {"results", 0, NULL, "print a line for each message that was answered, and what that says"},
    {"progress", 'p', NULL, "show progress, also where standard error is no terminal"},
    {NULL, 0, NULL, NULL},
};

/* What an answer says, by the stream's level of acknowledgement. */
static const struct reached {
	const char *ack, *word, *title;
} reached[] = {
    {"all", "processed", "Processed"},
    {"quorum", "processed", "Processed"},
    {"committed", "committed", "Committed"},
    {"accepted", "accepted", "Accepted"},
    /* A level of another version. */
    {NULL, "answered", "Answered"},
};

struct publish {
	const struct ctl *ctl;
	const char *stream_id;
	const struct reached *reached;
	bool progress, terminal;
};

static const struct column handle_columns[] = {{"Stream", "stream_id", COLUMN_TEXT},
    {"Tenant", "tenant_id", COLUMN_TEXT}, {"Targets", "target_nodes", COLUMN_LIST},
    {"Status", "status", COLUMN_STATE}, {"Next", "next_seq", COLUMN_COUNT},
    {"Processed", "committed_seq", COLUMN_COUNT}, {"Answered", "ack_text", COLUMN_TEXT},
    {"Epoch", "producer_epoch", COLUMN_COUNT}};

static const struct reached *
reached_of(const json_t *handle)
{
	const char *ack = json_string_value(json_object_get(handle, "ack"));
	const struct reached *r = reached;

	while (r->ack != NULL && (ack == NULL || strcmp(r->ack, ack) != 0))
		r++;
	return r;
}

int
cmd_open(struct ctl *ctl, const struct args *a)
{
	json_t *handle;
	int code = stream_open(ctl, a, 0, &handle);

	if (code == CODE_OK && !ctl->json)
		api_json_ack_text(handle);
	if (code == CODE_OK)
		out_fields(ctl, handle_columns, sizeof(handle_columns) / sizeof(handle_columns[0]), handle);
	json_decref(handle);
	return code;
}

static int
open_input(const char *file, int *fd)
{
	*fd = strcmp(file, "-") == 0 ? STDIN_FILENO : open(file, O_RDONLY | O_CLOEXEC);
	if (*fd >= 0)
		return CODE_OK;
	out_error("%s: %s", file, strerror(errno));
	return CODE_NOTFOUND;
}

/* Words; else made-up messages; else a file in pieces or lines (as rows always are); else the lines of
 * standard input. */
static int
source_of(const struct args *a, struct source **out)
{
	struct source_conf conf = {.kind = SOURCE_WORDS, .words = a->words, .count = a->word_count, .fd = -1};
	const char *file = args_str(a, "file", NULL);
	bool rows = args_str(a, "db", NULL) != NULL;
	int64_t count, size, piece;
	int code = CODE_OK;

	if (args_int(a, "count", 0, 1, COUNT_MAX, &count) != 0 ||
	    args_size(a, "size", MADE_BYTES, &size) != 0 ||
	    args_size(a, "piece", SOURCE_PIECE_BYTES, &piece) != 0)
		return CODE_USAGE;
	if ((a->word_count > 0) + (count > 0) + (file != NULL) > 1) {
		out_error("messages, --count and --file exclude each other");
		return CODE_USAGE;
	}
	if (size > SOURCE_MESSAGE_MAX_BYTES || piece > SOURCE_MESSAGE_MAX_BYTES) {
		out_error("a message has at most %d bytes", SOURCE_MESSAGE_MAX_BYTES);
		return CODE_USAGE;
	}
	if (count > 0 && rows) {
		out_error("--count: made-up messages are no rows for --db");
		return CODE_USAGE;
	}
	if (count > 0) {
		conf.kind = SOURCE_MADE;
		conf.count = (uint64_t)count;
		conf.piece_bytes = (size_t)size;
	} else if (a->word_count == 0) {
		conf.kind = file == NULL || rows || args_flag(a, "lines") ? SOURCE_LINES : SOURCE_PIECES;
		conf.piece_bytes = (size_t)piece;
		code = open_input(file != NULL ? file : "-", &conf.fd);
	}
	if (code != CODE_OK)
		return code;
	*out = source_new(&conf);
	return *out != NULL ? CODE_OK : CODE_FAILED;
}

static double
per_second(const struct publisher_stats *s)
{
	return s->elapsed_us > 0 ? (double)s->answered * 1e6 / (double)s->elapsed_us : 0;
}

static void
on_progress(void *arg, const struct publisher *pub)
{
	const struct publish *p = arg;
	const struct publisher_stats *s = publisher_stats(pub);

	if (!p->progress)
		return;
	fprintf(stderr, "%ssent %llu  %s %llu  (%.0f/s)%s%s", p->terminal ? "\r" : "",
	    (unsigned long long)s->sent, p->reached->word, (unsigned long long)s->answered, per_second(s),
	    s->reconnects > 0 ? "  reconnected" : "", p->terminal ? "   " : "\n");
}

static void
on_result(void *arg, uint64_t seq, int64_t latency_us)
{
	const struct publish *p = arg;

	if (p->ctl->json)
		printf("{\"stream_id\":\"%s\",\"seq\":%llu,\"latency_us\":%lld}\n", p->stream_id,
		    (unsigned long long)seq, (long long)latency_us);
	else
		printf("%llu %s after %.2f ms\n", (unsigned long long)seq, p->reached->word,
		    (double)latency_us / 1000);
}

static void
summary(const struct publish *p, struct publisher_stats *s, const json_t *handle)
{
	const struct column columns[] = {{"Stream", "stream_id", COLUMN_TEXT},
	    {p->reached->title, p->reached->word, COLUMN_COUNT}, {"Level", "ack_text", COLUMN_TEXT},
	    {"Bytes", "bytes", COLUMN_BYTES}, {"Time", "elapsed_ms", COLUMN_MS},
	    {"Rate", "messages_per_second", COLUMN_COUNT}, {"Latency p50", "latency_p50_us", COLUMN_US},
	    {"Latency p99", "latency_p99_us", COLUMN_US}, {"Reconnects", "reconnects", COLUMN_COUNT}};
	json_t *o = json_pack("{s:O, s:O, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "stream_id",
	    json_object_get(handle, "stream_id"), "first_seq", json_object_get(handle, "next_seq"), "sent",
	    (json_int_t)s->sent, p->reached->word, (json_int_t)s->answered, "bytes", (json_int_t)s->bytes,
	    "elapsed_ms", (json_int_t)s->elapsed_us / 1000, "messages_per_second", (json_int_t)per_second(s),
	    "latency_p50_us", (json_int_t)samples_get(&s->latency, 500), "latency_p99_us",
	    (json_int_t)samples_get(&s->latency, 990), "reconnects", (json_int_t)s->reconnects);

	json_object_set(o, "ack", json_object_get(handle, "ack"));
	json_object_set(o, "ack_quorum", json_object_get(handle, "ack_quorum"));
	if (!p->ctl->json)
		api_json_ack_text(o);
	if (p->progress && p->terminal)
		fputc('\n', stderr);
	out_fields(p->ctl, columns, sizeof(columns) / sizeof(columns[0]), o);
	json_decref(o);
}

static int
publish(struct ctl *ctl, const struct args *a, struct publisher_conf *conf, const json_t *handle)
{
	struct publish p = {.ctl = ctl, .terminal = isatty(STDERR_FILENO)};
	struct publisher_stats stats;
	int code;

	p.reached = reached_of(handle);
	p.progress = p.terminal || args_flag(a, "progress");
	p.stream_id = conf->stream_id = json_string_value(json_object_get(handle, "stream_id"));
	conf->tenant = json_string_value(json_object_get(handle, "tenant_id"));
	conf->next_seq = (uint64_t)json_integer_value(json_object_get(handle, "next_seq"));
	conf->on_progress = on_progress;
	conf->on_result = args_flag(a, "results") ? on_result : NULL;
	conf->arg = &p;
	code = publisher_run(conf, &stats);
	summary(&p, &stats, handle);
	samples_fini(&stats.latency);
	return code;
}

int
cmd_publish(struct ctl *ctl, const struct args *a)
{
	struct publisher_conf conf = {.ctl = ctl};
	struct row_message row;
	json_t *handle = NULL;
	int64_t epoch;
	int code;

	if (args_int(a, "epoch", 0, 1, INT64_MAX, &epoch) != 0 ||
	    args_int(a, "rate", 0, 1, RATE_MAX, &conf.rate) != 0 ||
	    args_int(a, "window", PUBLISHER_WINDOW_DEFAULT, 1, PUBLISHER_WINDOW_MAX, &conf.window) != 0 ||
	    args_duration_ms(a, "retry", 0, &conf.retry_ms) != 0)
		return CODE_USAGE;
	code = row_message_init(&row, a);
	if (row.table != NULL) {
		conf.make = row_message_make;
		conf.make_arg = &row;
	}
	if (code == CODE_OK)
		code = source_of(a, &conf.source);
	if (code == CODE_OK)
		code = stream_open(ctl, a, conf.retry_ms, &handle);
	conf.epoch = (uint64_t)epoch;
	conf.digest = args_flag(a, "digest");
	if (code == CODE_OK && epoch == 0 && args_flag(a, "fence"))
		conf.epoch = (uint64_t)json_integer_value(json_object_get(handle, "producer_epoch"));
	if (code == CODE_OK)
		code = publish(ctl, a, &conf, handle);
	json_decref(handle);
	source_free(conf.source);
	row_message_fini(&row);
	return code;
}
