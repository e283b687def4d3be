"""Redis remembers message ids over a restart, and may go away at any moment: nothing is lost or doubled."""
import contextlib
import signal
import time

import grpc

import api
import mesh_pb2 as pb
from api import Api
from flow import RETRIED, Sink, message_id, payload
from harness import Flow, check_alive, procs, query, wait_until

COUNT = 4000
CLEARED_S = 20


def publish(node, stream, n):
    """Publishes message n by its id alone, with seq 0, as often as it takes; its result."""
    chunk = pb.Chunk(stream_id=stream, payload=payload(stream, n), message_id=message_id(n))
    end = time.monotonic() + 30
    while True:
        try:
            with Api(node) as a:
                return a.PublishClientData(chunk, timeout=10)
        except grpc.RpcError as e:
            if e.code() not in RETRIED or time.monotonic() > end:
                raise
            time.sleep(0.02)


def uuid(ulid):
    """As the tables have it."""
    n = 0
    for c in ulid:
        n = n * 32 + "0123456789ABCDEFGHJKMNPQRSTVWXYZ".index(c)
    return f"{n:032x}"


def cardinality(node, stream):
    """Ids that Redis has of the stream; None: it does not answer."""
    with contextlib.suppress(procs.DevmeshError, ValueError):
        return int(procs.run(["redis-cli", "-s", node["redis_socket"], "zcard", f"inbox_dedupe:{stream}"]))
    return None


def consensusd_of(node):
    with Api(node) as a:
        status = a.GetNodeStatus(pb.Empty(), timeout=10)
    return next(d for d in status.daemons if d.name == "consensusd")


def wait_connected(node):
    wait_until("consensusd to use Redis", lambda: consensusd_of(node).state == "running")


def wait_cleared(node, stream):
    """Until the database has forgotten the messages: what is known then is known from elsewhere."""
    wait_until("the outbox to be cleared",
               lambda: query(node, "SELECT count(*) FROM outbox WHERE stream_id = %s", uuid(stream))[0][0] == 0,
               CLEARED_S)


@contextlib.contextmanager
def sink(m, name, stream):
    s = Sink(m.node(name), "acme", [stream])
    s.start()
    try:
        yield s
        if s.error is not None:
            raise s.error
    finally:
        s.stop()


def repeat_all(node, stream, count):
    for n in range(1, count + 1):
        assert publish(node, stream, n).seq == n, f"message {n} got another seq"


def test_id_known_after_restart(m):
    """The publisher repeats what it had published before consensusd was killed: same seqs, no delivery."""
    a = m.node("a")
    wait_connected(a)
    stream = api.open_stream(a, "acme", ["c"]).stream_id
    with sink(m, "c", stream) as s:
        repeat_all(a, stream, 20)
        wait_until("Redis to have the ids", lambda: cardinality(a, stream) == 20)
        wait_cleared(a, stream)
        for _ in range(2):
            m.kill("a", "consensusd")
            m.start("a", "consensusd")
            repeat_all(a, stream, 20)
        assert publish(a, stream, 21).seq == 21
        wait_until("message 21", lambda: s.got(stream) == 21)
        assert s.message_ids[stream] == [message_id(n) for n in range(1, 22)]
    m.wait_ready()


def test_id_known_from_the_outbox(m):
    """What is still in the outbox is known without Redis."""
    a = m.node("a")
    stream = api.open_stream(a, "acme", ["c"]).stream_id
    m.kill("a", "redis")
    with Api(a) as client:  # nobody subscribes at C: not processed, so no answer yet
        calls = []  # one that nobody holds is cancelled
        for n in (1, 2):
            calls.append(client.PublishClientData.future(
                pb.Chunk(stream_id=stream, payload=payload(stream, n), message_id=message_id(n)), timeout=30))
            wait_until("the outbox to have it", lambda n=n: query(
                a, "SELECT max(last_seq) FROM outbox WHERE stream_id = %s", uuid(stream))[0][0] == n)
        m.kill("a", "consensusd")
    m.start("a", "consensusd")
    with sink(m, "c", stream) as s:
        assert [publish(a, stream, n).seq for n in (1, 2, 3)] == [1, 2, 3]
        wait_until("message 3", lambda: s.got(stream) == 3)
    m.start("a", "redis")
    m.wait_ready()
    wait_connected(a)


def test_closed_stream_is_forgotten(m):
    a = m.node("a")
    wait_connected(a)
    stream = api.open_stream(a, "acme", ["c"]).stream_id
    with sink(m, "c", stream):
        repeat_all(a, stream, 3)
        wait_until("Redis to have the ids", lambda: cardinality(a, stream) == 3)
        with Api(a) as client:
            client.CloseClientDataStream(pb.StreamHandle(stream_id=stream), timeout=10)
        wait_until("Redis to have none", lambda: cardinality(a, stream) == 0)


def test_redis_dies_under_load(m):
    """It comes back empty, and again, and hangs; each message arrives once and in order."""
    with Flow(m, "a", ["b", "c"], COUNT) as f:
        for share in (0.2, 0.4):
            f.wait_share(share)
            for n in "ac":
                m.kill(n, "redis")
                m.start(n, "redis")
        f.wait_share(0.6)
        m.signal("a", "redis", signal.SIGSTOP)
        f.wait_share(0.8)
        m.signal("a", "redis", signal.SIGCONT)
        f.finish()
    check_alive(m)


def test_redis_and_consensusd_die_together(m):
    with Flow(m, "a", ["c"], COUNT) as f:
        for share in (0.3, 0.6):
            f.wait_share(share)
            m.kill("a", "redis")
            m.kill("a", "consensusd")
            m.start("a", "consensusd")
            f.wait_share(share + 0.1)
            m.start("a", "redis")
        f.finish()
    m.wait_ready()


def test_absence_is_shown(m):
    a = m.node("a")
    m.kill("a", "redis")
    d = wait_until("the status to say so", lambda: (d := consensusd_of(a)).state == "degraded" and d)
    assert "Redis is away" in d.detail, d.detail
    m.start("a", "redis")
    wait_connected(a)


def test_hung_redis_delays_the_start_little(m):
    """Publishing by id waits half a second for a Redis that does not answer, and goes on without."""
    a = m.node("a")
    stream = api.open_stream(a, "acme", ["c"]).stream_id
    wait_connected(a)
    with sink(m, "c", stream) as s:
        repeat_all(a, stream, 3)
        wait_until("Redis to have the ids", lambda: cardinality(a, stream) == 3)
        wait_cleared(a, stream)
        m.signal("a", "redis", signal.SIGSTOP)
        m.kill("a", "consensusd")
        m.start("a", "consensusd")
        assert publish(a, stream, 4).seq == 4
        wait_until("message 4", lambda: s.got(stream) == 4)
        m.signal("a", "redis", signal.SIGCONT)
        wait_connected(a)
        # What it says late is taken, too, and comes before what is added then.
        assert publish(a, stream, 5).seq == 5
        wait_until("Redis to have the ids", lambda: cardinality(a, stream) == 4)
        repeat_all(a, stream, 5)
        assert s.message_ids[stream] == [message_id(n) for n in range(1, 6)]
    m.wait_ready()


MESH = {"redis": True}
