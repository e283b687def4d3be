"""Unary calls: answers, statuses, deadlines, limits, metadata, compression."""
import threading
import time

import grpc

import env
import mesh_pb2 as mesh
from stubs import Api, expect, local, tls


def counter(api, what):
    text = api.GetMetrics(mesh.Empty(), timeout=5).text
    return int(next(line.split()[-1] for line in text.splitlines() if line.startswith(f'fake_total{{what="{what}"')))


def test_publish_over_unix_socket_and_tls():
    with env.Gateway() as g:
        for make in (lambda: local(g), lambda: tls(g, cert=g.client), lambda: tls(g, token=env.TOKEN)):
            with make() as api:
                r = api.PublishClientData(mesh.Chunk(stream_id="s", seq=7, payload=b"abc"), timeout=5)
                assert (r.success, r.seq, r.stream_id, r.error) == (True, 7, "s", "3"), r


def test_every_unary_method():
    with env.Gateway() as g, local(g) as api:
        h = api.OpenClientDataStream(
            mesh.OpenClientDataStreamReq(tenant_id="t", target_nodes=["b", "c"], metadata={"k": "v"}), timeout=5)
        assert h.status == "open" and list(h.target_nodes) == ["b", "c"] and h.next_seq == 1, h
        assert api.CloseClientDataStream(h, timeout=5) == mesh.Empty()
        assert api.Ack(mesh.StreamAck(stream_id=h.stream_id, seq=3), timeout=5).processed_seq == 3
        assert [s.tenant_id for s in api.ListStreams(mesh.ListStreamsReq(), timeout=5).streams] == [
            "tenant-1", "tenant-2", "tenant-3"]


def test_what_is_done_to_streams_and_messages():
    """All fields of the questions and answers pass; the errors are consensusd's."""
    invalid, missing = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND
    with env.Gateway() as g, local(g) as api:
        s = api.GetMessageStatus(mesh.MessageStatusReq(stream_id="s", seq=7, message_id="m"), timeout=5)
        assert (s.stream_id, s.seq, s.message_id, s.state) == ("s", 7, "m", "waiting"), s
        assert [(t.node_id[-1], t.state, t.updated) for t in s.targets] == [
            ("2", "processed", 1800000000000), ("3", "waiting", 0)], s
        rules = api.ControlStreams(mesh.StreamControlReq(action="throttle", stream_ids=["s"], tenant_id="t",
                                                         min_priority=0, side="source", messages_per_s=9), timeout=5).rules
        r = rules[0]
        assert (r.kind, r.stream_id, r.tenant_id, r.side, r.messages_per_s) == ("throttle", "s", "t", "source", 9), r
        assert r.HasField("min_priority") and not r.HasField("max_priority"), r
        a = api.Nack(mesh.StreamNack(stream_id="s", seq=4, reason="not now"), timeout=5)
        assert (a.success, a.error, a.processed_seq) == (True, "not now", 3), a
        assert not api.Nack(mesh.StreamNack(stream_id="nobody", seq=4), timeout=5).success
        found = api.ListStreamDeadLetters(mesh.StreamDeadLetterReq(stream_id="s", limit=1, after=1), timeout=5).letters
        assert [(x.position, x.stream_id, x.seq, x.attempts) for x in found] == [(2, "s", 20, 5)], found
        assert len(api.ListStreamDeadLetters(mesh.StreamDeadLetterReq(), timeout=5).letters) == 3
        h = api.ChangeStreamTargets(mesh.StreamTargetsReq(stream_id="s", tenant_id="t", add=["b", "c"], remove=["d"]),
                                    timeout=5)
        assert (h.stream_id, h.tenant_id, list(h.target_nodes), h.next_seq) == ("s", "t", ["b", "c"], 1), h
        resolve = mesh.ResolveStreamDeadLetterReq
        assert api.ResolveStreamDeadLetter(resolve(stream_id="s", seq=20, action="replay"), timeout=5).seq == 20
        for code, call, request in ((missing, api.GetMessageStatus, mesh.MessageStatusReq(stream_id="nobody")),
                                    (missing, api.ControlStreams, mesh.StreamControlReq(stream_ids=["nobody"])),
                                    (missing, api.ChangeStreamTargets, mesh.StreamTargetsReq(stream_id="nobody")),
                                    (missing, api.ResolveStreamDeadLetter, resolve(stream_id="nobody", action="replay")),
                                    (invalid, api.ResolveStreamDeadLetter, resolve(stream_id="s", action="burn"))):
            expect(code, call, request, timeout=5)


def test_a_late_publish_is_told_how_far_it_is():
    """Just before its deadline consensusd is asked to end it in its own words."""
    with env.Gateway() as g, local(g) as api:
        e = expect(grpc.StatusCode.DEADLINE_EXCEEDED, api.PublishClientData, mesh.Chunk(tenant_id="late"), timeout=2)
        assert e.details() == "1 of 2 targets have processed it", e.details()


def test_status_names_what_is_down():
    with env.Gateway() as g, local(g) as api:
        n = api.GetNodeStatus(mesh.Empty(), timeout=5)
        states = {d.name: d.state for d in n.daemons}
        assert states == {"consensusd": "running", "routerd": "down", "transportd": "down", "gatewayd": "running"}
        assert n.node_id == "0000000000001" and n.node_name == "a" and n.mesh_id == env.MESH_ID and n.serving
        m = api.GetMeshStatus(mesh.Empty(), timeout=5)
        assert m.status == "degraded" and m.node_id == "0000000000001" and m.last_updated > 0, m
        e = expect(grpc.StatusCode.UNAVAILABLE, api.DiscoverNodes, mesh.DiscoverNodesReq(), timeout=5)
        assert e.details() == "routerd: it is not running", e.details()
        expect(grpc.StatusCode.NOT_FOUND, api.DiscoverNodes, mesh.DiscoverNodesReq(mesh_id="x"), timeout=5)
        e = expect(grpc.StatusCode.UNAVAILABLE, api.ListRoutes, mesh.Empty(), timeout=5)
        assert "routerd" in e.details(), e.details()


def test_links_without_routerd_and_transportd():
    """Names can't be found, ids go to transportd, and each answer says who is away."""
    unavailable = grpc.StatusCode.UNAVAILABLE
    with env.Gateway() as g, local(g) as api:
        e = expect(unavailable, api.AddLink, mesh.AddLinkReq(target_node_id="b"), timeout=5)
        assert "'b'" in e.details() and "routerd" in e.details() and "give the id" in e.details(), e.details()
        for call, request in ((api.AddLink, mesh.AddLinkReq(target_node_id="0000000000002", addresses=["b:1"])),
                              (api.DropLink, mesh.DropLinkReq(target_node_id="0000000000002"))):
            assert expect(unavailable, call, request, timeout=5).details() == "transportd: it is not running"
        e = expect(unavailable, api.EstablishFullLinks, mesh.EstablishFullLinksReq(mesh_id=env.MESH_ID), timeout=5)
        assert e.details() == "routerd: it is not running", e.details()
        expect(grpc.StatusCode.NOT_FOUND, api.DropLink, mesh.DropLinkReq(mesh_id="x", target_node_id="b"), timeout=5)


def test_sibling_that_does_not_answer():
    g = env.Gateway()
    g.start_fake("mute")
    g.start_gateway()
    try:
        with local(g) as api:
            env.wait_until("the API to serve", lambda: g.log_has("the API is serving"))
            begin = time.monotonic()
            n = api.GetNodeStatus(mesh.Empty(), timeout=20)
            assert 4 < time.monotonic() - begin < 10
            assert [d.detail for d in n.daemons if d.name == "consensusd"] == ["it does not answer"], n
            # A client that does not wait for it leaves nothing behind.
            expect(grpc.StatusCode.DEADLINE_EXCEEDED, api.GetNodeStatus, mesh.Empty(), timeout=0.2)
            assert api.PublishClientData(mesh.Chunk(), timeout=5).success
    finally:
        assert g.stop()["gatewayd"] == 0


def test_metrics_are_one_text():
    with env.Gateway() as g, local(g) as api:
        text = api.GetMetrics(mesh.Empty(), timeout=5).text
        names = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
        assert len(names) == len(set(names)) and "fake_total" in names and "mesh_gateway_calls_total" in names
        assert 'mesh_gateway_connections{daemon="gatewayd"} 1' in text, text


def test_status_message_survives_encoding():
    with env.Gateway() as g, local(g) as api:
        e = expect(grpc.StatusCode.FAILED_PRECONDITION, api.PublishClientData, mesh.Chunk(tenant_id="fail"), timeout=5)
        assert e.details() == "tenant 'fail' has no key: 100 % sicher, größer\n", repr(e.details())


def test_unknown_method_and_service():
    with env.Gateway() as g, local(g) as api:
        for path in ("/mesh.v1.MeshService/Nope", "/no.such.Service/Nope"):
            e = expect(grpc.StatusCode.UNIMPLEMENTED, api.method(path, "uu", mesh.Empty, mesh.Empty), mesh.Empty(),
                       timeout=5)
            assert "Nope" in e.details()


def test_bad_protobuf():
    with env.Gateway() as g, local(g) as api:
        call = g and api.channel.unary_unary("/mesh.v1.MeshService/PublishClientData")
        for body in (b"\xff", b"\x0a\xff\x01", b"\x10", b"\x0a" + b"\x28" + b"x" * 40, b"\x07"):
            e = expect(grpc.StatusCode.INTERNAL, call, body, timeout=5)
            assert "PublishClientData" in e.details()
        assert call(b"", timeout=5)


def test_deadline_cancels_at_consensusd():
    with env.Gateway() as g, local(g) as api:
        begin = time.monotonic()
        expect(grpc.StatusCode.DEADLINE_EXCEEDED, api.PublishClientData, mesh.Chunk(tenant_id="silent"), timeout=0.2)
        assert time.monotonic() - begin < 2
        env.wait_until("CANCEL at consensusd", lambda: counter(api, "cancel") == 1)


def test_deadline_is_kept_by_the_server_too():
    """A client that does not watch its own deadline gets status 4 from the server."""
    import raw
    with env.Gateway() as g:
        c = raw.Connection(g.socket)
        c.headers(1, raw.request("/mesh.v1.MeshService/PublishClientData", [("grpc-timeout", "150m")]))
        c.data(1, raw.message(mesh.Chunk(tenant_id="silent").SerializeToString()), end=True)
        assert c.status(1)[0] == "4", c.status(1)


def test_client_cancel_reaches_consensusd():
    with env.Gateway() as g, local(g) as api:
        future = api.PublishClientData.future(mesh.Chunk(tenant_id="silent"))
        env.wait_until("the publish", lambda: counter(api, "publish") == 1)
        future.cancel()
        env.wait_until("CANCEL at consensusd", lambda: counter(api, "cancel") == 1)


def test_large_messages_and_the_limit():
    with env.Gateway() as g, local(g, **{"grpc.max_send_message_length": -1}) as api:
        r = api.PublishClientData(mesh.Chunk(payload=b"x" * (4 * 1024 * 1024 - 64)), timeout=20)
        assert r.error == str(4 * 1024 * 1024 - 64)
        e = expect(grpc.StatusCode.RESOURCE_EXHAUSTED, api.PublishClientData,
                   mesh.Chunk(payload=b"x" * (4 * 1024 * 1024 + 64)), timeout=20)
        assert "limit of 4194304" in e.details()
        assert api.PublishClientData(mesh.Chunk(payload=b"after"), timeout=5).success


def test_smaller_limit_by_reload():
    with env.Gateway() as g, local(g) as api:
        assert api.PublishClientData(mesh.Chunk(payload=b"x" * 4096), timeout=5).success
        g.conf_write("message-max 2KB")
        g.reload()
        e = expect(grpc.StatusCode.RESOURCE_EXHAUSTED, api.PublishClientData, mesh.Chunk(payload=b"x" * 4096), timeout=5)
        assert "limit of 2048" in e.details()


def overlay(**values):
    """Directives as consensusd passes them on, '_' for '-': see conf_overlay.h."""
    return b"".join(bytes([len(k)]) + k.replace("_", "-").encode() + b"\x01" + len(v).to_bytes(2, "big") + v.encode()
                    for k, v in values.items())


def test_smaller_limit_for_all_nodes():
    """What consensusd says of the configuration that all nodes share is in effect while it says it, and what the file
    has wins; what is no such message ends the connection, and nothing else."""
    def share(data):
        try:
            api.PublishClientData(mesh.Chunk(tenant_id="share", payload=data), timeout=5)
            return None
        except grpc.RpcError as e:
            assert e.code() == grpc.StatusCode.UNAVAILABLE, e
            return e

    def limited():
        try:
            return not api.PublishClientData(mesh.Chunk(payload=b"x" * 4096), timeout=5).success
        except grpc.RpcError as e:
            assert e.code() == grpc.StatusCode.RESOURCE_EXHAUSTED and "limit of 2048" in e.details(), e
            return True

    with env.Gateway() as g, local(g) as api:
        assert not limited()
        share(overlay(message_max="2KB", keepalive="never", listen="*:1"))
        env.wait_until("the limit", limited)
        assert g.log_has("gatewayd: keepalive: 'never': not a duration")
        assert g.log_has("gatewayd: listen can't be shared")
        g.conf_write("message-max 1MB")
        g.reload()
        env.wait_until("the file's own", lambda: not limited())
        g.conf_write("")
        g.reload()
        env.wait_until("the limit again", limited)
        share(b"")
        env.wait_until("the default", lambda: not limited())
        share(b"\xff")
        env.wait_until("the end of the connection", lambda: g.log_has("message CONFIG (38) of 1 bytes: refused"))
        env.wait_until("consensusd", lambda: share(b"") is None)
        assert not limited()


def test_metadata_limit():
    with env.Gateway() as g, local(g) as api:
        ok = [("x-a", "b" * 4000)]
        assert api.PublishClientData(mesh.Chunk(), timeout=5, metadata=ok).success
        many = [(f"x-{i}", "b" * 4000) for i in range(5)]
        expect(grpc.StatusCode.RESOURCE_EXHAUSTED, api.PublishClientData, mesh.Chunk(), timeout=5, metadata=many)


def test_gzip_requests():
    with env.Gateway() as g, local(g) as api:
        r = api.PublishClientData(mesh.Chunk(payload=b"z" * 100000), timeout=5, compression=grpc.Compression.Gzip)
        assert r.error == "100000", r
        expect(grpc.StatusCode.UNIMPLEMENTED, api.PublishClientData, mesh.Chunk(payload=b"z" * 1000), timeout=5,
               compression=grpc.Compression.Deflate)


def test_gzip_bomb():
    import gzip
    import raw
    with env.Gateway("message-max 64KB") as g:
        c = raw.Connection(g.socket)
        c.headers(1, raw.request("/mesh.v1.MeshService/PublishClientData", [("grpc-encoding", "gzip")]))
        c.data(1, raw.message(gzip.compress(bytes(10_000_000)), flag=1), end=True)
        code, text = c.status(1)
        assert code == "8" and "65536" in text, (code, text)


def test_many_calls_at_once():
    with env.Gateway() as g, tls(g, cert=g.client) as api:
        futures = [api.PublishClientData.future(mesh.Chunk(seq=i + 1), timeout=20) for i in range(2000)]
        assert [f.result().seq for f in futures] == list(range(1, 2001))


def test_many_clients():
    with env.Gateway() as g:
        errors = []

        def client():
            try:
                with local(g, **{"grpc.use_local_subchannel_pool": 1}) as api:
                    for i in range(50):
                        assert api.PublishClientData(mesh.Chunk(seq=i + 1), timeout=20).seq == i + 1
            except Exception as e:
                errors.append(e)

        threads = [threading.Thread(target=client) for _ in range(20)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert not errors, errors


def test_connections_max():
    with env.Gateway("connections-max 2") as g:
        import raw
        first, second = raw.Connection(g.socket), raw.Connection(g.socket)
        first.ping(), second.ping()
        third = raw.Connection(g.socket)
        assert third.closed(5)
        first.ping()


def test_calls_max():
    with env.Gateway("calls-max 3") as g, local(g) as api, tls(g, cert=g.client) as other:
        silent = [api.PublishClientData.future(mesh.Chunk(tenant_id="silent")) for _ in range(3)]
        env.wait_until("the publishes", lambda: counter(other, "publish") == 3)
        # The client knows the limit from SETTINGS and waits for a place itself.
        expect(grpc.StatusCode.DEADLINE_EXCEEDED, api.PublishClientData, mesh.Chunk(), timeout=0.3)
        silent[0].cancel()
        assert api.PublishClientData(mesh.Chunk(), timeout=5).success
        for f in silent:
            f.cancel()


def test_api_without_consensusd():
    g = env.Gateway()
    g.start_gateway()
    try:
        with local(g) as api:
            e = expect(grpc.StatusCode.UNAVAILABLE, api.PublishClientData, mesh.Chunk(), timeout=5)
            assert "consensusd" in e.details()
            g.start_fake()
            env.wait_until("the API to serve", lambda: g.log_has("the API is serving"))
            assert api.PublishClientData(mesh.Chunk(), timeout=5).success
    finally:
        assert g.stop()["gatewayd"] == 0


def test_consensusd_crash_ends_calls_unavailable():
    with env.Gateway() as g, local(g) as api:
        silent = api.PublishClientData.future(mesh.Chunk(tenant_id="silent"), timeout=20)
        env.wait_until("the publish", lambda: counter(api, "publish") == 1)
        expect(grpc.StatusCode.UNAVAILABLE, api.PublishClientData, mesh.Chunk(tenant_id="crash"), timeout=5)
        e = expect(grpc.StatusCode.UNAVAILABLE, silent.result)
        assert "consensusd" in e.details()
        g.processes.pop("fake").stop()
        g.start_fake()
        env.wait_until("the API to serve", lambda: g.log_text().count("the API is serving") == 2)
        assert api.PublishClientData(mesh.Chunk(), timeout=5).success


__all__ = ["Api"]
