"""The control socket: the same methods for meshctl, and what a broken one could send."""
import env
import imsg
import mesh_pb2 as mesh
from imsg import Control
from stubs import local
from test_calls import counter

PUBLISH = "/mesh.v1.MeshService/PublishClientData"
STREAM = "/mesh.v1.MeshService/PublishClientDataStream"


def open_control(g, **kw):
    return Control(g.run_dir / "gatewayd.sock", **kw)


def test_unary():
    with env.Gateway() as g:
        c = open_control(g)
        c.call(7, PUBLISH, mesh.Chunk(seq=5, payload=b"abc").SerializeToString())
        assert c.status(7) == (0, "")
        assert mesh.PublishResult.FromString(c.of(7, imsg.MESSAGE_IN)[0]).seq == 5


def test_statuses():
    with env.Gateway() as g:
        c = open_control(g)
        c.call(1, "/mesh.v1.MeshService/Nope")
        assert c.status(1)[0] == 12
        c.call(2, PUBLISH, b"\xff")
        assert c.status(2)[0] == 13
        c.call(3, PUBLISH, mesh.Chunk(tenant_id="fail").SerializeToString())
        assert c.status(3) == (9, "tenant 'fail' has no key: 100 % sicher, größer\n")
        c.call(4, "/mesh.v1.MeshStatusService/ListRoutes")
        assert c.status(4)[0] == 14 and "routerd" in c.status(4)[1]


def test_stream_with_hold():
    """HOLD tells the client to stop; what was sent before it got that is kept and not lost."""
    with env.Gateway() as g:
        c = open_control(g)

        def holds():
            return [imsg.varint_fields(b).get(2, 0) for b in c.of(1, imsg.HOLD)]

        chunks = [mesh.Chunk(tenant_id="hold", stream_id="hold", seq=i).SerializeToString() for i in range(1, 31)]
        c.call(1, STREAM, chunks[0])
        for i, chunk in enumerate(chunks[1:], 2):
            c.send(imsg.MESSAGE_OUT, 1, chunk)
            if i % 10 == 0:  # the stand-in holds now; what is sent next comes too early
                assert c.read(lambda: holds().count(1) == i // 10)
        assert c.read(lambda: holds().count(0) == 3)
        c.send(imsg.HALF_CLOSE, 1)
        assert c.status(1) == (0, "")
        assert [mesh.PublishResult.FromString(b).seq for b in c.of(1, imsg.MESSAGE_IN)] == list(range(1, 31))
        assert holds() == [1, 0, 1, 0, 1, 0], holds()


def test_held_messages_are_bounded():
    with env.Gateway() as g, local(g) as api:
        c = open_control(g)
        c.call(1, STREAM, mesh.Chunk(seq=1, tenant_id="stuck").SerializeToString())
        assert c.read(lambda: c.of(1, imsg.HOLD))
        big = mesh.Chunk(tenant_id="stuck", payload=b"x" * 4_000_000).SerializeToString()
        for _ in range(5):
            c.send(imsg.MESSAGE_OUT, 1, big)
        code, text = c.status(1)
        assert code == 8 and "held" in text, (code, text)
        assert api.PublishClientData(mesh.Chunk(), timeout=5).success


def test_cancel_and_closing():
    with env.Gateway() as g, local(g) as api:
        c = open_control(g)
        silent = mesh.Chunk(tenant_id="silent").SerializeToString()
        c.call(1, PUBLISH, silent)
        c.call(2, PUBLISH, silent)
        env.wait_until("the publishes", lambda: counter(api, "publish") == 2)
        c.send(imsg.CANCEL, 1)
        env.wait_until("CANCEL at consensusd", lambda: counter(api, "cancel") == 1)
        c.sock.close()
        env.wait_until("CANCEL at consensusd", lambda: counter(api, "cancel") == 2)


def test_late_messages_are_dropped():
    with env.Gateway() as g:
        c = open_control(g)
        for kind in (imsg.MESSAGE_OUT, imsg.HALF_CLOSE, imsg.CANCEL):
            c.send(kind, 99)
        c.call(1, PUBLISH, mesh.Chunk(seq=1).SerializeToString())
        assert c.status(1)[0] == 0


def test_calls_of_one_connection():
    with env.Gateway() as g:
        c = open_control(g)
        for i in range(1, 66):
            c.call(i, PUBLISH, mesh.Chunk(tenant_id="silent").SerializeToString())
        assert c.status(65)[0] == 8
        c.send(imsg.CANCEL, 1)
        c.call(66, PUBLISH, mesh.Chunk(seq=1).SerializeToString())
        assert c.status(66)[0] == 0


def test_broken_clients():
    with env.Gateway() as g:
        cases = [
            lambda c: c.send(imsg.MESSAGE_IN, 1),
            lambda c: c.send(1000, 1),
            lambda c: c.send(imsg.CALL, 1, b"\xff/too/short"),
            lambda c: (c.call(1, STREAM), c.call(1, STREAM)),
            lambda c: c.send(imsg.CALL, 1, b""),
            lambda c: c.sock.sendall(b"\xff" * 16),
            lambda c: c.send(imsg.HALF_CLOSE, 1, b"body"),
        ]
        for i, case in enumerate(cases):
            c = open_control(g)
            case(c)
            assert c.closed(), i
        for kw in ({"edge": "gateway_consensus"}, {"version": 999}):
            c = open_control(g, hello=False)
            c.send(imsg.HELLO, 0, imsg.str8(kw.get("edge", "control_gateway"))
                   + kw.get("version", 1).to_bytes(4, "big") + imsg.str8("test"))
            assert c.closed(), kw
        c = open_control(g)
        c.call(1, PUBLISH, mesh.Chunk(seq=1).SerializeToString())
        assert c.status(1)[0] == 0
