/*
 * tree: red-black trees (RB_*) and lists (TAILQ_*, LIST_*, with the _SAFE forms) of libbsd's header-only
 * containers.  This header exists because libbsd's RB_*_STATIC count on a macro that glibc lacks.
 */
#ifndef COMMON_BASE_TREE_H
#define COMMON_BASE_TREE_H

#include <bsd/sys/queue.h>
#include <bsd/sys/tree.h>

#undef RB_PROTOTYPE_STATIC
#undef RB_GENERATE_STATIC
#define RB_PROTOTYPE_STATIC(name, type, field, cmp)                                                          \
	RB_PROTOTYPE_INTERNAL(name, type, field, cmp, __attribute__((unused)) static)
#define RB_GENERATE_STATIC(name, type, field, cmp)                                                           \
	RB_GENERATE_INTERNAL(name, type, field, cmp, __attribute__((unused)) static)

#endif
