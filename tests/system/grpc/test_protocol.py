"""HTTP/2 and gRPC as no proper client speaks them, and the finer points of the specification."""
import os
import signal
import time

import env
import mesh_pb2 as mesh
import raw
from grpc_health import health
from raw import Connection, frame, message, request
from stubs import local

PUBLISH = "/mesh.v1.MeshService/PublishClientData"
CHUNK = message(mesh.Chunk(seq=1).SerializeToString())


def headers_of(c, stream):
    c.status(stream)
    return dict(c.fields[stream])


def test_answer_has_the_three_parts():
    with env.Gateway() as g:
        c = Connection(g.socket)
        c.headers(1, request(PUBLISH))
        c.data(1, CHUNK, end=True)
        assert c.status(1) == ("0", "")
        names = [k for k, _ in c.fields[1]]
        assert names[:3] == [":status", "content-type", "grpc-accept-encoding"] and names[-1] == "grpc-status"
        assert c.bodies[1][0] == 0 and 1 not in c.resets


def test_trailers_only():
    with env.Gateway() as g:
        c = Connection(g.socket)
        c.headers(1, request("/x.Y/Z"), end=True)
        h = headers_of(c, 1)
        assert h[":status"] == "200" and h["content-type"] == "application/grpc" and h["grpc-status"] == "12"
        assert 1 not in c.bodies and 1 not in c.resets


def test_early_status_resets_with_no_error_after_the_trailers():
    with env.Gateway() as g:
        c = Connection(g.socket)
        c.headers(1, request("/x.Y/Z"))
        assert c.status(1)[0] == "12"
        assert c.read(lambda: 1 in c.resets) and c.resets[1] == 0


def test_data_in_pieces_of_any_size():
    with env.Gateway() as g:
        c = Connection(g.socket)
        body = message(mesh.Chunk(seq=9, payload=b"p" * 100).SerializeToString())
        c.headers(1, request(PUBLISH))
        for i in range(len(body)):
            c.data(1, body[i:i + 1])
            c.send(frame(raw.DATA, 0, 1))  # and empty ones between
        c.send(frame(raw.DATA, raw.END_STREAM, 1))
        assert c.status(1)[0] == "0"


def test_http_errors():
    with env.Gateway() as g:
        c = Connection(g.socket)
        c.headers(1, raw.encode([(":method", "GET"), (":scheme", "http"), (":path", PUBLISH), (":authority", "x")]),
                  end=True)
        assert headers_of(c, 1)[":status"] == "405"
        for i, kind in enumerate(("text/plain", "application/json", "application/grpcx")):
            c.headers(3 + 2 * i, request(PUBLISH, [("content-type", kind)], without=("content-type",)), end=True)
            assert headers_of(c, 3 + 2 * i)[":status"] == "415"
        c.headers(11, request(PUBLISH, [("content-type", "application/grpc+proto;x=y")], without=("content-type",)))
        c.data(11, CHUNK, end=True)
        assert c.status(11)[0] in ("0", "12")


def test_wrong_requests():
    cases = [
        ("no te", request(PUBLISH, without=("te",)), CHUNK, "13"),
        ("json", request(PUBLISH, [("content-type", "application/grpc+json")], without=("content-type",)), CHUNK, "12"),
        ("timeout", request(PUBLISH, [("grpc-timeout", "1x")]), CHUNK, "13"),
        ("timeout digits", request(PUBLISH, [("grpc-timeout", "123456789S")]), CHUNK, "13"),
        ("encoding", request(PUBLISH, [("grpc-encoding", "snappy")]), CHUNK, "12"),
        ("flag without encoding", request(PUBLISH), message(b"", flag=1), "13"),
        ("flag 2", request(PUBLISH), message(b"", flag=2), "13"),
        ("broken gzip", request(PUBLISH, [("grpc-encoding", "gzip")]), message(b"nonsense", flag=1), "13"),
        ("two messages", request(PUBLISH), CHUNK + CHUNK, "12"),
        ("no message", request(PUBLISH), b"", "12"),
        ("cut message", request(PUBLISH), CHUNK[:-1], "13"),
        ("cut prefix", request(PUBLISH), b"\0\0", "13"),
        ("length over the limit", request(PUBLISH), b"\0\xff\xff\xff\xff", "8"),
    ]
    with env.Gateway() as g:
        c = Connection(g.socket)
        for i, (name, head, body, code) in enumerate(cases):
            c.headers(2 * i + 1, head)
            c.data(2 * i + 1, body, end=True)
            assert c.status(2 * i + 1)[0] == code, (name, c.status(2 * i + 1))
        c.headers(101, request(PUBLISH))
        c.data(101, CHUNK, end=True)
        assert c.status(101)[0] == "0"


def test_grpc_timeout_of_zero():
    with env.Gateway() as g:
        c = Connection(g.socket)
        c.headers(1, request(PUBLISH, [("grpc-timeout", "0n")]))
        c.data(1, message(mesh.Chunk(tenant_id="silent").SerializeToString()), end=True)
        assert c.status(1)[0] == "4"


def test_request_trailers_are_ignored():
    with env.Gateway() as g:
        c = Connection(g.socket)
        c.headers(1, request(PUBLISH))
        c.data(1, CHUNK)
        c.headers(1, raw.encode([("x-trailer", "1")]), end=True)
        assert c.status(1)[0] == "0"


def test_other_protocols_on_the_socket():
    with env.Gateway() as g:
        for hello in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00", os.urandom(500), b"PRI * HTTP/2.1"):
            c = Connection(g.socket, preface=False)
            c.send(hello + b" " * 30)
            assert c.closed(5), hello
        assert g.processes["gatewayd"].alive()


def test_protocol_violations_end_the_connection_only():
    evil = [
        frame(raw.DATA, 0, 0, b"x"),
        frame(raw.HEADERS, raw.END_HEADERS, 2, request(PUBLISH)),
        frame(raw.HEADERS, raw.END_HEADERS, 1, b"\xff\xff\xff\xff\xff"),
        frame(raw.SETTINGS, 0, 0, b"12345"),
        frame(raw.PING, 0, 0, b"short"),
        frame(raw.WINDOW, 0, 0, b"\0\0\0\0"),
        frame(raw.WINDOW, 0, 0, b"\x7f\xff\xff\xff"),
        frame(raw.PUSH, 0, 1, b"\0\0\0\2"),
        frame(raw.CONTINUATION, 0, 1, b""),
        b"\xff\xff\xff" + frame(raw.DATA, 0, 1)[3:],
    ]
    with env.Gateway() as g, local(g) as api:
        for bad in evil:
            c = Connection(g.socket)
            c.ping()
            c.send(bad)
            assert c.closed(5), bad
            assert c.goaway is not None and c.goaway[1] != 0, bad
        assert api.PublishClientData(mesh.Chunk(), timeout=5).success


def test_floods():
    with env.Gateway() as g, local(g) as api:
        c = Connection(g.socket)  # CONTINUATION without an end
        c.send(frame(raw.HEADERS, 0, 1, request(PUBLISH)) + frame(raw.CONTINUATION, 0, 1, b"") * 50)
        assert c.closed(5)
        c = Connection(g.socket)  # rapid reset (CVE-2023-44487)
        block = request(PUBLISH)
        for i in range(3000):
            c.send(frame(raw.HEADERS, raw.END_HEADERS, 2 * i + 1, block) + frame(raw.RST, 0, 2 * i + 1, b"\0\0\0\x08"))
        assert c.closed(10) and c.goaway is not None
        c = Connection(g.socket)  # SETTINGS with too many entries
        c.send(frame(raw.SETTINGS, 0, 0, b"\0\3\0\0\0\1" * 100))
        assert c.closed(5)
        c = Connection(g.socket)  # acks that are never read
        c.send(frame(raw.SETTINGS, 0, 0) * 200000)
        assert c.closed(10)
        c = Connection(g.socket)  # headers beyond any limit
        c.headers(1, request(PUBLISH, [(f"x-{i:02}", "y" * 860) for i in range(18)]))
        assert c.status(1)[0] == "8"
        assert api.PublishClientData(mesh.Chunk(), timeout=5).success


def test_too_many_pings():
    with env.Gateway() as g:
        c = Connection(g.socket)
        for _ in range(3):
            c.ping()
        c.send(frame(raw.PING, 0, 0, b"8bytes!!"))
        assert c.closed(5)
        assert c.goaway[1] == 11 and c.goaway[2] == b"too_many_pings", c.goaway


def test_pings_between_calls_are_forgiven():
    with env.Gateway() as g:
        c = Connection(g.socket)
        for i in range(20):
            c.ping()
            c.headers(2 * i + 1, request(PUBLISH))
            c.data(2 * i + 1, CHUNK, end=True)
            assert c.status(2 * i + 1)[0] == "0"


def test_keepalive():
    """A silent client is pinged; one that answers stays."""
    with env.Gateway("keepalive 1s") as g:
        c = Connection(g.socket)
        c.ping()
        pings = []
        handle = c.handle

        def watch(kind, flags, stream, payload):
            if kind == raw.PING and not flags & raw.ACK:
                pings.append(payload)
            handle(kind, flags, stream, payload)

        c.handle = watch
        assert c.read(lambda: len(pings) >= 2, 5)
        c.ping()


def test_drain():
    """SIGTERM: GOAWAY twice around a ping, calls finish, new connections are refused, exit 0."""
    g = env.Gateway("drain-timeout 10s").start()
    c = Connection(g.socket)
    c.headers(1, request("/mesh.v1.MeshService/PublishClientDataStream"))
    c.data(1, CHUNK)
    assert c.read(lambda: 1 in c.bodies)
    os.kill(g.pid(), signal.SIGTERM)
    assert c.read(lambda: c.goaway is not None and c.goaway[0] == 1, 5), c.goaway
    assert c.goaway[1] == 0
    begin = time.monotonic()
    c.data(1, CHUNK, end=True)
    assert c.status(1)[0] == "0"
    assert c.closed(5)
    assert g.processes["gatewayd"].popen.wait(5) == 0 and time.monotonic() - begin < 3
    g.stop()


def test_drain_timeout():
    g = env.Gateway("drain-timeout 300ms").start()
    c = Connection(g.socket)
    c.headers(1, request(PUBLISH))
    c.data(1, message(mesh.Chunk(tenant_id="silent").SerializeToString()), end=True)
    c.headers(3, request("/mesh.v1.MeshService/WatchMeshEvents"))
    c.data(3, message(b""), end=True)
    c.ping()
    os.kill(g.pid(), signal.SIGTERM)
    assert c.status(3)[0] == "14" and "stopping" in c.status(3)[1]
    assert c.status(1)[0] == "14"
    assert g.processes["gatewayd"].popen.wait(5) == 0
    g.stop()


def test_health():
    with env.Gateway() as g, local(g) as api:
        for name in ("", "mesh.v1.MeshService", "mesh.v1.MeshDataService", "grpc.health.v1.Health"):
            assert api.Check(health.HealthCheckRequest(service=name), timeout=5).status == 1
        from stubs import expect
        import grpc
        expect(grpc.StatusCode.NOT_FOUND, api.Check, health.HealthCheckRequest(service="nope"), timeout=5)
        whole = api.Watch(health.HealthCheckRequest(), timeout=20)
        unknown = api.Watch(health.HealthCheckRequest(service="nope"), timeout=1)
        assert next(whole).status == 1 and next(unknown).status == 3
        g.processes.pop("fake").stop()
        assert next(whole).status == 2
        assert api.Check(health.HealthCheckRequest(), timeout=5).status == 2
        assert api.Check(health.HealthCheckRequest(service="mesh.v1.MeshStatusService"), timeout=5).status == 1
        g.start_fake()
        assert next(whole).status == 1
        expect(grpc.StatusCode.DEADLINE_EXCEEDED, next, unknown)


def test_reflection():
    from google.protobuf import descriptor_pb2
    with env.Gateway() as g, local(g) as api:
        for call, module in ((api.ServerReflectionInfo, "grpc_reflection.reflection"),
                             (api.alpha(), "grpc_reflection.reflection_alpha")):
            Request = __import__(module, fromlist=["x"]).ServerReflectionRequest
            asked = [Request(list_services="*"), Request(file_containing_symbol="mesh.v1.MeshService"),
                     Request(file_containing_symbol="mesh.v1.MeshService.Nope", host="h"),
                     Request(file_containing_symbol="mesh.v1.MeshService.GetMeshStatus"),
                     Request(file_by_filename="mesh.proto"),
                     Request(file_containing_symbol="mesh.v1.Chunk.payload"),
                     Request(file_containing_symbol="grpc.health.v1.HealthCheckResponse.SERVING"),
                     Request(all_extension_numbers_of_type="mesh.v1.Chunk"), Request()]
            answers = list(call(iter(asked), timeout=5))
            assert [a.original_request for a in answers] == asked
            services = {s.name for s in answers[0].list_services_response.service}
            assert services == {"mesh.v1.MeshService", "mesh.v1.MeshDataService", "mesh.v1.MeshStatusService",
                                "mesh.v1.MeshDiscoveryService",
                                "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection",
                                "grpc.reflection.v1alpha.ServerReflection"}
            for i in (1, 3, 4, 5, 6):
                data = answers[i].file_descriptor_response.file_descriptor_proto[0]
                name = descriptor_pb2.FileDescriptorProto.FromString(data).name
                assert name == ("grpc/health/v1/health.proto" if i == 6 else "mesh.proto")
            assert answers[2].error_response.error_code == 5 and answers[2].valid_host == "h"
            assert answers[7].all_extension_numbers_response.base_type_name == "mesh.v1.Chunk"
            assert answers[8].error_response.error_code == 3
