/* imsg_out: see imsg_out.h. */
#include "common/os/imsg_out.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/imsg.h"

struct imsg_chunk {
	struct imsg_chunk *next;
	size_t rpos, wpos;
	uint8_t data[IMSG_CHUNK_BYTES];
};

void
imsg_out_init(struct imsg_out *o)
{
	memset(o, 0, sizeof(*o));
}

void
imsg_out_fini(struct imsg_out *o)
{
	while (o->first != NULL) {
		struct imsg_chunk *c = o->first;

		o->first = c->next;
		mem_free(c);
	}
	mem_free(o->spare);
	for (size_t i = 0; i < o->fd_count; i++)
		close(o->fds[i].fd);
	mem_free(o->fds);
	imsg_out_init(o);
}

static struct imsg_chunk *
chunk_new(struct imsg_out *o)
{
	struct imsg_chunk *c = o->spare;

	o->spare = NULL;
	/* Not zeroed: 64 KiB a time would show in profiles, and what is not written is not sent. */
	if (c == NULL)
		c = mem_reallocarray(NULL, 1, sizeof(*c));
	if (c == NULL)
		return NULL;
	c->next = NULL;
	c->rpos = c->wpos = 0;
	return c;
}

static void
chunk_free(struct imsg_out *o, struct imsg_chunk *c)
{
	if (o->spare == NULL)
		o->spare = c;
	else
		mem_free(c);
}

/* The end of the chain, behind what was reserved earlier. */
static struct imsg_chunk **
chain_end(struct imsg_out *o)
{
	struct imsg_chunk **end = o->last != NULL ? &o->last->next : &o->first;

	while (*end != NULL)
		end = &(*end)->next;
	return end;
}

int
imsg_out_reserve(struct imsg_out *o, size_t n)
{
	struct imsg_chunk **end = chain_end(o);

	while (o->room < n) {
		struct imsg_chunk *c = chunk_new(o);

		/* What was added before stays, as room for the next message. */
		if (c == NULL)
			return ERR_NOMEM;
		*end = c;
		end = &c->next;
		o->room += IMSG_CHUNK_BYTES;
		if (o->last == NULL)
			o->last = c;
	}
	return 0;
}

int
imsg_out_fd(struct imsg_out *o, int fd)
{
	if (o->fd_count == o->fd_cap) {
		size_t cap = o->fd_cap == 0 ? 4 : o->fd_cap * 2;
		struct imsg_out_fd *p = mem_reallocarray(o->fds, cap, sizeof(*p));

		if (p == NULL)
			return ERR_NOMEM;
		o->fds = p;
		o->fd_cap = cap;
	}
	o->fds[o->fd_count++] = (struct imsg_out_fd){.at = o->sent + o->bytes, .fd = fd};
	return 0;
}

void
imsg_out_put(struct imsg_out *o, const void *data, size_t n)
{
	const uint8_t *p = data;

	MUST(n <= o->room);
	while (n > 0) {
		struct imsg_chunk *c = o->last;
		size_t part = IMSG_CHUNK_BYTES - c->wpos;

		if (part == 0) {
			o->last = c->next;
			continue;
		}
		if (part > n)
			part = n;
		memcpy(c->data + c->wpos, p, part);
		c->wpos += part;
		p += part;
		n -= part;
		o->bytes += part;
		o->room -= part;
	}
}

/* Takes n sent bytes off the front. */
static void
out_consume(struct imsg_out *o, size_t n)
{
	o->bytes -= n;
	o->sent += n;
	while (n > 0) {
		struct imsg_chunk *c = o->first;
		size_t part = c->wpos - c->rpos < n ? c->wpos - c->rpos : n;

		c->rpos += part;
		n -= part;
		if (c->rpos < c->wpos)
			continue;
		if (c == o->last) { /* empty: use it again from its start */
			o->room += c->wpos;
			c->rpos = c->wpos = 0;
			continue;
		}
		o->first = c->next;
		chunk_free(o, c);
	}
}

/* The next bytes to write, at most limit of them. */
static int
out_gather(const struct imsg_out *o, struct iovec *iov, size_t limit)
{
	int count = 0;

	for (struct imsg_chunk *c = o->first; c != NULL && count < IMSG_IOV_MAX && limit > 0; c = c->next) {
		size_t n = c->wpos - c->rpos < limit ? c->wpos - c->rpos : limit;

		if (n == 0)
			break;
		iov[count++] = (struct iovec){.iov_base = c->data + c->rpos, .iov_len = n};
		limit -= n;
	}
	return count;
}

/* Bytes up to the next descriptor but the one that goes with the first byte. */
static size_t
out_limit(const struct imsg_out *o, bool with_fd)
{
	size_t next = with_fd ? 1 : 0;

	return o->fd_count > next ? (size_t)(o->fds[next].at - o->sent) : o->bytes;
}

static void
out_attach(struct msghdr *mh, void *control, size_t size, int fd)
{
	struct cmsghdr *c;

	memset(control, 0, size);
	mh->msg_control = control;
	mh->msg_controllen = size;
	c = CMSG_FIRSTHDR(mh);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(int));
}

/* One sendmsg(2).  0 or its error. */
static int
out_write(struct imsg_out *o, int sock)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov[IMSG_IOV_MAX];
	struct msghdr mh = {.msg_iov = iov};
	bool with_fd = o->fd_count > 0 && o->fds[0].at == o->sent;
	ssize_t n;

	mh.msg_iovlen = (size_t)out_gather(o, iov, out_limit(o, with_fd));
	if (with_fd)
		out_attach(&mh, &control, sizeof(control), o->fds[0].fd);
	do
		n = sendmsg(sock, &mh, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n == -1 && errno == EINTR);
	if (n == -1)
		return errno == EAGAIN                         ? ERR_AGAIN
		       : errno == EPIPE || errno == ECONNRESET ? ERR_CLOSED
							       : ERR_IO;
	if (with_fd) { /* went with the first byte, however few were taken */
		close(o->fds[0].fd);
		o->fd_count--;
		memmove(o->fds, o->fds + 1, o->fd_count * sizeof(o->fds[0]));
	}
	out_consume(o, (size_t)n);
	return 0;
}

int
imsg_out_flush(struct imsg_out *o, int sock)
{
	while (o->bytes > 0) {
		int r = out_write(o, sock);

		if (r != 0)
			return r;
	}
	return 0;
}
