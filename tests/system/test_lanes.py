"""Links made of lanes: how many there are, and that the death of any of them costs nothing but a moment."""
import contextlib
import time

from devmeshlib.procs import DevmeshError
from harness import Flow, shaped, wait_until
from lanes import BULK, CONTROL, PRIORITY, Downs, conn_of, identity, lanes, lanes_up, link, links, settled

DETECTION_MAX_S = 5  # 1 s is configured below: the rest is for a busy machine


def test_three_lanes(m):
    """Control, priority and bulk have a connection each, and both ends agree on which is which."""
    mine, theirs = settled(m, "a", "b"), lanes(m, "b", "a")
    assert [getattr(mine[n], "class") for n in range(3)] == ["control", "priority", "bulk"]
    for n, word in enumerate(("control", "priority", "bulk")):
        assert word in mine[n].roles.split(","), mine[n]
        assert mine[n].dialled != theirs[n].dialled, "both or none has dialled"
        assert mine[n].auth == "certificate" and mine[n].cipher, mine[n]
    assert all(conn_of(m, "a", "b", n).id == conn_of(m, "b", "a", n).id for n in range(3))
    assert len(m.conns("a", "b")) == 3


def test_each_lane_carries_its_own(m):
    """Client data goes on bulk lanes, and not on those that are kept for others."""
    before = settled(m, "a", "b")
    with Flow(m, "a", ["c"], 200, size=20_000) as f:
        f.finish()
    now = lanes(m, "a", "b")
    sent = {n: now[n].tx_bytes - before[n].tx_bytes for n in now}
    assert sent[BULK] > 4_000_000 and sent[CONTROL] + sent[PRIORITY] < 400_000, sent


def test_collapsed():
    """One side wants a single connection: all goes over it."""
    with shaped("a -> b", settings=["b:transportd.lanes=collapse"]) as m:
        only = settled(m, "a", "b", 1)[0]
        assert set(only.roles.split(",")) == {"control", "priority", "bulk"}, only
        assert len(m.conns("a", "b")) == 1
        with Flow(m, "a", ["b"], 1000) as f:
            f.wait_share(0.3)
            m.reset("a", "b")
            f.finish()


def stays(m, a, b, connections):
    """The link has these many connections, and a second later the same."""
    wait_until(f"{connections} connections", lambda: len(m.conns(a, b)) == connections, 20)
    first, begin = identity(link(m, a, b)), time.monotonic()
    wait_until("a second to pass", lambda: time.monotonic() - begin > 1)
    assert identity(link(m, a, b)) == first, f"{first} became {identity(link(m, a, b))}"
    assert len(m.conns(a, b)) == connections


def test_both_dial_one_set():
    with shaped("a <-> b") as m:
        settled(m, "a", "b")
        stays(m, "a", "b", 3)
        with Flow(m, "a", ["b"], 1000) as f:
            f.wait_share(0.3)
            m.reset("a", "b")
            f.finish()
        settled(m, "a", "b")
        stays(m, "a", "b", 3)


def test_two_addresses_one_link():
    """A peer that is configured twice, under IPv4 and IPv6, is one link with one set of lanes."""
    with shaped("a -> b\na -> b ipv6") as m:
        settled(m, "a", "b")
        stays(m, "a", "b", 3)
        assert len(links(m, "a")) == len(links(m, "b")) == 1
        with Flow(m, "a", ["b"], 500) as f:
            f.finish()


# --- death ---

def lane_dies(m, lane, kill, what):
    """Kills the lane's connection under load: the link stays, nothing is lost, the lane comes back."""
    settled(m, "a", "b")
    downs, since = Downs(m, "a", "b"), link(m, "a", "b").since_unix_ms
    with Flow(m, "a", ["c"], 6000) as f:
        f.wait_share(0.1)
        old, conn = lanes(m, "a", "b")[lane], conn_of(m, "a", "b", lane)
        kill(conn.id)
        begin = time.monotonic()
        wait_until(f"lane {lane} to be given up", lambda: gone(m, lane, old), 20)
        took = time.monotonic() - begin
        before = f.publisher.confirmed
        wait_until("messages to go on", lambda: f.publisher.confirmed > min(before + 200, f.count - 1), 20)
        settled(m, "a", "b")
        back = time.monotonic() - begin
        with contextlib.suppress(DevmeshError):
            m.heal("a", "b", conn.id)  # what of it is left in the proxy may go
        f.finish()
    print(f"        lane {lane} {what}: noticed after {took * 1000:.0f} ms, back after {back * 1000:.0f} ms")
    assert took < DETECTION_MAX_S, f"noticed after {took:.1f} s"
    assert link(m, "a", "b").since_unix_ms == since, "the link was made anew"
    downs.still()


def gone(m, lane, old):
    now = lanes(m, "a", "b").get(lane)
    return now is None or now.state != "up" or now.local_address != old.local_address


def test_control_lane_black_hole(m):
    lane_dies(m, CONTROL, lambda c: m.cut("a", "b", c), "cut")


def test_priority_lane_black_hole(m):
    lane_dies(m, PRIORITY, lambda c: m.cut("a", "b", c), "cut")


def test_bulk_lane_black_hole(m):
    lane_dies(m, BULK, lambda c: m.cut("a", "b", c), "cut")


def test_one_way_black_hole(m):
    """The lane still hears the other side, which hears nothing."""
    for lane in (CONTROL, BULK):
        for way in ("up", "down"):
            lane_dies(m, lane, lambda c, way=way: m.cut("a", "b", c, way), f"cut {way}")


def test_lanes_are_reset(m):
    for lane in (CONTROL, PRIORITY, BULK):
        lane_dies(m, lane, lambda c: m.reset("a", "b", c), "reset")


def test_lanes_are_half_closed(m):
    for lane in (CONTROL, BULK):
        for way in ("up", "down"):
            lane_dies(m, lane, lambda c, way=way: m.half("a", "b", c, way), f"half-closed {way}")


def test_promotion(m):
    """While the control lane can't come back another lane carries what is its."""
    settled(m, "a", "b")
    downs = Downs(m, "a", "b")
    with Flow(m, "a", ["c"], 6000) as f:
        f.wait_share(0.1)
        m.refuse("a", "b")
        m.cut("a", "b", conn_of(m, "a", "b", CONTROL).id)
        wait_until("a promotion", lambda: any("control" in x.roles.split(",") for n, x in lanes_up(m, "a", "b").items()
                                              if n != CONTROL), 10)
        before = f.publisher.confirmed
        wait_until("messages to go on", lambda: f.publisher.confirmed > min(before + 500, f.count - 1), 20)
        m.heal("a", "b")
        settled(m, "a", "b")
        wait_until("control back in its place", lambda: "control" in lanes(m, "a", "b")[CONTROL].roles, 10)
        f.finish()
    downs.still()


def test_all_but_one_die_again_and_again(m):
    """Whatever dies, in any order, as long as one lane is left."""
    settled(m, "a", "b")
    downs = Downs(m, "a", "b")
    with Flow(m, "a", ["c"], 8000) as f:
        for i in range(6):
            f.wait_share((i + 1) / 10)
            keep = i % 3
            for lane in set(settled(m, "a", "b")) - {keep}:
                m.reset("a", "b", conn_of(m, "a", "b", lane).id)
        f.finish()
    settled(m, "a", "b")
    downs.still()


# --- more bulk lanes ---

def test_bulk_lanes_come_and_go():
    """Full lanes behind a long way get help, at most up to the cap; when there is nothing to do it leaves."""
    settings = [f"transportd.{s}" for s in (
        "lane-open-after=200ms", "lane-close-after=1s", "lane-cool-down=200ms", "lane-target=100000", "bulk-lanes-max=3")]
    with shaped("a -> b delay=5 rate=60", settings=settings) as m:
        settled(m, "a", "b")
        most = 0
        with contextlib.ExitStack() as stack:
            flows = [stack.enter_context(Flow(m, "a", ["b"], 600, size=20_000)) for _ in range(4)]

            def grown():
                nonlocal most
                most = max(most, sum(n >= BULK for n in lanes(m, "a", "b")))
                return most > 1

            def shared():
                """Streams that were there before are spread over the lanes that came."""
                return sum(d.tx_bytes > 200_000 for n, d in lanes(m, "a", "b").items() if n >= BULK) > 1

            wait_until("a further bulk lane", grown, 30)
            wait_until("streams on both lanes", shared, 30)
            for f in flows:
                f.finish()
                grown()
        assert most <= 3, f"{most} bulk lanes"
        settled(m, "a", "b", 3)
        stays(m, "a", "b", 3)


# Links must not go down here because a loaded machine lets their processes wait: so more than the usual 3.
MESH = {"settings": ["transportd.heartbeat-interval=100ms", "transportd.heartbeat-misses=10"]}
