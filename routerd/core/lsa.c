#include "routerd/core/lsa.h"

#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"

int
lsa_compare(const struct lsa_id *a, const struct lsa_id *b)
{
	if (a->incarnation != b->incarnation)
		return a->incarnation < b->incarnation ? -1 : 1;
	if (a->seq != b->seq)
		return a->seq < b->seq ? -1 : 1;
	return 0;
}

bool
lsa_software_valid(const char *text)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._+~-";

	return strlen(text) < LSA_SOFTWARE_SIZE && strspn(text, allowed) == strlen(text);
}

/* TLVs fill their space exactly. */
static bool
tlvs_valid(const uint8_t *data, size_t len)
{
	struct buf b;
	uint16_t value_len;

	buf_view(&b, data, len);
	while (buf_left(&b) != 0)
		if (buf_skip(&b, 1) != 0 || buf_get_u16(&b, &value_len) != 0 || buf_skip(&b, value_len) != 0)
			return false;
	return true;
}

/* What the format demands beyond its syntax. */
static bool
fields_valid(const struct lsa *l)
{
	uint64_t before = 0;

	if (l->id.node == 0 || l->id.seq == 0 || !node_name_valid(l->name))
		return false;
	if ((l->region[0] != '\0' && !node_name_valid(l->region)) || !lsa_software_valid(l->software))
		return false;
	for (unsigned i = 0; i < l->adj_count; i++) {
		if (l->adj[i].neighbour <= before || l->adj[i].neighbour == l->id.node)
			return false;
		before = l->adj[i].neighbour;
	}
	return tlvs_valid(l->tlv, l->tlv_len);
}

static int
put_head(const struct lsa *l, struct buf *out)
{
	int err;

	if ((err = buf_put_u8(out, LSA_VERSION)) != 0 || (err = buf_put_u64(out, l->id.node)) != 0 ||
	    (err = buf_put_bytes(out, l->pubkey, sizeof(l->pubkey))) != 0 ||
	    (err = buf_put_u64(out, l->id.incarnation)) != 0 || (err = buf_put_u64(out, l->id.seq)) != 0 ||
	    (err = buf_put_u8(out, l->flags)) != 0 || (err = buf_put_str8(out, l->name)) != 0 ||
	    (err = buf_put_str8(out, l->region)) != 0 || (err = buf_put_str8(out, l->software)) != 0)
		return err;
	return 0;
}

static int
put_adj(const struct lsa_adj *a, struct buf *out)
{
	int err;

	if ((err = buf_put_u64(out, a->neighbour)) != 0 || (err = buf_put_u32(out, a->latency_us)) != 0 ||
	    (err = buf_put_u32(out, a->bandwidth_kbps)) != 0 || (err = buf_put_u32(out, a->loss_ppm)) != 0 ||
	    (err = buf_put_u16(out, a->utilisation_permille)) != 0 ||
	    (err = buf_put_u16(out, a->weight)) != 0)
		return err;
	return 0;
}

int
lsa_encode_unsigned(const struct lsa *l, struct buf *out)
{
	int err;

	if (l->adj_count > LSA_ADJ_MAX || l->tlv_len > LSA_TLV_MAX_BYTES || !fields_valid(l))
		return ERR_RANGE;
	if ((err = put_head(l, out)) != 0 || (err = buf_put_u16(out, l->adj_count)) != 0)
		return err;
	for (unsigned i = 0; i < l->adj_count; i++)
		if ((err = put_adj(&l->adj[i], out)) != 0)
			return err;
	if ((err = buf_put_u16(out, l->tlv_len)) != 0)
		return err;
	return buf_put_bytes(out, l->tlv, l->tlv_len);
}

static int
get_head(struct buf *in, struct lsa *l)
{
	uint8_t version;
	int err;

	if ((err = buf_get_u8(in, &version)) != 0)
		return err;
	if (version != LSA_VERSION)
		return ERR_VERSION;
	if ((err = buf_get_u64(in, &l->id.node)) != 0 ||
	    (err = buf_get_bytes(in, l->pubkey, sizeof(l->pubkey))) != 0 ||
	    (err = buf_get_u64(in, &l->id.incarnation)) != 0 || (err = buf_get_u64(in, &l->id.seq)) != 0 ||
	    (err = buf_get_u8(in, &l->flags)) != 0 ||
	    (err = buf_get_str8(in, l->name, sizeof(l->name))) != 0 ||
	    (err = buf_get_str8(in, l->region, sizeof(l->region))) != 0 ||
	    (err = buf_get_str8(in, l->software, sizeof(l->software))) != 0)
		return err;
	return 0;
}

static int
get_adj(struct buf *in, struct lsa_adj *a)
{
	int err;

	if ((err = buf_get_u64(in, &a->neighbour)) != 0 || (err = buf_get_u32(in, &a->latency_us)) != 0 ||
	    (err = buf_get_u32(in, &a->bandwidth_kbps)) != 0 || (err = buf_get_u32(in, &a->loss_ppm)) != 0 ||
	    (err = buf_get_u16(in, &a->utilisation_permille)) != 0 ||
	    (err = buf_get_u16(in, &a->weight)) != 0)
		return err;
	return 0;
}

static int
get_lists(struct buf *in, struct lsa *l)
{
	int err = buf_get_u16(in, &l->adj_count);

	if (err != 0)
		return err;
	if (l->adj_count > LSA_ADJ_MAX)
		return ERR_LIMIT;
	for (unsigned i = 0; i < l->adj_count; i++)
		if ((err = get_adj(in, &l->adj[i])) != 0)
			return err;
	if ((err = buf_get_u16(in, &l->tlv_len)) != 0)
		return err;
	if (l->tlv_len > LSA_TLV_MAX_BYTES)
		return ERR_LIMIT;
	return buf_get_ref(in, l->tlv_len, &l->tlv);
}

int
lsa_decode(const uint8_t *data, size_t len, struct lsa *out)
{
	struct buf in;
	int err;

	buf_view(&in, data, len);
	if ((err = get_head(&in, out)) != 0 || (err = get_lists(&in, out)) != 0 ||
	    (err = buf_get_bytes(&in, out->sig, sizeof(out->sig))) != 0 || (err = buf_end(&in)) != 0)
		return err;
	return fields_valid(out) ? 0 : ERR_FORMAT;
}
