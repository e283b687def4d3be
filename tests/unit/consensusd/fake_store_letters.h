/*
 * fake_store_letters: the part of fake_store.h that is about messages that failed; included by it.
 */
#ifndef TESTS_UNIT_CONSENSUSD_FAKE_STORE_LETTERS_H
#define TESTS_UNIT_CONSENSUSD_FAKE_STORE_LETTERS_H

int64_t
store_put_letter(struct store *s, uint8_t class, const struct store_letter *row)
{
	(void)class;
	if (s->put_count == FAKE_PUTS)
		return ERR_FULL;
	return fake_put(s, (struct fake_put){.kind = FAKE_LETTER, .letter = fake_letter_new(row)});
}

int64_t
store_put_processed_letters(struct store *s, uint8_t class, const struct ulid *stream, uint64_t src_node,
    uint64_t dst_node, uint64_t first_seq, uint64_t last_seq, const struct store_letter *rows, size_t count)
{
	if (s->put_count + count + 1 > FAKE_PUTS)
		return ERR_FULL;
	for (size_t i = 0; i < count; i++)
		MUST(store_put_letter(s, class, &rows[i]) > 0);
	return store_put_processed(s, class, stream, src_node, dst_node, first_seq, last_seq);
}

/* Answered at once, as below. */
int
store_read_letters(struct store *s, const struct ulid *stream, const char *tenant, uint64_t after,
    size_t limit, store_letter_fn *fn, void *arg)
{
	if (!s->ready)
		return ERR_UNAVAIL;
	for (size_t i = 0; i < s->db->letters.count && limit > 0; i++) {
		const struct store_dead_letter *x = &s->db->letters.all[i]->dead;

		if (x->position <= after || (stream != NULL && ulid_compare(&x->stream_id, stream) != 0) ||
		    (tenant[0] != '\0' && strcmp(x->tenant_id, tenant) != 0))
			continue;
		fn(arg, x, 0);
		limit--;
	}
	fn(arg, NULL, 0);
	return 0;
}

int
store_read_failures(struct store *s, const struct ulid *stream, uint64_t node, uint64_t seq, size_t limit,
    store_failure_fn *fn, void *arg)
{
	if (!s->ready)
		return ERR_UNAVAIL;
	while (limit-- > 0 && (seq = fake_failure_next(s->db, stream, node, seq)) != 0)
		fn(arg, seq, 0);
	fn(arg, 0, 0);
	return 0;
}

int
store_read_letter(struct store *s, const struct ulid *stream, uint64_t seq, store_letter_fn *fn, void *arg)
{
	size_t at = fake_letter_find(&s->db->letters, stream, seq);

	if (!s->ready)
		return ERR_UNAVAIL;
	if (at < s->db->letters.count)
		fn(arg, &s->db->letters.all[at]->dead, 0);
	fn(arg, NULL, 0);
	return 0;
}

#endif
