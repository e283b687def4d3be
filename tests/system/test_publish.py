"""Publishing: acknowledgement levels, producer epochs, and what publishers are told."""
import hashlib
import json
import threading

import grpc

import mesh_pb2 as pb
from api import Api, expect, open_stream
from flow import Sink
from harness import query, wait_until
from test_meshctl import run


def publish(api, stream, payload=b"x", timeout=60, **extra):
    return api.PublishClientData(pb.Chunk(stream_id=stream, payload=payload, **extra), timeout=timeout)


def crash(m, node):
    m.kill(node, "consensusd")
    m.restart(node, "consensusd")


def test_levels(m):
    """Nobody subscribes at C: only who asks for less than all is answered."""
    a, b, c = (m.node(n) for n in "abc")
    sink = Sink(b, "acme", check=False)
    sink.start()
    with Api(a) as api:
        for ack, quorum, done in (("accepted", 0, False), ("committed", 0, False), ("quorum", 1, True)):
            h = open_stream(a, "acme", ["b", "c"], ack=ack, ack_quorum=quorum)
            assert (h.ack, h.ack_quorum) == (ack, quorum)
            r = publish(api, h.stream_id, message_id="01ARZ3NDEKTSV4RRFFQ69G6001")
            assert r.success and r.level == ack and r.seq == 1
            assert c["node_id"] in r.pending_nodes and not r.failed_nodes
            if done:
                assert list(r.processed_nodes) == [b["node_id"]]
            again = publish(api, h.stream_id, message_id="01ARZ3NDEKTSV4RRFFQ69G6001")
            assert (again.seq, again.level) == (1, ack)
            # All get it in the end.
            wait_until("the message at B", lambda s=h.stream_id: sink.got(s) == 1)
            info = api.ListStreams(pb.ListStreamsReq(stream_ids=[h.stream_id]), timeout=20).streams[0]
            assert (info.ack, info.ack_quorum, info.committed_seq) == (ack, quorum, 0)
            assert info.answered_seq == 1
    last = Sink(c, "acme", check=False)
    last.start()
    wait_until("C to have all", lambda: last.got(h.stream_id) == 1)
    wait_until("the outbox to be empty", lambda: query(
        a, "SELECT count(*) FROM outbox_messages")[0][0] == 0)
    sink.stop()
    last.stop()


def test_level_after_restart(m):
    """The level is the stream's, also after a crash of the source."""
    a = m.node("a")
    stream = open_stream(a, "acme", ["c"], ack="accepted").stream_id
    with Api(a) as api:
        assert publish(api, stream, seq=1).level == "accepted"
        crash(m, "a")
        wait_until("the node", lambda: answered(api, stream))
        r = publish(api, stream, seq=1)
        assert (r.seq, r.level) == (1, "accepted")


def answered(api, stream, **extra):
    try:
        return publish(api, stream, seq=1, timeout=5, **extra).success
    except grpc.RpcError as e:
        assert e.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.NOT_FOUND), e
        return False


def test_deadline_says_where(m):
    a, b = m.node("a"), m.node("b")
    stream = open_stream(a, "later", ["b", "c"]).stream_id
    sink = Sink(b, "later", [stream], check=False)
    sink.start()
    with Api(a) as api:
        why = expect(grpc.StatusCode.DEADLINE_EXCEEDED, publish, api, stream, timeout=5)
    sink.stop()
    assert "processed by b" in why and "not by c" in why, why


def test_fencing(m):
    """A second producer takes the stream over; the first one learns of it with its next message."""
    a, c = m.node("a"), m.node("c")
    h = open_stream(a, "acme", ["c"], fence=True)
    assert h.producer_epoch == 1
    stream = h.stream_id
    sink = Sink(c, "acme", [stream], check=False)
    sink.start()
    go_on, failure = threading.Event(), []

    def requests():
        yield pb.Chunk(stream_id=stream, payload=b"1", producer_epoch=1)
        go_on.wait()
        yield pb.Chunk(stream_id=stream, payload=b"2", producer_epoch=1)

    def old_producer():
        with Api(a) as api:
            try:
                for r in api.PublishClientDataStream(requests(), timeout=120):
                    results.append(r.seq)
            except grpc.RpcError as e:
                failure.append(e)

    results = []
    old = threading.Thread(target=old_producer)
    old.start()
    wait_until("the first message", lambda: results == [1])
    with Api(a) as api:
        fenced = api.OpenClientDataStream(
            pb.OpenClientDataStreamReq(tenant_id="acme", stream_id=stream, fence=True), timeout=20)
        assert fenced.producer_epoch == 2 and fenced.next_seq == 2
        assert query(a, "SELECT epoch FROM streams_text WHERE stream_id = %s", stream) == [(2,)]
        go_on.set()
        old.join(60)
        assert failure and failure[0].code() == grpc.StatusCode.FAILED_PRECONDITION, failure
        assert publish(api, stream, b"3", producer_epoch=2).seq == 2
        assert "2" in expect(grpc.StatusCode.FAILED_PRECONDITION, publish, api, stream, producer_epoch=1)
        expect(grpc.StatusCode.INVALID_ARGUMENT, publish, api, stream, producer_epoch=3)
        wait_until("the epoch at the target", lambda: query(
            c, "SELECT epoch FROM streams_text WHERE stream_id = %s", stream) == [(2,)])
        crash(m, "a")
        crash(m, "c")
        wait_until("the node", lambda: answered(api, stream, producer_epoch=2))
        expect(grpc.StatusCode.FAILED_PRECONDITION, publish, api, stream, producer_epoch=1)
        assert publish(api, stream, b"4", producer_epoch=2).seq == 3
    sink.stop()
    assert sink.got(stream) == 3


def test_racing_fences(m):
    a = m.node("a")
    stream = open_stream(a, "acme", ["c"]).stream_id
    epochs = []

    def fence():
        with Api(a) as api:
            epochs.append(api.OpenClientDataStream(pb.OpenClientDataStreamReq(
                tenant_id="acme", stream_id=stream, fence=True), timeout=60).producer_epoch)

    threads = [threading.Thread(target=fence) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert sorted(epochs) == list(range(2, 10)), epochs


def test_digest(m):
    """The whole payload is checked where it comes in, piece by piece and as a whole, and is shown at the target."""
    a, c = m.node("a"), m.node("c")
    stream = open_stream(a, "acme", ["c"], ack="accepted").stream_id
    whole = bytes(range(256)) * 4000
    digest = hashlib.blake2b(whole, digest_size=32).digest()
    parts = [whole[i:i + 300_000] for i in range(0, len(whole), 300_000)]

    def chunks(seq, parts):
        for i, part in enumerate(parts):
            yield pb.Chunk(stream_id=stream, seq=seq, chunk_seq=i, total_chunks=len(parts), payload=part,
                           digest=digest if i == len(parts) - 1 else b"")

    with Api(a) as api:
        assert publish(api, stream, whole, digest=digest).seq == 1
        assert [r.seq for r in api.PublishClientDataStream(chunks(2, parts), timeout=60)] == [2]
        expect(grpc.StatusCode.DATA_LOSS, publish, api, stream, whole[1:], digest=digest)
        broken = parts[:-1] + [b"x" + parts[-1][1:]]
        expect(grpc.StatusCode.DATA_LOSS, list, api.PublishClientDataStream(chunks(3, broken), timeout=60))
    run(m, "a", "publish", "--stream", stream, "--digest", "hello")
    lines = run(m, "c", "-j", "subscribe", "-t", "acme", stream, "-n", "3").splitlines()
    assert [json.loads(x)["digest"] for x in lines] == [
        digest.hex(), digest.hex(), hashlib.blake2b(b"hello", digest_size=32).hexdigest()]


def test_message_status(m):
    """Where is my message?  From memory, after a restart from the tables, and when the stream is closed."""
    a, b, c = (m.node(n) for n in "abc")
    stream = open_stream(a, "acme", ["b", "c"], ack="quorum", ack_quorum=1).stream_id
    message = "01ARZ3NDEKTSV4RRFFQ69G6077"
    sink = Sink(b, "acme", [stream], check=False)
    sink.start()

    def states(node, gone=False, **how):
        with Api(node) as api:
            s = api.GetMessageStatus(pb.MessageStatusReq(stream_id=stream, **how), timeout=20)
        assert s.seq == 1 and (s.message_id == message or (gone and s.message_id == ""))
        return {t.node_id: t.state for t in s.targets}

    with Api(a) as api:
        publish(api, stream, message_id=message)
    expected = {b["node_id"]: "processed", c["node_id"]: "stored"}
    wait_until("C to have it", lambda: states(a, seq=1) == expected)
    crash(m, "a")
    crash(m, "c")
    for how in ({"seq": 1}, {"message_id": message}):
        wait_until("the same", lambda how=how: states(a, **how) == expected)
        assert states(c, **how) == {c["node_id"]: "stored"}
    with Api(a) as api:
        expect(grpc.StatusCode.NOT_FOUND, api.GetMessageStatus, pb.MessageStatusReq(stream_id=stream, seq=2), timeout=20)
    last = Sink(c, "acme", [stream], check=False)
    last.start()
    done = {b["node_id"]: "processed", c["node_id"]: "processed"}
    wait_until("C to process it", lambda: states(a, gone=True, seq=1) == done)
    sink.stop()
    last.stop()
    run(m, "a", "close", stream)
    wait_until("the end", lambda: query(a, "SELECT state FROM streams_text WHERE stream_id = %s", stream) == [("closed",)])
    out = json.loads(run(m, "a", "-j", "message", stream, "1"))
    assert out["state"] == "processed" and len(out["targets"]) == 2
    assert all(t["updated"] > 0 for t in out["targets"])
    assert "processed" in run(m, "a", "message", stream, "1")
    run(m, "a", "message", stream, "2", code=5)
    run(m, "a", "message", stream, "none", code=2)


def info_of(node, stream):
    with Api(node) as api:
        return api.ListStreams(pb.ListStreamsReq(stream_ids=[stream]), timeout=20).streams[0]


def test_retention_hold(m):
    """More than the stream keeps, or older: publishers are refused until its targets catch up, also after a crash."""
    a, c = m.node("a"), m.node("c")
    big = open_stream(a, "acme", ["c"], ack="accepted", retention_bytes=200_000).stream_id
    old = open_stream(a, "acme", ["c"], ack="accepted", retention_ms=1500).stream_id

    def refusal(stream, size):
        try:
            with Api(a) as api:
                publish(api, stream, b"x" * size, timeout=20)
        except grpc.RpcError as e:
            if e.code() != grpc.StatusCode.UNAVAILABLE:
                assert e.code() == grpc.StatusCode.RESOURCE_EXHAUSTED, e
                return e.details()
        return ""

    assert "retention_bytes" in wait_until("too much", lambda: refusal(big, 60_000))
    assert info_of(a, big).backlog_bytes < 400_000
    assert "retention_ms" in wait_until("too old", lambda: refusal(old, 10))
    crash(m, "a")
    assert "retention_ms" in wait_until("too old", lambda: refusal(old, 10))
    assert "retention_bytes" in wait_until("too much", lambda: refusal(big, 60_000))
    sink = Sink(c, "acme", [big, old], check=False)
    sink.start()
    wait_until("room again", lambda: refusal(big, 10) == "" and refusal(old, 10) == "")
    sink.stop()
    assert sink.error is None, sink.error


def test_retention_drop(m):
    """A target that is away for too long goes on behind what was given up, and all know what that was."""
    a, c = m.node("a"), m.node("c")
    stream = open_stream(a, "acme", ["c"], ack="accepted", retention_bytes=200_000, overflow="drop").stream_id
    with Api(a) as api:
        for _ in range(3):
            publish(api, stream, b"early")
        wait_until("C to store them", lambda: info_of(a, stream).targets[0].stored_seq == 3)
        m.kill("c", "consensusd")
        for _ in range(60):
            publish(api, stream, b"x" * 10_000)
        wait_until("old ones to go", lambda: info_of(a, stream).skipped_seq > 10)
        crash(m, "a")
        wait_until("the node", lambda: info_of(a, stream).skipped_seq > 10)
        for _ in range(60):
            wait_until("a publish", lambda: published(api, stream, b"y" * 10_000))
    skipped = info_of(a, stream).skipped_seq
    last = info_of(a, stream).next_seq - 1
    assert 60 < skipped < last and last - skipped < 60, (skipped, last)
    m.restart("c", "consensusd")
    wait_until("C to have the rest", lambda: info_of(c, stream).stored_seq == last)
    # What it was told is in its tables.
    crash(m, "c")
    got = [json.loads(x) for x in run(m, "c", "-j", "subscribe", "-t", "acme", stream, "-n",
                                      str(3 + last - skipped)).splitlines()]
    assert [x["seq"] for x in got] == [1, 2, 3, *range(skipped + 1, last + 1)]
    assert [x.get("skipped", 0) for x in got] == [0, 0, 0, skipped - 3] + [0] * (last - skipped - 1)
    wait_until("the end", lambda: info_of(a, stream).committed_seq == last)
    for node in (a, c):
        wait_until("the log", lambda node=node: query(
            node, "SELECT state::text, count(*) FROM delivery_log_messages WHERE stream_id = %s GROUP BY 1 ORDER BY 1",
            stream) == [("done", 3 + last - skipped), ("failed", skipped - 3)])
    out = json.loads(run(m, "a", "-j", "message", stream, str(skipped)))
    assert out["state"] == "failed" and "given up" in out["targets"][0]["error"]
    run(m, "a", "close", stream)
    wait_until("the stream to be closed", lambda: query(
        a, "SELECT state FROM streams_text WHERE stream_id = %s", stream) == [("closed",)])


def published(api, stream, payload):
    try:
        return publish(api, stream, payload, timeout=20).success
    except grpc.RpcError as e:
        assert e.code() == grpc.StatusCode.UNAVAILABLE, e
        return False


def test_lost_messages_are_told(m):
    """Who waits for a message that is given up hears of it, with the targets."""
    a = m.node("a")
    stream = open_stream(a, "acme", ["c"], retention_ms=1000, overflow="drop").stream_id
    with Api(a) as api:
        why = expect(grpc.StatusCode.DATA_LOSS, publish, api, stream, timeout=120)
        assert "not processed by c" in why, why
        assert "given up" in expect(grpc.StatusCode.DATA_LOSS, publish, api, stream, seq=1)
    info = info_of(a, stream)
    assert (info.skipped_seq, info.committed_seq, info.overflow, info.retention_ms) == (1, 1, "drop", 1000)


def test_meshctl(m):
    out = json.loads(run(m, "a", "-j", "open", "-t", "acme", "--to", "c", "--ack", "accepted"))
    stream = out["stream_id"]
    assert out["ack"] == "accepted"
    out = json.loads(run(m, "a", "-j", "publish", "--stream", stream, "--epoch", "1", "one", "two"))
    assert (out["accepted"], out["ack"], "processed" in out) == (2, "accepted", False), out
    out = json.loads(run(m, "a", "-j", "open", "-t", "acme", "--stream", stream, "--fence"))
    assert (out["producer_epoch"], out["next_seq"]) == (2, 3)
    run(m, "a", "publish", "--stream", stream, "--epoch", "1", "three", code=4)
    text = run(m, "a", "publish", "--stream", stream, "-t", "acme", "--fence", "--results", "three")
    assert "accepted after" in text and "Accepted" in text and "rocessed" not in text, text
    row = json.loads(run(m, "a", "-j", "streams", stream))[0]
    assert (row["ack"], row["producer_epoch"], row["answered_seq"]) == ("accepted", 3, 3)
    assert "accepted" in run(m, "a", "streams", "-v", stream)
    out = json.loads(run(m, "a", "-j", "open", "-t", "acme", "--to", "c", "--retention", "1MB", "--retention-time", "2h",
                         "--overflow", "drop"))
    row = json.loads(run(m, "a", "-j", "streams", out["stream_id"]))[0]
    assert (row["retention_bytes"], row["retention_ms"], row["overflow"]) == (1 << 20, 7_200_000, "drop")
    run(m, "a", "open", "-t", "acme", "--to", "c", "--overflow", "drop", code=4)
    assert "quorum:2" in run(m, "a", "open", "-t", "acme", "--to", "b,c", "--ack", "quorum:2")
    for wrong, code in (("soon", 4), ("quorum", 4), ("quorum:3", 4), ("all:1", 4), ("quorum:x", 2), ("quorum:0", 2)):
        run(m, "a", "open", "-t", "acme", "--to", "b,c", "--ack", wrong, code=code)


MESH = {"tenants": ["acme", "later"]}
