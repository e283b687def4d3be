"""The control group of a mesh: making its nodes members, looking at it, sending it updates and reading them all."""
import collections
import json
import os
import queue
import subprocess
import threading
import time

import grpc

import mesh_pb2 as pb
from api import Api
from devmeshlib import nodes
from flow import RETRIED
from harness import wait_until

# Members vote soon, and are replaced soon: tests shall not wait for what is a matter of minutes.
QUICK = ("consensusd.voter-stable=1s", "consensusd.voter-gone=5s")
CALL_S = 90
DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
Said = collections.namedtuple("Said", "code out err")


def ulid():
    number = (time.time_ns() // 1_000_000 << 80) | int.from_bytes(os.urandom(10), "big")
    return "".join(DIGITS[number >> shift & 31] for shift in range(125, -1, -5))


# --- meshctl ---

def said(m, node, *argv):
    """What meshctl says, and how it ends."""
    r = subprocess.run([f"{m.state['bin']}/meshctl", "-s", m.node(node)["control_socket"], *argv],
                       capture_output=True, text=True, timeout=CALL_S, check=False)
    return Said(r.returncode, r.stdout, r.stderr)


def ctl(m, node, *argv):
    """It must succeed; what it prints."""
    s = said(m, node, *argv)
    assert s.code == 0, f"{node}: meshctl {' '.join(argv)}: {s}"
    return s.out


def ctl_json(m, node, *argv):
    return json.loads(ctl(m, node, "-j", *argv))


def refused(m, node, *argv, text, code=None):
    """It must fail, and say this."""
    s = said(m, node, *argv)
    assert s.code != 0 and text in s.err and code in (None, s.code), \
        f"{node}: meshctl {' '.join(argv)}: {s}, expected '{text}', {code or 'an error'}"


def soon(m, node, *argv, seconds=60):
    """Tries until it succeeds; what it prints."""
    last = []

    def works():
        last[:] = [said(m, node, *argv)]
        return last[0].code == 0

    try:
        wait_until(f"{node}: meshctl {' '.join(argv)}", works, seconds)
    except AssertionError as e:
        raise AssertionError(f"{e}: {last[0]}") from None
    return last[0].out


# --- looking at the group ---

def raft(m, node):
    """The control group as a node sees it; None: it is a member of none, or does not answer."""
    s = said(m, node, "-j", "raft")
    if s.code != 0:
        return None
    return next((g for g in json.loads(s.out) if g["group_type"] == "MCG"), None)


def members(m, node):
    """name -> what the node knows of it, of all that are or were members."""
    g = raft(m, node)
    return {x["node_name"]: x for x in g["member_details"]} if g else {}


def voters(m, node):
    return {name for name, x in members(m, node).items() if x["role"] == "voter"}


def leader(m, names, seconds=60):
    """The name of the leader, when these nodes agree on one of them."""
    def agreed():
        seen = [raft(m, n) for n in names]
        if None in seen or len({(g["leader_id"], g["term"]) for g in seen}) != 1:
            return None
        g = seen[0]
        return g["leader_name"] if g["leader_id"] and g["leader_name"] in names else None

    return wait_until(f"{', '.join(names)} to agree on a leader", agreed, seconds)


def all_names(m):
    return [n["name"] for n in m.nodes]


def wait_members(m, at, expected, seconds=60):
    """Until these nodes see exactly these members."""
    seen = {}

    def same():
        for n in at:
            seen[n] = sorted(name for name, x in members(m, n).items() if x["status"] in ("member", "stopped"))
        return all(seen[n] == sorted(expected) for n in at)

    try:
        wait_until(f"the members to be {expected}", same, seconds)
    except AssertionError as e:
        raise AssertionError(f"{e}: {seen}") from None


def wait_voters(m, at, expected, seconds=60):
    """Until as many vote as expected says, or just those."""
    def right():
        now = voters(m, at)
        return len(now) == expected if isinstance(expected, int) else now == set(expected)

    try:
        wait_until(f"{expected} to vote", right, seconds)
    except AssertionError as e:
        raise AssertionError(f"{e}: {members(m, at)}") from None


def found(m, first="a", options=(), names=None, vote=None):
    """Seeds at a node and has the others (names: these) join; waits until as many vote as will."""
    names = names or all_names(m)
    ctl(m, first, "seed", *options)
    for n in names:
        if n != first:
            ctl(m, n, "join")
    wait_members(m, names, names)
    wait_voters(m, first, vote or min(5, len(names) - 1 | 1))


def has_logged(m, node, text):
    with open(m.node(node)["logs"]["consensusd"], encoding="utf-8", errors="replace") as f:
        return any(text in line for line in f)


# --- breaking it ---

def isolate(m, names, verb="cut"):
    """Cuts (or heals) all links between these nodes and the others."""
    for lk in m.state["links"]:
        if (lk["a"] in names) != (lk["b"] in names):
            m.shape_link(verb, lk["a"], lk["b"], *((None, None) if verb in ("cut", "heal") else ()))


def away(m, node, parts=nodes.DAEMONS):
    """All daemons of a node are gone; its database stays."""
    for part in parts:
        m.kill(node, part)


def back(m, node, parts=nodes.DAEMONS):
    for part in parts:
        m.start(node, part)


# --- updates ---

class Sender(threading.Thread):
    """Sends updates of the mesh from a node, one after the other, each with an id of its own with which it is
    sent again until it is known to be committed."""

    def __init__(self, m, node, pause=0.01, count=None, patience=CALL_S):
        super().__init__(daemon=True)
        self.m, self.node, self.pause, self.count, self.patience = m, node, pause, count, patience
        self.done, self.again, self.error = [], 0, None  # ids that were acknowledged, in their order
        self.stopping = threading.Event()

    def send(self, api, number):
        """Sends one until it is committed.  False: it was to stop before."""
        u = pb.MeshUpdate(update_id=ulid(), type="news", payload=f"{self.node} {number}".encode())
        end = time.monotonic() + self.patience
        while True:
            try:
                r = api.SendMeshUpdate(u, timeout=15)
                if r.committed:
                    self.done.append((u.update_id, u.payload))
                    return True
                text = r.error
            except grpc.RpcError as e:
                if e.code() not in (*RETRIED, grpc.StatusCode.DEADLINE_EXCEEDED):
                    raise
                text = e.details()
            if time.monotonic() > end:
                raise AssertionError(f"update {number} of {self.node} is not committed after {self.patience} s: "
                                     f"{text}")
            self.again += 1
            time.sleep(0.05)

    def run(self):
        try:
            with Api(self.m.node(self.node), local=True) as api:
                number = 0
                while not self.stopping.is_set() and number != self.count:
                    number += 1
                    self.send(api, number)
                    self.stopping.wait(self.pause)
        except Exception as e:  # shown by whoever waits for us
            self.error = e

    def finish(self):
        """It stops when what it is sending is committed."""
        self.stopping.set()
        self.join(self.patience + 30)
        assert not self.is_alive(), f"the updates of {self.node} do not end"
        if self.error is not None:
            raise self.error


class Senders:
    """Updates that flow from several nodes while something happens."""

    def __init__(self, m, names, **kw):
        self.all = [Sender(m, n, **kw) for n in names]

    def __enter__(self):
        for s in self.all:
            s.start()
        return self

    def __exit__(self, *_):
        for s in self.all:
            s.stopping.set()

    def count(self):
        for s in self.all:
            if s.error is not None:
                raise s.error
        return sum(len(s.done) for s in self.all)

    def more(self, count, seconds=90):
        """Until so many more were acknowledged."""
        wanted = self.count() + count
        wait_until(f"{count} more updates", lambda: self.count() >= wanted, seconds)

    def finish(self):
        for s in self.all:
            s.finish()
        return [u for s in self.all for u in s.done]


def follow(m, node, upto, method="SubscribeMeshUpdates", seconds=90):
    """All updates that a node gives from the beginning up to this position, as (position, id, payload)."""
    seen, requests = [], queue.Queue()
    requests.put(pb.SubscribeReq(**{"from": 0}, window=4096))
    with Api(m.node(node), local=True) as api:
        call = getattr(api, method)(iter(requests.get, None), timeout=seconds)
        try:
            for u in call:
                seen.append((u.position, u.update_id, u.payload))
                if u.position >= upto:
                    return seen
                if len(seen) % 1000 == 0:
                    requests.put(pb.SubscribeReq(ack=u.position))
        finally:
            requests.put(None)
            call.cancel()
    raise AssertionError(f"{node} ended after {seen[-1:]}, before {upto}")


def mark(m, node, wait="all", seconds=60):
    """An update that all nodes have applied: its position."""
    with Api(m.node(node), local=True) as api:
        u = pb.MeshUpdate(update_id=ulid(), type="mark", wait=pb.BroadcastWait(mode=wait, timeout_ms=seconds * 1000))
        end = time.monotonic() + seconds
        while True:
            try:
                r = api.SendMeshUpdate(u, timeout=seconds + 10)
                assert r.committed and not r.pending_nodes, f"pending: {r.pending_nodes} ({r.error})"
                return r.index
            except grpc.RpcError as e:
                if e.code() not in RETRIED or time.monotonic() > end:
                    raise
                time.sleep(0.1)


def check_updates(m, acknowledged, names=None, at=None, ordered=True):
    """Every node has the same updates in the same order; each of those that were acknowledged, once, as it was
    sent; and those of one node in the order in which it sent them (ordered: one after the other)."""
    names = names or all_names(m)
    upto = mark(m, at or names[0])
    got = {n: follow(m, n, upto) for n in names}
    first = got[names[0]]
    for n in names[1:]:
        if got[n] != first:
            at = next((i for i, (x, y) in enumerate(zip(first, got[n])) if x != y), min(len(first), len(got[n])))
            raise AssertionError(f"{n} has {len(got[n])} updates, {names[0]} has {len(first)}; they differ at {at}: "
                                 f"{first[at:at + 2]}, {got[n][at:at + 2]}")
    assert all(x[0] < y[0] for x, y in zip(first, first[1:])), "positions that do not ascend"
    place = {uid: (i, payload) for i, (_, uid, payload) in enumerate(first)}
    assert len(place) == len(first), f"{len(first) - len(place)} updates are there twice"
    lost = [(uid, payload) for uid, payload in acknowledged if place.get(uid, (0, None))[1] != payload]
    assert not lost, f"{len(lost)} of {len(acknowledged)} acknowledged updates are lost or changed: {lost[:3]}"
    last = {}
    for uid, payload in acknowledged if ordered else ():
        source, i = payload.split()[0], place[uid][0]
        assert last.get(source, -1) < i, f"{payload} is before one that was sent earlier"
        last[source] = i
    return first


# --- events ---

class Watch:
    """Events as a node tells them."""

    def __init__(self, m, node):
        self.api, self.seen, self.node = Api(m.node(node), local=True), [], node
        self.call = self.api.WatchMeshEvents(pb.Filter(), timeout=600)
        threading.Thread(target=self.read, daemon=True).start()
        # The call is there when a user event comes back.
        with Api(m.node(node), local=True) as api:
            def heard():
                api.SendUserEvent(pb.UserEventReq(name="hello"), timeout=10)
                return self.has("user_event")

            wait_until(f"events of {node}", heard, 30)

    def read(self):
        try:
            for e in self.call:
                self.seen.append((e.event_type, dict(e.metadata)))
        except grpc.RpcError:
            pass

    def has(self, kind, **metadata):
        return [m for k, m in list(self.seen) if k == kind and metadata.items() <= m.items()]

    def wait(self, kind, seconds=30, **metadata):
        try:
            return wait_until(f"{kind} {metadata} at {self.node}", lambda: self.has(kind, **metadata), seconds)[0]
        except AssertionError as e:
            raise AssertionError(f"{e}: {[x for x in self.seen if x[0] == kind]}") from None

    def close(self):
        self.call.cancel()
        self.api.__exit__(None, None, None)
