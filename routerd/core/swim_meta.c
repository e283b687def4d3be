#include "routerd/core/swim_meta.h"

#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"

enum { LINK_BYTES = 16, MEASURED_MIN_BYTES = 3 /* load, no links */, LOAD_MAX_PERMILLE = 1000 };

static bool
name_or_empty(const char *text)
{
	return text[0] == '\0' || node_name_valid(text);
}

static bool
valid(const struct swim_meta *m)
{
	if (!node_name_valid(m->name) || !name_or_empty(m->region) || !lsa_software_valid(m->software) ||
	    m->load_permille > LOAD_MAX_PERMILLE || m->capability_count > LABELS_MAX ||
	    m->link_count > SWIM_META_LINKS_MAX || m->addresses.count > ADDRESSES_MAX)
		return false;
	for (size_t i = 0; i < m->capability_count; i++)
		if (!label_valid(m->capabilities[i]))
			return false;
	for (size_t i = 0; i < m->addresses.count; i++)
		if (!address_valid(m->addresses.text[i]))
			return false;
	for (size_t i = 0; i < m->link_count; i++)
		if (m->links[i].peer == 0)
			return false;
	return true;
}

static int
put_names(const struct swim_meta *m, struct buf *out)
{
	int err;

	if ((err = buf_put_str8(out, m->name)) != 0 || (err = buf_put_str8(out, m->region)) != 0 ||
	    (err = buf_put_str8(out, m->software)) != 0 || (err = buf_put_u8(out, m->capability_count)) != 0)
		return err;
	for (size_t i = 0; i < m->capability_count && err == 0; i++)
		err = buf_put_str8(out, m->capabilities[i]);
	return err;
}

/* At most budget bytes, the count included. */
static int
put_addresses(const struct address_list *list, size_t budget, struct buf *out)
{
	size_t size = 1;
	uint8_t n = 0;
	int err;

	while (n < list->count && size + 1 + strlen(list->text[n]) <= budget)
		size += 1 + strlen(list->text[n++]);
	err = buf_put_u8(out, n);
	for (size_t i = 0; i < n && err == 0; i++)
		err = buf_put_str8(out, list->text[i]);
	return err;
}

static int
put_links(const struct swim_meta *m, size_t budget, struct buf *out)
{
	uint8_t n = m->link_count;
	int err;

	while (n > 0 && 1u + n * LINK_BYTES > budget)
		n--;
	err = buf_put_u8(out, n);
	for (size_t i = 0; i < n && err == 0; i++) {
		if ((err = buf_put_u64(out, m->links[i].peer)) == 0 &&
		    (err = buf_put_u32(out, m->links[i].rtt_us)) == 0)
			err = buf_put_u32(out, m->links[i].bandwidth_kbps);
	}
	return err;
}

int
swim_meta_encode(const struct swim_meta *m, struct buf *out)
{
	uint8_t mem[SWIM_META_MAX_BYTES];
	struct buf b;
	int err;

	if (!valid(m))
		return ERR_RANGE;
	buf_init_fixed(&b, mem, sizeof(mem));
	if ((err = put_names(m, &b)) != 0)
		return err == ERR_LIMIT ? ERR_RANGE : err;
	if (buf_room(&b) < 1 + MEASURED_MIN_BYTES)
		return ERR_RANGE;
	if ((err = put_addresses(&m->addresses, buf_room(&b) - MEASURED_MIN_BYTES, &b)) != 0 ||
	    (err = buf_put_u16(&b, m->load_permille)) != 0 || (err = put_links(m, buf_room(&b), &b)) != 0)
		return err;
	return buf_put_bytes(out, buf_head(&b), buf_left(&b));
}

static int
get_names(struct buf *in, struct swim_meta *m)
{
	int err;

	if ((err = buf_get_str8(in, m->name, sizeof(m->name))) != 0 ||
	    (err = buf_get_str8(in, m->region, sizeof(m->region))) != 0 ||
	    (err = buf_get_str8(in, m->software, sizeof(m->software))) != 0 ||
	    (err = buf_get_u8(in, &m->capability_count)) != 0)
		return err;
	if (m->capability_count > LABELS_MAX)
		return ERR_LIMIT;
	for (size_t i = 0; i < m->capability_count && err == 0; i++)
		err = buf_get_str8(in, m->capabilities[i], sizeof(m->capabilities[i]));
	return err;
}

static int
get_addresses(struct buf *in, struct address_list *list)
{
	uint8_t n;
	int err = buf_get_u8(in, &n);

	if (err != 0)
		return err;
	if (n > ADDRESSES_MAX)
		return ERR_LIMIT;
	for (list->count = 0; list->count < n && err == 0; list->count++)
		err = buf_get_str8(in, list->text[list->count], sizeof(list->text[0]));
	return err;
}

static int
get_links(struct buf *in, struct swim_meta *m)
{
	int err = buf_get_u8(in, &m->link_count);

	if (err != 0)
		return err;
	if (m->link_count > SWIM_META_LINKS_MAX)
		return ERR_LIMIT;
	for (size_t i = 0; i < m->link_count && err == 0; i++) {
		if ((err = buf_get_u64(in, &m->links[i].peer)) == 0 &&
		    (err = buf_get_u32(in, &m->links[i].rtt_us)) == 0)
			err = buf_get_u32(in, &m->links[i].bandwidth_kbps);
	}
	return err;
}

int
swim_meta_decode(const uint8_t *data, size_t len, struct swim_meta *out)
{
	struct buf in;
	int err;

	if (len > SWIM_META_MAX_BYTES)
		return ERR_LIMIT;
	memset(out, 0, sizeof(*out));
	buf_view(&in, data, len);
	if ((err = get_names(&in, out)) != 0 || (err = get_addresses(&in, &out->addresses)) != 0 ||
	    (err = buf_get_u16(&in, &out->load_permille)) != 0 || (err = get_links(&in, out)) != 0 ||
	    (err = buf_end(&in)) != 0)
		return err;
	return valid(out) ? 0 : ERR_FORMAT;
}

/* Where the load is; len if it is not there. */
static size_t
measured_at(const uint8_t *data, size_t len)
{
	struct swim_meta m;
	struct buf in;

	buf_view(&in, data, len);
	if (get_names(&in, &m) != 0 || get_addresses(&in, &m.addresses) != 0)
		return len;
	return len - buf_left(&in);
}

bool
swim_meta_same(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len)
{
	size_t n = measured_at(a, a_len);

	return n < a_len && n == measured_at(b, b_len) && memcmp(a, b, n) == 0;
}

void
swim_meta_add_link(struct swim_meta *m, const struct swim_link_meta *link)
{
	size_t worst = 0;

	if (m->link_count < SWIM_META_LINKS_MAX) {
		m->links[m->link_count++] = *link;
		return;
	}
	for (size_t i = 1; i < m->link_count; i++)
		if (m->links[i].rtt_us > m->links[worst].rtt_us)
			worst = i;
	if (link->rtt_us < m->links[worst].rtt_us)
		m->links[worst] = *link;
}
