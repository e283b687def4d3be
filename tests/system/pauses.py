"""A stream at a steady pace, and how long its deliveries pause when a link of its path is cut."""
import threading
import time

import api
import mesh_pb2 as pb
from flow import Publisher, Sink
from harness import wait_until

FOREVER = 10_000_000
PAUSE_S = 0.1  # less is the machine's doing


class PacedPublisher(Publisher):
    """So many messages a second."""

    def __init__(self, *args, rate, **kw):
        super().__init__(*args, **kw)
        self.pace = 1 / rate

    def requests(self, credit):
        due = time.monotonic()
        for request in super().requests(credit):
            if (wait := due - time.monotonic()) > 0:
                time.sleep(wait)
            due = max(due + self.pace, time.monotonic() - 1)
            yield request


class TimedSink(Sink):
    """Remembers when messages arrived."""

    def __init__(self, *args, **kw):
        super().__init__(*args, **kw)
        self.times, self.lock = [], threading.Lock()

    def accept(self, m):
        now = time.monotonic()
        super().accept(m)
        with self.lock:
            self.times.append(now)

    def take(self):
        with self.lock:
            times, self.times = self.times, []
        return times


class Paced:
    """The stream, from source to target, until the block ends."""

    def __init__(self, m, source, target, rate, size=200):
        self.m, self.source, self.target = m, source, target
        self.stream = api.open_stream(m.node(source), "acme", [target]).stream_id
        self.sink = TimedSink(m.node(target), "acme", [self.stream], size)
        self.publisher = PacedPublisher(m.node(source), self.stream, FOREVER, size=size, window=2000, rate=rate)

    def __enter__(self):
        self.sink.start()
        self.publisher.start()
        wait_until("the first messages", lambda: self.check() and self.publisher.confirmed > 100)
        return self

    def check(self):
        for part in (self.sink, self.publisher):
            if part.error is not None:
                raise part.error
        return True

    def __exit__(self, *_):
        self.publisher.stopping.set()
        self.sink.stop()
        self.publisher.join(10)


def outage(m, p, hop, watch_s=3.0, healed_s=2.0):
    """Cuts the link from the source to hop silently; seconds from then until the end of the longest pause of
    deliveries, None if there was none: the stream went another way.  Then heals it and waits."""
    p.sink.take()
    before = p.publisher.confirmed
    m.cut(p.source, hop)
    cut = time.monotonic()
    time.sleep(watch_s)
    times = [t for t in p.sink.take() if t >= cut]
    m.heal(p.source, hop)
    p.check()
    assert times, f"nothing arrived within {watch_s:g} s of the cut of {p.source} - {hop} (confirmed {before})"
    ends = max(zip([cut, *times], times), key=lambda pair: pair[1] - pair[0])
    wait_until("the link is back", lambda: any(
        x.target_node_id == m.node(hop)["node_id"] for x in links_of(m, p.source)))
    time.sleep(healed_s)
    return ends[1] - cut if ends[1] - ends[0] > PAUSE_S else None


def links_of(m, at):
    with api.Api(m.node(at)) as client:
        return [x for x in client.GetMeshStatus(pb.Empty(), timeout=10).links
                if x.source_node_id == m.node(at)["node_id"] and x.status == "up"]
