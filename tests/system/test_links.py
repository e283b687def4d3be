"""Links that vanish, stall, break and crawl: nothing is lost, and other paths are taken where there are some."""
import time

from devmeshlib import nodes
from harness import Flow, mesh, wait_until


def alive(m, name):
    status = nodes.status(m.state, m.node(name))
    return {n["node_name"] for n in status["nodes"] if n["status"] == "alive"} if status else set()


def test_black_hole(m):
    """A silent cut is noticed by its heartbeats; healed, the stream goes on."""
    with Flow(m, "a", ["c"], 3000) as f:
        f.wait_share(0.3)
        m.cut("a", "b")
        begin = time.monotonic()
        wait_until("A to see that C is out of reach", lambda: alive(m, "a") == {"a"}, 20)
        took = time.monotonic() - begin
        assert took < 10, f"{took:.1f} s"
        m.heal("a", "b")
        f.finish()
    m.wait_ready()


def test_short_cut(m):
    """A cut shorter than the heartbeats' patience costs nothing but time."""
    with Flow(m, "a", ["c"], 3000) as f:
        for share in (0.2, 0.4, 0.6):
            f.wait_share(share)
            m.cut("b", "c")
            m.heal("b", "c")
        f.finish()


def test_resets(m):
    with Flow(m, "a", ["c"], 4000) as f:
        for i in range(8):
            f.wait_share((i + 1) / 10)
            m.shape_link("reset", "ab"[i % 2], "bc"[i % 2])
        f.finish()
    m.wait_ready()


def test_slow_link(m):
    """With 40 ms each way a window of messages is on its way at a time."""
    m.shape_link("delay", "a", "b", 40)
    try:
        with Flow(m, "a", ["c"], 1500, window=512) as f:
            f.finish()
    finally:
        m.shape_link("delay", "a", "b", 0)


def test_narrow_link(m):
    """8 Mbit/s for 3 MB: back-pressure reaches the publisher, links stay up."""
    m.shape_link("rate", "b", "c", 8)
    try:
        with Flow(m, "a", ["c"], 150, size=20_000, window=64) as f:
            f.finish()
        assert alive(m, "a") == {"a", "b", "c"}
    finally:
        m.shape_link("rate", "b", "c", 0)


def test_reroute_in_a_ring():
    """The shortest path is cut in the middle of a stream: the other way round is taken, and back."""
    with mesh(4, "ring") as m, Flow(m, "a", ["c"], 10000) as f:
        for share, cut in ((0.2, ("a", "b")), (0.5, ("a", "d"))):
            f.wait_share(share)
            m.cut(*cut)
            before = f.publisher.confirmed
            wait_until("messages over the other path", lambda b=before: f.publisher.confirmed > b + 200, 20)
            m.heal(*cut)
            m.wait_ready()
        f.finish()


def test_relay_dies_in_a_ring():
    with mesh(4, "ring") as m, Flow(m, "a", ["c"], 4000) as f:
        f.wait_share(0.2)
        m.kill("b", "all")
        before = f.publisher.confirmed
        wait_until("messages through D", lambda: f.publisher.confirmed > before + 500, 20)
        m.start("b", "all")
        m.wait_ready()
        m.kill("d", "transportd")
        f.finish()
        m.start("d", "transportd")
        m.wait_ready()


def test_both_dial():
    """Both ends of a link dial at once: they settle on one connection and keep it."""
    import tempfile
    with tempfile.NamedTemporaryFile("w", suffix=".topology") as t:
        t.write("a <-> b\nb <-> c delay=1 rate=500  # and a name alone\nc\n")
        t.flush()
        with mesh(0, t.name) as m, Flow(m, "a", ["c"], 1000) as f:
            f.finish()
            before = m._proxy("status")
            assert len(before) == 4, before
            check_settled(m)


def check_settled(m):
    """One link per neighbour, and the same one a second later."""
    def links():
        status = nodes.status(m.state, m.node("b"))
        return sorted((x["source_name"], x["target_name"], x.get("since_unix_ms")) for x in status["links"]
                      if x.get("address"))

    first = links()
    assert len(first) == 2, first
    begin = time.monotonic()
    wait_until("a second to pass", lambda: time.monotonic() - begin > 1)
    assert links() == first, "the links flap"


MESH = {}
