/*
 * link_upkeep: what a link needs now and then: missing lanes, more or fewer of them, measurements.
 */
#ifndef TRANSPORTD_LINK_UPKEEP_H
#define TRANSPORTD_LINK_UPKEEP_H

struct link;

/* Dials what is missing, if that is this side's to do; arms the timer. */
void link_upkeep(struct link *l);
/* The timer's. */
void link_tick(void *arg);
/* The peer can't dial and wants this lane. */
void link_wanted(struct link *l, unsigned lane);
/* Ends a link that has no lane. */
void link_down_if_empty(struct link *l, const char *reason);

#endif
