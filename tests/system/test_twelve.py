"""Twelve nodes that can't all reach each other: unequal links, a bridge, ends with one link and with several."""
import collections
import json
import random

from harness import Flow, shaped, wait_until
from test_meshctl import run

# Two rings (a-f, g-l) with chords, joined twice; m hangs on one link.  Delays in ms.
LINKS = """
a -> b delay=1
b -> c delay=10
c -> d delay=2
d -> e delay=20
e -> f
f -> a delay=5
b -> e delay=40
g -> h
h -> i delay=3
i -> j delay=15
j -> k
k -> g delay=8
c -> g delay=12
e -> j delay=30
k -> l delay=1
"""
NODES = "abcdefghijkl"


def edges():
    return [tuple(line.split()[0:3:2]) for line in LINKS.strip().splitlines()]


def neighbours(without=()):
    near = collections.defaultdict(set)
    for x, y in edges():
        if (x, y) not in without and (y, x) not in without:
            near[x].add(y)
            near[y].add(x)
    return near


def reachable(near, start):
    seen, todo = {start}, [start]
    while todo:
        for y in near[todo.pop()] - seen:
            seen.add(y)
            todo.append(y)
    return seen


def routes(m, at):
    """{name: [paths as lists of names, best first]} of class client, which every route has."""
    found = collections.defaultdict(list)
    for r in json.loads(run(m, at, "routes", "-j")):
        classes = r.get("classes", ["client"])
        if "client" in classes or not classes:
            found[r["destination_name"]] += [[at, *p["hops"]] for p in r["paths"]]
    return found


def check_routes(m, at):
    """Every node is reached over links that exist; and where there is a way without the first path's links, a path
    that leaves by another link, or shares as little as can be, stands by."""
    near, table = neighbours(), routes(m, at)
    if set(table) != set(NODES) - {at}:
        return False
    for to, paths in table.items():
        for p in paths:
            assert p[-1] == to and len(set(p)) == len(p), (at, to, p)
            assert all(y in near[x] for x, y in zip(p, p[1:])), (at, to, p)
        first = set(zip(paths[0], paths[0][1:]))
        for lost in first:
            if to in reachable(neighbours([lost]), at) and not any(
                    lost not in set(zip(p, p[1:])) and lost[::-1] not in set(zip(p, p[1:])) for p in paths[1:]):
                return False
    return True


def test_twelve_nodes():
    """All know all, each has backups for whatever link of a path is lost, and streams live through lost links."""
    with shaped(LINKS, timeout=180) as m:
        for at in NODES:
            wait_until(f"{at} knows its paths", lambda: check_routes(m, at), 60)
        rng = random.Random(12)
        with Flow(m, "a", ["l"], 1500) as one, Flow(m, "j", ["b", "h"], 1500) as two:
            for share in (0.1, 0.3, 0.5, 0.7):
                one.wait_share(share)
                # Any link but the only one of l: twice another than the last one.
                x, y = rng.choice([e for e in edges() if e != ("k", "l")])
                print(f"        {x} - {y} is cut")
                m.cut(x, y)
                two.wait_share(share)
                m.heal(x, y)
            one.finish(120)
            two.finish(120)
        for at in NODES:
            wait_until(f"{at} knows its paths again", lambda: check_routes(m, at), 60)
