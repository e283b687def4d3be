"""Policies of tenants: who may publish, subscribe and relay, with real nodes; and what is open when they change."""
import contextlib
import json
import threading

import grpc

import mesh_pb2 as pb
from api import Api, expect, open_stream
from flow import payload
from groups import QUICK, all_names, ctl, ctl_json, found, raft, refused, soon
from harness import shaped, wait_until
from lanes import metric

CODE = grpc.StatusCode
# A line a - b - c.
MESH = {"count": 3, "settings": QUICK}


@contextlib.contextmanager
def policy(m, node, value, key="acl.acme"):
    """The key is set, and in effect everywhere, while the block runs."""
    if raft(m, "a") is None:
        found(m)
    change(m, node, value, key)
    try:
        yield
    finally:
        soon(m, node, "config", "remove", key)
        wait_policies(m, 0)


def change(m, node, value, key="acl.acme"):
    ctl(m, node, "config", "set", key, json.dumps(value), "--wait", "all")
    wait_policies(m, 1)


def wait_policies(m, count):
    for n in all_names(m):
        wait_until(f"{n} to have {count} policies",
                   lambda n=n: metric(m, n, "mesh_acl_policies", daemon="consensusd") == count)


def chunk(stream, seq=0):
    return pb.Chunk(stream_id=stream, seq=seq, payload=payload(stream, seq))


def publish(m, node, stream, seconds=60):
    """It arrives, at last."""
    with Api(m.node(node)) as api:
        return api.PublishClientData(chunk(stream), timeout=seconds)


def denied(call, *args, say=()):
    why = expect(CODE.PERMISSION_DENIED, call, *args, timeout=60)
    for text in say:
        assert text in why, why
    return why


class Reader(threading.Thread):
    """Subscribes at a node, acknowledges all, and keeps how it ended."""

    def __init__(self, m, node, streams=()):
        super().__init__(daemon=True)
        self.api = Api(m.node(node))
        self.streams, self.count, self.status = list(streams), 0, None
        self.more = threading.Semaphore(0)
        self.acks = []
        self.over = threading.Event()
        self.call = self.api.SubscribeClientData(self.requests())
        self.start()

    def requests(self):
        yield pb.StreamSelector(tenant_id="acme", stream_ids=self.streams)
        while not self.over.is_set():
            if self.more.acquire(timeout=0.2):
                yield self.acks.pop(0)

    def run(self):
        try:
            for x in self.call:
                self.count += 1
                self.acks.append(pb.StreamSelector(acks=[pb.StreamAck(stream_id=x.stream_id, seq=x.seq)]))
                self.more.release()
        except grpc.RpcError as e:
            self.status = e
        self.over.set()

    def wait_denied(self):
        wait_until("the subscription to end", self.over.is_set)
        assert self.status.code() == CODE.PERMISSION_DENIED, self.status
        return self.status.details()

    def stop(self):
        self.call.cancel()
        self.join(20)
        self.api.channel.close()


def stream_info(m, node, stream):
    return next((s for s in ctl_json(m, node, "streams") if s["stream_id"] == stream), None)


def close(m, node, stream):
    with Api(m.node(node)) as api:
        api.CloseClientDataStream(pb.StreamHandle(stream_id=stream), timeout=20)


# --- clients ---

def test_publish(m):
    """A client that may not is told what decided, also one that is at it; and it may again."""
    reader = Reader(m, "c")
    stream = open_stream(m.node("a"), "acme", ["c"]).stream_id
    publish(m, "a", stream)
    with Api(m.node("a")) as cert, Api(m.node("a"), token=m.node("a")["token"]) as token, Api(m.node("a"), local=True) as local:
        going = threading.Event()
        results = cert.PublishClientDataStream(iter_until(stream, going))
        next(results)
        with policy(m, "b", {"publish": [{"clients": ["token:devmesh"]}]}):
            with contextlib.suppress(StopIteration):
                try:
                    while True:
                        next(results)
                except grpc.RpcError as e:
                    assert e.code() == CODE.PERMISSION_DENIED and "by cert:" in e.details(), e
            going.set()
            denied(cert.PublishClientData, chunk(stream),
                   say=("tenant acme", stream, "publish at node a", "by cert:", "denied by acl.acme"))
            denied(local.PublishClientData, chunk(stream), say=("by local:",))
            denied(cert.OpenClientDataStream, pb.OpenClientDataStreamReq(tenant_id="acme", target_nodes=["c"]))
            denied(cert.CloseClientDataStream, pb.StreamHandle(stream_id=stream))
            assert token.PublishClientData(chunk(stream), timeout=60).success
            assert metric(m, "a", "mesh_acl_denied_total", action="publish") >= 4
        assert cert.PublishClientData(chunk(stream), timeout=60).success
    reader.stop()
    close(m, "a", stream)


def iter_until(stream, over):
    """One message, and then the call stays open."""
    yield chunk(stream)
    over.wait(120)


def test_subscribe(m):
    """At the target: subscriptions end, and can be made again."""
    stream = open_stream(m.node("a"), "acme", ["c"]).stream_id
    reader = Reader(m, "c")
    publish(m, "a", stream)
    with policy(m, "a", {"subscribe": [{"clients": ["cert:nobody"]}]}):
        why = reader.wait_denied()
        assert "subscribe at node c" in why and "acl.acme" in why, why
        reader.stop()
        again = Reader(m, "c", [stream])
        assert stream in again.wait_denied()
        again.stop()
    reader = Reader(m, "c")
    publish(m, "a", stream)
    assert reader.count == 1
    reader.stop()
    close(m, "a", stream)


# --- nodes ---

def test_target(m):
    """A node that may not receive gets nothing; the source shows why, and what waits arrives afterwards."""
    reader = Reader(m, "c")
    stream = open_stream(m.node("a"), "acme", ["c"]).stream_id
    publish(m, "a", stream)
    with policy(m, "a", {"subscribe": [{"deny": True, "nodes": ["c"]}, {}]}):
        reader.wait_denied()
        reader.stop()
        info = stream_info(m, "a", stream)
        assert info["status"] == "refused" and "acl.acme" in info["targets"][0]["error"], info
        with Api(m.node("a")) as api:
            denied(api.PublishClientData, chunk(stream), say=("subscribe at node c", "its rule 1"))
    reader = Reader(m, "c")
    publish(m, "a", stream)
    wait_until("the message", lambda: reader.count >= 1)
    assert stream_info(m, "a", stream)["status"] == "open"
    reader.stop()
    close(m, "a", stream)


def test_source(m):
    """A node that may not be a source does not send, a restart notwithstanding, and goes on afterwards."""
    reader = Reader(m, "c")
    stream = open_stream(m.node("a"), "acme", ["c"]).stream_id
    publish(m, "a", stream)
    with policy(m, "c", {"publish": [{"nodes": [m.node("b")["node_id"]]}]}):
        with Api(m.node("a")) as api:
            denied(api.PublishClientData, chunk(stream), say=("publish at node a",))
            m.restart("a", "consensusd")
            wait_until("a's policies", lambda: metric(m, "a", "mesh_acl_policies", daemon="consensusd") == 1)
            wait_until("the stream", lambda: stream_info(m, "a", stream))
            assert stream_info(m, "a", stream)["status"] == "refused"
            denied(api.PublishClientData, chunk(stream), say=("publish at node a",))
    wait_until("the stream to be open", lambda: stream_info(m, "a", stream)["status"] == "open")
    before = reader.count
    publish(m, "a", stream)
    wait_until("the message", lambda: reader.count > before)
    reader.stop()
    close(m, "a", stream)


def test_relay(m):
    """b drops client data of the tenant and nothing else; when it may forward again all of it arrives."""
    reader = Reader(m, "c")
    stream = open_stream(m.node("a"), "acme", ["c"]).stream_id
    publish(m, "a", stream)
    before = metric(m, "b", "mesh_frames_dropped_total", reason="acl") or 0
    with policy(m, "a", {"forward": [{"nodes": ["a", "c"]}]}):
        with Api(m.node("a")) as api:
            call = api.PublishClientData.future(chunk(stream), timeout=240)
            wait_until("b to drop it", lambda: metric(m, "b", "mesh_frames_dropped_total", reason="acl") > before)
            assert not call.done() and reader.count == 1
            # The control group goes over b, too.
            change(m, "c", {"forward": []})
            change(m, "c", {"forward": [{"nodes": ["b"]}]})
            assert call.result().success
    assert reader.count == 2
    reader.stop()
    close(m, "a", stream)


def dropped(m, node):
    return metric(m, node, "mesh_frames_dropped_total", reason="acl") or 0


def test_other_path():
    """Whichever relay may not forward, the data takes the other one, and goes on trying nothing else."""
    with shaped("a <-> b\na <-> c\nb <-> d\nc <-> d", settings=QUICK) as m:
        found(m)
        reader = Reader(m, "d")
        stream = open_stream(m.node("a"), "acme", ["d"]).stream_id
        wait_until("two paths", lambda: any(
            len(r["paths"]) > 1 and r["destination"] in ("d", m.node("d")["node_id"])
            for r in ctl_json(m, "a", "routes")))
        for n in "bc":
            with policy(m, "a", {"forward": [{"deny": True, "nodes": [n]}, {}]}):
                publish(m, "a", stream)
                before = dropped(m, n)
                for _ in range(100):
                    publish(m, "a", stream)
                assert dropped(m, n) - before < 50
        assert reader.count == 202
        assert dropped(m, "b") + dropped(m, "c") > 0
        reader.stop()


# --- the keys ---

def test_default(m):
    """The key acl is for tenants that have no policy of their own that speaks of the action."""
    with policy(m, "a", {"publish": []}, key="acl"), Api(m.node("a")) as api:
        request = pb.OpenClientDataStreamReq(tenant_id="acme", target_nodes=["c"])
        denied(api.OpenClientDataStream, request, say=("denied by acl (",))
        ctl(m, "a", "config", "set", "acl.acme", json.dumps({"publish": [{}]}))
        wait_policies(m, 2)
        stream = api.OpenClientDataStream(request, timeout=20).stream_id
        close(m, "a", stream)
        ctl(m, "a", "config", "remove", "acl.acme")
        wait_policies(m, 1)


def test_malformed(m):
    """Nothing of it gets into the configuration."""
    if raft(m, "a") is None:
        found(m)
    for key, value, text in (
            ("acl.acme", "7", "no JSON object"),
            ("acl.acme", '{"publish": [{"who": ["x"]}]}', "publish: rule 1: 'who' is not deny"),
            ("acl.acme", '{"forward": [{"clients": ["*"]}]}', "rules of forward have no clients"),
            ("acl.ACME", "{}", "no tenant's name"),
            ("acl", '{"subscribe": [{"clients": ["reader"]}]}', "'reader' is not cert:NAME")):
        refused(m, "b", "config", "set", key, value, text=text)
    wait_policies(m, 0)
