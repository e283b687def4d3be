"""Daemons, databases and whole nodes die in the middle of a stream; nothing is lost, doubled or reordered."""
import signal

from harness import Flow, check_alive, wait_until
from devmeshlib import nodes

COUNT = 4000


def crash(m, node, part, count=COUNT, targets=("c",)):
    """Kills a part of a node at a third, starts it again at once, and once more at two thirds."""
    with Flow(m, "a", list(targets), count) as f:
        for share in (0.3, 0.6):
            f.wait_share(share)
            m.kill(node, part)
            m.start(node, part)
        f.finish()
    m.wait_ready()
    check_alive(m)


def make(node, part):
    def test(m):
        crash(m, node, part)

    test.__name__ = f"test_{part}_of_{node}"
    return test


# The source, the relay and the target; each of their daemons.
for _node in "abc":
    for _part in nodes.DAEMONS:
        _test = make(_node, _part)
        globals()[_test.__name__] = _test
# A relay's database and node are as good as its daemons.
for _node in "ac":
    for _part in ("postgres", "all"):
        _test = make(_node, _part)
        globals()[_test.__name__] = _test


def test_whole_relay(m):
    crash(m, "b", "all")


def test_everything_at_once(m):
    """The power goes out everywhere."""
    with Flow(m, "a", ["b", "c"], COUNT) as f:
        f.wait_share(0.4)
        for n in "abc":
            m.kill(n, "all")
        for n in "abc":
            m.start(n, "all")
        f.finish()
    m.wait_ready()


def test_target_down_for_a_while(m):
    """A goes on taking messages up to its limits while C is away, and C gets them when it is back."""
    with Flow(m, "a", ["b", "c"], COUNT, window=COUNT) as f:
        f.wait_share(0.2)
        m.kill("c", "all")
        before = f.publisher.confirmed
        wait_until("B to have it all", lambda: f.sinks[0].got(f.stream) == COUNT)
        assert f.publisher.confirmed < COUNT, "confirmed what C can't have processed"
        assert f.publisher.confirmed >= before
        m.start("c", "all")
        f.finish()
    m.wait_ready()


def test_database_kill_many_times(m):
    """The flush in doubt is settled right every time."""
    with Flow(m, "a", ["c"], COUNT) as f:
        for i in range(6):
            f.wait_share((i + 1) / 8)
            m.kill("ac"[i % 2], "postgres")
            m.start("ac"[i % 2], "postgres")
        f.finish()
    m.wait_ready()


def test_restart_in_order(m):
    """SIGTERM instead of a crash, daemon by daemon, upwards."""
    with Flow(m, "a", ["c"], COUNT) as f:
        for i, part in enumerate(nodes.DAEMONS):
            f.wait_share((i + 1) / 6)
            m.restart("c", part, wait=False)
        f.finish()
    m.wait_ready()


def test_paused_daemon(m):
    """A consensusd that hangs for a while is not taken for dead by its siblings, and catches up."""
    with Flow(m, "a", ["c"], COUNT) as f:
        f.wait_share(0.3)
        m.signal("c", "consensusd", signal.SIGSTOP)
        before = f.sinks[0].got(f.stream)
        wait_until("the publisher to be held", lambda: f.publisher.confirmed <= before + 512)
        m.signal("c", "consensusd", signal.SIGCONT)
        f.finish()


def test_restart_of_an_idle_mesh(m):
    """Positions survive: a stream goes on where it was after every node has restarted."""
    with Flow(m, "a", ["c"], 300) as f:
        f.finish()
        for n in "abc":
            m.restart(n, "all", wait=False)
        m.wait_ready()
        f.publisher.join(10)
        from flow import Publisher
        f.publisher = Publisher(f.source, f.stream, 600, first=301)
        f.count = 600
        f.publisher.start()
        f.finish()


MESH = {}
