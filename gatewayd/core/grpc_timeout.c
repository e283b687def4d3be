/* grpc_timeout: see grpc_timeout.h. */
#include "gatewayd/core/grpc_timeout.h"

#include "common/base/err.h"

enum { TIMEOUT_DIGITS_MAX = 8 };

/* Microseconds of one unit; 0: no such unit, -1: nanoseconds. */
static int64_t
unit_us(char unit)
{
	switch (unit) {
	case 'H':
		return 3600LL * 1000 * 1000;
	case 'M':
		return 60LL * 1000 * 1000;
	case 'S':
		return 1000LL * 1000;
	case 'm':
		return 1000;
	case 'u':
		return 1;
	case 'n':
		return -1;
	default:
		return 0;
	}
}

int
grpc_timeout_parse(const char *text, size_t len, int64_t *out_us)
{
	int64_t value = 0, unit;

	if (len < 2 || len > TIMEOUT_DIGITS_MAX + 1)
		return ERR_FORMAT;
	for (size_t i = 0; i + 1 < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return ERR_FORMAT;
		value = value * 10 + (text[i] - '0');
	}
	unit = unit_us(text[len - 1]);
	if (unit == 0)
		return ERR_FORMAT;
	*out_us = unit > 0 ? value * unit : (value + 999) / 1000;
	return 0;
}
