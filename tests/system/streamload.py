"""Streams under load while something breaks: publishers without an end, sinks, streams that come and go; and what
must be true when it is over.
"""
import contextlib
import hashlib
import itertools
import json
import random
import threading
import time

import grpc

import mesh_pb2 as pb
from api import Api, open_stream
from devmeshlib import nodes
from flow import RETRIED, Publisher, Sink
from harness import query, wait_until

SETTLE_S = 180
BRIEF = "brief"  # the tenant of streams that are opened and closed meanwhile
BRIEF_COUNT = 40
# What may be said at level error although nothing is wrong: none of what is done here is a reason for it.
EXPLAINED = ()


class EndlessPublisher(Publisher):
    """Publishes at a rate until finish(): that settles how many messages there are."""

    def __init__(self, node, stream_id, size, rate, window):
        super().__init__(node, stream_id, 1 << 62, size=size, window=window)
        self.rate, self.lock, self.handed, self.call = rate, threading.Lock(), 0, None

    def parts(self, seq):
        """The message as it is handed over: in one piece."""
        return [self.chunk(seq)]

    def requests(self, credit):
        for seq in itertools.count(self.confirmed + 1):
            while not credit.acquire(timeout=0.5):
                if self.over(credit):
                    return
            with self.lock:
                if seq > self.last or self.over(credit):
                    return
                fresh = seq > self.handed
                self.handed = max(self.handed, seq)
            yield from self.parts(seq)
            if fresh:
                self.stopping.wait(1 / self.rate)

    def finish(self):
        with self.lock:
            self.last = max(self.handed, 1)


class ChunkPublisher(EndlessPublisher):
    """Hands each message over in pieces that are not alike, with the digest of the whole in the last one."""

    def parts(self, seq):
        whole = self.chunk(seq)
        count = 2 + seq % 3
        edges = [0, *sorted((seq * 7919 * i) % self.size for i in range(1, count)), self.size]
        for i, (begin, end) in enumerate(zip(edges, edges[1:])):
            yield pb.Chunk(stream_id=whole.stream_id, seq=seq, chunk_seq=i, total_chunks=count,
                           payload=whole.payload[begin:end], message_id=whole.message_id,
                           digest=hashlib.blake2b(whole.payload, digest_size=32).digest() if i == count - 1 else b"")


class MixedSink(Sink):
    """A sink of streams with messages of different sizes."""

    def __init__(self, node, tenant, sizes, batch):
        super().__init__(node, tenant, list(sizes), batch=batch)
        self.sizes = sizes

    def accept(self, m):
        self.size = self.sizes.get(m.stream_id, 200)
        super().accept(m)


def retried(call, also=(), seconds=SETTLE_S):
    """The call's result, when its node is there to give one."""
    end = time.monotonic() + seconds
    while True:
        try:
            return call()
        except grpc.RpcError as e:
            if e.code() not in (*RETRIED, grpc.StatusCode.DEADLINE_EXCEEDED, *also) or time.monotonic() > end:
                raise
            time.sleep(0.1)


class BriefStreams(threading.Thread):
    """Opens a stream, publishes a little, closes it, and again: between any nodes, or as choose(rng) says."""

    def __init__(self, m, seed, choose=None):
        super().__init__(daemon=True)
        self.m, self.rng, self.stopping, self.error = m, random.Random(seed), threading.Event(), None
        self.choose = choose or self.anywhere
        self.done = []  # (source, targets, stream)

    def anywhere(self, rng):
        names = [n["name"] for n in self.m.nodes]
        return rng.choice(names), rng.sample(names, rng.choice((1, 2)))

    def one(self):
        source, targets = self.choose(self.rng)
        source = self.m.node(source)
        # A node that started anew while it was cut off has not heard of the others.
        stream = retried(lambda: open_stream(source, BRIEF, targets, timeout=5),
                         [grpc.StatusCode.NOT_FOUND]).stream_id
        pub = Publisher(source, stream, BRIEF_COUNT, window=BRIEF_COUNT)
        pub.run()
        if pub.error is not None:
            raise pub.error

        def close():
            with Api(source) as api:
                api.CloseClientDataStream(pb.StreamHandle(stream_id=stream), timeout=5)

        retried(close)
        self.done.append((source, [self.m.node(t) for t in targets], stream))

    def run(self):
        try:
            while not self.stopping.is_set():
                self.one()
        except Exception as e:  # shown by whoever waits for us
            self.error = e


def check_logs(m):
    """No daemon has said anything at level error, or anything that is not a line of its log."""
    for path in (log for n in m.nodes for part, log in n["logs"].items() if part in nodes.DAEMONS):
        with open(path, encoding="utf-8", errors="replace") as f:
            for line in f:
                with contextlib.suppress(ValueError, TypeError, KeyError):
                    entry = json.loads(line)
                    if entry["level"] != "error" or any(text in entry["msg"] for text in EXPLAINED):
                        continue
                # The last line of a daemon that was killed may be cut off.
                assert line.startswith("{") and '"level":"error"' not in line, \
                    f"{'/'.join(path.split('/')[-3:])}: {line}"


def check_drained(m):
    def left():
        return [(n["name"], box, rows) for n in m.nodes for box in ("outbox", "inbox")
                if (rows := query(n, f"SELECT ulid_text(stream_id), first_seq, last_seq FROM {box} LIMIT 5"))]

    try:
        wait_until("outboxes and inboxes to be empty", lambda: not left(), 30)
    except AssertionError as e:
        raise AssertionError(f"{e}: {left()}") from e


def check_brief(brief, sinks):
    """The streams that came and went are complete, and closed wherever they were."""
    for source, targets, stream in brief.done:
        for t in targets:
            wait_until(f"brief stream {stream} at {t['name']}",
                       lambda t=t: sinks[t["name"]].got(stream) == BRIEF_COUNT, 20)
        for n in (source, *targets):
            wait_until(f"stream {stream} to be closed at {n['name']}", lambda n=n: query(
                n, "SELECT count(*) FROM streams WHERE stream_id = ulid_uuid(%s) AND state < 2", stream)[0][0] == 0, 30)
