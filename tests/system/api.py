"""A node's API as a python3-grpcio client sees it."""
import grpc

import mesh_pb2 as pb

SERVICES = {
    "/mesh.v1.MeshService/": {
        "OpenClientDataStream": ("unary_unary", pb.OpenClientDataStreamReq, pb.StreamHandle),
        "CloseClientDataStream": ("unary_unary", pb.StreamHandle, pb.Empty),
        "GetMessageStatus": ("unary_unary", pb.MessageStatusReq, pb.MessageStatus),
        "PublishClientData": ("unary_unary", pb.Chunk, pb.PublishResult),
        "PublishClientDataStream": ("stream_stream", pb.Chunk, pb.PublishResult),
        "AddLink": ("unary_unary", pb.AddLinkReq, pb.TopologyStatus),
        "DropLink": ("unary_unary", pb.DropLinkReq, pb.TopologyStatus),
        "EstablishFullLinks": ("unary_unary", pb.EstablishFullLinksReq, pb.TopologyStatus),
        "LeaveMesh": ("unary_unary", pb.LeaveMeshReq, pb.TopologyStatus),
        "SendUserEvent": ("unary_unary", pb.UserEventReq, pb.Empty),
        "GetMeshStatus": ("unary_unary", pb.Empty, pb.MeshStatus),
        "WatchMeshEvents": ("unary_stream", pb.Filter, pb.MeshEvent),
        "SendNodeUpdate": ("unary_unary", pb.NodeUpdate, pb.BroadcastResult),
        "SendMeshUpdate": ("unary_unary", pb.MeshUpdate, pb.BroadcastResult),
        "SendInternalDBUpdate": ("unary_unary", pb.DBUpdate, pb.BroadcastResult),
        "ListStreamDeadLetters": ("unary_unary", pb.StreamDeadLetterReq, pb.StreamDeadLetterList),
        "ResolveStreamDeadLetter": ("unary_unary", pb.ResolveStreamDeadLetterReq, pb.StreamDeadLetter),
        "SetMeshSettings": ("unary_unary", pb.MeshSettings, pb.MeshSettings),
        "SetConfig": ("unary_unary", pb.ConfigEntry, pb.ConfigEntry),
        "ControlStreams": ("unary_unary", pb.StreamControlReq, pb.StreamControlList),
    },
    "/mesh.v1.MeshDataService/": {
        "SubscribeClientData": ("stream_stream", pb.StreamSelector, pb.ClientData),
        "Ack": ("unary_unary", pb.StreamAck, pb.AckResult),
        "Nack": ("unary_unary", pb.StreamNack, pb.AckResult),
        "SubscribeNodeUpdates": ("stream_stream", pb.SubscribeReq, pb.NodeUpdate),
        "SubscribeMeshUpdates": ("stream_stream", pb.SubscribeReq, pb.MeshUpdate),
        "SubscribeInternalDBUpdates": ("stream_stream", pb.SubscribeReq, pb.DBUpdate),
    },
    "/mesh.v1.MeshDiscoveryService/": {
        "DiscoverNodes": ("unary_unary", pb.DiscoverNodesReq, pb.DiscoverNodesReply),
    },
    "/mesh.v1.MeshStatusService/": {
        "GetNodeStatus": ("unary_unary", pb.Empty, pb.NodeStatus),
        "ListRoutes": ("unary_unary", pb.Empty, pb.RouteList),
        "ListStreams": ("unary_unary", pb.ListStreamsReq, pb.StreamList),
        "GetMetrics": ("unary_unary", pb.Empty, pb.MetricsText),
    },
}
# A client that finds its node again soon after a restart.  The "min" one is how long an attempt may take.
OPTIONS = [("grpc.initial_reconnect_backoff_ms", 50), ("grpc.min_reconnect_backoff_ms", 10_000),
           ("grpc.max_reconnect_backoff_ms", 500)]


class Api:
    """One connection to a node: TLS with the node's client certificate, or with a token; or its Unix socket."""

    def __init__(self, node, local=False, token=None):
        if token:
            with open(node["ca"], "rb") as f:
                creds = grpc.composite_channel_credentials(
                    grpc.ssl_channel_credentials(f.read()), grpc.access_token_call_credentials(token))
            self.channel = grpc.secure_channel(node["grpc_address"], creds, options=OPTIONS)
        elif local:
            self.channel = grpc.insecure_channel(f"unix:{node['grpc_socket']}", options=OPTIONS)
        else:
            ca, cert, key = (open(node[k], "rb").read() for k in ("ca", "client_cert", "client_key"))
            creds = grpc.ssl_channel_credentials(ca, key, cert)
            self.channel = grpc.secure_channel(node["grpc_address"], creds, options=OPTIONS)
        for prefix, methods in SERVICES.items():
            for name, (kind, request, response) in methods.items():
                setattr(self, name, getattr(self.channel, kind)(
                    prefix + name, request_serializer=request.SerializeToString,
                    response_deserializer=response.FromString))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.channel.close()

    def raw(self, method, data, timeout=10):
        """Bytes as a request of a unary method."""
        return self.channel.unary_unary(method)(data, timeout=timeout)


def open_stream(node, tenant, targets, timeout=20, **extra):
    with Api(node) as api:
        return api.OpenClientDataStream(
            pb.OpenClientDataStreamReq(tenant_id=tenant, target_nodes=targets, **extra), timeout=timeout)


def expect(code, call, *args, **kw):
    """The call must fail with this gRPC status and say why; its message is returned."""
    try:
        result = call(*args, **kw)
    except grpc.RpcError as e:
        assert e.code() == code, f"{e.code()} ({e.details()}), expected {code}"
        assert e.details(), f"{code} without a reason"
        return e.details()
    raise AssertionError(f"no error but {str(result)[:200]}, expected {code}")
