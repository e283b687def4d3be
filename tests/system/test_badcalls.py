"""Wrong API calls are refused with a status and a reason; a stopped database, with nothing acknowledged."""
import os
import signal
import subprocess

import grpc

import mesh_pb2 as pb
from api import Api, expect, open_stream
from flow import Publisher, Sink, payload
from harness import Flow, check_alive, check_rows, mesh, nodes, query, wait_all, wait_until

CODE = grpc.StatusCode
UNARY = ("MeshService/OpenClientDataStream", "MeshService/CloseClientDataStream", "MeshService/PublishClientData",
         "MeshService/GetMeshStatus", "MeshDataService/Ack", "MeshStatusService/ListStreams")


def test_bad_protobuf(m):
    with Api(m.node("a")) as api:
        for method in UNARY:
            for data in (b"\xff", b"\x0a\xff", b"\x0a\x05ab", b"\x07"):
                expect(CODE.INTERNAL, api.raw, f"/mesh.v1.{method}", data)  # as gRPC's own libraries say it
        expect(CODE.UNIMPLEMENTED, api.raw, "/mesh.v1.MeshService/Nonsense", b"")
    check_alive(m)


def test_opening(m):
    ulid = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
    cases = [
        (CODE.INVALID_ARGUMENT, {"tenant_id": "", "target_nodes": ["c"]}),
        (CODE.INVALID_ARGUMENT, {"tenant_id": "UPPER", "target_nodes": ["c"]}),
        (CODE.INVALID_ARGUMENT, {"tenant_id": "acme", "target_nodes": []}),
        (CODE.INVALID_ARGUMENT, {"tenant_id": "acme", "target_nodes": ["c"], "stream_id": "nonsense"}),
        (CODE.FAILED_PRECONDITION, {"tenant_id": "stranger", "target_nodes": ["c"]}),
        (CODE.NOT_FOUND, {"tenant_id": "acme", "target_nodes": ["nowhere"]}),
        (CODE.NOT_FOUND, {"tenant_id": "acme", "target_nodes": [ulid[:13]]}),
    ]
    over_limits = [{"tenant_id": "acme", "target_nodes": ["c"] * 17}, {"tenant_id": "a" * 65, "target_nodes": ["c"]}]
    with Api(m.node("a")) as api:
        for code, fields in cases:
            expect(code, api.OpenClientDataStream, pb.OpenClientDataStreamReq(**fields), timeout=10)
        for fields in over_limits:
            expect_either((CODE.INVALID_ARGUMENT, CODE.INTERNAL), api.OpenClientDataStream,
                          pb.OpenClientDataStreamReq(**fields), timeout=10)


def test_publishing(m):
    a, c = m.node("a"), m.node("c")
    stream = open_stream(a, "acme", ["c"]).stream_id
    sink = Sink(c, "acme", [stream])
    sink.start()
    good = Publisher(a, stream, 10)
    bad = [
        (CODE.NOT_FOUND, {"stream_id": "01ARZ3NDEKTSV4RRFFQ69G5FAV", "payload": b"x"}),
        (CODE.INVALID_ARGUMENT, {"stream_id": "short", "payload": b"x"}),
        (CODE.DATA_LOSS, {"stream_id": stream, "payload": b"x", "checksum": b"\0\0\0\0"}),
        (CODE.INVALID_ARGUMENT, {"stream_id": stream, "payload": b"x", "seq": -1}),
        (CODE.INVALID_ARGUMENT, {"stream_id": stream, "payload": b"x", "message_id": "x"}),
    ]
    with Api(a) as api:
        for code, fields in bad:
            expect(code, api.PublishClientData, pb.Chunk(**fields), timeout=10)
        details = expect(CODE.OUT_OF_RANGE, api.PublishClientData,
                         pb.Chunk(stream_id=stream, seq=5, payload=b"x"), timeout=10)
        assert "1" in details, details  # which seq is next
        expect(CODE.RESOURCE_EXHAUSTED, api.PublishClientData,
               pb.Chunk(stream_id=stream, payload=b"x" * (5 << 20)), timeout=10)
    good.start()
    wait_all([good], [sink])
    sink.stop()
    check_rows(a, [c], stream, 10)


def test_another_message_in_its_place(m):
    a, c = m.node("a"), m.node("c")
    stream = open_stream(a, "acme", ["c"]).stream_id
    pub = Publisher(a, stream, 1)
    with Api(a) as api:
        first = api.PublishClientData.future(pub.chunk(1), timeout=30)
        wait_until("it to be stored", lambda: query(
            c, "SELECT count(*) FROM inbox_messages WHERE stream_id = %s", stream)[0][0] == 1)
        other = pub.chunk(1)
        other.message_id = pub.chunk(2).message_id
        expect(CODE.ALREADY_EXISTS, api.PublishClientData, other, timeout=10)
        sink = Sink(c, "acme", [stream])
        sink.start()
        assert first.result().success
    wait_until("it", lambda: sink.got(stream) == 1)
    sink.stop()


def test_subscribing(m):
    a, c = m.node("a"), m.node("c")
    stream = open_stream(a, "acme", ["c"]).stream_id
    with Api(c) as api:
        for code, fields in ((CODE.INVALID_ARGUMENT, {"tenant_id": ""}), (CODE.INVALID_ARGUMENT, {"tenant_id": "UP"}),
                             (CODE.INVALID_ARGUMENT, {"tenant_id": "acme", "stream_ids": ["x"]})):
            call = api.SubscribeClientData(iter([pb.StreamSelector(**fields)]), timeout=10)
            expect(code, next, call)
        # What was never delivered can't be acknowledged.
        wait_until("the stream at C", lambda: query(
            c, "SELECT count(*) FROM streams_text WHERE stream_id = %s", stream)[0][0])
        try:
            r = api.Ack(pb.StreamAck(stream_id=stream, seq=1000), timeout=10)
            assert not r.success and r.error
        except grpc.RpcError as e:
            assert e.code() in (CODE.OUT_OF_RANGE, CODE.INVALID_ARGUMENT, CODE.FAILED_PRECONDITION), e
        expect(CODE.NOT_FOUND, api.Ack, pb.StreamAck(stream_id="01ARZ3NDEKTSV4RRFFQ69G5FAV", seq=1), timeout=10)


def test_no_rights(m):
    """Neither certificate nor token, a wrong token; and a right one."""
    a = m.node("a")
    with open(a["ca"], "rb") as f:
        ca = f.read()
    request = pb.Empty().SerializeToString()
    for token, ok in ((None, False), ("wrong", False), (a["token"], True)):
        creds = grpc.ssl_channel_credentials(ca)
        if token:
            creds = grpc.composite_channel_credentials(creds, grpc.access_token_call_credentials(token))
        with grpc.secure_channel(a["grpc_address"], creds) as channel:
            call = channel.unary_unary("/mesh.v1.MeshService/GetMeshStatus")
            if ok:
                assert call(request, timeout=10)
            else:
                expect(CODE.UNAUTHENTICATED, call, request, timeout=10)


def stopped_database(m, stop, go):
    """While A's database is away nothing is confirmed; when it is back everything is, once."""
    a, c = m.node("a"), m.node("c")
    with Flow(m, "a", ["c"], 1500, window=100) as f:
        f.wait_share(0.3)
        stop("a")
        before = f.publisher.confirmed
        with Api(a) as api:
            expect_either((CODE.UNAVAILABLE, CODE.DEADLINE_EXCEEDED, CODE.RESOURCE_EXHAUSTED),
                              api.OpenClientDataStream,
                              pb.OpenClientDataStreamReq(tenant_id="acme", target_nodes=["c"]), timeout=2)
        # What was on its way may still be confirmed, but no more than was given out.
        assert f.publisher.confirmed <= before + 2 * f.publisher.window
        go("a")
        f.finish()
    check_rows(a, [c], f.stream, 1500)
    m.wait_ready()


def expect_either(codes, call, *args, **kw):
    try:
        call(*args, **kw)
    except grpc.RpcError as e:
        assert e.code() in codes, f"{e.code()} ({e.details()})"
        return e
    raise AssertionError(f"no error, expected one of {codes}")


def test_database_hangs(m):
    stopped_database(m, lambda n: m.signal(n, "postgres", signal.SIGSTOP),
                     lambda n: m.signal(n, "postgres", signal.SIGCONT))


def test_database_is_gone(m):
    def stop(n):
        m.kill(n, "postgres")
        wait_until("health to say so", lambda: "database" in str(nodes.status(m.state, m.node(n))))

    stopped_database(m, stop, lambda n: m.start(n, "postgres"))


def test_target_database_is_gone(m):
    """C stores nothing, so A confirms nothing, and goes on when C can."""
    with Flow(m, "a", ["c"], 1500, window=100) as f:
        f.wait_share(0.3)
        m.kill("c", "postgres")
        wait_until("C to say so", lambda: "database" in str(nodes.status(m.state, m.node("c"))))
        stuck = f.publisher.confirmed
        m.start("c", "postgres")
        f.finish()
        assert stuck < 1500


def test_disk_full(m):
    """No room for rows: what was taken is kept and goes on when there is room again; nothing else is taken."""
    a = m.node("a")
    if not small_disk(m, a):
        print("        (skipped: no right to mount a small disk here)")
        return
    try:
        m.restart("a", "consensusd")
        fill = f"{m.dir}/small/fill"
        with Flow(m, "a", ["c"], 400, size=20_000, window=50) as f:
            f.wait_share(0.2)
            with open(fill, "wb") as big:
                try:
                    while True:
                        big.write(b"\0" * 65536)
                        big.flush()
                except OSError:
                    pass
            # Of a disk that has room for a part of a page PostgreSQL says it in other words.
            wait_until("A to say so", lambda: f.publisher.confirmed == 400 or any(
                words in str(nodes.status(m.state, a)) for words in ("space", "could not extend")))
            os.unlink(fill)
            f.finish()
    finally:
        query_all(a, "ALTER TABLE outbox SET TABLESPACE pg_default")
        subprocess.run(["umount", "-l", f"{m.dir}/small"], check=False)


def small_disk(m, node):
    """Moves the outbox to a small tmpfs, larger than all that is published; False where that is not allowed."""
    path = f"{m.dir}/small"
    nodes.make_dir(m.state, path)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m,mode=0777", "tmpfs", path],
                      capture_output=True, check=False).returncode != 0:
        return False
    nodes.make_dir(m.state, f"{path}/space")
    query_all(node, f"CREATE TABLESPACE small LOCATION '{path}/space'")
    query_all(node, "ALTER TABLE outbox SET TABLESPACE small")
    return True


def query_all(node, sql):
    import psycopg2
    db = psycopg2.connect(node["database"])
    db.autocommit = True
    with db.cursor() as cursor:
        cursor.execute("SET lock_timeout = '20s'")
        cursor.execute(sql)
    db.close()


def test_bad_configuration(m):
    """-n names file, line and what would be right; a reload of a broken file changes nothing."""
    a = m.node("a")
    with open(a["config"], encoding="utf-8") as f:
        good = f.read()
    path = f"{a['dir']}/bad.conf"
    cases = [("lisen 127.0.0.1:1", "did you mean 'listen'"), ("links-max many", "links-max"),
             ("heartbeat-interval 1", "heartbeat-interval"), ("peer \"x\" {", "x"), ("links-max 0", "1")]
    for line, word in cases:
        nodes.write_file(m.state, path, good.replace("transportd {", "transportd {\n\t" + line, 1))
        r = subprocess.run([f"{m.state['bin']}/transportd", "-n", "-c", path], capture_output=True, text=True,
                           timeout=20)
        assert r.returncode == 2, f"{line}: exit {r.returncode}"
        assert f"{path}:" in r.stderr and word in r.stderr, f"{line}: {r.stderr}"
    r = subprocess.run([f"{m.state['bin']}/transportd", "-n", "-c", a["config"]], capture_output=True, text=True,
                       timeout=20)
    assert r.returncode == 0 and "transportd {" in r.stdout, r.stderr
    nodes.write_file(m.state, a["config"], "nonsense\n" + good)
    for d in nodes.DAEMONS:
        m.signal("a", d, signal.SIGHUP)
    for d in nodes.DAEMONS:
        wait_until(f"{d} to refuse it", lambda d=d: "nonsense" in open(a["logs"][d], encoding="utf-8").read())
    nodes.write_file(m.state, a["config"], good)
    with Flow(m, "a", ["c"], 100) as f:
        f.finish()


def test_reload(m):
    """SIGHUP applies what can change while running."""
    a = m.node("a")
    with open(a["config"], encoding="utf-8") as f:
        good = f.read()
    nodes.write_file(m.state, a["config"], good.replace("heartbeat-interval 200ms", "heartbeat-interval 150ms"))
    m.signal("a", "transportd", signal.SIGHUP)
    wait_until("it to be applied", lambda: "heartbeat-interval" in open(
        a["logs"]["transportd"], encoding="utf-8").read())
    with Flow(m, "a", ["c"], 100) as f:
        f.finish()


def test_limits_of_a_call(m):
    """Headers too large, and a deadline that passes while nobody processes the message."""
    a = m.node("a")
    stream = open_stream(a, "acme", ["c"]).stream_id
    with Api(a) as api:
        expect_either((CODE.INVALID_ARGUMENT, CODE.RESOURCE_EXHAUSTED), api.PublishClientData,
                      pb.Chunk(stream_id=stream, payload=b"x", headers={"h": "x" * 20000}), timeout=10)
        expect(CODE.DEADLINE_EXCEEDED, api.PublishClientData,
               pb.Chunk(stream_id=stream, payload=payload(stream, 1), seq=1), timeout=0.5)
    sink = Sink(m.node("c"), "acme", [stream])
    sink.start()
    # The deadline did not undo it.
    wait_until("the message", lambda: sink.got(stream) == 1)
    sink.stop()


def test_old_node_of_another_database():
    """A database that belongs to another node is refused."""
    with mesh(2, "line") as m:
        a, b = m.node("a"), m.node("b")
        m.kill("b", "consensusd")
        wait_until("b's lock to be free", lambda: not query(
            b, "SELECT 1 FROM pg_locks WHERE locktype = 'advisory'"))
        with open(a["config"], encoding="utf-8") as f:
            good = f.read()
        m.kill("a", "consensusd")
        nodes.write_file(m.state, a["config"], good.replace(f"{a['dir']}/pg", f"{b['dir']}/pg"))
        m.start("a", "consensusd")
        wait_until("it to be refused", lambda: "belongs to node" in open(
            a["logs"]["consensusd"], encoding="utf-8").read())
        nodes.write_file(m.state, a["config"], good)
        m.restart("a", "consensusd", wait=False)
        m.start("b", "consensusd", wait=False)
        m.wait_ready()


MESH = {}
