#include "transportd/peer_conf.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/base64.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/id.h"
#include "common/os/conf.h"
#include "common/os/daemon.h"
#include "common/os/log.h"
#include "transportd/tls_dial.h"

enum { DIRS_MAX = 8, PATH_SIZE = 4096, SECRET_SIZE = (PROXY_AUTH_SIZE - 1) / 4 * 3 };

static const char *
str(const struct conf *c, size_t i, const char *key)
{
	return conf_block_str(c, "transportd", "peer", i, key);
}

/* The configuration has checked the form: host:port or [v6]:port. */
static void
address_read(struct peer_address *a, const char *text)
{
	const char *colon = strrchr(text, ':');
	size_t len = colon != NULL ? (size_t)(colon - text) : strlen(text);
	struct in6_addr ip;

	a->port = colon != NULL ? (uint16_t)strtoul(colon + 1, NULL, 10) : 0;
	if (len >= 2 && text[0] == '[' && text[len - 1] == ']') {
		text++;
		len -= 2;
	}
	snprintf(a->host, sizeof(a->host), "%.*s", (int)len, text);
	a->numeric = inet_pton(AF_INET, a->host, &ip) == 1 || inet_pton(AF_INET6, a->host, &ip) == 1;
}

/* --- the proxy's password --- */

/* One line "user:password".  What is wrong, or NULL. */
static const char *
secret_check(char *line)
{
	line[strcspn(line, "\r\n")] = '\0';
	if (strchr(line, ':') == NULL)
		return "must hold user:password in one line";
	for (const char *p = line; *p != '\0'; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			return "holds control characters";
	return NULL;
}

static const char *
secret_encode(const char *line, char out[PROXY_AUTH_SIZE])
{
	struct buf b;

	buf_init_fixed(&b, out, PROXY_AUTH_SIZE - 1);
	if (base64_encode(&b, BASE64_STD, line, strlen(line)) != 0)
		return "is too long";
	out[buf_left(&b)] = '\0';
	return NULL;
}

static const char *
secret_read(FILE *f, char out[PROXY_AUTH_SIZE])
{
	char line[SECRET_SIZE + 2] = "";
	const char *wrong = "is empty";

	if (fgets(line, sizeof(line), f) != NULL)
		wrong = strlen(line) > SECRET_SIZE ? "is too long" : secret_check(line);
	if (wrong == NULL)
		wrong = secret_encode(line, out);
	explicit_bzero(line, sizeof(line));
	return wrong;
}

static void
auth_read(struct peer_conf *out, const char *path, const struct peer_conf *old)
{
	FILE *f = fopen(path, "re");
	const char *wrong;
	struct stat st;

	if (f == NULL) {
		log_error(
		    "proxy-auth: %s: %s (transportd's user must be able to read it; a directory that is "
		    "new in mesh.conf needs a restart)",
		    path, strerror(errno));
	} else {
		/* The line must not stay in a buffer of stdio's. */
		setvbuf(f, NULL, _IONBF, 0);
		if (fstat(fileno(f), &st) == 0 && (st.st_mode & 0007) != 0)
			log_warn("proxy-auth: %s: other users may read this password; chmod 600 it", path);
		wrong = secret_read(f, out->proxy_auth);
		fclose(f);
		if (wrong == NULL)
			return;
		log_error("proxy-auth: %s: %s", path, wrong);
	}
	memset(out->proxy_auth, 0, sizeof(out->proxy_auth));
	if (old != NULL)
		memcpy(out->proxy_auth, old->proxy_auth, sizeof(out->proxy_auth));
}

/* --- blocks --- */

static void
addresses_read(struct peer_conf *out, const struct conf *c, size_t i)
{
	size_t count = conf_block_values(c, "transportd", "peer", i, "address");

	if (count > PEER_ADDRESSES_MAX) {
		log_warn("peer %s: only the first %d addresses are used",
		    conf_block_name(c, "transportd", "peer", i), PEER_ADDRESSES_MAX);
		count = PEER_ADDRESSES_MAX;
	}
	for (size_t n = 0; n < count; n++)
		address_read(&out->addresses[n], conf_block_item(c, "transportd", "peer", i, "address", n));
	out->address_count = count;
}

static void
text_read(char out[PEER_HOST_SIZE], const char *text)
{
	if (text != NULL)
		snprintf(out, PEER_HOST_SIZE, "%s", text);
}

void
peer_conf_read(struct peer_conf *out, const struct conf *c, size_t i, const struct peer_conf *old)
{
	const char *id = str(c, i, "node-id"), *proxy = str(c, i, "proxy"), *auth = str(c, i, "proxy-auth");

	memset(out, 0, sizeof(*out));
	if (id != NULL && nodeid_parse(id, &out->node) != 0)
		out->node = 0;
	addresses_read(out, c, i);
	out->via_proxy = proxy != NULL;
	if (proxy != NULL)
		address_read(&out->proxy, proxy);
	if (auth != NULL)
		auth_read(out, auth, old);
	text_read(out->sni, str(c, i, "sni"));
	text_read(out->host, str(c, i, "host"));
	out->token = strcmp(str(c, i, "admission"), "token") == 0;
}

static bool
same_address(const struct peer_address *a, const struct peer_address *b)
{
	return strcmp(a->host, b->host) == 0 && a->port == b->port;
}

bool
peer_conf_same(const struct peer_conf *a, const struct peer_conf *b)
{
	for (size_t i = 0; i < PEER_ADDRESSES_MAX; i++)
		if (!same_address(&a->addresses[i], &b->addresses[i]))
			return false;
	return a->node == b->node && a->via_proxy == b->via_proxy && same_address(&a->proxy, &b->proxy) &&
	       strcmp(a->proxy_auth, b->proxy_auth) == 0 && strcmp(a->sni, b->sni) == 0 &&
	       strcmp(a->host, b->host) == 0 && a->token == b->token;
}

void *
peer_conf_authorities(const struct conf *c, size_t i, bool *failed)
{
	const char *path = str(c, i, "server-ca");
	void *authorities = path != NULL ? tls_authorities_read(path) : NULL;

	*failed = path != NULL && authorities == NULL;
	return authorities;
}

/* --- sandbox --- */

/* The sandbox borrows the names until it is entered. */
static char dirs[DIRS_MAX][PATH_SIZE];

static int
allow_dir(struct daemon *d, const char *path)
{
	char copy[PATH_SIZE];
	const char *dir;
	size_t n = 0;

	if (path == NULL)
		return 0;
	snprintf(copy, sizeof(copy), "%s", path);
	dir = dirname(copy);
	while (n < DIRS_MAX && dirs[n][0] != '\0' && strcmp(dirs[n], dir) != 0)
		n++;
	if (n == DIRS_MAX) {
		log_error(
		    "the files of peers' proxy-auth and server-ca are in more than %d directories", DIRS_MAX);
		return ERR_LIMIT;
	}
	if (dirs[n][0] != '\0')
		return 0;
	snprintf(dirs[n], sizeof(dirs[n]), "%s", dir);
	return sandbox_allow_path(&d->sandbox, dirs[n], SANDBOX_READ);
}

int
peer_conf_allow(struct daemon *d)
{
	size_t count = conf_block_count(d->conf, "transportd", "peer");
	int err = 0;

	for (size_t i = 0; i < count && err == 0; i++) {
		err = allow_dir(d, str(d->conf, i, "proxy-auth"));
		if (err == 0)
			err = allow_dir(d, str(d->conf, i, "server-ca"));
	}
	return err;
}
