"""All that goes on in a mesh while its daemons die (test_crashpoints.py): so much that each point is reached soon."""
import itertools
import json
import queue
import threading
import time

import grpc

import mesh_pb2 as pb
from api import Api, open_stream
from changes import Changer, Fenced, Moving
from flow import RETRIED, Sink
from groups import said
from harness import query, wait_all, wait_until
from kinds import GivenUp, Letters, action_of, check_log
from rowload import EndlessTally, change
from streamload import BRIEF, BriefStreams, EndlessPublisher, retried

BURST, WINDOW, PAUSE_S = 300, 512, 0.1
RECOVER_S = 90
TENANTS = ("acme", "other", "moved", "refused", "idle", BRIEF)
SOURCE, TARGET, RELAY = "a", "c", "b"
AGAIN = (*RETRIED, grpc.StatusCode.DEADLINE_EXCEEDED)


class Bursts(EndlessPublisher):
    """As many messages as go at once, then a moment of silence, in which what is put off gets done."""

    def requests(self, credit):
        for request in super().requests(credit):
            yield request
            if request.seq % BURST == 0:
                while self.confirmed < request.seq and not self.over(credit):
                    time.sleep(0.01)
                self.stopping.wait(PAUSE_S)


class Calls(threading.Thread):
    """What else applications ask of a node: its configuration and its updates change all the time."""

    def __init__(self, m, node):
        super().__init__(daemon=True)
        self.node, self.stopping, self.error = m.node(node), threading.Event(), None

    def run(self):
        try:
            with Api(self.node, local=True) as api:
                for n in itertools.count():
                    if self.stopping.wait(0.1):
                        return
                    self.one(api, n)
        except Exception as e:  # shown by whoever waits for us
            self.error = e

    def one(self, api, n):
        try:
            api.SetConfig(pb.ConfigEntry(key=f"test.{self.node['name']}", value=str(n)), timeout=10)
            api.SetMeshSettings(pb.MeshSettings(description=f"{self.node['name']} {n}"), timeout=10)
            api.SendNodeUpdate(pb.NodeUpdate(type="news", payload=str(n).encode()), timeout=10)
        except grpc.RpcError as e:
            if e.code() not in AGAIN:
                raise


class Follower(threading.Thread):
    """Follows the updates of the mesh at a node under a name, and acknowledges each: the node keeps where it is."""

    def __init__(self, m, node):
        super().__init__(daemon=True)
        self.node, self.stopping, self.error = m.node(node), threading.Event(), None

    def session(self, api):
        requests = queue.Queue()
        requests.put(pb.SubscribeReq(subscriber="follower"))
        call = api.SubscribeMeshUpdates(iter(requests.get, None), timeout=20)
        try:
            for u in call:
                requests.put(pb.SubscribeReq(ack=u.position))
        finally:
            requests.put(None)
            call.cancel()

    def run(self):
        try:
            with Api(self.node, local=True) as api:
                while not self.stopping.wait(0.1):
                    try:
                        self.session(api)
                    except grpc.RpcError as e:
                        if e.code() not in AGAIN:
                            raise
        except Exception as e:  # shown by whoever waits for us
            self.error = e


class Resolved(Letters):
    """Dead letters are resolved as they come."""

    REPLAYED = True

    def __init__(self, m, source, target, tenant, rate, window, seed):
        super().__init__(m, source, target, tenant, rate, window)
        self.left, self.clerk = None, Changer(seed, self.resolve_some, (0.1, 0.3))

    @property
    def parts(self):
        return [*super().parts, self.clerk]

    def resolve_some(self, _rng):
        try:
            with Api(self.targets[0]) as api:
                self.left = [x.seq for x in self.listed(api)]
                for seq in self.left[:20]:
                    try:
                        self.resolve(api, [seq])
                    except grpc.RpcError as e:
                        # Gone since it was listed, or delivered and not answered yet.
                        if e.code() not in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.FAILED_PRECONDITION):
                            raise
        except grpc.RpcError as e:
            if e.code() not in AGAIN:
                raise

    def done(self):
        return super().done() and self.left == []

    def compare(self):
        [judge], dead = self.sinks, self.dead()
        replayed = {n for n in dead if action_of(n) == "replay"}
        assert set(judge.replayed) == replayed, f"{len(set(judge.replayed))} processed after all, of {len(replayed)}"
        check_log(self.targets[0], self.stream, self.publisher.last, sorted(set(dead) - replayed))


class Rules:
    """A node pauses a stream at its side for a moment, again and again."""

    def __init__(self, m, node, side, stream, seed):
        self.node, self.side, self.stream = m.node(node), side, stream
        self.changer = Changer(seed, self.pause, (0.3, 1))

    def say(self, action):
        with Api(self.node, local=True) as api:
            api.ControlStreams(pb.StreamControlReq(action=action, stream_ids=[self.stream], side=self.side,
                                                   reason="test"), timeout=10)

    def pause(self, rng):
        retried(lambda: self.say("pause"))
        time.sleep(rng.uniform(0.2, 0.6))
        retried(lambda: self.say("resume"))


class Refusals:
    """Streams that their target refuses: they write to a database that has no table for their tenant."""

    def __init__(self, m, source, target, tenant, seed):
        self.source, self.target, self.tenant = m.node(source), target, tenant
        self.changer = Changer(seed, self.one, (0.2, 0.6))

    def one(self, rng):
        stream = retried(lambda: open_stream(
            self.source, self.tenant, [self.target], handler="db", timeout=5)).stream_id

        def refused():
            with Api(self.source) as api:
                found = api.ListStreams(pb.ListStreamsReq(stream_ids=[stream]), timeout=5).streams
            return not found or found[0].targets[0].state == "refused"

        wait_until(f"stream {stream} to be refused", lambda: retried(refused), RECOVER_S)
        close(self.source, stream)


def close(node, stream):
    def closed():
        with Api(node) as api:
            api.CloseClientDataStream(pb.StreamHandle(stream_id=stream), timeout=5)

    retried(closed, [grpc.StatusCode.NOT_FOUND])


class Load:
    """All of it."""

    def __init__(self, m, seed):
        self.m, self.source, self.targets = m, m.node(SOURCE), [m.node(TARGET), m.node(RELAY)]
        self.stream = open_stream(self.source, "acme", [TARGET, RELAY]).stream_id
        self.publisher = Bursts(self.source, self.stream, 200, 1 << 20, WINDOW)
        self.sinks = [Sink(t, "acme", [self.stream]) for t in self.targets]
        self.brief_sink = Sink(m.node(TARGET), BRIEF)
        self.brief = BriefStreams(m, seed, lambda rng: (SOURCE, [TARGET]))
        rows = open_stream(self.source, "acme", [TARGET], handler="db").stream_id
        self.rows = EndlessTally(self.source, rows, 200, 500, WINDOW)
        self.given = GivenUp(m, SOURCE, TARGET, "other", 100, 32, 300)
        self.kinds = [self.given, Resolved(m, SOURCE, TARGET, "other", 100, 32, seed),
                      Moving(m, SOURCE, RELAY, TARGET, "moved", 100_000, 50, 4, seed, (0.3, 1)),
                      Fenced(m, SOURCE, TARGET, "other", 200, 60, 64, seed, (0.5, 2))]
        self.doing = [Rules(m, SOURCE, "source", self.given.stream, seed).changer,
                      Rules(m, TARGET, "target", self.given.stream, seed + 1).changer,
                      Refusals(m, SOURCE, TARGET, "refused", seed).changer]
        self.calls = [kind(m, n) for n in (SOURCE, TARGET) for kind in (Calls, Follower)]
        self.moved = {}  # kind -> what its sinks had, and since when
        self.parts = [*self.sinks, self.brief_sink, self.publisher, self.rows, self.brief, *self.calls, *self.doing]
        self.age(self.kinds[2].stream)

    def start(self):
        for part in (*self.parts, *self.kinds):
            part.start()

    def check(self):
        for part in self.parts:
            if part.error is not None:
                raise part.error
        for k in self.kinds:
            k.check()
            self.check_moves(k)

    def check_moves(self, k):
        """A stream that stands still for long while others go on does so for ever."""
        got, now = [s.got(k.stream) for s in k.sinks], time.monotonic()
        before, since = self.moved.get(k, (None, now))
        if got != before or k.done():
            self.moved[k] = got, now
        elif now - since > RECOVER_S:
            raise AssertionError(f"for {RECOVER_S} s nothing came: {k.state()}, {self.seen(k.stream)}")

    def seen(self, stream):
        """What its nodes say of the stream."""
        found = {n: said(self.m, n, "--timeout", "5s", "-j", "stream", "show", stream) for n in (SOURCE, TARGET)}
        return {n: json.loads(s.out) if s.code == 0 else s for n, s in found.items()}

    def check_confirmed(self):
        """Whoever was told that a message is processed was told the truth."""
        confirmed = self.publisher.confirmed
        for t in self.targets:
            processed = query(t, "SELECT coalesce(max(committed_seq), 0) FROM stream_offsets WHERE stream_id = "
                              "ulid_uuid(%s) AND node_id = node_id(%s)", self.stream, t["node_id"])[0][0]
            assert processed >= confirmed, f"{confirmed} confirmed, {processed} processed at {t['name']}"
        for k in self.kinds:
            k.check_confirmed()

    def recover(self, after):
        """Until what was in flight is confirmed, and streams come and go again."""
        handed, rows, briefs = self.publisher.handed, self.rows.handed, len(self.brief.done)

        def done():
            self.check()
            return (self.publisher.confirmed >= handed and self.rows.confirmed >= rows
                    and len(self.brief.done) > briefs)

        try:
            wait_until(f"recovery from {after}", done, RECOVER_S)
        except AssertionError as e:
            raise AssertionError(f"{e}: {self.publisher.confirmed} of {handed} confirmed, "
                                 f"{self.rows.confirmed} of {rows} rows, sinks have "
                                 f"{[s.got(self.stream) for s in self.sinks]}, {len(self.brief.done) - briefs} brief "
                                 "streams") from None
        self.check_confirmed()

    def age(self, stream):
        """The stream was made hours ago: who becomes its target asks whether that is its source's wish."""
        self.m.kill(SOURCE, "consensusd")
        change(self.m, SOURCE, f"UPDATE mesh.streams SET created = created - interval '2 hours' WHERE stream_id = "
               f"mesh.ulid_uuid('{stream}')")
        self.m.start(SOURCE, "consensusd")
        self.m.wait_ready()

    def idle(self):
        """A stream that is there for a moment only, in a group of its own."""
        stream = retried(lambda: open_stream(self.source, "idle", [TARGET], handler="discard", timeout=5)).stream_id
        with Api(self.source) as api:
            retried(lambda: api.PublishClientData(pb.Chunk(stream_id=stream, seq=1, payload=b"once"), timeout=10))
        close(self.source, stream)

    def finish(self):
        for part in (self.brief, *self.calls, *self.doing):
            part.stopping.set()
        for part in (self.publisher, self.rows, *self.kinds):
            part.finish()
        wait_all([self.publisher], self.sinks, RECOVER_S)
        wait_until("the last row", lambda: self.rows.confirmed == self.rows.last or self.rows.error, RECOVER_S)
        wait_until("the last brief stream, and changes", lambda: self.check() or not any(
            part.is_alive() for part in (self.brief, *self.doing)), RECOVER_S)
        try:
            wait_until("streams of all kinds", lambda: self.check() or all([k.done() for k in self.kinds]), RECOVER_S)
        except AssertionError as e:
            seen = [self.seen(k.stream) for k in self.kinds if not k.done()]
            raise AssertionError(f"{e}: {[k.state() for k in self.kinds]}, {seen}") from None

    def stop(self):
        for part in (*self.parts, *self.kinds):
            (part.stop if part in self.kinds else part.stopping.set)()
        for s in (*self.sinks, self.brief_sink):
            s.stop()
