# Compilers and flags.  CC=clang works as well as CC=gcc; SAN=address,undefined builds with sanitizers
# into a directory of its own.
ifeq ($(origin CC),default)
CC = gcc
endif
SAN ?=
OPT ?= -O2
MESH_VERSION := 0.1.0

comma := ,
BUILD := build/$(notdir $(firstword $(CC)))$(if $(SAN),-$(subst $(comma),-,$(SAN)))

WARN = -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
       -Wcast-qual -Wwrite-strings -Wvla -Wformat=2 -Wundef
# Automatic variables start at zero in what ships (gcc).  clang 14 has no stable option for zero, and
# filling them with a pattern there lets the tests find code that counts on the zeros.
AUTO_INIT = -ftrivial-auto-var-init=$(if $(findstring clang,$(CC)),pattern,zero)
HARDEN = -fPIE -fstack-protector-strong -fstack-clash-protection -fcf-protection=full \
         -fno-strict-aliasing $(AUTO_INIT)
LINK_HARDEN = -pie -Wl,-z,relro,-z,now,-z,noexecstack,--as-needed
ifeq ($(SAN),)
HARDEN += -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
else
SANFLAGS = -fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer -DMESH_SANITIZED=1
OPT = -O1
endif

CPPFLAGS_ALL = -I. -I$(BUILD)/gen -D_GNU_SOURCE -DPB_ENABLE_MALLOC -DMESH_VERSION='"$(MESH_VERSION)"' $(CPPFLAGS)
CFLAGS_ALL = -std=c11 $(OPT) -g $(WARN) $(HARDEN) $(SANFLAGS) $(CFLAGS)
LDFLAGS_ALL = $(LINK_HARDEN) $(SANFLAGS) $(LDFLAGS)
