#include "common/base/err.h"

const char *
err_text(int code)
{
	switch (code) {
	case ERR_NONE:
		return "no error";
#define X(name, value, text)                                                                                 \
	case ERR_##name:                                                                                     \
		return text;
		ERR_LIST(X)
#undef X
	default:
		return "unknown error";
	}
}

const char *
err_name(int code)
{
	switch (code) {
	case ERR_NONE:
		return "NONE";
#define X(name, value, text)                                                                                 \
	case ERR_##name:                                                                                     \
		return #name;
		ERR_LIST(X)
#undef X
	default:
		return "?";
	}
}
