/*
 * dial: what tests of dialling need beside the rig: waiting for links and for the log, fake servers.
 */
#ifndef TESTS_RIG_DIAL_H
#define TESTS_RIG_DIAL_H

#include "tests/rig/transport.h"
#include "tests/unit/unit.h"

/* --- what is asserted --- */

static inline bool
linked_to(void *arg)
{
	struct rig_node **pair = arg;

	return rig_has_link(pair[0], pair[1]->id) && rig_has_link(pair[1], pair[0]->id);
}

/* Milliseconds until the link is there. */
static inline int64_t
wait_link(struct rig_node *a, struct rig_node *b)
{
	struct rig_node *pair[2] = {a, b};
	int64_t t0 = clock_mono().us;

	assert_true(rig_wait(a->rig, linked_to, pair, RIG_WAIT_MS));
	return (clock_mono().us - t0) / 1000;
}

struct log_wait {
	struct rig_node *n;
	const char *text;
};

static inline bool
file_has(const char *path, const char *text)
{
	char *line = NULL;
	size_t size = 0;
	bool found = false;
	FILE *f = fopen(path, "r");

	while (f != NULL && !found && getline(&line, &size, f) != -1)
		found = strstr(line, text) != NULL;
	free(line);
	if (f != NULL)
		fclose(f);
	return found;
}

static inline bool
has_logged(void *arg)
{
	struct log_wait *w = arg;
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/transportd.log", w->n->dir);
	return file_has(path, w->text);
}

static inline void
wait_log(struct rig_node *n, const char *text)
{
	struct log_wait w = {n, text};

	if (!rig_wait(n->rig, has_logged, &w, RIG_WAIT_MS))
		fail_msg("not logged: %s", text);
}

/* --- helpers on sockets --- */

static inline int
listen_on(int family, uint16_t *port, int backlog)
{
	struct sockaddr_storage ss = {.ss_family = (sa_family_t)family};
	socklen_t len = family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (family == AF_INET)
		((struct sockaddr_in *)&ss)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	else
		((struct sockaddr_in6 *)&ss)->sin6_addr = in6addr_loopback;
	assert_int_equal(bind(fd, (struct sockaddr *)&ss, len), 0);
	assert_int_equal(listen(fd, backlog), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&ss, &len), 0);
	*port = ntohs(((struct sockaddr_in *)&ss)->sin_port); /* at the same place in both */
	return fd;
}

static inline pid_t
in_child(void (*fn)(int fd, const void *arg), int fd, const void *arg)
{
	pid_t pid = fork();

	assert_int_not_equal(pid, -1);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		fn(fd, arg);
		_exit(0);
	}
	close(fd);
	return pid;
}

static inline void
end_child(pid_t pid)
{
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static inline void
put_file(const struct rig_node *n, const char *name, const char *text)
{
	char path[PATH_MAX];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", n->dir, name);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	assert_int_equal(chmod(path, 0600), 0);
}

/* A certificate for the server in front of a peer. */
static inline void
issue_front(struct rig_node *n, X509 *ca, EVP_PKEY *ca_key, const char *san)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *x = rig_cert(key, "front", san, ca, ca_key, 86400);

	rig_pem(n->dir, "front.crt", x, NULL);
	rig_pem(n->dir, "front.key", NULL, key);
	X509_free(x);
	EVP_PKEY_free(key);
}

#endif
