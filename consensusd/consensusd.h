/*
 * consensusd: the daemon's life, for main.c: what is opened before the sandbox, what is started in it,
 * what a reload changes, and the end.
 */
#ifndef CONSENSUSD_CONSENSUSD_H
#define CONSENSUSD_CONSENSUSD_H

struct conf;
struct daemon;

/* Keyring, migrations and witness, which the user that it runs as may not be able to reach later. */
int consensusd_open(struct daemon *d);
/* Store, siblings, API. */
int consensusd_start(struct daemon *d);
void consensusd_configure(struct daemon *d, const struct conf *fresh);
void consensusd_reload(struct daemon *d, const struct conf *fresh);
void consensusd_fini(struct daemon *d);

#endif
