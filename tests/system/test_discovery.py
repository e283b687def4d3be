"""Any node tells which nodes there are, where they can be dialled and what they offer; and how they are linked."""
import json
import re
import xml.etree.ElementTree as ET

import grpc
import mesh_pb2 as pb

from api import Api, expect
from harness import query, wait_until
from test_meshctl import run

# A line a - b - c - d.
MESH = {"count": 4, "settings": ["b:mesh.service=db", "b:mesh.capability=gpu", "d:mesh.service=db",
                                 "c:mesh.region=north"]}


def discover(m, at, **what):
    with Api(m.node(at)) as client:
        return client.DiscoverNodes(pb.DiscoverNodesReq(**what), timeout=10)


def test_by_what_they_offer(m):
    """From either end of the line, the nearest first; with addresses to dial."""
    wait_until("all nodes", lambda: all(len(discover(m, x).nodes) == 4 for x in "abcd"))
    for at, what, want in (("a", {"service": "db"}, ["b", "d"]), ("d", {"service": "db"}, ["d", "b"]),
                           ("c", {"capability": "gpu"}, ["b"]), ("a", {"region_id": "north"}, ["c"]),
                           ("a", {"service": "db", "capability": "gpu"}, ["b"]), ("a", {"service": "d"}, []),
                           ("a", {"status": "left"}, []), ("b", {"mesh_id": m.state["mesh_id"]}, ["b", "a", "c", "d"])):
        reply = discover(m, at, **what)
        names = [n.node_name for n in reply.nodes]
        # Of nodes that are as near as each other, either may be first.
        assert sorted(names) == sorted(want) and names[:1] == want[:1], (at, what, names)
        assert reply.mesh_id == m.state["mesh_id"]
        assert all(n.metadata["addresses"] == m.node(n.node_name)["transport_address"] for n in reply.nodes), reply
    b = discover(m, "d", capability="gpu").nodes[0]
    assert (list(b.services), list(b.capabilities)) == (["db"], ["gpu"]), b
    with Api(m.node("a")) as client:
        text = expect(grpc.StatusCode.NOT_FOUND, client.DiscoverNodes, pb.DiscoverNodesReq(mesh_id="x"), timeout=5)
        assert "'x'" in text, text


def test_unreachable_nodes_are_left_out(m):
    m.kill("d", "transportd")
    wait_until("d is gone", lambda: [n.node_name for n in discover(m, "a", service="db").nodes] == ["b"], 20)
    found = {n.node_name: n.status for n in discover(m, "a", service="db", status="any").nodes}
    assert found["b"] == "alive" and found["d"] != "alive", found
    m.start("d", "transportd")
    m.wait_ready()
    wait_until("d is back", lambda: len(discover(m, "a", service="db").nodes) == 2, 20)


def test_meshctl_nodes(m):
    r = run(m, "a", "nodes", "--service", "db", "-j")
    assert [n["node_name"] for n in json.loads(r)] == ["b", "d"]
    assert run(m, "a", "nodes", "--capability", "none") == "no node fits\n"
    assert " c " in " " + run(m, "a", "nodes", "--region", "north", "--status", "any").splitlines()[1]
    run(m, "a", "nodes", "--service", "x" * 64, code=2)


def test_pictures(m):
    """Each link once; what Graphviz and a browser get is well-formed."""
    links = json.loads(run(m, "b", "topology", "-j"))
    assert sorted("".join(sorted((x["a_name"], x["b_name"]))) for x in links) == ["ab", "bc", "cd"], links
    assert all(x["status"] == "up" and x["cost"] > 0 and x["cost_back"] > 0 for x in links), links
    dot = run(m, "b", "topology", "--format", "dot")
    assert dot.startswith("graph mesh {\n") and dot.endswith("}\n") and dot.count(" -- ") == 3, dot
    assert dot.count("penwidth=3") == 1, dot
    svg = ET.fromstring(run(m, "b", "topology", "--format", "svg"))
    space = "{http://www.w3.org/2000/svg}"
    assert len(svg.findall(f"{space}line")) == 3
    assert sorted(g.find(f"{space}text").text for g in svg.findall(f"{space}g")) == list("abcd")
    run(m, "b", "topology", "-f", "png", code=2)


def test_database_keeps_the_mesh(m):
    """Nodes with their addresses, links, versions of LSAs and snapshots of the topology, at every node."""
    for x in "ad":
        node = m.node(x)
        wait_until(f"a snapshot at {x}", lambda: query(
            node, "SELECT 1 FROM mesh.topology_snapshots WHERE jsonb_array_length(graph->'links') = 6"
                  " AND jsonb_array_length(graph->'nodes') = 4"), 40)
        assert query(node, "SELECT count(*) FROM mesh.links WHERE status = 'up'") == [(6,)]
        rows = query(node, "SELECT count(*), count(DISTINCT node_id) FROM mesh.lsa_versions WHERE length(hash) = 32")
        assert rows[0][0] >= rows[0][1] == 4, rows
        port = int(m.node("b")["transport_address"].rsplit(":", 1)[1])
        assert query(node, "SELECT port, meta->'services'->>0, meta->'capabilities'->>0 FROM mesh.nodes"
                           " WHERE name = 'b'") == [(port, "db", "gpu")]


def test_no_seed_after_the_first_contact(m):
    """a forgets its peer and is restarted, and nobody dials it: it finds the mesh again by itself."""
    path = m.node("a")["config"]
    with open(path, encoding="ascii") as f:
        text = f.read()
    kept = re.sub(r"\n\tpeer [^{]*{[^}]*}", "", text)
    assert kept != text and "peer " not in kept, text
    try:
        with open(path, "w", encoding="ascii") as f:
            f.write(kept)
        for daemon in ("consensusd", "routerd", "transportd"):
            m.kill("a", daemon)
        for daemon in ("transportd", "routerd", "consensusd"):
            m.start("a", daemon)
        m.wait_ready()
        wait_until("a is back", lambda: len(discover(m, "d").nodes) == 4 and len(discover(m, "a").nodes) == 4, 60)
    finally:
        with open(path, "w", encoding="ascii") as f:
            f.write(text)
        for daemon in ("transportd", "routerd"):
            m.kill("a", daemon)
            m.start("a", daemon)
        m.wait_ready()
