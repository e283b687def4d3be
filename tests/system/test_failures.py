"""A publisher hears which targets have its message as a dead letter, whoever is killed in between."""
import concurrent.futures

import grpc

import mesh_pb2 as pb
from api import Api, open_stream
from harness import query, wait_until
from test_handlers import Reader


def ask(node, method, request):
    """Asked again while the node's consensusd is away."""
    def try_it():
        try:
            with Api(node) as api:
                return getattr(api, method)(request, timeout=60)
        except grpc.RpcError as e:
            assert e.code() == grpc.StatusCode.UNAVAILABLE, e
            return None
    return wait_until(f"an answer to {method}", try_it)


def publish(node, stream, seq):
    return ask(node, "PublishClientData", pb.Chunk(stream_id=stream, seq=seq, payload=b"x"))


def status(node, stream, seq):
    m = ask(node, "GetMessageStatus", pb.MessageStatusReq(stream_id=stream, seq=seq))
    return m.state, {t.node_id: (t.state, t.error) for t in m.targets}


def kill(m, name):
    m.kill(name, "consensusd")
    m.start(name, "consensusd")


def test_killed(m):
    """Source and target are killed with SIGKILL, before and after the dead letters are known: all ends tell the truth."""
    a, c = m.node("a"), m.node("c")
    stream = open_stream(a, "acme", ["c"]).stream_id
    with Api(a) as api:
        call = api.PublishClientDataStream(iter([pb.Chunk(stream_id=stream, seq=i, payload=b"x") for i in range(1, 7)]))
        with Reader(c, [stream]) as r:
            got = [r.next() for _ in range(6)]
            r.nack(got[1], reason="no two", dead_letter=True)
            r.nack(got[4], reason="no five", dead_letter=True)
            m.kill("a", "consensusd")
            r.ack(got[5])
            wait_until("the dead letters", lambda: query(
                c, "SELECT count(*) FROM stream_dead_letters WHERE mesh.ulid_text(stream_id) = %s", stream) == [(2,)])
        call.cancel()
    m.kill("c", "consensusd")
    m.start("a", "consensusd")
    m.start("c", "consensusd")
    for _ in range(2):
        for seq in range(1, 7):
            r = publish(a, stream, seq)
            if seq in (2, 5):
                assert not r.success and r.error.startswith("dead letter at c"), (seq, r)
                assert (list(r.failed_nodes), list(r.processed_nodes)) == ([c["node_id"]], []), (seq, r)
            else:
                assert r.success and list(r.processed_nodes) == [c["node_id"]], (seq, r)
        assert status(a, stream, 5)[0] == "failed"
        assert status(c, stream, 5) == ("failed", {c["node_id"]: ("failed", "no five")})
        assert status(a, stream, 4)[0] == status(c, stream, 4)[0] == "processed"
        wait_until("the source to record it", lambda: query(
            a, "SELECT seq FROM delivery_log_messages WHERE stream_id = %s AND state = 'failed' ORDER BY seq",
            stream) == [(2,), (5,)])
        kill(m, "a")
        kill(m, "c")
    # A replay that is processed: then the target says so.
    assert status(c, stream, 2)[0] == "failed"
    with Reader(c, [stream]) as r, Api(c) as api:
        api.ResolveStreamDeadLetter(pb.ResolveStreamDeadLetterReq(stream_id=stream, seq=2, action="replay"), timeout=20)
        r.ack(r.next())
        wait_until("the replay", lambda: status(c, stream, 2)[0] == "processed")
    assert status(a, stream, 2)[0] == "failed"


def test_quorum(m):
    """One of two is enough, whichever; two dead letters are not."""
    a, b, c = m.node("a"), m.node("b"), m.node("c")
    stream = open_stream(a, "acme", ["b", "c"], ack="quorum", ack_quorum=1).stream_id
    with concurrent.futures.ThreadPoolExecutor(3) as pool, Reader(b, [stream]) as rb, Reader(c, [stream]) as rc:
        for seq in (1, 2, 3):
            call = pool.submit(publish, a, stream, seq)
            at_b, at_c = rb.next(), rc.next()
            if seq == 1:
                rb.ack(at_b)
                rc.ack(at_c)
                assert call.result().success
                continue
            rb.nack(at_b, reason="b", dead_letter=True)
            wait_until("the dead letter", lambda seq=seq: status(b, stream, seq)[0] == "failed")
            if seq == 2:
                rc.ack(at_c)
                r = call.result()
                assert r.success and list(r.failed_nodes) == [b["node_id"]], r
            else:
                rc.nack(at_c, reason="c", dead_letter=True)
                r = call.result()
                assert not r.success and sorted(r.failed_nodes) == sorted([b["node_id"], c["node_id"]]), r
                assert "too few others" in r.error, r


MESH = {}
