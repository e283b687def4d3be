/*
 * order: what has to be durable before what.  This is the one place where these rules hold:
 *
 *	durable before sent		a batch leaves the source after its outbox row is committed
 *	stored before delivered		a handler gets a message after its inbox row is committed;
 *					a subscriber may get it before (target.h: early)
 *	processed before acked		the source hears "processed" after the offset is committed
 *	given up before told		nobody hears that messages are lost before that is committed:
 *					a source that forgot it would take what a target passed
 *					over for processed
 *
 * and notes of nodes are told to others after their rows are committed.
 *
 * Each put into the store gives a ticket; tickets become durable in order, and there is an order for the puts
 * of each class, whose tickets do not go back.  The shell notes here what
 * each put stands for, and when the store reports a ticket durable, order_durable() raises the mark
 * that the cores act upon (stream_durable, stream_skip, target_stored, target_processed: nobody else
 * calls them).  Rows of streams wait here in the same way, so that a stream is announced to nobody
 * before its row is durable and forgotten by nobody before its end is.
 */
#ifndef CONSENSUSD_CORE_ORDER_H
#define CONSENSUSD_CORE_ORDER_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/mono.h"
#include "common/base/must.h"

enum order_kind {
	ORDER_STREAM_ROW, /* struct stream: seq is the state that was written */
	ORDER_TARGET_ROW, /* struct target: likewise */
	ORDER_OUTBOX,     /* struct stream: seq is the last one of the batch */
	ORDER_INBOX,      /* struct target */
	ORDER_PROCESSED,  /* struct target */
	ORDER_RECORDED,   /* struct flow: the source's record of what its target has processed */
	ORDER_SKIPPED,    /* struct stream: given up, up to seq */
	ORDER_LETTER,     /* of the shell */
	ORDER_NOTE,       /* of the shell: seq is its position at this node */
	ORDER_CONTROL,    /* of the shell: seq is the call that waits for it, or 0 */
};

struct order_entry {
	uint64_t ticket;
	uint64_t seq;
	void *noun; /* must live until the entry is done */
	enum order_kind kind;
};

struct order {
	struct order_entry *ring;
	size_t cap, head, count;
	uint64_t durable_ticket;
};

void order_init(struct order *o);
void order_fini(struct order *o);
/* Makes sure that the next order_add() has room; call it before the put.  ERR_NOMEM. */
int order_reserve(struct order *o) MUST_USE;
/* Notes a put that the store took (ticket > 0, not below earlier ones). */
void order_add(struct order *o, uint64_t ticket, enum order_kind kind, void *noun, uint64_t seq);
/* What was noted of from is of to from now on. */
void order_move(struct order *o, const void *from, void *to);
/* Whether something that was put is not durable yet. */
int order_busy(const struct order *o);

/* All up to ticket is durable: raises the marks, then calls done for each entry, so that the shell
 * can act upon it. */
void order_durable(struct order *o, uint64_t ticket, struct mono now,
    void (*done)(void *arg, const struct order_entry *e), void *arg);

#endif
