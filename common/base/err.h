/*
 * err: the one table of error codes of the suite.
 *
 * Cores and helpers return 0 or one of these negative codes.  A code says what kind of thing went
 * wrong; the place that decides what to do adds the who and the where when it logs.
 */
#ifndef COMMON_BASE_ERR_H
#define COMMON_BASE_ERR_H

#define ERR_LIST(X)                                                                                          \
	X(NOMEM, -1, "out of memory")                                                                        \
	X(SHORT, -2, "input ends too early")                                                                 \
	X(LEFTOVER, -3, "input has bytes left over")                                                         \
	X(LIMIT, -4, "limit exceeded")                                                                       \
	X(FORMAT, -5, "malformed input")                                                                     \
	X(VERSION, -6, "version not supported")                                                              \
	X(AUTH, -7, "authentication failed")                                                                 \
	X(DENIED, -8, "permission denied")                                                                   \
	X(STATE, -9, "not possible in this state")                                                           \
	X(UNKNOWN, -10, "unknown type or name")                                                              \
	X(NOENT, -11, "no such object")                                                                      \
	X(EXISTS, -12, "already exists")                                                                     \
	X(FULL, -13, "queue is full")                                                                        \
	X(UNAVAIL, -14, "service unavailable")                                                               \
	X(TIMEOUT, -15, "timed out")                                                                         \
	X(CRYPTO, -16, "cryptographic check failed")                                                         \
	X(IO, -17, "input/output error")                                                                     \
	X(AGAIN, -18, "try again later")                                                                     \
	X(GAP, -19, "sequence number out of order")                                                          \
	X(FENCED, -20, "a newer producer or subscriber took over")                                           \
	X(STALE, -21, "older than what is already known")                                                    \
	X(NOROUTE, -22, "no path to the destination")                                                        \
	X(CLOSED, -23, "closed by the other side")                                                           \
	X(CHECKSUM, -24, "checksum mismatch")                                                                \
	X(RANGE, -25, "value out of range")                                                                  \
	X(TTL, -26, "time to live used up")                                                                  \
	X(SYNTAX, -27, "syntax error")

/* OpenSSL has a type ERR_STATE.  In the files that use it, its headers come before this one. */
#ifdef OPENSSL_TYPES_H
#define ERR_STATE ERR_WRONG_STATE
#endif

enum err {
	ERR_NONE = 0,
#define X(name, value, text) ERR_##name = (value),
	ERR_LIST(X)
#undef X
};

/* The text of a code, never NULL: unknown codes give "unknown error".  Borrowed, static. */
const char *err_text(int code);

/* The name of a code without the prefix ("NOMEM"); "?" for an unknown one.  Borrowed, static. */
const char *err_name(int code);

#endif
