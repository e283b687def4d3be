"""Redis remembers message ids over a restart, and may go away at any moment: nothing is lost or doubled."""
import contextlib
import signal
import time

import grpc

import api
import mesh_pb2 as pb
from api import Api
from flow import RETRIED, Publisher, Sink, message_id, payload, sink
from harness import Flow, check_alive, check_rows, procs, query, wait_all, wait_until
from lanes import metric

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


def cli(node, *words):
    """What redis-cli says, line by line."""
    return procs.run(["redis-cli", "-s", node["redis_socket"], *words]).split("\n")


def keys(node, pattern):
    return [k for k in cli(node, "--scan", "--pattern", pattern) if k]


def hash_of(node, key):
    words = cli(node, "hgetall", key)
    return dict(zip(words[::2], words[1::2], strict=False))


def test_paths_are_remembered(m):
    """Windows and round trips are written for every target, and a restarted source begins with them; nonsense
    there is not believed."""
    a = m.node("a")
    wait_connected(a)
    for word in (None, "18446744073709551615", "-1", "nonsense"):
        if word is not None:
            for key in keys(a, "credits:*") + keys(a, "path:*"):
                for field in hash_of(a, key):
                    cli(a, "hset", key, field, word)
        m.kill("a", "consensusd")
        m.start("a", "consensusd")
        m.wait_ready()
        wait_connected(a)
        with Flow(m, "a", ["c"], 200) as f:
            f.finish()
        found = wait_until("Redis to have how C is reached", lambda: next(
            (h for k in keys(a, "path:*") if (h := hash_of(a, k)).get("name") == "c"
             and 0 < int(h["srtt_us"] if h["srtt_us"].isdigit() else 0) < 60_000_000), None))
        assert found["alive"] == "1", found
    wait_until("the topology", lambda: [h for k in keys(a, "path:*") if (h := hash_of(a, k))["name"] == "c"
                                        and h["hops"] == "2" and int(h["latency_us"]) > 0], 60)
    key = next(k for k in keys(a, "credits:*") if hash_of(a, k)["name"] == "c")
    assert 0 < int(hash_of(a, key)["cwnd_bytes"]) <= 1 << 30
    # Of B nothing was measured since: nothing takes the place of what is there, nonsense as it is.
    for key_b in keys(a, "credits:*"):
        if hash_of(a, key_b)["name"] == "b":
            assert hash_of(a, key_b).get("cwnd_bytes") != "0", hash_of(a, key_b)
    assert 0 < int(cli(a, "ttl", key)[0]) <= 600
    m.wait_ready()


# --- batches for a target that is away

TAMPER = """local m = redis.call('zrange', KEYS[1], 0, -1, 'withscores')
for i = 1, #m, 2 do
    local s = m[i]
    redis.call('zrem', KEYS[1], s)
    redis.call('zadd', KEYS[1], m[i + 1], s:sub(1, 300) .. string.char((s:byte(301) + 1) % 256) .. s:sub(302))
end
return #m"""
AWAY_S = 60


def queue_of(stream):
    return f"queue:stream:{stream}"


@contextlib.contextmanager
def away(m, name):
    """The node is not reachable meanwhile, and A knows it."""
    m.kill(name, "transportd")
    m.kill(name, "routerd")
    wait_until(f"{name} to be away", lambda: query(
        m.node("a"), "SELECT status FROM nodes WHERE name = %s", name)[0][0] != "alive", AWAY_S)
    try:
        yield
    finally:
        m.start(name, "transportd")
        m.start(name, "routerd")


def replay(m, act, after=lambda: None):
    """All is published while C is away, A restarts, and then something happens to its Redis; the end is
    always the same.  How many batches were read back from Redis."""
    a = m.node("a")
    wait_connected(a)
    stream = api.open_stream(a, "acme", ["c"]).stream_id
    sink_at_c = Sink(m.node("c"), "acme", [stream], 1000)
    sink_at_c.start()
    try:
        first = Publisher(a, stream, COUNT // 10, size=1000)
        first.start()
        wait_all([first], [sink_at_c])
        rest = Publisher(a, stream, COUNT, first=COUNT // 10 + 1, size=1000, window=COUNT)
        with away(m, "c"):
            rest.start()
            wait_until("batches in Redis", lambda: int(cli(a, "zcard", queue_of(stream))[0]) > 3, AWAY_S)
            wait_until("all to be durable", lambda: query(
                a, "SELECT max(last_seq) FROM outbox WHERE stream_id = %s", uuid(stream))[0][0] == COUNT, AWAY_S)
            m.kill("a", "consensusd")
            m.start("a", "consensusd")
            wait_connected(a)
            act(a, stream)
        wait_all([rest], [sink_at_c], 120)
        check_rows(a, [m.node("c")], stream, COUNT)
    finally:
        sink_at_c.stop()
        after()
    m.wait_ready()
    wait_connected(a)
    return metric(m, "a", "mesh_redis_queue_read_batches_total")


def test_replay_is_read_from_redis(m):
    assert replay(m, lambda *_: None) > 0
    a = m.node("a")
    wait_until("the queues to be empty", lambda: not keys(a, "queue:stream:*"), 30)


def test_replay_with_redis_killed(m):
    def act(a, stream):
        m.kill("a", "redis")
        m.start("a", "redis")

    replay(m, act)


def test_replay_with_redis_emptied(m):
    assert replay(m, lambda a, stream: cli(a, "flushall")) == 0


def test_replay_with_redis_hung(m):
    replay(m, lambda a, stream: m.signal("a", "redis", signal.SIGSTOP),
           lambda: m.signal("a", "redis", signal.SIGCONT))


def test_replay_with_redis_tampered_with(m):
    def act(a, stream):
        assert int(cli(a, "eval", TAMPER, "1", queue_of(stream))[0]) > 0

    assert replay(m, act) == 0
    assert metric(m, "a", "mesh_redis_rejected_total") > 0


def test_redis_goes_in_the_middle_of_a_replay(m):
    """Again and again, while the target takes what it lacks."""
    a = m.node("a")
    wait_connected(a)
    with Flow(m, "a", ["c"], COUNT, window=COUNT, size=1000) as f:
        f.wait_share(0.1)
        for again in range(3):
            with away(m, "c"):
                pass
            m.kill("a", "redis" if again != 1 else "consensusd")
            m.start("a", "redis" if again != 1 else "consensusd")
        f.finish(120)
    m.wait_ready()
    wait_connected(a)


def test_what_waits_for_a_node_is_shown(m):
    a = m.node("a")
    wait_connected(a)
    with Api(a) as client:
        low, high = (client.OpenClientDataStream(pb.OpenClientDataStreamReq(
            tenant_id="acme", target_nodes=["c"], priority=p), timeout=10).stream_id for p in (1, 7))
    pubs = [Publisher(a, s, 5) for s in (low, high)]
    with away(m, "c"):
        for p in pubs:
            p.start()
        found = wait_until("both to be shown", lambda: next(
            (k for k in keys(a, "queue:egress:*") if {low, high} <= set(cli(a, "zrange", k, "0", "-1"))), None), 60)
        assert cli(a, "zscore", found, low)[0] == "1" and cli(a, "zscore", found, high)[0] == "7"
        assert cli(a, "zrevrange", found, "0", "0")[0] == high
    sinks = [Sink(m.node("c"), "acme", [s]) for s in (low, high)]
    for s in sinks:
        s.start()
    wait_all(pubs, sinks)
    for s in sinks:
        s.stop()


MESH = {"redis": True, "settings": ["consensusd.redis-queue-max=64MB"]}
