"""Several paths between two nodes: used at once, left when they become slow, and lost with all that runs there."""
import time

from devmeshlib import nodes
from harness import Flow, shaped, wait_until
from lanes import metric
from pauses import Paced
from test_members import states
from ways import SQUARE, Ways

KIB = 1024


def test_two_unequal_paths():
    """20 and 60 Mbit/s: one stream fills both, and stays in order.  How well is measured by `make bench
    BENCH=multipath`."""
    with shaped(SQUARE) as m:
        for hop, mbit in (("b", 20), ("c", 60)):
            m.shape_link("rate", "a", hop, mbit)
        before = [m.carried("a", hop)[0] for hop in "bc"]
        with Flow(m, "a", ["d"], 2000, size=16 * KIB, window=512) as f:
            f.finish(180)
        carried = [m.carried("a", hop)[0] - then for hop, then in zip("bc", before)]
        share = carried[1] / sum(carried)
        print(f"        {share:.2f} of what was carried went over the faster path")
        assert min(carried) > 2000 * 16 * KIB * 0.05, f"one path was hardly used: {carried}"
        assert share > 0.5, f"the slower path carried more: {carried}"


def hold_still(ways, seconds):
    """The stream goes on for so long; how often it changed its way."""
    before, end = len(ways.changes), time.monotonic() + seconds
    wait_until("the stream to go on", lambda: time.monotonic() > end, seconds + 60)
    return len(ways.changes) - before


def test_slow_path_is_left():
    """A path degrades to round trips of 200 ms: it is left, and returned to when it is well again, each time once
    and for all."""
    with shaped(SQUARE) as m:
        # The other path is longer, so that there is one to return to: by more than it can make up for by what is
        # known of the bandwidth of its two links (one that nothing is known of counts as if it were 5 ms longer).
        m.shape_link("delay", "a", "c", 20)
        with Paced(m, "a", "d", 300) as p, Ways(m, "a", "bc") as ways:
            ways.wait("b", 90)
            m.shape_link("delay", "a", "b", 100)
            ways.wait("c")
            away = hold_still(ways, 8)
            m.shape_link("delay", "a", "b", 0)
            ways.wait("b", 90)
            back = hold_still(ways, 8)
            p.check()
            assert ways.now == "b"
            left = metric(m, "a", "mesh_path_left_total")
            print(f"        {len(ways.changes)} ways, {away} and {back} changes meanwhile; {left:.0f} paths left")
            # A machine that stops for a moment may cost one more; a path that swings would be left in each second.
            assert away <= 2 and back <= 2 and left <= 4, ways.changes


def test_each_daemon_dies_in_turn():
    """Streams both ways over two paths, and every daemon of source, relay and target is killed once."""
    turns = [(node, part) for part in nodes.DAEMONS for node in "abd"]
    with shaped(SQUARE) as m, Flow(m, "a", ["d"], 6000) as there, Flow(m, "d", ["a", "b"], 3000, size=2 * KIB) as back:
        for i, (node, part) in enumerate(turns, 1):
            there.wait_share(i / (len(turns) + 2))
            m.kill(node, part)
            m.start(node, part)
        there.finish(120)
        back.finish(120)
        m.wait_ready()


def unmoved(value):
    """The value, when it has been the same for a second."""
    seen = [(time.monotonic(), value())]

    def still():
        now = value()
        if now != seen[-1][1]:
            seen.append((time.monotonic(), now))
        return time.monotonic() > seen[-1][0] + 1

    wait_until("nothing to move", still)
    return seen[-1][1]


def alive(m, at):
    return {name for name, status in states(m, at).items() if status == "alive"}


def test_partition_and_heal():
    """The mesh falls apart silently in the middle of streams within its halves and across: those within go on, what
    is across waits, and all is there when it is whole again; twice."""
    edges = [("a", "c"), ("b", "d")]
    with shaped(SQUARE) as m, Flow(m, "a", ["b"], 3000) as left, Flow(m, "c", ["d"], 3000) as right, \
            Flow(m, "a", ["d", "b"], 1500) as across, Flow(m, "d", ["a"], 1500) as back:
        for share in (0.2, 0.5):
            across.wait_share(share)
            for edge in edges:
                m.cut(*edge)
            wait_until("both halves to know", lambda: alive(m, "a") == {"a", "b"} and alive(m, "d") == {"c", "d"}, 90)
            # What had come before may still be on its way to the publishers; then there can be no more.
            held = unmoved(lambda: [f.publisher.confirmed for f in (across, back)])
            within = [f.publisher.confirmed for f in (left, right)]
            wait_until("the halves to go on", lambda w=within: all(
                f.publisher.confirmed > n or f.publisher.confirmed == f.count for f, n in zip((left, right), w)))
            assert held == [f.publisher.confirmed for f in (across, back)], "confirmed what can't be processed"
            for edge in edges:
                m.heal(*edge)
            m.wait_ready(120)
        for f in (left, right, across, back):
            f.finish(120)
