"""Messages from node to node over relays: content, order, several targets, sizes, headers, tenants."""
import contextlib
import threading

import grpc

import mesh_pb2 as pb
from api import Api, expect, open_stream
from flow import Publisher, Sink, payload
from harness import Flow, check_rows, mesh, query, wait_all, wait_until
from lanes import metric

MIB = 1 << 20


def test_line(m):
    with Flow(m, "a", ["c"], 3000) as f:
        f.finish()
        assert f.sinks[0].sources[f.stream] == m.node("a")["node_id"]


def test_back_and_forth(m):
    with Flow(m, "a", ["c"], 1000) as f, Flow(m, "c", ["a"], 1000) as g, Flow(m, "b", ["a", "c"], 1000) as h:
        for flow in (f, g, h):
            flow.finish()


def test_two_targets(m):
    with Flow(m, "a", ["b", "c"], 1500) as f:
        f.finish()


def test_to_itself(m):
    with Flow(m, "a", ["a", "c"], 300) as f:
        f.finish()


def test_over_unix_socket(m):
    with Flow(m, "a", ["c"], 500, local=True) as f:
        f.finish()


def test_sizes(m):
    a, c = m.node("a"), m.node("c")
    for size in (1, 15 * 1024, 16 * 1024, 64 * 1024, MIB, 4128768 - 1024):
        with Flow(m, "a", ["c"], 5, size=size, window=2) as f:
            wait_all([f.publisher], f.sinks)
            check_rows(a, [c], f.stream, 5)


def test_empty_payload(m):
    a, c = m.node("a"), m.node("c")
    stream = open_stream(a, "acme", ["c"]).stream_id
    sink = Sink(c, "acme", [stream], check=False)
    sink.start()
    with Api(a) as api:
        r = api.PublishClientData(pb.Chunk(stream_id=stream), timeout=20)
        assert r.success and r.seq == 1 and r.processed_nodes == [c["node_id"]]
    wait_until("the message", lambda: sink.got(stream) == 1)
    sink.stop()


def test_chunks(m):
    """A message in three chunks arrives as one."""
    a, c = m.node("a"), m.node("c")
    stream = open_stream(a, "acme", ["c"]).stream_id
    sink = Sink(c, "acme", [stream], size=300_000)
    sink.start()
    whole = payload(stream, 1, 300_000)
    parts = [whole[:100_000], whole[100_000:200_000], whole[200_000:]]

    def requests():
        for i, part in enumerate(parts):
            yield pb.Chunk(stream_id=stream, seq=1, chunk_seq=i, total_chunks=3, payload=part)

    with Api(a) as api:
        results = list(api.PublishClientDataStream(requests(), timeout=20))
    assert [r.seq for r in results] == [1] and results[0].success
    wait_until("the message", lambda: sink.got(stream) == 1 or sink.error)
    sink.stop()
    assert sink.error is None, sink.error


def test_headers_and_ids(m):
    a, c = m.node("a"), m.node("c")
    stream = open_stream(a, "acme", ["c"]).stream_id
    sink = Sink(c, "acme", [stream])
    pub = Publisher(a, stream, 3, headers={"content-type": "text/plain", "x": "\u00e4"})
    sink.start()
    pub.start()
    wait_all([pub], [sink])
    sink.stop()
    assert sink.headers[stream] == {"content-type": "text/plain", "x": "\u00e4"}
    assert sink.message_ids[stream] == [pub.chunk(n).message_id for n in (1, 2, 3)]


def test_later_streams_of_a_tenant(m):
    """A subscription without stream ids gets streams that are opened later, too."""
    a, c = m.node("a"), m.node("c")
    sink = Sink(c, "later")
    sink.start()
    pubs = []
    for source in (a, m.node("b"), a):
        pubs.append(Publisher(source, open_stream(source, "later", ["c"]).stream_id, 200))
        pubs[-1].start()
    wait_all(pubs, [sink])
    sink.stop()


def test_subscriber_comes_late(m):
    """What was published before anyone subscribed waits, stored, and is not confirmed before it is processed."""
    a, c = m.node("a"), m.node("c")
    stream = open_stream(a, "acme", ["c"]).stream_id
    pub = Publisher(a, stream, 500, window=500)
    pub.start()
    wait_until("the messages to be stored at C", lambda: query(
        c, "SELECT count(*) FROM inbox_messages WHERE stream_id = %s", stream)[0][0] == 500)
    assert pub.confirmed == 0
    sink = Sink(c, "acme", [stream])
    sink.start()
    wait_all([pub], [sink])
    check_rows(a, [c], stream, 500)
    sink.stop()


def test_what_is_taken_at_once_needs_no_row(m):
    """A subscriber that acknowledges at once spares batches their row in the inbox."""
    before = metric(m, "c", "mesh_stream_inbox_spared_batches_total")
    with Flow(m, "a", ["c"], 500) as f:
        f.finish()
    assert metric(m, "c", "mesh_stream_inbox_spared_batches_total") > before


def test_unacknowledged_comes_again(m):
    """A subscriber that takes messages and dies without acknowledging leaves them to the next one."""
    a, c = m.node("a"), m.node("c")
    stream = open_stream(a, "acme", ["c"]).stream_id
    pub = Publisher(a, stream, 50)
    pub.start()
    with Api(c) as api:
        call = api.SubscribeClientData(iter([pb.StreamSelector(tenant_id="acme", stream_ids=[stream])]))
        assert [next(call).seq for _ in range(10)] == list(range(1, 11))
        call.cancel()
    sink = Sink(c, "acme", [stream])
    sink.start()
    wait_all([pub], [sink])
    sink.stop()


def test_old_client(m):
    """One selector, then half-close: the stream still comes, and is acknowledged by the unary Ack."""
    a, c = m.node("a"), m.node("c")
    stream = open_stream(a, "acme", ["c"]).stream_id
    pub = Publisher(a, stream, 20)
    pub.start()
    with Api(c) as api:
        call = api.SubscribeClientData(iter([pb.StreamSelector(tenant_id="acme", stream_ids=[stream])]))
        for seq in range(1, 21):
            assert next(call).seq == seq
            r = api.Ack(pb.StreamAck(stream_id=stream, seq=seq), timeout=20)
            assert r.success and r.processed_seq >= seq
        call.cancel()
    wait_until("confirmation", lambda: pub.confirmed == 20)


def test_newer_subscriber_takes_over(m):
    a, c = m.node("a"), m.node("c")
    stream = open_stream(a, "acme", ["c"]).stream_id
    with Api(c) as one:
        old = one.SubscribeClientData(iter([pb.StreamSelector(tenant_id="acme", stream_ids=[stream])]))
        with Api(a) as api:
            publish = api.PublishClientData.future(pb.Chunk(stream_id=stream, payload=payload(stream, 1)), timeout=30)
            assert next(old).seq == 1
            with Api(c) as two:
                again = two.SubscribeClientData(iter([pb.StreamSelector(tenant_id="acme", stream_ids=[stream])]))
                assert stream in expect(grpc.StatusCode.ALREADY_EXISTS, next, again)
            sink = Sink(c, "acme", [stream], take_over=True)
            sink.start()
            assert "taken over" in expect(grpc.StatusCode.ABORTED, next, old)
            assert publish.result().success
    sink.stop()


def test_idempotent(m):
    """The same message again gets the same answer, and is not delivered again."""
    a, c = m.node("a"), m.node("c")
    stream = open_stream(a, "acme", ["c"]).stream_id
    sink = Sink(c, "acme", [stream])
    sink.start()
    pub = Publisher(a, stream, 1)
    with Api(a) as api:
        first = api.PublishClientData(pub.chunk(1), timeout=20)
        again = api.PublishClientData(pub.chunk(1), timeout=20)
        assert first.success and again.success and first.seq == again.seq == 1
    assert sink.got(stream) == 1
    sink.stop()


def test_close(m):
    """Closing waits for what is under way; then there is nothing more to publish."""
    a = m.node("a")
    with Flow(m, "a", ["c"], 300) as f:
        f.wait_share(1)
        with Api(a) as api:
            api.CloseClientDataStream(pb.StreamHandle(stream_id=f.stream), timeout=20)
            expect(grpc.StatusCode.FAILED_PRECONDITION, api.PublishClientData,
                   pb.Chunk(stream_id=f.stream, payload=b"late"), timeout=20)
        f.finish()


def collect(call, into):
    with contextlib.suppress(grpc.RpcError):
        for item in call:
            into.append(item)


def test_events_and_lists(m):
    a = m.node("a")
    with Api(a) as api:
        events, seen = api.WatchMeshEvents(pb.Filter(type="stream_opened"), timeout=60), []
        threading.Thread(target=collect, args=(events, seen), daemon=True).start()
        opened = []

        def told():
            """The watch has no answer before its first event: streams are opened until it is there."""
            opened.append(open_stream(a, "acme", ["c"]).stream_id)
            return seen

        wait_until("the event of an opened stream", told)
        assert seen[0].event_type == "stream_opened"
        stream = opened[0]
        infos = api.ListStreams(pb.ListStreamsReq(stream_ids=[stream]), timeout=10).streams
        assert [(i.stream_id, i.role, i.tenant_id) for i in infos] == [(stream, "source", "acme")]
        status = api.GetMeshStatus(pb.Empty(), timeout=10)
        assert {n.node_name for n in status.nodes} == {"a", "b", "c"}
        routes = {r.destination_name: list(r.paths[0].hops) for r in api.ListRoutes(pb.Empty(), timeout=10).routes}
        assert routes["c"] == ["b", "c"]
        events.cancel()


def test_ring():
    with mesh(5, "ring") as m, Flow(m, "a", ["c", "d"], 1000) as f, Flow(m, "d", ["b"], 1000) as g:
        f.finish()
        g.finish()


def test_tenants_are_apart():
    """C has no key of tenant "other": the stream is refused there, says why, and acme's go on."""
    with mesh(3, "line", tenants=["acme", "other:a,b"]) as m:
        a = m.node("a")
        stream = open_stream(a, "other", ["c"]).stream_id

        def refused():
            with Api(a) as api:
                info = api.ListStreams(pb.ListStreamsReq(stream_ids=[stream]), timeout=10).streams[0]
            return info.targets[0].state == "refused" and info.targets[0].error

        assert "key" in wait_until("C's refusal", refused)
        with Flow(m, "a", ["c"], 200) as f:
            f.finish()


MESH = {"tenants": ["acme", "later"]}
