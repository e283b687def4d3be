/*
 * cost: what a link costs a path of a traffic class.
 *
 *	cost = a latency + b / bandwidth + g utilisation + d loss + e hops, and the operator's weight
 *
 * All terms are brought to microseconds, so that they add up along a path; all arithmetic is of
 * integers, so that all machines find the same paths.  The coefficients are per cent of the scale
 * below.  Latency, bandwidth, loss and utilisation count in steps, so that noise moves no path:
 *
 *	latency      one way, in steps of COST_STEP_US
 *	bandwidth    the time that COST_CHUNK_BITS take; unknown: as COST_UNKNOWN_KBPS, so that a link that
 *	             was not measured yet is neither sought nor shunned
 *	loss         -ln(1 - p) x COST_LOSS_US, which adds up as the losses of independent links multiply
 *	utilisation  from COST_BUSY_PERMILLE on, up to COST_BUSY_PERCENT of the terms above for a full link:
 *	             in proportion to them and less than the hysteresis of paths, so that load moves shares
 *	             between paths, but does not chase the best path to and fro (Khanna & Zinky 1989)
 *	hops         COST_HOP_US each
 *	weight       COST_WEIGHT_US for each unit, in every class
 *
 * Never 0, at most COST_MAX, so that the sum over PATH_HOPS_MAX hops fits 32 bits.
 */
#ifndef ROUTERD_CORE_COST_H
#define ROUTERD_CORE_COST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/frame.h"

struct lsa_adj;

enum {
	COST_STEP_US = 250,
	COST_HOP_US = 1000,
	COST_WEIGHT_US = 1000,
	COST_CHUNK_BITS = 64 * 1024 * 8, /* a chunk of a large message */
	COST_UNKNOWN_KBPS = 100 * 1000,
	COST_LOSS_US = 1000 * 1000, /* one loss costs about a retransmission timeout */
	COST_LOSS_STEP_PPM = 1000,
	COST_BUSY_PERMILLE = 500, /* below, queues are short */
	COST_BUSY_STEPS = 5,      /* from there to a full link */
	COST_BUSY_PERCENT = 10,
	COST_DAMPED_US = 1000 * 1000, /* for a link that goes up and down: see damp.h */
	COST_MAX = 240 * 1000 * 1000,
	COST_COEFFICIENT_MAX = 1000,
	COST_PROFILES_MAX = FRAME_CLASS_COUNT,
};

/* Per cent of the scale above; at most COST_COEFFICIENT_MAX. */
struct cost_coefficients {
	uint16_t latency, bandwidth, utilisation, loss, hops;
};

/* By traffic class. */
extern const struct cost_coefficients cost_defaults[FRAME_CLASS_COUNT];

uint32_t cost_link(const struct cost_coefficients *c, const struct lsa_adj *a);
/* The cost of the same link while it is damped. */
uint32_t cost_damped(uint32_t cost);
/* The time that COST_CHUNK_BITS take; 0: not known. */
uint64_t cost_bandwidth_us(uint32_t kbps);
/* -ln(1 - ppm / 10^6) in millionths; of more than COST_LOSS_MAX_PPM as of that. */
enum { COST_LOSS_MAX_PPM = 990 * 1000 };
uint32_t cost_loss(uint32_t ppm);

/* Classes with equal coefficients have the same paths: they share a profile. */
struct cost_profiles {
	size_t count;
	struct cost_coefficients coefficients[COST_PROFILES_MAX];
	uint8_t class_mask[COST_PROFILES_MAX]; /* bit = enum frame_class */
};

void cost_profiles_make(struct cost_profiles *p, const struct cost_coefficients by_class[FRAME_CLASS_COUNT]);
bool cost_profiles_equal(const struct cost_profiles *a, const struct cost_profiles *b);

#endif
