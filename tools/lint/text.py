#!/usr/bin/python3
"""text: nothing unfinished, no path of one machine, no stray whitespace, scripts that parse."""
import ast
import re
import subprocess

import tree

BINARY = (".png", ".ico", ".der", ".bin", ".gz", ".pb")
# The brackets keep these patterns from finding themselves.
WORDS = [
    (re.compile(r"\b(T[O]DO|F[I]XME|X[X]X|H[A]CK)\b"), "unfinished"),
    (re.compile(r"not (yet )?i[m]plemented|i[m]plement me", re.I), "unfinished"),
    (re.compile(r"(?<![\w.$)}-])/(h[o]me|r[o]ot|w[o]rk|workspa[c]e|U[s]ers|m[n]t)/"), "path of one machine"),
    (re.compile(r"\.\./sh[a]red\b"), "path outside of the tree"),
]
REGISTRY = re.compile(r'"resolved": "(?!https://registry\.npmjs\.org/)')


def line_problems(path, text):
    for number, line in enumerate(text.splitlines(), 1):
        for pattern, what in WORDS:
            match = pattern.search(line)
            if match:
                yield f"{path}:{number}: '{match.group().strip()}': {what}"
        if line != line.rstrip() and not path.endswith(".md"):
            yield f"{path}:{number}: blanks at the end of the line"
        if path.endswith("package-lock.json") and REGISTRY.search(line):
            yield f"{path}:{number}: package of another registry"


def script_problem(path, text):
    first = text.split("\n", 1)[0]
    if path.endswith(".py") or "python3" in first and first.startswith("#!"):
        try:
            ast.parse(text, path)
        except SyntaxError as e:
            return f"{path}:{e.lineno}: {e.msg}"
    elif first.startswith("#!/bin/sh") or first.startswith("#!/bin/bash"):
        shell = first[2:].split()[0]
        done = subprocess.run([shell, "-n", path], cwd=tree.ROOT, capture_output=True, text=True)
        if done.returncode != 0:
            return f"{path}: {done.stderr.strip()}"
    return None


def check(path):
    text = tree.read(path)
    problems = list(line_problems(path, text))
    if text and not text.endswith("\n"):
        problems.append(f"{path}: no newline at the end")
    problems.append(script_problem(path, text))
    return [p for p in problems if p]


def main():
    paths = [f for f in tree.files() if not f.endswith(BINARY) and "/corpus/" not in f]
    problems = [p for f in paths for p in check(f)]
    tree.report("text", problems, f"{len(paths)} files")


main()
