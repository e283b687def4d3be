"""Messages that are published by their ids alone, without Redis: none is doubled, whatever happens."""
import threading
import time

import grpc

import api
import mesh_pb2 as pb
from api import Api
from flow import RETRIED, message_id, payload, sink
from harness import query, wait_until
from lanes import metric

COUNT = 3000
OTHERS, OTHER_COUNT = 5, 60_000  # together more than any ring of ids of the node ever had
RETRY_S = 60
CLEARED_S = 60


def once(node, stream, count, size, results):
    """Publishes messages 1 to count by their ids in one call; the seqs that it answers go into results."""
    chunks = (pb.Chunk(stream_id=stream, payload=payload(stream, n, size), message_id=message_id(n))
              for n in range(1, count + 1))
    with Api(node) as client:
        for r in client.PublishClientDataStream(chunks, timeout=RETRY_S):
            results.append(r.seq)


def publish_all(node, stream, count, size=200):
    """The same until all are answered, each time from the first one on.  Each must be answered with its first
    seq, and they are published in order: message n has seq n."""
    end = time.monotonic() + RETRY_S
    while True:
        results = []
        try:
            once(node, stream, count, size, results)
        except grpc.RpcError as e:
            if e.code() not in RETRIED or time.monotonic() > end:
                raise
            time.sleep(0.05)
        wrong = next(((n, seq) for n, seq in enumerate(results, 1) if n != seq), None)
        assert wrong is None, f"message {wrong[0]} got seq {wrong[1]}"
        if len(results) == count:
            return


def uuid_of(node, stream):
    return query(node, "SELECT mesh.ulid_uuid(%s)::text", stream)[0][0]


def wait_cleared(node, stream):
    wait_until("the outbox to be cleared", lambda: query(
        node, "SELECT count(*) FROM outbox WHERE stream_id = %s", uuid_of(node, stream))[0][0] == 0, CLEARED_S)


def again(m, name):
    m.kill(name, "consensusd")
    m.start(name, "consensusd")


def kill_at(m, s, stream, numbers):
    for n in numbers:
        wait_until(f"{n} messages", lambda n=n: s.got(stream) >= n)
        again(m, "a")


def check_once(s, stream, count):
    """The subscriber got each message once, in order."""
    wait_until("all to be delivered", lambda: s.got(stream) >= count)
    assert s.message_ids[stream] == [message_id(n) for n in range(1, count + 1)]


def test_repeated_after_kills(m):
    """consensusd is killed while they are published, and when all are processed and have left the outbox."""
    a = m.node("a")
    stream = api.open_stream(a, "acme", ["c"]).stream_id
    with sink(m, "c", stream) as s:
        killer = threading.Thread(target=kill_at, args=(m, s, stream, (COUNT // 5, COUNT // 2)))
        killer.start()
        publish_all(a, stream, COUNT)
        killer.join()
        wait_cleared(a, stream)
        for _ in range(2):
            again(m, "a")
            publish_all(a, stream, COUNT)
        check_once(s, stream, COUNT)
        with Api(a) as client:
            found = client.GetMessageStatus(
                pb.MessageStatusReq(stream_id=stream, message_id=message_id(7)), timeout=10)
            assert found.seq == 7 and found.state == "processed", found
            taken = pb.Chunk(stream_id=stream, seq=7, payload=b"x", message_id=message_id(8))
            api.expect(grpc.StatusCode.ALREADY_EXISTS, client.PublishClientData, taken, timeout=10)
    m.wait_ready()


def test_others_take_nothing(m):
    """Other streams publish far more ids than one has room for; and those that name the seq keep none."""
    a = m.node("a")
    stream = api.open_stream(a, "acme", ["c"]).stream_id
    with sink(m, "c", stream) as s:
        publish_all(a, stream, COUNT)
        for _ in range(OTHERS):
            other = api.open_stream(a, "acme", ["b"], handler="discard").stream_id
            publish_all(a, other, OTHER_COUNT, size=1)
        assert metric(m, "a", "mesh_stream_message_ids") >= COUNT + OTHERS * OTHER_COUNT
        publish_all(a, stream, COUNT)
        again(m, "a")
        publish_all(a, stream, COUNT)
        publish_all(a, other, 100, size=1)
        check_once(s, stream, COUNT)
        assert metric(m, "a", "mesh_stream_message_ids_given_up_total") == 0
        numbered = api.open_stream(a, "acme", ["b"], handler="discard").stream_id
        with Api(a) as client:
            client.PublishClientData(
                pb.Chunk(stream_id=numbered, seq=1, payload=b"x", message_id=message_id(1)), timeout=20)
        assert query(a, "SELECT count(*) FROM stream_ids WHERE stream_id = %s",
                     uuid_of(a, numbered))[0][0] == 0
    m.wait_ready()


MESH = {}
