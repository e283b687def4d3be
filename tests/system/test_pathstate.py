"""Paths that are left and returned to: in events, in `meshctl routes`, and in the API."""
import json
import threading
import time

import grpc
import mesh_pb2 as pb

from api import Api
from harness import Flow, wait_until
from test_meshctl import run, start

# a - b - c - d - a: two ways from a to c.
MESH = {"count": 4, "shape": "ring"}


class Events:
    """Events of paths at a node."""

    def __init__(self, m, at):
        self.api = Api(m.node(at))
        self.seen = []
        self.call = self.api.__enter__().WatchMeshEvents(pb.Filter(), timeout=120)
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        try:
            for e in self.call:
                if e.event_type in ("path_degraded", "path_recovered", "path_gone"):
                    self.seen.append((e.event_type, dict(e.metadata)))
        except grpc.RpcError:
            pass

    def first(self, kind, **wanted):
        return next((x for k, x in list(self.seen) if k == kind and all(x.get(w) == v for w, v in wanted.items())),
                    None)

    def close(self):
        self.call.cancel()
        self.api.__exit__(None, None, None)


def paths(m, at, to):
    """{path_id: path} of client data, as meshctl tells it."""
    return {p["path_id"]: p for r in json.loads(run(m, at, "-j", "routes"))
            if r["destination_name"] == to and "client" in r["classes"] for p in r["paths"]}


def cut_what_is_used(m, events):
    """Makes a black hole of the far link of the way that the stream goes; the relay, and the event."""
    for relay in "bdbd":
        m.cut(relay, "c")
        end = time.monotonic() + 5
        while time.monotonic() < end:
            left = events.first("path_degraded", destination_name="c", via_name=relay)
            if left is not None:
                return relay, left
            time.sleep(0.05)
        m.heal(relay, "c")
    raise AssertionError("no path was left")


def test_left_and_returned(m):
    """A relay's far link becomes a black hole: the path over it is left, with its reason, and returned to."""
    wait_until("two ways to C", lambda: len(paths(m, "a", "c")) == 2, 30)
    events = Events(m, "a")
    watch = start(m, "a", "watch", "--type", "path_degraded", "-n", "1", stdout=-1)
    assert {p["state"] for p in paths(m, "a", "c").values()} == {"up"}
    time.sleep(1)
    with Flow(m, "a", ["c"], 200_000, window=8) as f:  # more than it gets to
        f.wait_share(0.001)
        relay, left = cut_what_is_used(m, events)
        assert left["reason"] in ("silent", "notice", "link", "rtt") and left["state"] in ("suspect", "slow"), left
        assert left["hops"] == "2" and left["destination"] == m.node("c")["node_id"], left
        text, _ = watch.communicate(timeout=30)
        assert " path_degraded " in text and "reason=" in text and "path_id=" in text, text
        m.heal(relay, "c")
        # Returned to, or taken off the table with the link and made anew.
        back = wait_until("its end", lambda: events.first("path_recovered", path_id=left["path_id"]) or
                          events.first("path_gone", path_id=left["path_id"]), 60)
        assert back["destination_name"] == "c" and back["state"] in ("up", "forgotten"), back
        got = f.publisher.confirmed
        wait_until("the stream to go on", lambda: f.publisher.confirmed > got, 30)
        wait_until("all to be up", lambda: {p["state"] for p in paths(m, "a", "c").values()} == {"up"}, 60)
    events.close()


def test_slow_path(m):
    """A path that becomes slow is left while its links stay up; `routes` says so, and since when; then it is back."""
    def left():
        return [p for p in paths(m, "a", "c").values() if p["state"] != "up"]

    wait_until("two ways to C", lambda: len(paths(m, "a", "c")) == 2, 30)
    wait_until("all to be up", lambda: not left(), 60)
    events = Events(m, "a")
    time.sleep(1)
    try:
        with Flow(m, "a", ["c"], 200_000, window=8) as f:  # more than it gets to
            f.wait_share(0.001)
            for relay in "bd":
                m.shape_link("delay", relay, "c", 150)
            p = wait_until("a path that is left", left, 30)[0]
            assert p["reason"] and p["state_since"] > 0, p
            head, *rows = run(m, "a", "routes").splitlines()
            assert {"STATE", "REASON"} <= set(head.split()), head
            assert any(p["state"] in row and ", ".join(p["hops"]) in row for row in rows) or not left(), rows
            for relay in "bd":
                m.shape_link("delay", relay, "c", 0)
            wait_until("all to be up again", lambda: not left(), 120)
            for kind, e in list(events.seen):
                if kind == "path_degraded":
                    wait_until("its return", lambda e=e: events.first("path_recovered", path_id=e["path_id"]) or
                               events.first("path_gone", path_id=e["path_id"]), 60)
    finally:
        for relay in "bd":
            m.shape_link("delay", relay, "c", 0)
        events.close()
