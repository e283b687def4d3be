/*
 * must: assertions for our own bugs, active in release builds too.
 *
 * MUST() is for what can only be false if this program is wrong.  What a peer, a client, a sibling
 * or the world can cause is a return value, never a MUST().
 */
#ifndef COMMON_BASE_MUST_H
#define COMMON_BASE_MUST_H

/* Prints the place and the expression to file descriptor 2 and aborts. */
_Noreturn void must_fail(const char *file, int line, const char *expr);

#define MUST(expr) ((expr) ? (void)0 : must_fail(__FILE__, __LINE__, #expr))

/* Marks a result that the caller has to look at. */
#define MUST_USE __attribute__((warn_unused_result))

#endif
