"""tree: the files of the project, and reports about them."""
import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SKIP = {"build", ".git", "node_modules", "__pycache__"}
DAEMONS = ("transportd", "routerd", "consensusd", "gatewayd")


def files(*suffixes):
    """Paths below the root, sorted; those that end in one of suffixes, or all."""
    found = []
    for folder, names, here in os.walk(ROOT):
        names[:] = [n for n in names if n not in SKIP]
        for name in here:
            if not suffixes or name.endswith(suffixes):
                found.append(os.path.relpath(os.path.join(folder, name), ROOT))
    return sorted(found)


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8", errors="replace") as f:
        return f.read()


def report(name, problems, summary):
    """Prints the problems and ends with the exit status that make wants."""
    for p in problems:
        print(f"{name}: {p}")
    if not problems:
        print(f"  ok    {name}: {summary}")
    sys.exit(1 if problems else 0)
