/*
 * fake_letters: what fake_store.h has of messages that failed and of dead letters.
 */
#ifndef TESTS_UNIT_CONSENSUSD_FAKE_LETTERS_H
#define TESTS_UNIT_CONSENSUSD_FAKE_LETTERS_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "consensusd/store.h"

enum { FAKE_LETTERS = 64 };

struct fake_letter {
	struct store_letter row; /* error points at error */
	char error[STORE_LETTER_ERROR_SIZE];
	struct store_dead_letter dead; /* in the database */
	struct batch *batch;           /* that it was taken from */
};

struct fake_letter_list {
	struct fake_letter *all[FAKE_LETTERS];
	size_t count;
};

static struct fake_letter *
fake_letter_new(const struct store_letter *row)
{
	struct fake_letter *l = calloc(1, sizeof(*l));

	MUST(l != NULL);
	l->row = *row;
	snprintf(l->error, sizeof(l->error), "%s", row->error != NULL ? row->error : "");
	l->row.error = l->error;
	return l;
}

static void
fake_letter_free(struct fake_letter *l)
{
	if (l != NULL)
		batch_unref(l->batch);
	free(l);
}

/* Its place; count if it is not there. */
static size_t
fake_letter_find(const struct fake_letter_list *list, const struct ulid *stream, uint64_t seq)
{
	size_t i = 0;

	while (i < list->count &&
	       (ulid_compare(&list->all[i]->row.stream_id, stream) != 0 || list->all[i]->row.seq != seq))
		i++;
	return i;
}

static void
fake_letter_del(struct fake_letter_list *list, size_t i)
{
	if (i == list->count)
		return;
	fake_letter_free(list->all[i]);
	list->count--;
	memmove(&list->all[i], &list->all[i + 1], (list->count - i) * sizeof(list->all[0]));
}

static void
fake_letter_put(struct fake_letter_list *list, struct fake_letter *l)
{
	fake_letter_del(list, fake_letter_find(list, &l->row.stream_id, l->row.seq));
	MUST(list->count < FAKE_LETTERS);
	list->all[list->count++] = l;
}

/* As the statement does it: b of the inbox has the message. */
static void
fake_letter_take(struct fake_letter *l, struct batch *b, uint64_t position)
{
	struct store_dead_letter *x = &l->dead;
	struct batch_record rec;
	struct batch_iter it;

	l->batch = batch_ref(b);
	batch_iter_init(&it, b);
	do
		MUST(batch_next(&it, &rec) == 1);
	while (rec.seq != l->row.seq);
	*x = (struct store_dead_letter){.position = position,
	    .stream_id = l->row.stream_id,
	    .seq = l->row.seq,
	    .src_node = l->row.src_node,
	    .attempts = l->row.attempts,
	    .bytes = rec.sealed_len,
	    .first_seq = b->first_seq,
	    .epoch = b->epoch,
	    .sealed = rec.sealed,
	    .sealed_len = rec.sealed_len};
	memcpy(x->message_id.b, rec.message_id, ULID_BYTES);
	memcpy(x->tenant_id, l->row.tenant_id, sizeof(x->tenant_id));
	memcpy(x->error, l->error, sizeof(x->error));
	memcpy(x->key_id, b->key_id, sizeof(x->key_id));
	memcpy(x->nonce, b->nonce, sizeof(x->nonce));
}

static void
fake_letters_cut(struct fake_letter_list *list, const struct ulid *stream, uint64_t seq)
{
	for (size_t i = list->count; i-- > 0;) {
		if (ulid_compare(&list->all[i]->row.stream_id, stream) == 0 && list->all[i]->row.seq <= seq)
			fake_letter_del(list, i);
	}
}

#endif
