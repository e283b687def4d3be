/* gunzip: see gunzip.h. */
#include "gatewayd/gunzip.h"

#include <string.h>
#include <zlib.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"

enum { STEP_BYTES = 16 * 1024, GZIP_ONLY = 16 };

static voidpf
zalloc(voidpf opaque, uInt items, uInt size)
{
	(void)opaque;
	return mem_calloc(items, size);
}

static void
zfree(voidpf opaque, voidpf p)
{
	(void)opaque;
	mem_free(p);
}

/* Room for the next step: what is left up to the limit, and one byte more that must stay empty. */
static int
inflate_step(z_stream *z, struct buf *out)
{
	uint8_t tmp[STEP_BYTES];
	int zrc, rc;

	z->next_out = tmp;
	z->avail_out = sizeof(tmp);
	zrc = inflate(z, Z_NO_FLUSH);
	if (zrc == Z_MEM_ERROR)
		return ERR_NOMEM;
	if (zrc != Z_OK && zrc != Z_STREAM_END)
		return ERR_FORMAT;
	if ((rc = buf_put_bytes(out, tmp, sizeof(tmp) - z->avail_out)) != 0)
		return rc;
	if (zrc == Z_STREAM_END)
		return z->avail_in == 0 ? 1 : ERR_FORMAT;
	return z->avail_in == 0 && z->avail_out > 0 ? ERR_FORMAT : 0;
}

int
gunzip(struct buf *out, const uint8_t *data, size_t len)
{
	z_stream z = {.zalloc = zalloc, .zfree = zfree};
	int rc;

	if (len > UINT32_MAX)
		return ERR_LIMIT;
	if (inflateInit2(&z, MAX_WBITS | GZIP_ONLY) != Z_OK)
		return ERR_NOMEM;
	z.next_in = (Bytef *)(uintptr_t)data;
	z.avail_in = (uInt)len;
	while ((rc = inflate_step(&z, out)) == 0)
		;
	inflateEnd(&z);
	return rc == 1 ? 0 : rc;
}
