"""A publisher and a sink as applications would write them: they live through outages of their node,
and know nothing of the mesh but its API.  The sink is the witness: it fails on a gap, a repeated or a
changed message.
"""
import contextlib
import hashlib
import queue
import threading
import time

import grpc

import mesh_pb2 as pb
from api import Api

RETRIED = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.UNKNOWN,
           grpc.StatusCode.INTERNAL, grpc.StatusCode.ABORTED)
PAUSE_S = 0.05
RESUME_MAX = 64  # positions of one StreamSelector; of a closed stream none is needed


def payload(stream_id, seq, size=200):
    """What message seq of the stream holds: anyone can check it."""
    head = f"{stream_id} {seq} ".encode()
    body = hashlib.sha256(head).digest()
    return (head + body * (size // len(body) + 1))[:size]


def message_id(seq):
    """A ULID that a retry repeats: its number in its last digits."""
    digits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    text = ""
    while seq:
        seq, d = divmod(seq, 32)
        text = digits[d] + text
    return "01M7YT0305" + text.rjust(16, "0")


class Publisher(threading.Thread):
    """Publishes messages first..last of a stream; what is not confirmed when its node goes away is sent
    again with the same number and id.  window: messages unconfirmed at once.  dead_letters: they are no error,
    but listed in failed."""

    def __init__(self, node, stream_id, last, first=1, size=200, window=256, headers=None, local=False, dead_letters=False):
        super().__init__(daemon=True)
        self.node, self.stream_id, self.first, self.last = node, stream_id, first, last
        self.size, self.window, self.headers, self.local = size, window, headers or {}, local
        self.confirmed = self.offered = first - 1
        self.error, self.dead_letters, self.failed = None, dead_letters, {}
        self.reconnects = 0
        self.stopping = threading.Event()
        self.credit = None  # of the session there is

    def chunk(self, seq):
        return pb.Chunk(stream_id=self.stream_id, seq=seq, payload=payload(self.stream_id, seq, self.size),
                        message_id=message_id(seq), headers=self.headers)

    def over(self, credit):
        """Whether the session that has this credit is to send no more: its call may have ended long ago."""
        return self.stopping.is_set() or self.credit is not credit

    def requests(self, credit):
        for seq in range(self.confirmed + 1, self.last + 1):
            while not credit.acquire(timeout=0.5):
                if self.over(credit):
                    return
            if self.over(credit):
                return
            self.offered = max(self.offered, seq)
            yield self.chunk(seq)

    def may_fail(self, r):
        """Whether a message may have such a result that is no success."""
        return self.dead_letters

    def may_end(self, e):
        """Whether a call may end like this although nothing is away."""
        return False

    def take(self, r):
        if not r.success and not self.may_fail(r):
            raise AssertionError(f"message {r.seq} of {self.stream_id}: {r.error}")
        if not r.success:
            self.failed[r.seq] = r.error
        if r.seq != self.confirmed + 1:
            raise AssertionError(f"confirmed {r.seq} after {self.confirmed}")
        self.confirmed = r.seq

    def session(self):
        self.credit = credit = threading.Semaphore(self.window)
        with Api(self.node, self.local) as api:
            for r in api.PublishClientDataStream(self.requests(credit)):
                self.take(r)
                credit.release()

    def run(self):
        while self.confirmed < self.last and not self.stopping.is_set():
            try:
                self.session()
            except grpc.RpcError as e:
                if self.may_end(e):
                    continue
                if e.code() not in RETRIED:
                    self.error = AssertionError(f"publish: {e.code()}: {e.details()}")
                    return
                self.reconnects += 1
                time.sleep(PAUSE_S)
            except Exception as e:  # shown by whoever waits for us
                self.error = e
                return


class Sink(threading.Thread):
    """Subscribes at a node and keeps what it gets.  Its position survives its connections, as that of an
    application with a database of its own: it resumes there."""

    def __init__(self, node, tenant, streams=(), size=200, check=True, batch=64, local=False, take_over=False):
        super().__init__(daemon=True)
        self.take_over = take_over
        self.node, self.tenant, self.streams = node, tenant, list(streams)
        self.size, self.check, self.batch, self.local = size, check, batch, local
        self.position = {}  # stream -> seq of the last message
        self.recent = {}  # the streams, in the order of what came last
        self.sources, self.headers, self.message_ids = {}, {}, {}
        self.error = None
        self.sessions = 0
        self.stopping = threading.Event()
        self.call = None

    def accept(self, m):
        last = self.position.get(m.stream_id, 0)
        if m.seq != last + 1:
            raise AssertionError(f"stream {m.stream_id}: message {m.seq} came after {last}")
        if self.check and m.payload != payload(m.stream_id, m.seq, self.size):
            raise AssertionError(f"stream {m.stream_id}: message {m.seq} was changed: {m.payload[:80]!r}")
        self.position[m.stream_id] = m.seq
        self.recent.pop(m.stream_id, None)
        self.recent[m.stream_id] = True
        self.sources[m.stream_id] = m.source_node
        self.headers[m.stream_id] = dict(m.headers)
        self.message_ids.setdefault(m.stream_id, []).append(m.message_id)

    def answer(self, m):
        """What the node is told when it has delivered this."""
        self.accept(m)
        return pb.StreamSelector(acks=[pb.StreamAck(stream_id=m.stream_id, seq=m.seq)])

    def resumed(self):
        """Streams whose positions the node is told: those that something came of last."""
        return [*(s for s in self.position if s not in self.recent), *self.recent][-RESUME_MAX:]

    def requests(self, outgoing):
        yield pb.StreamSelector(
            tenant_id=self.tenant, stream_ids=self.streams,
            take_over=self.take_over, window=pb.WindowUpdate(messages=4 * self.batch, bytes=64 << 20),
            resume=[pb.StreamAck(stream_id=s, seq=self.position[s]) for s in self.resumed()])
        while (request := outgoing.get()) is not None:
            yield request

    def session(self):
        outgoing = queue.Queue()
        self.sessions += 1
        with Api(self.node, self.local) as api:
            self.call = api.SubscribeClientData(self.requests(outgoing))
            count = size = 0
            try:
                for m in self.call:
                    # An ack per message is the plain way; credit goes back in larger pieces.
                    update = self.answer(m)
                    count, size = count + 1, size + len(m.payload)
                    if count >= self.batch:
                        update.window.messages, update.window.bytes = count, size
                        count = size = 0
                    outgoing.put(update)
            finally:
                outgoing.put(None)

    def run(self):
        while not self.stopping.is_set():
            try:
                self.session()
            except grpc.RpcError as e:
                if self.stopping.is_set():
                    return
                # The node may not have noticed yet that our connection before this one is dead.
                own = e.code() == grpc.StatusCode.ALREADY_EXISTS and self.sessions > 1
                if e.code() not in RETRIED and not own:
                    self.error = AssertionError(f"subscribe: {e.code()}: {e.details()}")
                    return
                time.sleep(PAUSE_S)
            except Exception as e:  # shown by whoever waits for us
                self.error = e
                return

    def got(self, stream_id):
        return self.position.get(stream_id, 0)

    def stop(self):
        self.stopping.set()
        if self.call is not None:
            self.call.cancel()
        self.join(10)


@contextlib.contextmanager
def sink(m, name, stream):
    """A subscriber of a stream of the tenant acme."""
    s = Sink(m.node(name), "acme", [stream])
    s.start()
    try:
        yield s
    finally:
        s.stop()
        # It is the cause of what came of it.
        if s.error is not None:
            raise s.error
