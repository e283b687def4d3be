#include "transportd/resolver.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/channel.h"
#include "common/os/log.h"
#include "proto/messages.h"

#define EDGE_DEF "proto/resolver.def"
#define EDGE_HANDLERS handlers
#include "proto/edge_client.h"

struct resolver {
	int fd; /* until the channel has it */
	pid_t pid;
	struct channel *ch;
	struct channel_conf conf;
	resolver_fn *fn;
	void *arg;
	uint32_t last_query;
	bool gone;
};

struct resolver *
resolver_new(const char *user)
{
	struct resolver *r = mem_calloc(1, sizeof(*r));
	int fds[2];

	if (r == NULL)
		return NULL;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == -1) {
		log_error("resolver: socketpair: %s", strerror(errno));
		mem_free(r);
		return NULL;
	}
	r->pid = fork();
	if (r->pid == 0)
		_exit(resolver_child_main(fds[1], user));
	close(fds[1]);
	r->fd = fds[0];
	if (r->pid == -1) {
		log_error("resolver: fork: %s", strerror(errno));
		resolver_free(r);
		return NULL;
	}
	return r;
}

static int
on_addresses(void *ctx, struct channel *ch, struct imsg *m)
{
	struct resolver *r = ctx;
	char ips[RESOLVED_MAX][PEER_IP_SIZE] = {{0}};
	uint8_t count;
	struct buf in;
	int err;

	(void)ch;
	buf_view(&in, m->body, m->len);
	if ((err = buf_get_u8(&in, &count)) != 0)
		return err;
	if (count > RESOLVED_MAX)
		return ERR_LIMIT;
	for (unsigned i = 0; i < count; i++)
		if ((err = buf_get_str8(&in, ips[i], PEER_IP_SIZE)) != 0)
			return err;
	if ((err = buf_end(&in)) != 0)
		return err;
	r->fn(r->arg, m->peerid, ips, count);
	return 0;
}

static int
on_up(void *ctx, struct channel *ch)
{
	(void)ctx;
	(void)ch;
	return 0;
}

static void
on_down(void *ctx, struct channel *ch, int err)
{
	((struct resolver *)ctx)->gone = true;
	(void)ch;
	log_error("the resolver process is gone (%s): peers with names can't be dialled until transportd "
		  "is restarted",
	    err_text(err));
}

int
resolver_start(struct resolver *r, struct loop *l, resolver_fn *fn, void *arg)
{
	r->fn = fn;
	r->arg = arg;
	r->conf = (struct channel_conf){
	    .edge = &edge_resolver,
	    .handlers = handlers,
	    .handler_count = sizeof(handlers) / sizeof(handlers[0]),
	    .on_up = on_up,
	    .on_down = on_down,
	    .ctx = r,
	};
	r->ch = channel_attach(l, r->fd, CHANNEL_CLIENT, "transportd", &r->conf);
	r->fd = -1;
	return r->ch == NULL ? ERR_NOMEM : 0;
}

void
resolver_free(struct resolver *r)
{
	if (r == NULL)
		return;
	channel_free(r->ch);
	if (r->fd != -1)
		close(r->fd);
	mem_free(r);
}

uint32_t
resolver_ask(struct resolver *r, const char *host)
{
	uint8_t mem[1 + 255];
	struct buf out;

	buf_init_fixed(&out, mem, sizeof(mem));
	if (buf_put_str8(&out, host) != 0)
		return 0;
	if (++r->last_query == 0)
		r->last_query = 1;
	if (channel_send(r->ch, RS_RESOLVE, r->last_query, mem, buf_left(&out)) != 0)
		return 0;
	return r->last_query;
}

bool
resolver_gone(const struct resolver *r)
{
	return r->gone;
}
