/*
 * hash: uthash with the suite's allocator.  An element that could not be added for lack of memory has
 * hh.tbl NULL afterwards: HASH_ADDED() tells.
 */
#ifndef CONSENSUSD_HASH_H
#define CONSENSUSD_HASH_H

#include "common/base/mem.h"

#define HASH_NONFATAL_OOM 1
#define uthash_malloc(bytes) mem_reallocarray(NULL, 1, (bytes))
#define uthash_free(ptr, bytes) mem_free(ptr)
#include <uthash.h>

/* The element that was added last; NULL: there is none.  From it on, hh.prev. */
#define HASH_LAST(head) ((head) != NULL ? ELMT_FROM_HH((head)->hh.tbl, (head)->hh.tbl->tail) : NULL)
#define HASH_ADDED(element) ((element)->hh.tbl != NULL)

#endif
