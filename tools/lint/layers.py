#!/usr/bin/python3
"""layers: includes go down the tiers only, and a library's header stays in the files named for it."""
import fnmatch
import os
import re

import tree

# What the pure tiers may use of the C library: no clock, randomness, stdio or socket among them.
FREESTANDING = {"stddef.h", "stdint.h", "stdbool.h", "stdarg.h", "limits.h", "float.h", "string.h",
                "stdalign.h", "stdnoreturn.h", "inttypes.h", "sys/queue.h", "sys/tree.h",
                "bsd/sys/queue.h", "bsd/sys/tree.h", "uthash.h", "utlist.h", "utarray.h"}
# Exceptions, each with its reason.
ALSO = {
    "common/base/mem.c": {"stdlib.h"},  # the allocator itself
    "common/base/must.c": {"stdlib.h", "unistd.h"},  # abort, and write to descriptor 2
}
# meshctl talks over a channel and logs; it is no daemon.
MESHCTL_OS = {"imsg", "channel", "log", "loop", "clock", "conf", "crypto"}

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]+([<"])([^>"]+)[>"]', re.M)
LIBRARY = re.compile(r"^#\s+(<.*?>) in (.*?): ", re.M)


def libraries():
    """(header pattern, [file patterns]) from mk/libs.mk."""
    rows = []
    for headers, where in LIBRARY.findall(tree.read("mk/libs.mk")):
        rows += [(h, where.split()) for h in re.findall(r"<(.*?)>", headers)]
    return rows


def own_allowed(path, header):
    """May the file include this header of the project?"""
    top = path.split("/")[0]
    base = header.startswith("common/base/")
    folder = os.path.dirname(header)
    if top == "tests":
        return True
    if path.startswith("common/base/"):
        return base
    if top == "proto":
        return base or header.startswith("proto/")
    if path.startswith("common/os/"):
        return header.startswith(("common/", "proto/"))
    if "/core/" in path:
        return base or folder == os.path.dirname(path)
    if top == "meshctl" and header.startswith("common/os/"):
        return os.path.basename(header)[:-2] in MESHCTL_OS
    return header.startswith(("common/", "proto/", top + "/"))


def library_problem(path, header, rows):
    files = [f for pattern, where in rows if fnmatch.fnmatch(header, pattern) for f in where]
    if files and not any(fnmatch.fnmatch(path, f) for f in files):
        return f"{path}: <{header}> belongs in {' '.join(sorted(set(files)))} only (mk/libs.mk)"
    return None


def check(path, rows):
    problems = []
    pure = path.startswith("common/base/") or "/core/" in path
    for kind, header in INCLUDE.findall(tree.read(path)):
        if kind == '"':
            if "/" not in header:
                problems.append(f'{path}: "{header}": name headers from the root of the tree')
            elif not own_allowed(path, header):
                problems.append(f'{path}: may not include "{header}" (tiers: README.md)')
        elif path.startswith("tests/"):
            continue
        elif pure and header not in FREESTANDING | ALSO.get(path, set()):
            problems.append(f"{path}: <{header}> is not for a pure tier")
        else:
            problems.append(library_problem(path, header, rows))
    return [p for p in problems if p]


def main():
    rows = libraries()
    sources = [f for f in tree.files(".c", ".h") if "/" in f]
    problems = [p for f in sources for p in check(f, rows)]
    tree.report("layers", problems, f"{len(sources)} files")


main()
