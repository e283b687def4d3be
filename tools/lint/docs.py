#!/usr/bin/python3
"""docs: directives, commands and metrics that exist are in the manuals, and those there exist."""
import os
import re
import subprocess

import tree

ROW = re.compile(r'\{\s*"([a-z]+)",\s*(?:NULL|"([a-z-]+)"),\s*"([a-z0-9-]+)",\s*CONF_')
COMMON_ROW = re.compile(r'^\s+\{?\s*daemon,\s*NULL,\s*"([a-z0-9-]+)",', re.M)
COMMON_USE = re.compile(r'^\s*COMMON\("([a-z]+)"\)', re.M)
METRIC = re.compile(r'"(mesh_[a-z0-9_]+)"')


def exists(path):
    return os.path.exists(os.path.join(tree.ROOT, path))


def plain(text):
    """The text of a manual without mdoc's escapes of a dash."""
    return text.replace("\\-", "-").replace("\\&", "")


def items(page):
    """The words that the page's list items and macros name: .It Ic x, .Ic x, .It Xo ... .Ic x"""
    return set(re.findall(r"^\.(?:It\s+)?(?:Ic|Cm|Nm)\s+([a-z0-9-]+)", plain(page), re.M))


def directives():
    """{(section, block or '', key)} of the configuration table."""
    text = tree.read("common/os/conf_table.c")
    found = set(ROW.findall(text))
    common = set(COMMON_ROW.findall(text))
    for section in COMMON_USE.findall(text):
        found |= {(section, "", key) for key in common}
    return found


def sections(page):
    """{section name: its text}: from a heading that names it to the next heading of that rank or a higher one."""
    parts = re.split(r"^\.(?:Sh|Ss) +(.*)$", plain(page), flags=re.M)
    return {head.strip().strip('"'): body for head, body in zip(parts[1::2], parts[2::2])}


def conf_problems():
    page = "man/mesh.conf.5"
    if not exists("common/os/conf_table.c") or not exists(page):
        return []
    text = tree.read(page)
    named, keys = items(text), directives()
    problems = [f"{page}: lacks '{key}' of section {section}{' block ' + block if block else ''}"
                for section, block, key in sorted(keys) if key not in named]
    known = {k for _, _, k in keys} | {b for _, b, _ in keys} | {s for s, _, _ in keys} | {"include", "mesh"}
    for body in [b for h, b in sections(text).items() if set(h.lower().split()) & {s for s, _, _ in keys}]:
        problems += [f"{page}: '{key}' is no directive"
                     for key in re.findall(r"^\.It Ic ([a-z0-9-]+)", body, re.M) if key not in known]
    return problems


def commands():
    """Names in meshctl's table of commands: its rows start with them."""
    for path in tree.files(".c"):
        if path.startswith("meshctl/"):
            table = re.search(r"\bcommand_table\[\] = \{\n(.*?)\n\};", tree.read(path), re.S)
            if table:
                return set(re.findall(r'^ {4}\{"([a-z][a-z -]*)",', table.group(1), re.M))
    return set()


def command_problems():
    pages = [p for p in ("man/meshctl.1", "man/meshctl.8") if exists(p)]
    found = commands()
    if exists("meshctl/main.c") and not found:
        return ["meshctl: no table of commands found"]
    if not pages:
        return []
    text = plain(tree.read(pages[0]))
    problems = []
    for command in sorted(found):
        # .It Ic ca init   or   .It Ic ca Cm init
        words = r"(?:\s+(?:Ic|Cm))?\s+".join(command.split())
        if not re.search(rf"^\.(?:It\s+)?(?:Xo\s+)?(?:Nm\s+)?(?:Ic|Cm)\s+{words}\b", text, re.M):
            problems.append(f"{pages[0]}: lacks the command '{command}'")
    return problems


def metrics():
    found = set()
    for path in tree.files(".c", ".h"):
        if not path.startswith("tests/"):
            found |= set(METRIC.findall(tree.read(path)))
    return found - {"mesh_id", "mesh_name"}  # keys of JSON output


def metric_problems():
    page = "man/mesh-metrics.7"
    if not exists(page):
        return []
    text, found = plain(tree.read(page)), metrics()
    named = set(re.findall(r"\bmesh_[a-z0-9_]+[a-z0-9]", text))
    return [f"{page}: lacks the metric '{m}'" for m in sorted(found - named)] + \
        [f"{page}: '{m}' is no metric" for m in sorted(named - found)]


def mandoc_problems():
    pages = [f for f in tree.files() if re.match(r"man/.*\.[1-9]$", f)]
    if not pages:
        return []
    ours = {os.path.basename(p) for p in pages}
    text = subprocess.run(["mandoc", "-T", "lint", *pages], cwd=tree.ROOT, capture_output=True, text=True)
    problems = []
    for line in (text.stdout + text.stderr).splitlines():
        ref = re.search(r"referenced manual not found: Xr (\S+) (\d)", line)
        # Only pages of this tree can be checked here; what is installed does not matter.
        if ref and (f"{ref[1]}.{ref[2]}" in ours or not ref[1].startswith("mesh")):
            continue
        if "outdated mandoc.db" in line:
            continue
        problems.append(line)
    return problems


def main():
    problems = conf_problems() + command_problems() + metric_problems() + mandoc_problems()
    tree.report("docs", problems,
                f"{len(directives())} directives, {len(commands())} commands, {len(metrics())} metrics")


main()
