/*
 * json_text: JSON that was typed, before it is sent as it is.
 */
#ifndef MESHCTL_JSON_TEXT_H
#define MESHCTL_JSON_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/must.h"

/* Is text one JSON value (with object: an object) of at most max bytes?  An exit_code; errors are printed and
 * call it `what`. */
int json_text_check(const char *what, const char *text, bool object, size_t max) MUST_USE;

#endif
