"""What changes while streams go on: their targets, who publishes them, their tenant's key."""
import json
import random
import threading
import time

import grpc

import mesh_pb2 as pb
from api import Api, open_stream
from flow import Sink, payload
from groups import said
from kinds import Kind, check_log
from streamload import EndlessPublisher, retried

PAUSE_S = (2, 7)  # between two changes
KEY_PAUSE_S = (8, 14)


class Changer(threading.Thread):
    """Calls change(rng) again and again, until it is to stop: then when the last one is done."""

    def __init__(self, seed, change, pause=PAUSE_S):
        super().__init__(daemon=True)
        self.rng, self.change, self.pause = random.Random(seed), change, pause
        self.stopping, self.error, self.count = threading.Event(), None, 0

    def run(self):
        try:
            while not self.stopping.wait(self.rng.uniform(*self.pause)):
                self.change(self.rng)
                self.count += 1
        except Exception as e:  # shown by whoever waits for us
            self.error = e


# --- targets ---

class Runs(Sink):
    """A sink at a target that comes and goes: it gets runs of messages, each without a hole."""

    def __init__(self, *args, **kw):
        super().__init__(*args, **kw)
        self.runs = []  # [first, last]

    def accept(self, m):
        last = self.got(m.stream_id)
        if m.seq > last + 1:
            self.position[m.stream_id] = m.seq - 1
        super().accept(m)
        if self.runs and m.seq == last + 1:
            self.runs[-1][1] = m.seq
        else:
            self.runs.append([m.seq, m.seq])

    def has(self, first, last):
        """Whether it got all of these."""
        return any(a <= first and last <= b for a, b in self.runs)


class Moving(Kind):
    """One target stays, others come and go.  What a target got was all that was published while it certainly was one,
    and confirmed before anybody asked to remove it."""

    def __init__(self, m, source, stays, others, tenant, size, rate, window, seed, pause=PAUSE_S):
        stream = retried(lambda: open_stream(m.node(source), tenant, [stays])).stream_id
        super().__init__(m, source, stays, stream, EndlessPublisher(m.node(source), stream, size, rate, window),
                         [Sink(m.node(stays), tenant, [stream], size=size)])
        self.others = {n: Runs(m.node(n), tenant, size=size, batch=16) for n in others}
        self.since = {}  # target -> all messages after this one are its own
        self.whole = []  # (target, first, last): what it must have
        self.adds = dict.fromkeys(others, 0)
        self.mover = Changer(seed, self.move, pause)

    @property
    def parts(self):
        return [*self.sinks, *self.others.values(), self.publisher, self.mover]

    def order(self, *words):
        """As an operator's script would: again until it is done, whatever dies meanwhile."""
        end, command = time.monotonic() + 180, ("--timeout", "5s", "stream", "targets", self.stream, *words)
        while (s := said(self.m, self.source["name"], *command)).code != 0:
            if time.monotonic() > end:
                raise AssertionError(f"targets of {self.stream}: {' '.join(words)}: {s}")
            time.sleep(0.2)

    def move(self, rng):
        name = rng.choice(sorted(self.others))
        if name in self.since:
            self.close(name)
            self.order("--remove", name)
        else:
            self.adds[name] += 1
            self.order("--add", name)
            self.since[name] = self.publisher.handed

    def close(self, name):
        self.whole.append((name, self.since.pop(name) + 1, self.publisher.confirmed))

    def stop(self):
        super().stop()
        for s in self.others.values():
            s.stop()

    def finish(self):
        self.mover.stopping.set()
        super().finish()

    def done(self):
        return not self.mover.is_alive() and super().done() and all(
            self.others[n].got(self.stream) >= self.publisher.last for n, at in self.since.items()
            if at < self.publisher.last)

    def state(self):
        got = [(n, s.got(self.stream)) for n, s in self.others.items()]
        return f"{super().state()}, {got}, now at {sorted(self.since)}"

    def compare(self):
        for name in sorted(self.since):
            self.close(name)
        for name, first, last in self.whole:
            s = self.others[name]
            assert first > last or s.has(first, last), \
                f"{name} was a target from before {first} until {last} was confirmed, and got {s.runs}"
        for name, s in self.others.items():
            assert len(s.runs) <= self.adds[name], f"{name} was added {self.adds[name]} times, and got {s.runs}"
        check_log(self.targets[0], self.stream, self.publisher.last, [])

    def __str__(self):
        return f"{super().__str__()} ({self.mover.count} changes)"


# --- publishers ---

def content(stream, epoch, seq, size):
    return f"{epoch} ".encode() + payload(f"{stream} {epoch}", seq, size)


class EpochPublisher(EndlessPublisher):
    """One of several that publish the same stream, one after the other: an older one is refused."""

    def __init__(self, node, stream_id, size, rate, window, handle):
        super().__init__(node, stream_id, size, rate, window)
        self.epoch, self.first = handle.producer_epoch, handle.next_seq
        self.superseded = self.fenced = False
        self.confirmed = self.offered = self.handed = self.first - 1

    def chunk(self, seq):
        c = super().chunk(seq)
        c.payload = content(self.stream_id, self.epoch, seq, self.size)
        c.producer_epoch = self.epoch
        c.message_id = ""
        return c

    def may_end(self, e):
        if not self.superseded or e.code() != grpc.StatusCode.FAILED_PRECONDITION:
            return False
        self.fenced = True
        self.stopping.set()
        return True

    def finish(self):
        with self.lock:
            self.last = max(self.handed, self.first - 1)


class EpochSink(Sink):
    """Keeps whose each message is."""

    def __init__(self, *args, **kw):
        super().__init__(*args, check=False, **kw)
        self.epochs = [None]  # by seq

    def accept(self, m):
        super().accept(m)
        epoch = int(m.payload.split(b" ", 1)[0])
        if m.payload != content(m.stream_id, epoch, m.seq, self.size):
            raise AssertionError(f"stream {m.stream_id}: message {m.seq} was changed: {m.payload[:80]!r}")
        self.epochs.append(epoch)


class Fenced(Kind):
    """Again and again another publisher takes the stream over, while the one before goes on as if nothing had
    happened: up to where the new one begins all is of those before it, from there on nothing."""

    def __init__(self, m, source, targets, tenant, size, rate, window, seed, pause=PAUSE_S):
        self.how = size, rate, window
        first = retried(lambda: open_stream(m.node(source), tenant, list(targets), fence=True))
        self.tenant = tenant
        super().__init__(m, source, targets, first.stream_id, self.publisher_of(m.node(source), first),
                         [EpochSink(m.node(t), tenant, [first.stream_id], size=size) for t in targets])
        self.before = []  # publishers that were fenced, the oldest first
        self.fencer = Changer(seed, self.fence, pause)

    def publisher_of(self, node, handle):
        return EpochPublisher(node, handle.stream_id, *self.how, handle)

    @property
    def parts(self):
        return [*self.sinks, *self.before[-1:], self.publisher, self.fencer]

    @property
    def confirmed(self):
        """Where a publisher begins is not confirmed to it."""
        return self.publisher.confirmed if self.publisher.confirmed >= self.publisher.first else 0

    def begin(self):
        with Api(self.source) as api:
            return api.OpenClientDataStream(pb.OpenClientDataStreamReq(
                tenant_id=self.tenant, stream_id=self.stream, fence=True), timeout=10)

    def fence(self, rng):
        old = self.publisher
        old.superseded = True
        new = self.publisher_of(self.source, retried(self.begin))
        self.before.append(old)
        self.publisher = new
        new.start()
        end = time.monotonic() + 180
        while not old.fenced and old.error is None:
            if time.monotonic() > end:
                raise AssertionError(f"{self.stream}: the publisher of epoch {old.epoch} is not refused")
            time.sleep(0.05)

    def finish(self):
        """The one that is to be fenced has to go on until it is."""
        self.fencer.stopping.set()

    def done(self):
        if self.fencer.is_alive():
            return False
        if self.publisher.last == 1 << 62:
            super().finish()
        return super().done()

    def compare(self):
        super().compare()
        publishers = [*self.before, self.publisher]
        for s in self.sinks:
            at = f"{self.stream} at {s.node['name']}"
            for p, after in zip(publishers, [*publishers[1:], None]):
                end = after.first if after else p.last + 1
                got = set(s.epochs[p.first:end])
                assert got <= {p.epoch}, f"{at}: {p.first} to {end - 1} are of epoch {p.epoch}, it has {got}"
                assert p.confirmed < end, f"{at}: {p.confirmed} was confirmed to epoch {p.epoch}, its end is {end - 1}"

    def __str__(self):
        return f"{super().__str__()} ({len(self.before)} fenced)"


# --- keys ---

class Rotator(Changer):
    """Gives a tenant another key again and again.

    A node keeps two, and one that was just started may seal with the one before the newest.  So while a key is made no
    consensusd may die (who holds steady may kill), and nothing is under way that was sealed before.  Strict, when a
    message can be read whatever key it was sealed with: rotate() is said(...) alone.
    """

    def __init__(self, m, tenant, publishers, seed):
        super().__init__(seed, self.rotate, KEY_PAUSE_S)
        self.m, self.tenant, self.publishers, self.steady = m, tenant, publishers, threading.Lock()
        self.version = 0

    def everywhere(self):
        """The version of the newest key, if all nodes have that; else None."""
        newest = set()
        for n in self.m.nodes:
            s = said(self.m, n["name"], "--timeout", "5s", "-j", "key", "list")
            keys = [k for k in json.loads(s.out) if k["tenant_id"] == self.tenant] if s.code == 0 else []
            last = max(keys, key=lambda k: k["version"], default={"version": 0, "held": s.code == 0})
            newest.add(last["version"] if last["held"] else None)
        return newest.pop() if len(newest) == 1 else None

    def passed(self, seconds):
        """Whether all that was handed over by now is confirmed."""
        marks = [(p, p.handed) for p in self.publishers]
        end = time.monotonic() + seconds
        while any(p.confirmed < seq for p, seq in marks):
            if self.stopping.wait(0.05) or time.monotonic() > end:
                return False
        return True

    def make(self, at):
        """Once begun it goes on until all nodes have the key."""
        before, names = self.everywhere(), [f"--node={n['name']}" for n in self.m.nodes]
        if before is None or not self.passed(5):
            return False
        while (now := self.everywhere()) != before + 1:
            if now == before:
                said(self.m, at, "--timeout", "5s", "key", "rotate", "--tenant", self.tenant, *names)
            time.sleep(0.2)
        self.version = now
        return True

    def rotate(self, rng):
        at = rng.choice(self.m.nodes)["name"]
        while not self.stopping.wait(0.5):
            if self.passed(1):
                with self.steady:
                    if self.make(at):
                        return
