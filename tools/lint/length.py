#!/usr/bin/python3
"""length: functions of at most 70 lines (median under 20), files of at most 800."""
import statistics

import tree

FUNCTION_MAX = 70
MEDIAN_MAX = 20
FILE_MAX = 800


def functions(path):
    """(line number, lines of the body) of each function; the format puts its braces in column 0."""
    start = None
    for number, line in enumerate(tree.read(path).splitlines(), 1):
        if line == "{":
            start = number
        elif line == "}" and start is not None:
            yield start, number - start - 1
            start = None


def main():
    problems, lengths = [], []
    sources = tree.files(".c", ".h", ".py", ".js") + [f for f in tree.files() if f.startswith("tools/")]
    for path in sorted(set(sources)):
        count = tree.read(path).count("\n")
        if count > FILE_MAX:
            problems.append(f"{path}: {count} lines, more than {FILE_MAX}: split it by noun")
        if not path.endswith(".c"):
            continue
        for line, length in functions(path):
            lengths.append(length)
            if length > FUNCTION_MAX:
                problems.append(f"{path}:{line}: function of {length} lines, more than {FUNCTION_MAX}")
    median = statistics.median(lengths or [0])
    if median >= MEDIAN_MAX:
        problems.append(f"the median function has {median} lines, the aim is under {MEDIAN_MAX}")
    tree.report("length", problems, f"{len(lengths)} functions, median {median:g} lines, longest {max(lengths or [0])}")


main()
