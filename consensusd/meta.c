/* meta: see meta.h. */
#include "consensusd/meta.h"

#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/os/crypto.h"
#include "consensusd/keyring.h"
#include "consensusd/store.h"
#include "proto/e2e.pb.h"
#include "proto/pb.h"

#define SET_BYTES(field, from, n)                                                                            \
	do {                                                                                                 \
		memcpy((field).bytes, (from), (n));                                                          \
		(field).size = (n);                                                                          \
	} while (0)

static void
fill(mesh_e2e_StreamMeta *m, const struct store_stream *row)
{
	SET_BYTES(m->stream_id, row->stream_id.b, ULID_BYTES);
	memcpy(m->tenant_id, row->tenant_id, sizeof(m->tenant_id));
	m->source = row->src_node;
	SET_BYTES(m->source_key, row->source_key, CRYPTO_PUBKEY_BYTES);
	m->targets_count = (pb_size_t)row->dst_count;
	for (size_t i = 0; i < row->dst_count; i++)
		m->targets[i] = row->dst_nodes[i];
	for (size_t i = 0; i < row->dst_count; i++) {
		m->first_seqs[i] = row->dst_first[i];
		if (row->dst_first[i] > 0)
			m->first_seqs_count = m->targets_count;
	}
	m->left_count = (pb_size_t)row->left_count;
	for (size_t i = 0; i < row->left_count; i++)
		m->left[i] = row->left[i];
	memcpy(m->qos, row->qos, sizeof(m->qos));
	m->priority = row->priority;
	m->created_unix_ms = row->created_unix_ms;
	m->producer_epoch = row->epoch;
	SET_BYTES(m->key_id, row->key_id, CRYPTO_KEY_ID_BYTES);
	SET_BYTES(m->group_id, row->group_id, STORE_GROUP_BYTES);
	m->revision = row->revision;
	m->ack = row->policy.ack;
	m->ack_quorum = row->policy.quorum;
	m->retention_bytes = row->policy.retention_bytes;
	m->retention_ms = row->policy.retention_ms;
	m->overflow = row->policy.overflow;
	m->handler = row->policy.handler;
	m->max_attempts = row->policy.max_attempts;
	m->retry_ms = row->policy.retry_ms;
}

/* What is signed: the message without its signature, as this version writes it. */
static int
statement(const mesh_e2e_StreamMeta *m, struct buf *out)
{
	mesh_e2e_StreamMeta plain = *m;

	plain.signature.size = 0;
	return pb_pack(out, mesh_e2e_StreamMeta_fields, &plain);
}

int
meta_sign(const struct keyring *k, const struct store_stream *row, struct buf *out)
{
	mesh_e2e_StreamMeta m = mesh_e2e_StreamMeta_init_zero;
	uint8_t mem[META_MAX_BYTES];
	struct buf plain;
	int err;

	fill(&m, row);
	buf_init_fixed(&plain, mem, sizeof(mem));
	err = statement(&m, &plain);
	if (err == 0)
		err = crypto_sign(keyring_node_key(k), CRYPTO_CONTEXT_STREAM, buf_head(&plain),
		    buf_left(&plain), m.signature.bytes);
	m.signature.size = CRYPTO_SIG_BYTES;
	if (err == 0)
		err = pb_pack(out, mesh_e2e_StreamMeta_fields, &m);
	return err;
}

/* Where targets were evicted there may be fewer than the quorum: then publishers are refused. */
static bool
policy_fits(const mesh_e2e_StreamMeta *m)
{
	return m->ack < POLICY_ACKS && m->overflow < POLICY_OVERFLOWS && m->handler < POLICY_HANDLERS &&
	       (m->ack == POLICY_ACK_QUORUM) == (m->ack_quorum != 0) && m->ack_quorum <= STORE_TARGETS_MAX;
}

/* Nodes, each once among those that are and those that were; what they get begins somewhere in time. */
static bool
targets_fit(const mesh_e2e_StreamMeta *m)
{
	if (m->first_seqs_count != 0 && m->first_seqs_count != m->targets_count)
		return false;
	for (pb_size_t i = 0; i < m->targets_count; i++) {
		if (m->targets[i] == 0 || (m->first_seqs_count != 0 && m->first_seqs[i] > INT64_MAX))
			return false;
		for (pb_size_t k = 0; k < m->left_count; k++) {
			if (m->left[k] == m->targets[i])
				return false;
		}
	}
	return true;
}

static int
check_form(const mesh_e2e_StreamMeta *m)
{
	if (m->stream_id.size != ULID_BYTES || m->source_key.size != CRYPTO_PUBKEY_BYTES ||
	    m->key_id.size != CRYPTO_KEY_ID_BYTES || m->signature.size != CRYPTO_SIG_BYTES)
		return ERR_FORMAT;
	if (!tenant_valid(m->tenant_id) || m->source == 0 || m->targets_count == 0 ||
	    m->targets_count > STORE_TARGETS_MAX || m->group_id.size != STORE_GROUP_BYTES || !policy_fits(m))
		return ERR_FORMAT;
	return targets_fit(m) ? 0 : ERR_FORMAT;
}

static int
check_signature(const mesh_e2e_StreamMeta *m)
{
	uint8_t mem[META_MAX_BYTES];
	struct buf plain;
	int err;

	if (crypto_node_id(m->source_key.bytes) != m->source)
		return ERR_CRYPTO;
	buf_init_fixed(&plain, mem, sizeof(mem));
	err = statement(m, &plain);
	if (err != 0)
		return err;
	return crypto_verify(m->source_key.bytes, CRYPTO_CONTEXT_STREAM, buf_head(&plain), buf_left(&plain),
	    m->signature.bytes);
}

static void
policy_to_row(const mesh_e2e_StreamMeta *m, struct store_stream *row)
{
	memcpy(row->group_id, m->group_id.bytes, sizeof(row->group_id));
	row->revision = m->revision;
	row->policy = (struct policy){
	    .ack = (enum policy_ack)m->ack,
	    .quorum = m->ack_quorum,
	    .retention_bytes = m->retention_bytes,
	    .retention_ms = m->retention_ms,
	    .overflow = (enum policy_overflow)m->overflow,
	    .handler = (enum policy_handler)m->handler,
	    .max_attempts = m->max_attempts,
	    .retry_ms = m->retry_ms,
	};
}

/* In the order of the row's targets. */
static void
targets_to_row(const mesh_e2e_StreamMeta *m, struct store_stream *row)
{
	for (size_t i = 0; i < row->dst_count; i++) {
		row->dst_first[i] = 0;
		for (pb_size_t k = 0; k < m->first_seqs_count && k < m->targets_count; k++) {
			if (m->targets[k] == row->dst_nodes[i])
				row->dst_first[i] = m->first_seqs[k];
		}
	}
	row->left_count = m->left_count;
	for (pb_size_t k = 0; k < m->left_count; k++)
		row->left[k] = m->left[k];
}

int
meta_load(struct store_stream *row)
{
	mesh_e2e_StreamMeta m = mesh_e2e_StreamMeta_init_zero;
	int err = row->meta_len <= META_MAX_BYTES
		      ? pb_unpack(row->meta, row->meta_len, mesh_e2e_StreamMeta_fields, &m)
		      : ERR_FORMAT;

	if (err == 0 && !policy_fits(&m))
		err = ERR_FORMAT;
	if (err == 0)
		policy_to_row(&m, row);
	if (err == 0)
		targets_to_row(&m, row);
	return err;
}

static void
to_row(const mesh_e2e_StreamMeta *m, struct store_stream *row)
{
	*row = (struct store_stream){
	    .src_node = m->source,
	    .dst_count = m->targets_count,
	    .priority = m->priority,
	    .created_unix_ms = m->created_unix_ms,
	    .epoch = m->producer_epoch,
	};
	memcpy(row->stream_id.b, m->stream_id.bytes, ULID_BYTES);
	memcpy(row->tenant_id, m->tenant_id, sizeof(row->tenant_id));
	memcpy(row->qos, m->qos, sizeof(row->qos));
	memcpy(row->source_key, m->source_key.bytes, sizeof(row->source_key));
	memcpy(row->key_id, m->key_id.bytes, sizeof(row->key_id));
	for (size_t i = 0; i < row->dst_count; i++)
		row->dst_nodes[i] = m->targets[i];
	targets_to_row(m, row);
	policy_to_row(m, row);
}

int
meta_verify(const void *data, size_t len, struct store_stream *row)
{
	mesh_e2e_StreamMeta m = mesh_e2e_StreamMeta_init_zero;
	int err = len <= META_MAX_BYTES ? pb_unpack(data, len, mesh_e2e_StreamMeta_fields, &m) : ERR_FORMAT;

	if (err == 0)
		err = check_form(&m);
	if (err == 0)
		err = check_signature(&m);
	if (err != 0)
		return err;
	to_row(&m, row);
	row->meta = data;
	row->meta_len = len;
	return 0;
}
