"""Streaming: publish, subscribe, back-pressure, events."""
import itertools
import queue
import threading
import time

import grpc

import env
import mesh_pb2 as mesh
from stubs import expect, local, tls
from test_calls import counter


class Feed:
    """A request stream that the test feeds while the call is open."""

    def __init__(self, *first):
        self.queue = queue.Queue()
        for m in first:
            self.put(m)

    def put(self, m):
        self.queue.put(m)

    def end(self):
        self.queue.put(None)

    def __iter__(self):
        return self

    def __next__(self):
        m = self.queue.get()
        if m is None:
            raise StopIteration
        return m


def test_publish_stream():
    with env.Gateway() as g:
        for make in (lambda: local(g), lambda: tls(g, cert=g.client)):
            with make() as api:
                chunks = (mesh.Chunk(stream_id="s", seq=i, payload=b"x" * i) for i in range(1, 3001))
                results = list(api.PublishClientDataStream(chunks, timeout=30))
                assert [r.seq for r in results] == list(range(1, 3001))
                assert [r.error for r in results] == [str(i) for i in range(1, 3001)]


def test_publish_stream_of_nothing():
    with env.Gateway() as g, local(g) as api:
        assert list(api.PublishClientDataStream(iter(()), timeout=5)) == []


def test_publish_stream_answers_before_it_ends():
    with env.Gateway() as g, local(g) as api:
        feed = Feed()
        results = api.PublishClientDataStream(feed, timeout=10)
        for i in range(1, 20):
            feed.put(mesh.Chunk(seq=i))
            assert next(results).seq == i
        feed.end()
        assert list(results) == []
        assert counter(api, "end") == 1


def test_publish_stream_error_ends_it():
    with env.Gateway() as g, local(g) as api:
        feed = Feed(mesh.Chunk(seq=1), mesh.Chunk(tenant_id="fail"))
        results = api.PublishClientDataStream(feed, timeout=10)
        assert next(results).seq == 1
        expect(grpc.StatusCode.FAILED_PRECONDITION, next, results)
        feed.end()
        assert api.PublishClientData(mesh.Chunk(seq=5), timeout=5).seq == 5


def test_bad_protobuf_in_a_stream():
    with env.Gateway() as g, local(g) as api:
        call = api.channel.stream_stream("/mesh.v1.MeshService/PublishClientDataStream")
        results = call(iter([mesh.Chunk(seq=1).SerializeToString(), b"\xff\xff"]), timeout=5)
        e = expect(grpc.StatusCode.INTERNAL, list, results)
        assert "message 2" in e.details(), e.details()
        env.wait_until("CANCEL at consensusd", lambda: counter(api, "cancel") == 1)


def test_hold_stops_the_publisher():
    """PUBLISH_HOLD reaches the client as flow control, and nothing is lost or reordered."""
    with env.Gateway() as g, local(g) as api:
        sent = itertools.count(1)
        chunks = (mesh.Chunk(stream_id="hold", tenant_id="hold", seq=next(sent), payload=b"x" * 200_000)
                  for _ in range(60))
        seqs = []
        for r in api.PublishClientDataStream(chunks, timeout=60):
            seqs.append(r.seq)
            # What is under way: a stream's window, and buffers of sockets and of the client.
            assert next(sent) - r.seq < 120
        assert seqs == sorted(seqs) and len(seqs) == 60
        assert counter(api, "hold") == 6


def test_held_publisher_does_not_hold_others():
    with env.Gateway() as g, local(g) as api:
        feed = Feed(*[mesh.Chunk(stream_id="hold", tenant_id="hold", seq=i, payload=b"x" * 100_000)
                      for i in range(1, 200)])
        held = api.PublishClientDataStream(feed, timeout=60)
        env.wait_until("a hold", lambda: counter(api, "hold") >= 1)
        begin = time.monotonic()
        for i in range(100):
            assert api.PublishClientData(mesh.Chunk(seq=i + 1, payload=b"y" * 10_000), timeout=5).success
        assert time.monotonic() - begin < 2
        feed.end()
        assert len(list(held)) == 199


def test_subscribe_and_ack_on_the_stream():
    with env.Gateway() as g, local(g) as api:
        feed = Feed(mesh.StreamSelector(tenant_id="count", node_ids=["100"]))
        items = api.SubscribeClientData(feed, timeout=10)
        assert [next(items).seq for _ in range(100)] == list(range(1, 101))
        for seq in (50, 100):
            feed.put(mesh.StreamSelector(acks=[mesh.StreamAck(stream_id="s", seq=seq)]))
            item = next(items)
            assert (item.seq, item.message_id) == (seq, "acked")
        items.cancel()
        env.wait_until("CANCEL at consensusd", lambda: counter(api, "cancel") == 1)


def test_subscribe_by_a_client_of_the_old_api():
    """One selector, then half-close: still the whole stream; acks go by the unary Ack."""
    with env.Gateway() as g, local(g) as api:
        old = api.method("/mesh.v1.MeshDataService/SubscribeClientData", "us", mesh.StreamSelector, mesh.ClientData)
        items = old(mesh.StreamSelector(tenant_id="count", node_ids=["10"]), timeout=10)
        assert [next(items).seq for _ in range(10)] == list(range(1, 11))
        assert api.Ack(mesh.StreamAck(stream_id="s", seq=10), timeout=5).processed_seq == 10
        items.cancel()


def test_subscribe_without_a_selector():
    with env.Gateway() as g, local(g) as api:
        expect(grpc.StatusCode.INVALID_ARGUMENT, api.SubscribeClientData, iter(()), timeout=5)


def test_large_items_reach_a_slow_reader():
    with env.Gateway() as g, tls(g, cert=g.client) as api:
        feed = Feed(mesh.StreamSelector(tenant_id="big", node_ids=["60"]))
        items = api.SubscribeClientData(feed, timeout=30)
        for i in range(1, 61):
            item = next(items)
            assert item.seq == i and len(item.payload) == 256 * 1024
            time.sleep(0.005)
        items.cancel()


def test_reader_that_never_reads_is_ended():
    """200 items of 256 KiB are more than a call may have waiting."""
    import raw
    with env.Gateway() as g:
        c = raw.Connection(g.socket)
        c.headers(1, raw.request("/mesh.v1.MeshDataService/SubscribeClientData"))
        c.data(1, raw.message(mesh.StreamSelector(tenant_id="big", node_ids=["200"]).SerializeToString()))
        c.read(lambda: len(c.bodies.get(1, b"")) >= 65535)
        env.wait_until("the call to end", lambda: g.log_has("ended with RESOURCE_EXHAUSTED: answers are taken too slowly"))
        with local(g) as api:
            assert api.PublishClientData(mesh.Chunk(), timeout=5).success
            env.wait_until("CANCEL at consensusd", lambda: counter(api, "cancel") == 1)


def test_large_window_of_a_slow_reader():
    """A window far beyond what may wait: it is passed on as the reader keeps up, and nothing is lost."""
    import raw
    with env.Gateway() as g, local(g) as api:
        for window in (mesh.WindowUpdate(messages=10 ** 9), mesh.WindowUpdate(bytes=10 ** 12)):
            c = raw.Connection(g.socket)
            c.send(raw.frame(raw.SETTINGS, 0, 0, b"\0\4\x7f\xff\xff\xff"))
            c.send(raw.frame(raw.WINDOW, 0, 0, b"\x7f\x00\x00\x00"))
            c.headers(1, raw.request("/mesh.v1.MeshDataService/SubscribeClientData"))
            c.data(1, raw.message(mesh.StreamSelector(
                tenant_id="credit", node_ids=["300"], window=window).SerializeToString()))
            time.sleep(0.5)  # the reader sleeps; gatewayd must not be taking it all
            memory = next(x for x in api.GetMetrics(mesh.Empty(), timeout=5).text.splitlines()
                          if x.startswith("mesh_gateway_memory_bytes{"))
            assert int(memory.split()[1]) < 24 * 1024 * 1024, memory
            size = len(raw.message(mesh.ClientData(seq=300, tenant_id="credit", payload=bytes(256 * 1024)).SerializeToString()))
            assert c.read(lambda: len(c.bodies.get(1, b"")) >= 299 * size, 30), len(c.bodies.get(1, b"")) / size
            c.sock.close()
            env.wait_until("the end of the call", lambda: 'mesh_gateway_calls{daemon="gatewayd"} 1' in api.GetMetrics(
                mesh.Empty(), timeout=5).text)


def test_window_of_a_client():
    """Small windows are passed on exactly."""
    with env.Gateway() as g, local(g) as api:
        feed = Feed(mesh.StreamSelector(tenant_id="credit", node_ids=["100"], window=mesh.WindowUpdate(messages=3)))
        items = api.SubscribeClientData(feed, timeout=20)
        assert [next(items).seq for _ in range(3)] == [1, 2, 3]
        for first in range(4, 44, 10):
            feed.put(mesh.StreamSelector(window=mesh.WindowUpdate(messages=10)))
            assert [next(items).seq for _ in range(10)] == list(range(first, first + 10))
        feed.put(mesh.StreamSelector(acks=[mesh.StreamAck(seq=43)]))
        assert next(items).message_id == "acked"  # and nothing before it
        items.cancel()


def test_watch_events():
    with env.Gateway() as g, local(g) as api:
        every = api.WatchMeshEvents(mesh.Filter(), timeout=20)
        some = api.WatchMeshEvents(mesh.Filter(type="daemon_up", values=["consensusd"]), timeout=20)
        none = api.WatchMeshEvents(mesh.Filter(values=["routerd"]), timeout=2)
        env.wait_until("the calls", lambda: 'mesh_gateway_calls{daemon="gatewayd"} 4' in api.GetMetrics(
            mesh.Empty(), timeout=5).text)
        g.processes.pop("fake").stop()
        g.start_fake()
        down, up = next(every), next(every)
        assert (down.event_type, up.event_type) == ("daemon_down", "daemon_up")
        assert down.metadata["daemon"] == "consensusd" and len(down.event_id) == 26 and down.event_id < up.event_id
        assert next(some) == up
        expect(grpc.StatusCode.DEADLINE_EXCEEDED, next, none)


def test_two_calls_of_each_kind_from_threads():
    with env.Gateway() as g, tls(g, token=env.TOKEN) as api:
        errors = []

        def publisher(n):
            try:
                got = [r.seq for r in api.PublishClientDataStream(
                    (mesh.Chunk(seq=i, payload=b"p" * (i % 500)) for i in range(1, 2001)), timeout=30)]
                assert got == list(range(1, 2001))
            except Exception as e:
                errors.append(e)

        threads = [threading.Thread(target=publisher, args=(n,)) for n in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert not errors, errors
