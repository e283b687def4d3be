"""The API as python3-grpcio sees it: nothing of ours but the generated messages."""
import grpc

import mesh_pb2 as mesh
from grpc_health import health
from grpc_reflection import reflection, reflection_alpha

SERVICES = {
    "/mesh.v1.MeshService/": {
        "OpenClientDataStream": ("uu", mesh.OpenClientDataStreamReq, mesh.StreamHandle),
        "CloseClientDataStream": ("uu", mesh.StreamHandle, mesh.Empty),
        "PublishClientData": ("uu", mesh.Chunk, mesh.PublishResult),
        "PublishClientDataStream": ("ss", mesh.Chunk, mesh.PublishResult),
        "GetMeshStatus": ("uu", mesh.Empty, mesh.MeshStatus),
        "AddLink": ("uu", mesh.AddLinkReq, mesh.TopologyStatus),
        "DropLink": ("uu", mesh.DropLinkReq, mesh.TopologyStatus),
        "EstablishFullLinks": ("uu", mesh.EstablishFullLinksReq, mesh.TopologyStatus),
        "LeaveMesh": ("uu", mesh.LeaveMeshReq, mesh.TopologyStatus),
        "SeedMesh": ("uu", mesh.SeedMeshReq, mesh.MeshStatus),
        "JoinMesh": ("uu", mesh.JoinMeshReq, mesh.MeshStatus),
        "StartMesh": ("uu", mesh.StartMeshReq, mesh.MeshStatus),
        "StopMesh": ("uu", mesh.StopMeshReq, mesh.MeshStatus),
        "EvictNode": ("uu", mesh.EvictNodeReq, mesh.MeshStatus),
        "CreateJoinToken": ("uu", mesh.JoinTokenReq, mesh.JoinToken),
        "SetMeshSettings": ("uu", mesh.MeshSettings, mesh.MeshSettings),
        "TransferLeadership": ("uu", mesh.TransferReq, mesh.RaftGroupInfo),
        "SendNodeUpdate": ("uu", mesh.NodeUpdate, mesh.BroadcastResult),
        "SendMeshUpdate": ("uu", mesh.MeshUpdate, mesh.BroadcastResult),
        "SendInternalDBUpdate": ("uu", mesh.DBUpdate, mesh.BroadcastResult),
        "GetConfig": ("uu", mesh.ConfigReq, mesh.ConfigList),
        "SetConfig": ("uu", mesh.ConfigEntry, mesh.ConfigEntry),
        "ListConfigHistory": ("uu", mesh.ConfigReq, mesh.ConfigList),
        "RotateKey": ("uu", mesh.RotateKeyReq, mesh.KeyInfo),
        "ListKeys": ("uu", mesh.Empty, mesh.KeyList),
        "GetMessageStatus": ("uu", mesh.MessageStatusReq, mesh.MessageStatus),
        "ControlStreams": ("uu", mesh.StreamControlReq, mesh.StreamControlList),
        "ChangeStreamTargets": ("uu", mesh.StreamTargetsReq, mesh.StreamHandle),
        "ListStreamDeadLetters": ("uu", mesh.StreamDeadLetterReq, mesh.StreamDeadLetterList),
        "ResolveStreamDeadLetter": ("uu", mesh.ResolveStreamDeadLetterReq, mesh.StreamDeadLetter),
        "ListDeadLetters": ("uu", mesh.DeadLetterReq, mesh.DeadLetterList),
        "ResolveDeadLetter": ("uu", mesh.ResolveDeadLetterReq, mesh.DeadLetterList),
        "SendUserEvent": ("uu", mesh.UserEventReq, mesh.Empty),
        "WatchMeshEvents": ("us", mesh.Filter, mesh.MeshEvent),
    },
    "/mesh.v1.MeshDataService/": {
        "SubscribeClientData": ("ss", mesh.StreamSelector, mesh.ClientData),
        "SubscribeNodeUpdates": ("ss", mesh.SubscribeReq, mesh.NodeUpdate),
        "SubscribeMeshUpdates": ("ss", mesh.SubscribeReq, mesh.MeshUpdate),
        "SubscribeInternalDBUpdates": ("ss", mesh.SubscribeReq, mesh.DBUpdate),
        "Ack": ("uu", mesh.StreamAck, mesh.AckResult),
        "Nack": ("uu", mesh.StreamNack, mesh.AckResult),
    },
    "/mesh.v1.MeshDiscoveryService/": {
        "DiscoverNodes": ("uu", mesh.DiscoverNodesReq, mesh.DiscoverNodesReply),
    },
    "/mesh.v1.MeshStatusService/": {
        "GetNodeStatus": ("uu", mesh.Empty, mesh.NodeStatus),
        "ListRoutes": ("uu", mesh.Empty, mesh.RouteList),
        "ListStreams": ("uu", mesh.ListStreamsReq, mesh.StreamList),
        "GetMetrics": ("uu", mesh.Empty, mesh.MetricsText),
    },
    "/grpc.health.v1.Health/": {
        "Check": ("uu", health.HealthCheckRequest, health.HealthCheckResponse),
        "Watch": ("us", health.HealthCheckRequest, health.HealthCheckResponse),
    },
    "/grpc.reflection.v1.ServerReflection/": {
        "ServerReflectionInfo": ("ss", reflection.ServerReflectionRequest, reflection.ServerReflectionResponse),
    },
}

KINDS = {"uu": "unary_unary", "us": "unary_stream", "su": "stream_unary", "ss": "stream_stream"}


class Api:
    """One channel, a callable per method: api.PublishClientData(mesh.Chunk(...), timeout=3)."""

    def __init__(self, channel):
        self.channel = channel
        for prefix, methods in SERVICES.items():
            for name, (kind, request, response) in methods.items():
                setattr(self, name, self.method(prefix + name, kind, request, response))

    def method(self, path, kind, request, response):
        return getattr(self.channel, KINDS[kind])(
            path, request_serializer=request.SerializeToString, response_deserializer=response.FromString)

    def alpha(self):
        return self.method("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", "ss",
                           reflection_alpha.ServerReflectionRequest, reflection_alpha.ServerReflectionResponse)

    def close(self):
        self.channel.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def local(gateway, **options):
    return Api(grpc.insecure_channel(f"unix:{gateway.socket}", options=list(options.items())))


def tls(gateway, cert=None, token=None, ca=None, **options):
    """cert: (certificate, key) files, or None; token: text, or None."""
    creds = grpc.ssl_channel_credentials(
        (ca or gateway.ca.cert).read_bytes(),
        cert[1].read_bytes() if cert else None, cert[0].read_bytes() if cert else None)
    if token:
        creds = grpc.composite_channel_credentials(creds, grpc.access_token_call_credentials(token))
    return Api(grpc.secure_channel(f"localhost:{gateway.port}", creds, options=list(options.items())))


def expect(code, call, *args, **kw):
    """The call must fail with this status; the error comes back."""
    try:
        result = call(*args, **kw)
        if hasattr(result, "__next__"):
            for _ in result:
                pass
    except grpc.RpcError as e:
        assert e.code() == code, f"{e.code()} ({e.details()}), expected {code}"
        return e
    raise AssertionError(f"no error, expected {code}")
