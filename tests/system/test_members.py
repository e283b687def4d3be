"""Who is alive: noticed everywhere when a node crashes, hangs or comes back; in a line, so that gossip is relayed."""
import json
import queue
import signal
import threading
import time

import grpc
import mesh_pb2 as pb

from api import Api, expect
from harness import wait_until
from lanes import metric
from test_meshctl import run

# A line a - b - c - d.
MESH = {"count": 4}
PARTS = ("gatewayd", "consensusd", "routerd", "transportd")


def states(m, at):
    with Api(m.node(at)) as client:
        return {n.node_name: n.status for n in client.GetMeshStatus(pb.Empty(), timeout=10).nodes}


class Watch:
    """Events of nodes, as a node tells them, with when they came."""

    def __init__(self, m, at):
        self.api = Api(m.node(at))
        self.seen = queue.Queue()
        self.call = self.api.__enter__().WatchMeshEvents(pb.Filter(), timeout=120)
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        try:
            for e in self.call:
                self.seen.put((time.monotonic(), e.event_type, e.metadata.get("node_name")))
        except grpc.RpcError:
            pass

    def wait(self, kind, name, seconds):
        """When it came."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                at, k, n = self.seen.get(timeout=0.1)
            except queue.Empty:
                continue
            if (k, n) == (kind, name):
                return at
        raise AssertionError(f"no {kind} of {name} within {seconds} s")

    def now(self):
        """All that came and was not waited for, [(kind, name)] in the order in which it came."""
        seen = []
        while not self.seen.empty():
            seen.append(self.seen.get()[1:])
        return seen

    def close(self):
        self.call.cancel()
        self.api.__exit__(None, None, None)


def calm(m):
    for at in "abcd":
        wait_until(f"all alive at {at}", lambda: set(states(m, at).values()) == {"alive"}, 30)


def test_probes_are_relayed(m):
    """a and d have no link: they probe each other all the same, and nobody is suspected."""
    calm(m)
    before = metric(m, "a", "mesh_member_probes_total")
    wait_until("probes", lambda: metric(m, "a", "mesh_member_probes_total") > before + 8, 30)
    for at in "abcd":
        assert metric(m, at, "mesh_members_alive") == 4
        assert metric(m, at, "mesh_member_confirmed_total") == 0, at


def test_crash(m):
    """All daemons of a node are gone: known at the other end of the line in less than a second."""
    calm(m)
    watch = Watch(m, "a")
    time.sleep(1)
    start = time.monotonic()
    for part in PARTS:
        m.kill("d", part)
    took = watch.wait("node_down", "d", 10) - start
    print(f"crash known after {took:.3f} s")
    assert states(m, "a")["d"] == "dead" and states(m, "c")["d"] == "dead"
    assert took < 1.5, took
    for part in reversed(PARTS):
        m.start("d", part)
    m.wait_ready()
    watch.wait("node_up", "d", 30)
    watch.close()
    calm(m)


def test_silent_cut(m):
    """A node whose transportd stands still: its links are there, and nothing comes."""
    calm(m)
    watch = Watch(m, "a")
    time.sleep(1)
    start = time.monotonic()
    m.signal("d", "transportd", signal.SIGSTOP)
    took = watch.wait("node_down", "d", 20) - start
    print(f"silent cut known after {took:.3f} s")
    m.signal("d", "transportd", signal.SIGCONT)
    assert took < 3, took
    watch.wait("node_up", "d", 30)
    watch.close()
    calm(m)


def test_hung_routerd(m):
    """It is suspected, and not dead while its links are there; it denies when it goes on."""
    calm(m)
    watch = Watch(m, "a")
    time.sleep(1)
    start = time.monotonic()
    m.signal("d", "routerd", signal.SIGSTOP)
    took = watch.wait("node_suspect", "d", 20) - start
    print(f"hung routerd suspected after {took:.3f} s")
    time.sleep(10)
    assert states(m, "a")["d"] == "suspect"
    start = time.monotonic()
    m.signal("d", "routerd", signal.SIGCONT)
    back = watch.wait("node_up", "d", 20) - start
    print(f"denied after {back:.3f} s")
    watch.close()
    assert took < 5, took
    assert metric(m, "d", "mesh_member_stalls_total") >= 1
    calm(m)


def detail(m, at):
    """What a node says of its own view."""
    with Api(m.node(at)) as client:
        return next(n.detail for n in client.GetMeshStatus(pb.Empty(), timeout=10).nodes if n.node_name == at)


def test_own_transportd_away(m):
    """A node without transportd knows that it is cut off itself: to it nobody is dead; to the others it is."""
    calm(m)
    here, there = Watch(m, "b"), Watch(m, "a")
    time.sleep(1)
    here.now(), there.now()
    suspected = metric(m, "b", "mesh_member_suspected_total")
    m.kill("b", "transportd")
    there.wait("node_down", "b", 20)
    wait_until("b says so", lambda: "no transport" in detail(m, "b"), 20)
    assert metric(m, "b", "mesh_member_blind") == 1
    end = time.monotonic() + 4
    while time.monotonic() < end:
        assert set(states(m, "b").values()) == {"alive"}, states(m, "b")
        time.sleep(0.2)
    text = run(m, "b", "nodes")
    assert "b: no transport" in text and "dead" not in text, text
    with Api(m.node("b")) as client:
        assert client.GetMeshStatus(pb.Empty(), timeout=10).status == "degraded"
        assert not client.ListRoutes(pb.Empty(), timeout=10).routes
    assert set(states(m, "a").values()) == {"alive", "dead"}
    m.start("b", "transportd")
    m.wait_ready()
    there.wait("node_up", "b", 30)
    calm(m)
    wait_until("b sees again", lambda: detail(m, "b") == "", 30)
    assert metric(m, "b", "mesh_member_blind") == 0
    assert metric(m, "b", "mesh_member_suspected_total") == suspected
    seen = here.now()
    assert not [x for x in seen if x[0].startswith("node_")], seen
    kinds = [kind for kind, _ in seen]
    assert kinds.index("daemon_down") < kinds.index("daemon_up") < kinds.index("link_up"), kinds
    # It probes again: a member that dies now is noticed.
    m.signal("c", "transportd", signal.SIGSTOP)
    here.wait("node_down", "c", 20)
    m.signal("c", "transportd", signal.SIGCONT)
    here.wait("node_up", "c", 30)
    here.close()
    there.close()
    calm(m)


def test_no_link(m):
    """transportd is there, and no link: from here the others are gone, and the node says why that may be."""
    calm(m)
    watch = Watch(m, "a")
    time.sleep(1)
    m.cut("a", "b")
    watch.wait("node_down", "b", 30)
    wait_until("a says so", lambda: "no link" in detail(m, "a"), 20)
    text = run(m, "a", "status")
    assert "no link" in text, text
    m.heal("a", "b")
    watch.wait("node_up", "b", 30)
    watch.close()
    calm(m)
    assert detail(m, "a") == ""


def test_load_and_round_trips(m):
    """What members tell of themselves, and what is found out about them, is there for clients."""
    calm(m)
    for at in "abcd":
        with Api(m.node(at)) as client:
            def told():
                nodes = client.GetMeshStatus(pb.Empty(), timeout=10).nodes
                others = [n for n in nodes if n.node_name != at]
                return all(n.HasField("load_permille") for n in nodes) and \
                    all(n.probe_rtt_us > 0 and n.status_since > 0 for n in others) and nodes
            nodes = wait_until("load and round trips", told, 60)
            assert all(n.load_permille <= 1000 for n in nodes)
            found = client.DiscoverNodes(pb.DiscoverNodesReq(status="any"), timeout=10).nodes
            assert all(n.HasField("load_permille") for n in found)
    own = metric(m, "a", "mesh_router_load_permille")
    assert 0 <= own <= 1000
    head, *rows = run(m, "a", "nodes", "-v").splitlines()
    assert {"LOAD", "RTT", "FOR"} <= set(head.split()) and len(rows) == 4, head
    assert "LOAD" in run(m, "a", "nodes").splitlines()[0]
    links = json.loads(run(m, "a", "-j", "topology"))
    assert all(0 <= link[end] <= 1000 for link in links for end in ("a_load_permille", "b_load_permille")), links
    assert "alive, load " in run(m, "a", "topology", "-f", "dot") and \
        "alive, load " in run(m, "a", "topology", "-f", "svg")
    row = next(n for n in json.loads(run(m, "a", "-j", "nodes")) if n["node_name"] == "d")
    assert row["probe_rtt_us"] > 0 and 0 <= row["load_permille"] <= 1000 and row["status_since"] > 0, row
    assert "no node fits" not in run(m, "a", "nodes", "-v", "--status", "alive")


def test_user_events(m):
    """All who watch get each event once, those of one sender in order."""
    calm(m)
    watching = {}
    for at in "abcd":
        client = Api(m.node(at)).__enter__()
        watching[at] = (client, client.WatchMeshEvents(pb.Filter(type="user_event"), timeout=60))
    with Api(m.node("a")) as a:
        ready = threading.Event()

        def knock():
            while not ready.wait(0.1):
                a.SendUserEvent(pb.UserEventReq(name="knock"), timeout=10)

        knocking = threading.Thread(target=knock)
        knocking.start()
        for _, call in watching.values():
            next(call)
        ready.set()
        knocking.join()
        for i in range(5):
            a.SendUserEvent(pb.UserEventReq(name="deploy", payload=b"%d" % i), timeout=10)
        text = expect(grpc.StatusCode.INVALID_ARGUMENT, a.SendUserEvent, pb.UserEventReq(payload=b"x"), timeout=10)
        assert "name" in text, text
    run(m, "d", "event", "deploy", "last")
    for at, (client, call) in watching.items():
        got = []
        while len(got) < 6:
            if (e := next(call)).metadata["name"] != "knock":
                got.append(e)
        assert {e.metadata["name"] for e in got} == {"deploy"}, got
        of_a = [e for e in got if e.metadata["node_name"] == "a"]
        assert [e.payload for e in of_a] == [b"0", b"1", b"2", b"3", b"4"], (at, got)
        times = [int(e.metadata["ltime"]) for e in of_a]
        assert times == sorted(times), times
        assert [e.payload for e in got if e.metadata["node_name"] == "d"] == [b"last"], got
        call.cancel()
        client.__exit__(None, None, None)


def test_leave(m):
    """The end of the line says goodbye, and is back when its routerd is started again."""
    calm(m)
    with Api(m.node("d")) as client:
        e = expect(grpc.StatusCode.NOT_FOUND, client.LeaveMesh, pb.LeaveMeshReq(mesh_id="x"), timeout=5)
        assert "'x'" in e, e
        assert client.LeaveMesh(pb.LeaveMeshReq(), timeout=10).success
        wait_until("d says so itself", lambda: "has left" in next(
            x.detail for x in client.GetNodeStatus(pb.Empty(), timeout=10).daemons if x.name == "routerd"))
    wait_until("d has left, for a", lambda: states(m, "a").get("d") == "left", 20)
    with Api(m.node("a")) as client:
        assert "d" not in {r.destination_name for r in client.ListRoutes(pb.Empty(), timeout=10).routes}
    m.kill("d", "routerd")
    m.start("d", "routerd")
    calm(m)
