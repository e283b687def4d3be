#!/usr/bin/python3
"""headers: each says first what it is, and has the include guard of its path."""
import os
import re

import tree


def check(path):
    text = tree.read(path)
    noun = os.path.basename(path)[:-2]
    guard = re.sub(r"[^A-Z0-9]", "_", path.upper())
    if not re.match(rf"/\*\n \* {re.escape(noun)}: ", text):
        yield f"{path}: starts with no comment ' * {noun}: what it is for'"
    first = text.split("*/")[0]
    if "No include guard" not in first and f"#ifndef {guard}\n#define {guard}\n" not in text:
        yield f"{path}: has no include guard {guard}"


def main():
    headers = tree.files(".h")
    problems = [p for h in headers for p in check(h)]
    tree.report("headers", problems, f"{len(headers)} headers")


main()
