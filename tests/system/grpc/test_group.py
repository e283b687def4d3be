"""The control group's calls: membership, updates and their followers, configuration, keys, dead letters."""
import grpc

import env
import mesh_pb2 as mesh
from stubs import expect, local, tls
from test_calls import counter
from test_streams import Feed

ULID = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
S = grpc.StatusCode


def test_membership_answers_with_the_mesh():
    """consensusd only says that it is done; what comes back is what GetMeshStatus gives."""
    with env.Gateway() as g, local(g) as api:
        assert not api.GetMeshStatus(mesh.Empty(), timeout=10).raft_groups
        m = api.SeedMesh(mesh.SeedMeshReq(mesh_id=env.MESH_ID.lower(), name="m", voters=3), timeout=10)
        assert m.mesh_id == env.MESH_ID and m.node_id == "0000000000001" and m.last_updated > 0, m
        group = m.raft_groups[0]
        assert (group.group_type, group.status, group.leader_id, group.term) == ("MCG", "ok", "0000000000002", 7), group
        assert list(group.members) == ["0000000000001", "0000000000002"]
        assert group.member_details[0].node_name == "b"
        for call, request in ((api.StopMesh, mesh.StopMeshReq()), (api.StartMesh, mesh.StartMeshReq()),
                              (api.JoinMesh, mesh.JoinMeshReq(token="x", contact="b")),
                              (api.EvictNode, mesh.EvictNodeReq(node_id="b", reason="lost")),
                              (api.EvictNode, mesh.EvictNodeReq(node_id="c", readmit=True))):
            m = call(request, timeout=10)
            assert m.mesh_id == env.MESH_ID and len(m.raft_groups) == 1, m
        assert counter(api, "group") == 6
        assert api.GetMeshStatus(mesh.Empty(), timeout=10).raft_groups[0] == group


def test_membership_errors_are_consensusds():
    with env.Gateway() as g, local(g) as api:
        expect(S.FAILED_PRECONDITION, api.StartMesh, mesh.StartMeshReq(), timeout=10)
        e = expect(S.PERMISSION_DENIED, api.JoinMesh, mesh.JoinMeshReq(token="wrong"), timeout=10)
        assert e.details() == "the token is not good"
        expect(S.NOT_FOUND, api.EvictNode, mesh.EvictNodeReq(node_id="nobody"), timeout=10)
        api.SeedMesh(mesh.SeedMeshReq(), timeout=10)
        expect(S.ALREADY_EXISTS, api.SeedMesh, mesh.SeedMeshReq(), timeout=10)
        expect(S.DEADLINE_EXCEEDED, api.JoinMesh, mesh.JoinMeshReq(token="silent"), timeout=0.3)
        env.wait_until("CANCEL at consensusd", lambda: counter(api, "cancel") == 1)


def test_another_mesh_is_refused():
    """By gatewayd: nothing of it reaches consensusd."""
    other = "01BX5ZZKBKACTAV9WEVGEMMVRZ"
    with env.Gateway() as g, local(g) as api:
        for call, request in ((api.SeedMesh, mesh.SeedMeshReq), (api.JoinMesh, mesh.JoinMeshReq),
                              (api.StartMesh, mesh.StartMeshReq), (api.StopMesh, mesh.StopMeshReq),
                              (api.LeaveMesh, mesh.LeaveMeshReq), (api.EvictNode, mesh.EvictNodeReq),
                              (api.CreateJoinToken, mesh.JoinTokenReq), (api.SetMeshSettings, mesh.MeshSettings),
                              (api.RotateKey, mesh.RotateKeyReq)):
            e = expect(S.NOT_FOUND, call, request(mesh_id=other), timeout=10)
            assert other in e.details(), e.details()
        for call in (api.SubscribeNodeUpdates, api.SubscribeMeshUpdates, api.SubscribeInternalDBUpdates):
            expect(S.NOT_FOUND, call, iter([mesh.SubscribeReq(mesh_id=other)]), timeout=10)
        assert counter(api, "group") == 0


def test_leave_first_leaves_the_group():
    with env.Gateway() as g, local(g) as api:
        api.SeedMesh(mesh.SeedMeshReq(), timeout=10)
        # consensusd has left when routerd, which is not there, is asked.
        e = expect(S.UNAVAILABLE, api.LeaveMesh, mesh.LeaveMeshReq(), timeout=10)
        assert e.details() == "routerd: it is not running", e.details()
        assert not api.GetMeshStatus(mesh.Empty(), timeout=10).raft_groups
        assert counter(api, "group") == 2
        api.SeedMesh(mesh.SeedMeshReq(name="leaderless"), timeout=10)
        e = expect(S.UNAVAILABLE, api.LeaveMesh, mesh.LeaveMeshReq(), timeout=10)
        assert e.details() == "there is no quorum", e.details()


def test_consensusd_away_or_lost():
    with env.Gateway() as g, local(g) as api:
        e = expect(S.UNAVAILABLE, api.JoinMesh, mesh.JoinMeshReq(token="crash"), timeout=10)
        assert "went away during the call" in e.details(), e.details()
        m = api.GetMeshStatus(mesh.Empty(), timeout=10)
        assert m.status == "degraded" and not m.raft_groups, m
        for call, request in ((api.SeedMesh, mesh.SeedMeshReq()), (api.LeaveMesh, mesh.LeaveMeshReq()),
                              (api.GetConfig, mesh.ConfigReq()), (api.SendMeshUpdate, mesh.MeshUpdate(type="x"))):
            e = expect(S.UNAVAILABLE, call, request, timeout=10)
            assert "consensusd is not running" in e.details(), e.details()


def test_token_settings_transfer():
    with env.Gateway() as g, tls(g, cert=g.client) as api:
        t = api.CreateJoinToken(mesh.JoinTokenReq(node_id="b", valid_ms=5), timeout=10)
        assert (t.token, t.expires) == ("token-b", 1800000000005), t
        assert api.SetMeshSettings(mesh.MeshSettings(description="d", voters=3), timeout=10).voters == 3
        s = api.SetMeshSettings(mesh.MeshSettings(), timeout=10)
        assert s.description == "d" and not s.HasField("voters"), s
        assert api.TransferLeadership(mesh.TransferReq(node_id="0000000000003"), timeout=10).leader_id == "0000000000003"
        expect(S.NOT_FOUND, api.TransferLeadership, mesh.TransferReq(group_id="other"), timeout=10)


def test_updates():
    with env.Gateway() as g, local(g) as api:
        wait = mesh.BroadcastWait(mode="quorum", timeout_ms=1500)
        r = api.SendMeshUpdate(mesh.MeshUpdate(type="t", update_id=ULID, payload=b"abc", wait=wait), timeout=10)
        assert r.success and r.committed and r.index == 3 and r.update_id == ULID, r
        assert list(r.applied_nodes) == ["0000000000001", "0000000000002"] and not r.pending_nodes
        assert api.SendMeshUpdate(mesh.MeshUpdate(type="again"), timeout=10).repeated_update
        r = api.SendMeshUpdate(mesh.MeshUpdate(type="pending", payload=b"x", wait=wait), timeout=10)
        assert not r.success and r.committed and list(r.pending_nodes) == ["0000000000003"] and "1500" in r.error, r
        r = api.SendNodeUpdate(mesh.NodeUpdate(type="load", payload=b"1234"), timeout=10)
        assert r.success and r.index == 4
        assert api.SendNodeUpdate(mesh.NodeUpdate(type="load", removed=True), timeout=10).index == 99
        r = api.SendInternalDBUpdate(mesh.DBUpdate(table="t", operation="insert", key="{}", row='{"a":1}'), timeout=10)
        assert r.success and r.index == 2007, r
        for call, request in ((api.SendMeshUpdate, mesh.MeshUpdate(type="invalid")),
                              (api.SendNodeUpdate, mesh.NodeUpdate(type="invalid")),
                              (api.SendInternalDBUpdate, mesh.DBUpdate(operation="invalid"))):
            expect(S.INVALID_ARGUMENT, call, request, timeout=10)
        expect(S.UNAVAILABLE, api.SendMeshUpdate, mesh.MeshUpdate(type="unavailable"), timeout=10)
        expect(S.DEADLINE_EXCEEDED, api.SendMeshUpdate, mesh.MeshUpdate(type="silent"), timeout=0.3)


def test_sizes_of_updates():
    """1 MiB is the payload that may be sent; what is over the edge's limit is refused here."""
    with env.Gateway() as g, tls(g, token=env.TOKEN) as api:
        big = bytes(1024 * 1024)
        assert api.SendMeshUpdate(mesh.MeshUpdate(type="t", payload=big), timeout=20).index == len(big)
        row = '{"a":"' + "x" * (1024 * 1024 - 8) + '"}'
        assert api.SendInternalDBUpdate(mesh.DBUpdate(table="t", operation="insert", row=row), timeout=20).index == len(row)
        assert api.SendNodeUpdate(mesh.NodeUpdate(type="t", payload=bytes(65536)), timeout=10).index == 65536
        over = bytes(1024 * 1024 + 65536)
        for call, request in ((api.SendMeshUpdate, mesh.MeshUpdate(type="t", payload=over)),
                              (api.SendNodeUpdate, mesh.NodeUpdate(type="t", payload=bytes(131072))),
                              (api.SetConfig, mesh.ConfigEntry(key="k", value="x" * 131072))):
            e = expect(S.RESOURCE_EXHAUSTED, call, request, timeout=20)
            assert "may have" in e.details(), e.details()
        for call, request in ((api.SendMeshUpdate, mesh.MeshUpdate(type="t" * 64)),
                              (api.SendMeshUpdate, mesh.MeshUpdate(update_id=ULID + "0")),
                              (api.JoinMesh, mesh.JoinMeshReq(token="t" * 512)),
                              (api.EvictNode, mesh.EvictNodeReq(reason="r" * 256)),
                              (api.SetMeshSettings, mesh.MeshSettings(mesh_id=ULID + "0"))):
            e = expect(S.INTERNAL, call, request, timeout=10)
            assert "over its limit" in e.details(), e.details()


def test_followers():
    with env.Gateway() as g, local(g) as api:
        for call, kind in ((api.SubscribeNodeUpdates, lambda u: u.type == "load"),
                           (api.SubscribeMeshUpdates, lambda u: u.type == "note" and len(u.payload) == 3),
                           (api.SubscribeInternalDBUpdates, lambda u: u.table == "orders")):
            feed = Feed(mesh.SubscribeReq(mesh_id=env.MESH_ID, subscriber="app", **{"from": 100}, window=4))
            items = call(feed, timeout=30)
            got = [next(items) for _ in range(4)]
            assert [u.position for u in got] == [101, 102, 103, 104] and all(kind(u) for u in got), got
            feed.put(mesh.SubscribeReq(ack=102))
            assert [next(items).position for _ in range(2)] == [105, 106]
            feed.put(mesh.SubscribeReq(ack=106))
            assert [next(items).position for _ in range(4)] == [107, 108, 109, 110]
            assert counter(api, "followed") == 106
            items.cancel()
        env.wait_until("CANCEL at consensusd", lambda: counter(api, "cancel") == 3)


def test_follower_that_half_closes_still_gets_updates():
    with env.Gateway() as g, local(g) as api:
        feed = Feed(mesh.SubscribeReq(window=300, **{"from": 800}))
        items = api.SubscribeMeshUpdates(feed, timeout=30)
        feed.end()
        assert [next(items).position for _ in range(200)] == list(range(801, 1001))
        items.cancel()


def test_follower_errors():
    with env.Gateway() as g, local(g) as api:
        for call in (api.SubscribeNodeUpdates, api.SubscribeMeshUpdates, api.SubscribeInternalDBUpdates):
            e = expect(S.FAILED_PRECONDITION, call, Feed(mesh.SubscribeReq(subscriber="refused")), timeout=10)
            assert e.details() == "the node is no member", e.details()
            expect(S.INVALID_ARGUMENT, call, iter(()), timeout=10)
            expect(S.INTERNAL, call, iter([mesh.SubscribeReq(subscriber="s" * 64)]), timeout=10)


def test_follower_is_lost_with_consensusd():
    with env.Gateway() as g, local(g) as api:
        items = api.SubscribeMeshUpdates(Feed(mesh.SubscribeReq(window=1, **{"from": 0})), timeout=30)
        assert next(items).position == 1
        g.processes["fake"].stop()
        expect(S.UNAVAILABLE, lambda: list(items))


def test_large_updates_reach_a_follower():
    """Within its window, however slowly it reads: 256 updates of 64 KiB are less than a call may have waiting."""
    with env.Gateway() as g, tls(g, cert=g.client) as api:
        feed = Feed(mesh.SubscribeReq(types=["big"], **{"from": 0}))
        items = api.SubscribeMeshUpdates(feed, timeout=60)
        for position in range(1, 1001):
            u = next(items)
            assert u.position == position and len(u.payload) == 65536
            if position % 50 == 0:
                feed.put(mesh.SubscribeReq(ack=position))
        items.cancel()


def test_configuration():
    with env.Gateway() as g, local(g) as api:
        assert not api.GetConfig(mesh.ConfigReq(), timeout=10).entries
        e = api.SetConfig(mesh.ConfigEntry(key="k", value='{"a": 1}', expected_version=0), timeout=10)
        assert (e.version, e.index, e.value) == (1, 101, '{"a": 1}'), e
        expect(S.ABORTED, api.SetConfig, mesh.ConfigEntry(key="k", value="2", expected_version=0), timeout=10)
        assert api.SetConfig(mesh.ConfigEntry(key="k", value="2"), timeout=10).version == 2
        assert [x.value for x in api.GetConfig(mesh.ConfigReq(key="k"), timeout=10).entries] == ["2"]
        assert [x.value for x in api.ListConfigHistory(mesh.ConfigReq(key="k"), timeout=10).entries] == ["2", '{"a": 1}']
        api.SetConfig(mesh.ConfigEntry(key="k", removed=True), timeout=10)
        assert not api.GetConfig(mesh.ConfigReq(key="k"), timeout=10).entries


def test_keys_and_letters():
    with env.Gateway() as g, local(g) as api:
        k = api.RotateKey(mesh.RotateKeyReq(tenant_id="acme", node_ids=["b", "c"], valid_ms=9), timeout=10)
        assert (k.tenant_id, k.version, list(k.node_ids), k.created) == ("acme", 3, ["b", "c"], 9), k
        assert [x.tenant_id for x in api.ListKeys(mesh.Empty(), timeout=10).keys] == ["", "acme"]
        newer = mesh.Empty.FromString(mesh.SubscribeReq(subscriber="a field of a newer client").SerializeToString())
        assert len(api.ListKeys(newer, timeout=10).keys) == 2
        assert [x.position for x in api.ListDeadLetters(mesh.DeadLetterReq(), timeout=10).letters] == [5, 6]
        assert [x.position for x in api.ListDeadLetters(mesh.DeadLetterReq(after=5), timeout=10).letters] == [6]
        resolve = api.ResolveDeadLetter
        assert [x.position for x in resolve(mesh.ResolveDeadLetterReq(position=5, action="retry"), timeout=10).letters] == [6]
        assert not resolve(mesh.ResolveDeadLetterReq(action="discard"), timeout=10).letters
        expect(S.INVALID_ARGUMENT, resolve, mesh.ResolveDeadLetterReq(action="burn"), timeout=10)
        expect(S.NOT_FOUND, resolve, mesh.ResolveDeadLetterReq(position=9, action="retry"), timeout=10)


def test_nobody_without_credentials():
    with env.Gateway() as g, tls(g) as api:
        for call, request in ((api.SeedMesh, mesh.SeedMeshReq()), (api.EvictNode, mesh.EvictNodeReq(node_id="b")),
                              (api.SendMeshUpdate, mesh.MeshUpdate(type="t")), (api.GetConfig, mesh.ConfigReq()),
                              (api.ListKeys, mesh.Empty())):
            expect(S.UNAUTHENTICATED, call, request, timeout=10)
        expect(S.UNAUTHENTICATED, api.SubscribeMeshUpdates, Feed(mesh.SubscribeReq()), timeout=10)
