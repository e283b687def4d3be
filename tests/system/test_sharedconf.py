"""The configuration that all nodes share, where it is the daemons' own: set once, in effect everywhere."""
import contextlib
import json
import signal
import time

import grpc

import mesh_pb2 as pb
from api import Api, expect
from groups import QUICK, Watch, away, back, ctl, ctl_json, found, isolate, raft, refused, said, soon, wait_members
from harness import wait_until
from lanes import ended, link, metric

NAMES = "abc"
# What a has for itself stands in its file.
MESH = {"count": 3, "shape": "ring",
        "settings": (*QUICK, "a:routerd.paths=2", "a:consensusd.streams-max=60", "a:gatewayd.calls-max=7",
                     "a:transportd.links-max=2")}


@contextlib.contextmanager
def shared(m, node, **values):
    """These keys are set, with '__' for '.' and '_' for '-', while the block runs."""
    keys = {k.replace("__", ".").replace("_", "-"): v for k, v in values.items()}
    if raft(m, "a") is None:
        found(m)
    for k, v in keys.items():
        ctl(m, node, "config", "set", k, json.dumps(v))
    yield
    for k in keys:
        soon(m, node, "config", "remove", k)


def taken(m, node, daemon):
    """How many directives the daemon has from the mesh."""
    return metric(m, node, "mesh_daemon_shared_directives", daemon=daemon)


# --- effects ---

def most_paths(m, node):
    return max((len(x["paths"]) for x in ctl_json(m, node, "routes")), default=0)


def wait_paths(m, node, count):
    wait_until(f"{node} to have {count} paths", lambda: most_paths(m, node) == count)


def test_paths(m):
    watch = Watch(m, "c")
    with shared(m, "b", routerd__paths=1):
        watch.wait("config_changed", key="routerd.paths")
        wait_paths(m, "b", 1)
        wait_paths(m, "c", 1)
        assert ctl(m, "a", "config", "get", "routerd.paths").strip() == "1"
        assert most_paths(m, "a") == 2 and taken(m, "a", "routerd") == 0, "a's own setting wins"
    watch.close()
    for n in NAMES:
        wait_paths(m, n, 2)


def open_one(m, node):
    """The stream's handle, or the status."""
    with Api(m.node(node)) as api:
        try:
            return api.OpenClientDataStream(
                pb.OpenClientDataStreamReq(tenant_id="acme", target_nodes=[m.node(node)["node_id"]]), timeout=20)
        except grpc.RpcError as e:
            assert "streams-max" in e.details(), e.details()
            return None


def close_one(m, node, handle):
    with Api(m.node(node)) as api:
        api.CloseClientDataStream(pb.StreamHandle(stream_id=handle.stream_id), timeout=20)


def limited(m, node):
    """A stream was refused.  Those that were opened are closed again."""
    opened = []
    for _ in range(2):
        handle = open_one(m, node)
        if handle is not None:
            opened.append(handle)
    for h in opened:
        close_one(m, node, h)
    return len(opened) < 2


def test_streams_max(m):
    """Streams are refused at all nodes but the one that has its own limit; removed, it is the default again."""
    with shared(m, "c", consensusd__streams_max=1):
        for n in "bc":
            wait_until(f"{n} to refuse streams", lambda n=n: limited(m, n))
        assert not limited(m, "a")
    for n in NAMES:
        wait_until(f"{n} to open streams", lambda n=n: not limited(m, n))


def calls_fit(m, node, count):
    """Has one connection room for so many calls beside those that do not end?  A client that knows that there is
    none waits for a place."""
    with Api(m.node(node)) as api:
        api.GetNodeStatus(pb.Empty(), timeout=20)  # it has heard what the limit is
        held = [api.WatchMeshEvents(pb.Filter()) for _ in range(count)]
        try:
            api.GetNodeStatus(pb.Empty(), timeout=3)
            return True
        except grpc.RpcError as e:
            assert e.code() == grpc.StatusCode.DEADLINE_EXCEEDED, e
            return False
        finally:
            for call in held:
                call.cancel()


def test_calls_max(m):
    with shared(m, "a", gatewayd__calls_max=3):
        for n in "bc":
            wait_until(f"{n} to take few calls", lambda n=n: not calls_fit(m, n, 3))
            assert calls_fit(m, n, 2)
        assert calls_fit(m, "a", 4), "a's own setting wins"
    for n in "bc":
        wait_until(f"{n} to take calls again", lambda n=n: calls_fit(m, n, 3))


def refused_links(m):
    """How often b and c have not let somebody in for having links enough."""
    return sum(ended(m, n, "limit") for n in "bc")


def test_links_max(m):
    """b and c may have one link each, and a has two: when the link between b and c goes it does not come back."""
    with shared(m, "a", transportd__links_max=1):
        for n in "bc":
            wait_until(f"{n} to know it", lambda n=n: taken(m, n, "transportd") == 1)
        before = refused_links(m)
        m.reset("b", "c")
        wait_until("the link to be refused", lambda: refused_links(m) > before)
        assert link(m, "b", "c") is None and link(m, "c", "b") is None
        assert link(m, "a", "b") and link(m, "a", "c")
    wait_until("the link to be back", lambda: link(m, "b", "c") and link(m, "c", "b"))


# --- over time ---

def test_restarts(m):
    """A daemon that starts again has it again, a node too; one that was away gets what changed meanwhile; and who
    has it keeps it while consensusd is away."""
    with shared(m, "a", routerd__paths=1, gatewayd__calls_max=3, transportd__links_max=9):
        for part in ("routerd", "gatewayd", "transportd"):
            wait_until(f"b's {part}", lambda part=part: taken(m, "b", part) == 1)
            m.restart("b", part)
            wait_until(f"b's {part} again", lambda part=part: taken(m, "b", part) == 1)
        m.kill("b", "consensusd")
        time.sleep(1)
        assert most_paths(m, "b") == 1
        m.start("b", "consensusd", wait=True)
        wait_paths(m, "b", 1)
        m.restart("c")
        wait_paths(m, "c", 1)
        wait_until("c's gateway", lambda: not calls_fit(m, "c", 3))
        away(m, "c")
        soon(m, "a", "config", "set", "routerd.paths", "2")
        soon(m, "a", "config", "set", "consensusd.streams-max", "1")
        back(m, "c")
        m.wait_ready()
        wait_paths(m, "c", 2)
        wait_until("c to refuse streams", lambda: limited(m, "c"))
        soon(m, "a", "config", "remove", "consensusd.streams-max")
    wait_until("c to open streams", lambda: not limited(m, "c"))


def test_alone_after_a_restart(m):
    """A node that nobody can be reached from has what it knew."""
    with shared(m, "a", consensusd__streams_max=1):
        wait_until("c to refuse streams", lambda: limited(m, "c"))
        isolate(m, "c")
        m.restart("c", wait=False)
        wait_until("c to answer", lambda: said(m, "c", "status").code == 0)
        wait_until("c to know it", lambda: taken(m, "c", "consensusd") == 1)
        wait_until("c to refuse streams", lambda: limited(m, "c"))
        isolate(m, "c", "heal")
        m.wait_ready()
        wait_members(m, NAMES, NAMES)


def test_own_setting_by_reload(m):
    """What the file says wins as soon as it says it, and what the mesh says is back when it does not."""
    path = f"{m.node('b')['dir']}/mesh.conf"
    with open(path, encoding="utf-8") as f:
        before = f.read()
    with shared(m, "a", routerd__paths=1):
        wait_paths(m, "b", 1)
        for text, count in ((before + "routerd { paths 2; }\n", 2), (before, 1)):
            with open(path, "w", encoding="utf-8") as f:
                f.write(text)
            m.signal("b", "routerd", signal.SIGHUP)
            wait_paths(m, "b", count)


# --- nonsense ---

def test_nonsense_is_refused(m):
    """With the words of the configuration's parser; nothing of it gets into the log."""
    with shared(m, "a", shop__hours={"mon": [9, 17]}):
        for key, value, text in (
                ("routerd.pathz", "1", "routerd: unknown directive 'pathz' (did you mean 'paths'?)"),
                ("routerd.paths", "99", "routerd: paths: '99': out of range (1 to 8)"),
                ("routerd.paths", "[1, 2]", "routerd: paths takes one value"),
                ("routerd.paths", "{}", "routerd: paths: not a string"),
                ("consensusd.stream-window", '"4 MB"', "a size with its unit"),
                ("transportd.listen", '"*:1"', "can't be shared"),
                ("consensusd.database", '"x"', "can't be shared"),
                ("routerd.cost", "1", "is a block")):
            refused(m, "b", "config", "set", key, value, text=text)
        with Api(m.node("b")) as api:
            why = expect(grpc.StatusCode.INVALID_ARGUMENT, api.SetConfig,
                         pb.ConfigEntry(key="routerd.paths", value=b'"many"'), timeout=20)
            assert "routerd: paths: 'many': not a whole number" in why
        listed = ctl(m, "c", "config", "get")
        assert "shop.hours" in listed and "routerd" not in listed and "transportd" not in listed, listed
    assert said(m, "b", "config", "remove", "shop.hours").code != 0
