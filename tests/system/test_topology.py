"""Links that are asked for while a mesh runs: AddLink, DropLink, EstablishFullLinks, and meshctl's commands."""
import json
import signal

import grpc
import mesh_pb2 as pb

import api
from api import Api, expect
from harness import Flow, mesh, nodes, wait_until
from test_meshctl import run

# A line a - b - c - d: each dials the next one.
MESH = {"count": 4}
ALL = {(x, y) for x in "abcd" for y in "abcd" if x != y}
LINE = {("a", "b"), ("b", "a"), ("b", "c"), ("c", "b"), ("c", "d"), ("d", "c")}


def links(m, at="a"):
    """{(from, to): LinkInfo} of all links that are up, as a node sees them; by name."""
    with Api(m.node(at)) as client:
        status = client.GetMeshStatus(pb.Empty(), timeout=10)
    names = {n.node_id: n.node_name for n in status.nodes}
    return {(names.get(x.source_node_id), names.get(x.target_node_id)): x for x in status.links if x.status == "up"}


def wait_links(m, want, at="a"):
    wait_until(f"the links {sorted(want)} (there are {sorted(links(m, at))})", lambda: set(links(m, at)) == want, 30)


def back_to_line(m):
    """Wishes end with transportd: then there is what mesh.conf says."""
    for x in "abcd":
        m.kill(x, "transportd")
    for x in "abcd":
        m.start(x, "transportd")
    m.wait_ready()
    wait_links(m, LINE)


def test_addresses_are_known(m):
    """Each node knows where all can be dialled."""
    with Api(m.node("d")) as client:
        def known():
            nodes = client.GetMeshStatus(pb.Empty(), timeout=10).nodes
            return len(nodes) == 4 and all(n.metadata["addresses"] for n in nodes) and nodes

        for n in wait_until("all addresses", known):
            address = m.node(n.node_name)["transport_address"]
            assert n.metadata["addresses"] == address == f"{n.ip_address}:{n.port}", n


def test_add_and_drop(m):
    """A chord is added, used, and dropped; the side that dials keeps being refused."""
    with Api(m.node("a")) as client:
        r = client.AddLink(pb.AddLinkReq(target_node_id="c", source_node_id="a"), timeout=10)
        assert r.success and not r.error, r
        assert m.node("b")["node_id"] in {x.target_node_id for x in r.links}, r
        wait_links(m, LINE | {("a", "c"), ("c", "a")})
        # The other end asks for it, too: there is still one.
        with Api(m.node("c")) as other:
            assert other.AddLink(pb.AddLinkReq(target_node_id=m.node("a")["node_id"]), timeout=10).success
        with Flow(m, "a", ["c"], 500) as f:
            f.finish()
        assert client.DropLink(pb.DropLinkReq(target_node_id="c"), timeout=10).success
        wait_links(m, LINE, "d")
    back_to_line(m)


def test_drop_of_a_configured_link(m):
    """What mesh.conf says does not bring it back, traffic takes another way, and AddLink does bring it back."""
    with Api(m.node("a")) as a:
        a.AddLink(pb.AddLinkReq(target_node_id="d"), timeout=10)
        wait_links(m, LINE | {("a", "d"), ("d", "a")})
        with Flow(m, "a", ["b"], 2000) as f:
            f.wait_share(0.2)
            a.DropLink(pb.DropLinkReq(target_node_id="b"), timeout=10)
            f.finish()
        wait_links(m, LINE - {("a", "b"), ("b", "a")} | {("a", "d"), ("d", "a")})
        a.AddLink(pb.AddLinkReq(target_node_id="b"), timeout=10)
        wait_links(m, LINE | {("a", "d"), ("d", "a")})
    back_to_line(m)


def test_cost(m):
    """A cost moves paths of this node off the link, and is gone with the next AddLink without it."""
    def path(to):
        with Api(m.node("a")) as client:
            routes = client.ListRoutes(pb.Empty(), timeout=10).routes
        return next((list(r.paths[0].hops) for r in routes if r.destination_name == to), None)

    with Api(m.node("a")) as client:
        client.AddLink(pb.AddLinkReq(target_node_id="c", cost=5000), timeout=10)
        wait_until("the cost to be known", lambda: links(m, "d").get(("a", "c")) is not None
                   and links(m, "d")[("a", "c")].weight == 5000)
        wait_until("the path to C to go through B", lambda: path("c") == ["b", "c"])
        assert links(m, "d")[("c", "a")].weight == 0, "each end has its own"
        client.AddLink(pb.AddLinkReq(target_node_id="c"), timeout=10)
        wait_until("the path to C to be the link", lambda: path("c") == ["c"])
    back_to_line(m)


def test_alternatives(m):
    """A chord gives a second path, by class and with a weight; a reload with another number of paths applies it."""
    def routes():
        return {(r["destination_name"], c): r["paths"] for r in json.loads(run(m, "a", "-j", "routes"))
                for c in r["classes"]}

    def hops(to, c):
        return [p["hops"] for p in routes().get((to, c), [])]

    def reload(text):
        nodes.write_file(m.state, m.node("a")["config"], text)
        m.signal("a", "routerd", signal.SIGHUP)

    with open(m.node("a")["config"], encoding="utf-8") as f:
        good = f.read()
    run(m, "a", "link", "add", "c")
    for c in ("control", "system", "db", "client"):
        wait_until(f"two paths to C for {c}", lambda c=c: sorted(hops("c", c)) == [["b", "c"], ["c"]])
        wait_until(f"two paths to D for {c}", lambda c=c: sorted(hops("d", c)) == [["b", "c", "d"], ["c", "d"]])
    for paths in routes().values():
        assert 950 <= max(p["weight"] for p in paths) <= 1000, paths
        least = min(p["cost"] for p in paths)
        assert all(abs(p["weight"] - 1000 * least / p["cost"]) <= max(1, 0.06 * p["weight"]) for p in paths), paths
    text = run(m, "a", "routes")
    assert text.splitlines()[0].split() == ["TO", "ID", "CLASSES", "COST", "WEIGHT", "STATE", "REASON", "PATH"], text
    reload(good + "routerd { paths 1; cost client { hops 1000 } }\n")
    wait_until("one path to C", lambda: [len(hops(to, "client")) for to in "bcd"] == [1, 1, 1])
    reload(good)
    wait_until("two paths to C again", lambda: len(hops("c", "client")) == 2)
    # The backup takes over when the link goes.
    with Flow(m, "a", ["c"], 1000) as f:
        f.wait_share(0.2)
        run(m, "a", "link", "drop", "c")
        f.finish()
    wait_until("the path through B", lambda: hops("c", "client") == [["b", "c"]])
    back_to_line(m)


def test_what_is_refused(m):
    b, c = (m.node(x)["node_id"] for x in "bc")
    cases = [
        ("AddLink", grpc.StatusCode.INVALID_ARGUMENT, "which node", {}),
        ("AddLink", grpc.StatusCode.NOT_FOUND, "'nobody' is not known", {"target_node_id": "nobody"}),
        ("AddLink", grpc.StatusCode.NOT_FOUND, "not known", {"target_node_id": "0000000000001"}),
        ("AddLink", grpc.StatusCode.INVALID_ARGUMENT, "itself", {"target_node_id": "a"}),
        ("AddLink", grpc.StatusCode.INVALID_ARGUMENT, "host:port", {"target_node_id": "c", "addresses": ["c"]}),
        ("AddLink", grpc.StatusCode.INVALID_ARGUMENT, "measured", {"target_node_id": "c", "latency_ms": 5}),
        ("AddLink", grpc.StatusCode.INVALID_ARGUMENT, "measured", {"target_node_id": "c", "bandwidth_mbps": 5}),
        ("AddLink", grpc.StatusCode.INVALID_ARGUMENT, "0 to 65535", {"target_node_id": "c", "cost": -1}),
        ("AddLink", grpc.StatusCode.FAILED_PRECONDITION, f"node {b}: ask that node's gateway",
         {"source_node_id": "b", "target_node_id": "c"}),
        ("AddLink", grpc.StatusCode.NOT_FOUND, "source_node_id", {"source_node_id": "nobody", "target_node_id": "c"}),
        ("AddLink", grpc.StatusCode.NOT_FOUND, "mesh", {"mesh_id": "01ARZ3NDEKTSV4RRFFQ69G5FAV",
                                                        "target_node_id": "c"}),
        ("AddLink", grpc.StatusCode.INTERNAL, "over its limit", {"target_node_id": "c", "addresses": ["a:1"] * 9}),
        ("DropLink", grpc.StatusCode.INVALID_ARGUMENT, "which node", {}),
        ("DropLink", grpc.StatusCode.NOT_FOUND, "not known", {"target_node_id": "0000000000001"}),
        ("DropLink", grpc.StatusCode.INVALID_ARGUMENT, "itself", {"target_node_id": "a"}),
        ("DropLink", grpc.StatusCode.FAILED_PRECONDITION, c, {"source_node_id": c, "target_node_id": "b"}),
        ("EstablishFullLinks", grpc.StatusCode.NOT_FOUND, "mesh", {"mesh_id": "01ARZ3NDEKTSV4RRFFQ69G5FAV"}),
    ]
    types = {"AddLink": pb.AddLinkReq, "DropLink": pb.DropLinkReq, "EstablishFullLinks": pb.EstablishFullLinksReq}
    with Api(m.node("a")) as client:
        for method, code, part, fields in cases:
            said = expect(code, getattr(client, method), types[method](**fields), timeout=10)
            assert part in said, f"{method} {fields}: {said}"
    wait_links(m, LINE)


def test_address_of_a_stranger(m):
    """An address where somebody else lives: the link is not taken, and nothing else suffers."""
    with Api(m.node("a")) as client:
        client.AddLink(pb.AddLinkReq(target_node_id="d", addresses=[m.node("c")["transport_address"]]), timeout=10)
        with Flow(m, "a", ["c"], 500) as f:
            f.finish()
        assert set(links(m)) == LINE
        # The right one is found when it is told.
        client.AddLink(pb.AddLinkReq(target_node_id="d"), timeout=10)
        wait_links(m, LINE | {("a", "d"), ("d", "a")})
    back_to_line(m)


def test_full_links():
    """One node is asked; all link with all, but those that are dropped."""
    with mesh(4) as m, Flow(m, "a", ["d"], 3000) as f:
        f.wait_share(0.1)
        with Api(m.node("d")) as client:
            client.DropLink(pb.DropLinkReq(target_node_id="b"), timeout=10)
        with Api(m.node("b")) as client:
            assert client.EstablishFullLinks(pb.EstablishFullLinksReq(), timeout=10).success
        most = ALL - {("b", "d"), ("d", "b")}
        wait_links(m, most)
        with Api(m.node("d")) as client:
            client.AddLink(pb.AddLinkReq(target_node_id="b"), timeout=10)
        wait_links(m, ALL)
        # The whole middle of the line goes: it is not needed any more.
        m.kill("b", "all")
        m.kill("c", "all")
        f.finish()
        m.start("b", "all")
        m.start("c", "all")
        wait_links(m, ALL, "d")


def test_meshctl(m):
    assert "wanted" in run(m, "a", "link", "add", "c")
    wait_links(m, LINE | {("a", "c"), ("c", "a")})
    text = run(m, "a", "links")
    assert text.splitlines()[0].split()[:4] == ["FROM", "TO", "STATUS", "RTT"], text
    assert all(len(line) <= 80 for line in text.splitlines()), text
    text = run(m, "a", "links", "-v")
    assert "a -> c  up for " in text and "dialled at 127.0.0.1" in text and "bandwidth" in text, text
    assert "link with c" in run(m, "a", "link", "drop", "c")
    wait_links(m, LINE)
    run(m, "a", "link", "add", "nobody", code=5)
    run(m, "a", "link", "add", "b", "nonsense", code=4)
    run(m, "a", "link", "add", "b", "--cost", "70000", code=2)
    run(m, "a", "link", "add", code=2)
    run(m, "a", "link", code=2)
    assert '"success": true' in run(m, "a", "-j", "link", "drop", "c")
    back_to_line(m)


def test_striping_is_kept(m):
    """What a stream was opened with is still there after a restart."""
    expect(grpc.StatusCode.INVALID_ARGUMENT, api.open_stream, m.node("a"), "acme", ["b"],
           metadata={"striping": "perhaps"})
    handle = api.open_stream(m.node("a"), "acme", ["b"], metadata={"striping": "on", "app": "x"})
    plain = api.open_stream(m.node("a"), "acme", ["b"])
    m.kill("a", "consensusd")
    m.start("a", "consensusd")
    m.wait_ready()
    with Api(m.node("a")) as client:
        streams = {s.stream_id: s.striping for s in client.ListStreams(pb.ListStreamsReq(), timeout=10).streams}
    assert streams[handle.stream_id] and not streams[plain.stream_id], streams


def test_striping_uses_all_bulk_lanes():
    """Large messages of a stream that asks for it go on all bulk lanes; of one that does not, on one."""
    size, count = 2_000_000, 6

    def bulk(m):
        with Api(m.node("a")) as client:
            own = next(x for x in client.GetMeshStatus(pb.Empty(), timeout=10).links if x.detail.lanes
                       and x.target_node_id == m.node("b")["node_id"])
        return {x.lane: x.tx_bytes for x in own.detail.lanes if getattr(x, "class") == "bulk"}

    def sent(m, **metadata):
        before = wait_until("three bulk lanes", lambda: len(bulk(m)) == 3 and bulk(m))
        with Flow(m, "a", ["b"], count, size=size, window=4, metadata=metadata) as f:
            f.finish()
        return sorted(n - before[lane] for lane, n in bulk(m).items())

    with mesh(2, settings=["transportd.bulk-lanes=3", "transportd.bulk-lanes-max=3"]) as m:
        assert sent(m, striping="on")[0] > size * count / 10
        assert sent(m)[1] < size
