/*
 * peer_race: the addresses of a peer race for the first connection to it.
 *
 * Names are looked up, what they give becomes candidates of core/eyeballs.h, and those are dialled when
 * it says so.  The race uses the peer's timer, whose handler calls peer_race_step() while it goes on.
 */
#ifndef TRANSPORTD_PEER_RACE_H
#define TRANSPORTD_PEER_RACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/must.h"
#include "transportd/peer.h"

/* Names that have to be looked up for a race. */
unsigned peer_race_names(const struct peer_conf *c);
/* Asks for the names; a step must follow. */
void peer_race_begin(struct peer *p);
/* Dials whom it is time to dial.  False: all have failed, the race is over; p->reason says why. */
bool peer_race_step(struct peer *p) MUST_USE;
/* An answer of the resolver: true if this race has waited for it, then a step must follow. */
bool peer_race_answer(struct peer *p, uint32_t query, const char ips[][PEER_IP_SIZE], size_t count) MUST_USE;
/* A connection of the race is gone; the timer brings the next. */
void peer_race_failed(struct peer *p, const char *why);
/* This one has won, and the race is over. */
void peer_race_won(struct peer *p, const struct dial_way *way);
/* The winner led to no link after all: the next time the others come first. */
void peer_race_bad(struct peer *p);
/* Nothing more is begun. */
void peer_race_end(struct peer *p);

#endif
