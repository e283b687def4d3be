#!/usr/bin/python3
"""symbols: what objects call.  The pure tiers call almost nothing; nobody calls what has a better way.

usage: symbols.py BUILD     (a build without sanitizers)
"""
import os
import re
import subprocess
import sys

import tree

PURE = set("""
    memcpy memmove memset memcmp memchr memrchr memmem strlen strnlen strcmp strncmp strchr strrchr
    strspn strcspn strstr qsort bsearch
    __memcpy_chk __memmove_chk __memset_chk __stack_chk_fail _GLOBAL_OFFSET_TABLE_
    __popcountdi2 __udivti3 __umodti3 __divti3 __modti3
""".split())
ALSO = {
    "common/base/mem.o": {"malloc", "calloc", "realloc", "reallocarray", "free"},
    "common/base/must.o": {"write", "abort"},
    "common/base/crc32c.o": {"__cpu_model", "__cpu_indicator_init"},  # __builtin_cpu_supports
}

# Called nowhere, or only in files whose names start so: why.
RESERVED = [
    ("malloc calloc realloc reallocarray strdup strndup asprintf vasprintf __asprintf_chk __vasprintf_chk",
     "common/base/mem.o", "allocate with common/base/mem.h"),
    ("time gettimeofday clock_gettime timespec_get", "common/os/clock.o", "read the time with common/os/clock.h"),
    ("strcpy strcat sprintf vsprintf gets __strcpy_chk __strcat_chk __sprintf_chk __vsprintf_chk", "",
     "unbounded"),
    ("rand srand random srandom drand48 rand_r", "", "use common/base/rng.h or crypto_random()"),
    ("atoi atol atof strtok gmtime asctime ctime strerror_l system popen tmpnam mktemp", "",
     "no error, not re-entrant, or a shell"),
    # called once for its side effect: it reads the zone's file before the sandbox forbids that
    ("localtime", "transportd/ws_loop.", "not re-entrant"),
    ("sleep usleep nanosleep clock_nanosleep", "meshctl/", "the loop has timers"),
]


def nm(args, objects):
    """{object: set of symbols}"""
    missing = [o for o in objects if not os.path.exists(o)]
    if missing:
        tree.report("symbols", [f"{o} is not built" for o in missing], "")
    found = {o: set() for o in objects}
    if not objects:
        return found
    text = subprocess.run(["nm", "-A", "-P", *args, *objects], check=True, capture_output=True,
                          text=True).stdout
    for line in text.splitlines():
        name, rest = re.match(r"(.*?): (.*)", line).groups()
        found[name].add(rest.split()[0])
    return found


def tier_objects(build):
    """{group: objects} of the pure tiers."""
    groups = {"common/base": [], **{d + "/core": [] for d in tree.DAEMONS}}
    for group, objects in groups.items():
        for f in tree.files(".c"):
            if os.path.dirname(f) == group:
                objects.append(os.path.join(build, f[:-2] + ".o"))
    return groups


def pure_problems(build):
    groups = tier_objects(build)
    base = set().union(*nm(["-g", "--defined-only"], groups["common/base"]).values())
    problems, count = [], 0
    for objects in groups.values():
        own = set().union(*nm(["-g", "--defined-only"], objects).values())
        for obj, used in nm(["-u"], objects).items():
            name = os.path.relpath(obj, build)
            count += 1
            for symbol in sorted(used - own - base - PURE - ALSO.get(name, set())):
                problems.append(f"{name[:-2]}.c calls {symbol}, which a pure tier may not")
    return problems, count


def reserved_problems(build):
    sources = [f for f in tree.files(".c") if f.split("/")[0] in ("common", "proto", "meshctl") + tree.DAEMONS]
    objects = [os.path.join(build, f[:-2] + ".o") for f in sources]
    used = nm(["-u"], objects)
    problems = []
    for obj, symbols in used.items():
        name = os.path.relpath(obj, build)
        for reserved, where, why in RESERVED:
            for symbol in sorted(symbols & set(reserved.split())):
                if not where or not name.startswith(where):
                    problems.append(f"{name[:-2]}.c calls {symbol}: {why}")
    return problems, len(objects)


def main():
    build = sys.argv[1]
    pure, pure_count = pure_problems(build)
    reserved, count = reserved_problems(build)
    tree.report("symbols", pure + reserved, f"{pure_count} pure objects, {count} in all")


main()
