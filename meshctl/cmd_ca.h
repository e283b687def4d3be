/*
 * cmd_ca: what the commands `meshctl ca ...` share.
 */
#ifndef MESHCTL_CMD_CA_H
#define MESHCTL_CMD_CA_H

#include "common/base/must.h"

struct ca_x509;

enum { CMD_CA_PATH_SIZE = 4096 };

/* The exit code that goes with an error of secfile.h. */
int cmd_ca_code(int err);
/* Opens the authority in a directory; an exit code, after what was wrong is printed. */
int cmd_ca_open(const char *dir, struct ca_x509 **out) MUST_USE;

#endif
