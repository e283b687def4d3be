#include "transportd/core/goaway.h"

#include "common/base/buf.h"

const char *
goaway_label(uint16_t code)
{
	switch (code) {
#define X(name, value, label, text)                                                                          \
	case GOAWAY_##name:                                                                                  \
		return label;
		GOAWAY_LIST(X)
#undef X
	default:
		return "other";
	}
}

const char *
goaway_text(uint16_t code)
{
	switch (code) {
#define X(name, value, label, text)                                                                          \
	case GOAWAY_##name:                                                                                  \
		return text;
		GOAWAY_LIST(X)
#undef X
	default:
		return "reason unknown to this version";
	}
}

int
goaway_encode(uint16_t code, const char *reason, struct buf *out)
{
	int err = buf_put_u16(out, code);

	return err != 0 ? err : buf_put_str8(out, reason);
}

int
goaway_decode(const void *payload, size_t len, uint16_t *code, char reason[GOAWAY_REASON_SIZE])
{
	struct buf in;
	int err;

	buf_view(&in, payload, len);
	if ((err = buf_get_u16(&in, code)) != 0 || (err = buf_get_str8(&in, reason, GOAWAY_REASON_SIZE)) != 0)
		return err;
	return buf_end(&in);
}
