/*
 * exit_code: what meshctl's exit status means.  Documented in meshctl(1); scripts rely on it.
 */
#ifndef MESHCTL_EXIT_CODE_H
#define MESHCTL_EXIT_CODE_H

#define EXIT_CODE_LIST(X)                                                                                    \
	X(OK, 0, "done")                                                                                     \
	X(FAILED, 1, "failed")                                                                               \
	X(USAGE, 2, "wrong usage")                                                                           \
	X(UNREACHABLE, 3, "the node cannot be reached")                                                      \
	X(REFUSED, 4, "the node refused the request")                                                        \
	X(NOTFOUND, 5, "no such stream, node or file")                                                       \
	X(TIMEOUT, 6, "timed out")                                                                           \
	X(EXISTS, 7, "exists already and is not overwritten")                                                \
	X(INTERRUPTED, 8, "interrupted")                                                                     \
	X(UNCOMMITTED, 9, "not committed, or not known to be: it can be sent again")                         \
	X(PENDING, 10, "committed, but not yet applied by all that were waited for")

enum exit_code {
#define X(name, value, text) CODE_##name = (value),
	EXIT_CODE_LIST(X)
#undef X
};

#endif
