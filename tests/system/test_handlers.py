"""What becomes of messages at their targets: who has a stream, refusals, retries, dead letters, handlers."""
import json
import queue
import signal
import subprocess

import grpc

import mesh_pb2 as pb
from api import Api, expect, open_stream
from flow import Publisher, payload
from harness import query, wait_until


class Reader:
    """A subscription whose messages are read one by one, and whose answers are sent by hand."""

    def __init__(self, node, streams, **selector):
        self.api = Api(node)
        self.out = queue.Queue()
        self.out.put(pb.StreamSelector(tenant_id="acme", stream_ids=streams, **selector))
        self.call = self.api.SubscribeClientData(iter(self.out.get, None))

    def next(self):
        return next(self.call)

    def ack(self, m, **extra):
        self.out.put(pb.StreamSelector(acks=[pb.StreamAck(stream_id=m.stream_id, seq=m.seq, **extra)]))

    def nack(self, m, **extra):
        self.out.put(pb.StreamSelector(nacks=[pb.StreamNack(stream_id=m.stream_id, seq=m.seq, **extra)]))

    def close(self):
        self.call.cancel()
        self.out.put(None)
        self.api.channel.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def publish(m, stream, last, first=1):
    p = Publisher(m.node("a"), stream, last, first=first, dead_letters=True)
    p.start()
    return p


def metric(node, name):
    with Api(node) as api:
        text = api.GetMetrics(pb.Empty(), timeout=20).text
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines()
               if line.startswith((name + " ", name + "{")))


def test_take_over_is_fenced(m):
    """The older subscription's ack comes late: it is refused, and the newer one gets the message."""
    c = m.node("c")
    stream = open_stream(m.node("a"), "acme", ["c"]).stream_id
    p = publish(m, stream, 1)
    with Reader(c, [stream]) as old, Api(c) as api:
        got = old.next()
        again = api.SubscribeClientData(iter([pb.StreamSelector(tenant_id="acme", stream_ids=[stream])]))
        assert "since 20" in expect(grpc.StatusCode.ALREADY_EXISTS, next, again)
        with Reader(c, [stream], take_over=True) as new:
            mine = new.next()
            assert mine.seq == 1 and mine.subscription > got.subscription
            assert "taken over" in expect(grpc.StatusCode.ABORTED, old.next)
            ack = pb.StreamAck(stream_id=stream, seq=1, subscription=got.subscription)
            expect(grpc.StatusCode.FAILED_PRECONDITION, api.Ack, ack, timeout=20)
            assert p.confirmed == 0
            ack.subscription = mine.subscription
            assert api.Ack(ack, timeout=20).success
    wait_until("the confirmation", lambda: p.confirmed == 1)


def test_taken_is_left_out(m):
    """A subscription to the tenant goes without a stream that has a subscriber, and gets it after that."""
    a, c = m.node("a"), m.node("c")
    one, two = (open_stream(a, "acme", ["c"]).stream_id for _ in range(2))
    before = metric(c, "mesh_stream_left_out_total")
    with Reader(c, [one]) as first:
        p = publish(m, one, 1)
        first.next()
        with Reader(c, []) as rest:
            publish(m, two, 1)
            assert rest.next().stream_id == two
            assert metric(c, "mesh_stream_left_out_total") == before + 1
            first.close()
            again = rest.next()
            assert again.stream_id == one
            rest.ack(again, subscription=again.subscription)
            wait_until("the confirmation", lambda: p.confirmed == 1)


def test_killed_client(m):
    """kill -9 of a client frees its stream at once; a restart of consensusd keeps the numbers rising."""
    c = m.node("c")
    stream = open_stream(m.node("a"), "acme", ["c"]).stream_id
    argv = [f"{m.state['bin']}/meshctl", "-s", c["control_socket"], "subscribe", "-t", "acme", stream]
    p = publish(m, stream, 1)
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as client:
        assert client.stdout.read(1)
        wait_until("the confirmation", lambda: p.confirmed == 1)
        client.send_signal(signal.SIGKILL)
    p = publish(m, stream, 2, first=2)
    with Reader(c, [stream]) as r:
        got = r.next()
        assert got.seq == 2
    m.restart("c", "consensusd")
    with Reader(c, [stream]) as r:
        again = r.next()
        assert again.seq == 2 and again.subscription > got.subscription
        r.ack(again)
        wait_until("the confirmation", lambda: p.confirmed == 2)
        out = subprocess.run(argv, stderr=subprocess.PIPE, text=True, timeout=60)
        assert out.returncode != 0 and "has a subscriber" in out.stderr
        taker = subprocess.Popen([*argv, "--take-over", "-n", "1"], stdout=subprocess.PIPE)
        expect(grpc.StatusCode.ABORTED, r.next)
        p = publish(m, stream, 3, first=3)
        assert taker.wait(60) == 0
        wait_until("the confirmation", lambda: p.confirmed == 3)


def attempts(node, stream):
    return query(node, "SELECT seq, attempts, error FROM stream_attempts WHERE mesh.ulid_text(stream_id) = %s", stream)


def letters(node, stream):
    return query(node, "SELECT seq, attempts, error, payload FROM stream_dead_letters"
                 " WHERE mesh.ulid_text(stream_id) = %s ORDER BY seq", stream)


def test_nack(m):
    """A message that fails comes again, with what is behind it, until it is a dead letter; then the stream goes on."""
    c = m.node("c")
    stream = open_stream(m.node("a"), "acme", ["c"], max_attempts=3, retry_ms=20).stream_id
    p = publish(m, stream, 5)
    with Reader(c, [stream]) as r, Api(c) as api:
        first = [r.next() for _ in range(5)]
        assert [x.attempt for x in first] == [1] * 5
        r.ack(first[1])
        r.nack(first[2], reason="not today")
        again = [r.next() for _ in range(3)]
        assert [(x.seq, x.attempt) for x in again] == [(3, 2), (4, 1), (5, 1)]
        wait_until("the attempt in the database", lambda: attempts(c, stream) == [(3, 1, "not today")])
        info = api.ListStreams(pb.ListStreamsReq(stream_ids=[stream]), timeout=20).streams[0]
        assert (info.handler, info.failed_seq, info.failed_attempts, info.failed_error) == (
            "subscriber", 3, 1, "not today"), info
        wait_until("it to be counted", lambda: metric(m.node("c"), "mesh_stream_failing_streams") == 1)
        assert api.Nack(pb.StreamNack(stream_id=stream, seq=3, subscription=again[0].subscription,
                                      reason="still not"), timeout=20).processed_seq == 2
        again = [r.next() for _ in range(3)]
        assert [(x.seq, x.attempt) for x in again] == [(3, 3), (4, 1), (5, 1)]
    # Who goes away without a word has not failed; the count survives a restart.
    wait_until("the attempts in the database", lambda: attempts(c, stream) == [(3, 2, "still not")])
    m.restart("c", "consensusd")
    with Reader(c, [stream]) as r:
        again = [r.next() for _ in range(3)]
        assert [(x.seq, x.attempt) for x in again] == [(3, 3), (4, 1), (5, 1)]
        r.nack(again[0], reason="never")
        wait_until("the stream to go on", lambda: p.confirmed == 3)
        r.ack(again[2])
        wait_until("the stream to go on", lambda: p.confirmed == 5)
    assert metric(m.node("c"), "mesh_stream_failing_streams") == 0
    [(seq, count, error, sealed)] = letters(c, stream)
    assert list(p.failed) == [3] and p.failed[3].startswith("dead letter at c"), p.failed
    assert (seq, count, error) == (3, 3, "never") and first[2].payload not in bytes(sealed)
    assert attempts(c, stream) == []
    log = query(c, "SELECT seq, state::text, err FROM delivery_log_messages WHERE stream_id = %s ORDER BY seq", stream)
    assert log == [(1, "done", None), (2, "done", None), (3, "failed", "never"), (4, "done", None), (5, "done", None)]


def test_dead_at_once(m):
    c = m.node("c")
    stream = open_stream(m.node("a"), "acme", ["c"]).stream_id
    p = publish(m, stream, 2)
    with Reader(c, [stream]) as r, Api(c) as api:
        first = [r.next() for _ in range(2)]
        for bad in (pb.StreamNack(stream_id=stream, seq=1, retry_ms=300_001), pb.StreamNack(stream_id=stream)):
            expect(grpc.StatusCode.INVALID_ARGUMENT, api.Nack, bad, timeout=20)
        expect(grpc.StatusCode.OUT_OF_RANGE, api.Nack, pb.StreamNack(stream_id=stream, seq=3), timeout=20)
        r.nack(first[0], reason="broken", dead_letter=True)
        r.ack(first[1])
        wait_until("the stream to go on", lambda: p.confirmed == 2)
    assert [x[:3] for x in letters(c, stream)] == [(1, 1, "broken")]


def test_policy_is_checked(m):
    for bad, word in ((dict(handler="x"), "discard"), (dict(handler="dbs"), "discard"), (dict(max_attempts=-1), "max_attempts"),
                      (dict(retry_ms=300_001), "retry_ms")):
        assert word in expect(grpc.StatusCode.INVALID_ARGUMENT, open_stream, m.node("a"), "acme", ["c"], **bad)


def ctl(m, node, *argv):
    p = subprocess.run([f"{m.state['bin']}/meshctl", "-s", m.node(node)["control_socket"], *argv], text=True,
                       capture_output=True, timeout=60)
    assert p.returncode == 0, p.stderr
    return p.stdout


def dead_stream(m, count):
    """A stream with so many dead letters at c."""
    stream = open_stream(m.node("a"), "acme", ["c"], max_attempts=1).stream_id
    p = publish(m, stream, count)
    with Reader(m.node("c"), [stream]) as r:
        for _ in range(count):
            r.nack(r.next(), reason="no")
        wait_until("the confirmations", lambda: p.confirmed == count)
    return stream


def test_letters(m):
    """Dead letters are listed, delivered once more (exactly once processed), and discarded."""
    c = m.node("c")
    stream = dead_stream(m, 4)
    with Api(c) as api, Reader(c, [stream]) as r:
        listed = api.ListStreamDeadLetters(pb.StreamDeadLetterReq(stream_id=stream), timeout=20).letters
        assert [(x.seq, x.attempts, x.error, x.tenant_id) for x in listed] == [(n, 1, "no", "acme") for n in range(1, 5)]
        assert listed[0].source_node == m.node("a")["node_id"] and listed[0].failed_at > 0
        page = pb.StreamDeadLetterReq(stream_id=stream, tenant_id="acme", limit=2, after=listed[1].position)
        assert [x.seq for x in api.ListStreamDeadLetters(page, timeout=20).letters] == [3, 4]
        page = pb.StreamDeadLetterReq(tenant_id="nobody")
        assert not api.ListStreamDeadLetters(page, timeout=20).letters

        def resolve(seq, action):
            return api.ResolveStreamDeadLetter(pb.ResolveStreamDeadLetterReq(
                stream_id=stream, seq=seq, action=action), timeout=20)

        resolve(2, "replay")
        got = r.next()
        assert got.dead_letter and got.seq == 2 and got.attempt == 2 and got.payload == payload(stream, 2)
        expect(grpc.StatusCode.FAILED_PRECONDITION, resolve, 2, "discard")
        r.ack(got)
        wait_until("the letter to be gone", lambda: [x[0] for x in letters(c, stream)] == [1, 3, 4])
        assert query(c, "SELECT state::text FROM delivery_log_messages WHERE stream_id = %s AND seq = 2", stream) == [("done",)]
        expect(grpc.StatusCode.NOT_FOUND, resolve, 2, "replay")
        resolve(1, "replay")
        r.nack(r.next(), reason="no again")
        wait_until("the attempt", lambda: letters(c, stream)[0][:3] == (1, 2, "no again"))
        # Beside the order of the stream, which goes on.
        p = publish(m, stream, 5, first=5)
        resolve(3, "replay")
        both = {r.next().seq, r.next().seq}
        assert both == {3, 5} and p.confirmed == 4
        assert resolve(4, "discard").seq == 4
        assert [x[0] for x in letters(c, stream)] == [1, 3]
    expect(grpc.StatusCode.INVALID_ARGUMENT, Api(c).ResolveStreamDeadLetter, pb.ResolveStreamDeadLetterReq(
        stream_id=stream, seq=1, action="forget"), timeout=20)


def test_letters_meshctl(m):
    stream = dead_stream(m, 5)
    rows = json.loads(ctl(m, "c", "-j", "dead-letter", "list", stream))
    assert [r["seq"] for r in rows] == [1, 2, 3, 4, 5] and rows[0]["error"] == "no"
    ctl(m, "c", "dead-letter", "discard", stream, "1")
    ctl(m, "c", "dead-letter", "replay", stream, "--all")
    out = ctl(m, "c", "-j", "subscribe", "-t", "acme", stream, "-n", "4")
    assert [json.loads(line)["seq"] for line in out.splitlines()] == [2, 3, 4, 5]
    wait_until("the letters to be gone", lambda: not letters(m.node("c"), stream))
    assert "no message was given up" in ctl(m, "c", "dead-letter", "list", stream)


def test_letters_after_close(m):
    """What was given up outlives its stream: it can be discarded, not delivered."""
    stream = dead_stream(m, 2)
    with Api(m.node("a")) as api:
        api.CloseClientDataStream(pb.StreamHandle(stream_id=stream), timeout=20)
    with Api(m.node("c")) as api:
        def resolve(action):
            return api.ResolveStreamDeadLetter(pb.ResolveStreamDeadLetterReq(
                stream_id=stream, seq=1, action=action), timeout=20)

        def closed():
            return not json.loads(ctl(m, "c", "-j", "streams", stream))
        wait_until("the close at c", closed)
        assert "closed" in expect(grpc.StatusCode.FAILED_PRECONDITION, resolve, "replay")
        resolve("discard")
    ctl(m, "c", "dead-letter", "discard", stream, "--all")
    assert letters(m.node("c"), stream) == []


def test_discard(m):
    """A stream whose target only counts: nobody needs to be there, and nobody may."""
    c = m.node("c")
    stream = json.loads(ctl(m, "a", "-j", "open", "-t", "acme", "--to", "c", "--handler", "discard"))["stream_id"]
    before = metric(c, "mesh_stream_discarded_messages_total")
    p = publish(m, stream, 500)
    wait_until("the confirmations", lambda: p.confirmed == 500 or p.error)
    assert p.error is None, p.error
    assert metric(c, "mesh_stream_discarded_messages_total") == before + 500
    with Reader(c, [stream]) as r:
        expect(grpc.StatusCode.FAILED_PRECONDITION, r.next)
    with Reader(c, []) as r:
        other = open_stream(m.node("a"), "acme", ["c"]).stream_id
        publish(m, stream, 501, first=501)
        publish(m, other, 1)
        while (got := r.next().stream_id) != other:  # what other tests have left
            assert got != stream


MESH = {}
