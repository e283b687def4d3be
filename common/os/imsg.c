/* imsg: the queue as a whole, and its reading side; see imsg.h. */
#include "common/os/imsg.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/os/imsg_out.h"

struct header { /* in host order, as it lies in the stream */
	uint32_t type;
	uint32_t len; /* with the header; IMSG_LEN_FD set when a descriptor comes with it */
	uint32_t peerid;
	uint32_t pid;
};

_Static_assert(sizeof(struct header) == IMSG_HDR_BYTES, "header layout");

#define IMSG_LEN_FD 0x80000000u

struct imsg_queue {
	int fd;
	uint32_t pid;
	size_t high;
	size_t body_max;
	struct imsg_out out;
	uint8_t *in; /* bytes rpos to wpos are unread */
	size_t in_cap, rpos, wpos;
	int fds[IMSG_FDS_MAX]; /* received, oldest first */
	size_t fd_count;
};

struct imsg_queue *
imsg_queue_new(int fd, size_t high_bytes)
{
	struct imsg_queue *q = mem_calloc(1, sizeof(*q));

	if (q == NULL)
		return NULL;
	q->fd = fd;
	q->pid = (uint32_t)getpid();
	q->high = high_bytes;
	q->body_max = IMSG_BODY_MAX_BYTES;
	imsg_out_init(&q->out);
	return q;
}

void
imsg_queue_free(struct imsg_queue *q)
{
	if (q == NULL)
		return;
	imsg_out_fini(&q->out);
	for (size_t i = 0; i < q->fd_count; i++)
		close(q->fds[i]);
	mem_free(q->in);
	mem_free(q);
}

void
imsg_limit(struct imsg_queue *q, size_t body_max_bytes)
{
	q->body_max = body_max_bytes < IMSG_BODY_MAX_BYTES ? body_max_bytes : IMSG_BODY_MAX_BYTES;
}

int
imsg_push(
    struct imsg_queue *q, uint32_t type, uint32_t peerid, int fd, const struct iovec *iov, int iov_count)
{
	struct header h = {.type = type, .peerid = peerid, .pid = q->pid};
	size_t body = 0;
	int r;

	for (int i = 0; i < iov_count; i++) {
		if (iov[i].iov_len > IMSG_BODY_MAX_BYTES - body)
			return ERR_LIMIT;
		body += iov[i].iov_len;
	}
	h.len = (uint32_t)(IMSG_HDR_BYTES + body) | (fd != -1 ? IMSG_LEN_FD : 0);
	r = imsg_out_reserve(&q->out, IMSG_HDR_BYTES + body);
	if (r == 0 && fd != -1)
		r = imsg_out_fd(&q->out, fd);
	if (r != 0)
		return r;
	imsg_out_put(&q->out, &h, sizeof(h));
	for (int i = 0; i < iov_count; i++)
		imsg_out_put(&q->out, iov[i].iov_base, iov[i].iov_len);
	return 0;
}

int
imsg_flush(struct imsg_queue *q)
{
	return imsg_out_flush(&q->out, q->fd);
}

size_t
imsg_queued_bytes(const struct imsg_queue *q)
{
	return q->out.bytes;
}

bool
imsg_full(const struct imsg_queue *q)
{
	return q->out.bytes > q->high;
}

enum { IN_LEAST_BYTES = IMSG_CHUNK_BYTES / 4 }; /* worth a system call */

/* Room to read: first by moving what is unread to the front, then by doubling. */
static int
in_make_room(struct imsg_queue *q)
{
	size_t cap = q->in_cap == 0 ? IMSG_CHUNK_BYTES : q->in_cap * 2;
	uint8_t *p;

	if (q->rpos > 0 && q->in_cap - q->wpos < IN_LEAST_BYTES) {
		memmove(q->in, q->in + q->rpos, q->wpos - q->rpos);
		q->wpos -= q->rpos;
		q->rpos = 0;
	}
	if (q->in_cap - q->wpos >= IN_LEAST_BYTES)
		return 0;
	p = mem_reallocarray(q->in, cap, 1);
	if (p == NULL)
		return ERR_NOMEM;
	q->in = p;
	q->in_cap = cap;
	return 0;
}

/* After a large message: memory goes back to one chunk. */
static void
in_shrink(struct imsg_queue *q)
{
	if (q->rpos != q->wpos)
		return;
	q->rpos = q->wpos = 0;
	if (q->in_cap > 4 * IMSG_CHUNK_BYTES) {
		mem_free(q->in);
		q->in = NULL;
		q->in_cap = 0;
	}
}

static int
in_keep_fds(struct imsg_queue *q, struct msghdr *mh)
{
	int r = (mh->msg_flags & MSG_CTRUNC) ? ERR_FORMAT : 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(mh); c != NULL; c = CMSG_NXTHDR(mh, c)) {
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		int fd;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < n; i++) {
			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (q->fd_count < IMSG_FDS_MAX) {
				q->fds[q->fd_count++] = fd;
			} else {
				close(fd);
				r = ERR_FORMAT;
			}
		}
	}
	return r;
}

int
imsg_read(struct imsg_queue *q)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(IMSG_FDS_MAX * sizeof(int))];
	} control;
	struct iovec iov;
	struct msghdr mh = {
	    .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
	ssize_t n;

	if (in_make_room(q) != 0)
		return ERR_NOMEM;
	iov.iov_base = q->in + q->wpos;
	iov.iov_len = q->in_cap - q->wpos;
	do
		n = recvmsg(q->fd, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (n == -1 && errno == EINTR);
	if (n == -1)
		return errno == EAGAIN ? ERR_AGAIN : errno == ECONNRESET ? ERR_CLOSED : ERR_IO;
	if (n == 0)
		return ERR_CLOSED;
	q->wpos += (size_t)n;
	return in_keep_fds(q, &mh);
}

static int
in_take_fd(struct imsg_queue *q)
{
	int fd = q->fds[0];

	q->fd_count--;
	memmove(q->fds, q->fds + 1, q->fd_count * sizeof(q->fds[0]));
	return fd;
}

int
imsg_next(struct imsg_queue *q, struct imsg *m)
{
	struct header h;
	size_t len;

	if (q->wpos - q->rpos < IMSG_HDR_BYTES) {
		in_shrink(q);
		return 0;
	}
	memcpy(&h, q->in + q->rpos, sizeof(h));
	len = h.len & ~IMSG_LEN_FD;
	if (len < IMSG_HDR_BYTES)
		return ERR_FORMAT;
	if (len - IMSG_HDR_BYTES > q->body_max)
		return ERR_LIMIT;
	if (q->wpos - q->rpos < len)
		return 0;
	/* The kernel delivers a descriptor with the first byte it was sent with, so it is here by now. */
	if ((h.len & IMSG_LEN_FD) && q->fd_count == 0)
		return ERR_FORMAT;
	*m = (struct imsg){.type = h.type,
	    .peerid = h.peerid,
	    .pid = h.pid,
	    .body = q->in + q->rpos + IMSG_HDR_BYTES,
	    .len = len - IMSG_HDR_BYTES,
	    .fd = (h.len & IMSG_LEN_FD) ? in_take_fd(q) : -1};
	q->rpos += len;
	return 1;
}

void
imsg_done(struct imsg *m)
{
	if (m->fd != -1)
		close(m->fd);
	m->fd = -1;
	m->body = NULL;
	m->len = 0;
}
