"""Who may call: certificates, tokens, TLS itself."""
import hashlib
import socket
import ssl

import grpc

import env
import mesh_pb2 as mesh
from grpc_health import health
from stubs import expect, local, tls


def test_no_credentials():
    with env.Gateway() as g, tls(g) as api:
        e = expect(grpc.StatusCode.UNAUTHENTICATED, api.PublishClientData, mesh.Chunk(), timeout=5)
        assert "no client certificate and no bearer token" in e.details()
        assert api.Check(health.HealthCheckRequest(), timeout=5).status == 1  # open to load balancers


def test_wrong_tokens():
    with env.Gateway() as g:
        for token, why in (("wrong-token-of-good-length", "not known"), ("short", "no valid bearer token"),
                           ("bad token with blanks", "no valid bearer token")):
            with tls(g, token=token) as api:
                e = expect(grpc.StatusCode.UNAUTHENTICATED, api.PublishClientData, mesh.Chunk(), timeout=5)
                assert why in e.details(), e.details()


def test_other_scheme():
    with env.Gateway() as g, tls(g) as api:
        e = expect(grpc.StatusCode.UNAUTHENTICATED, api.PublishClientData, mesh.Chunk(), timeout=5,
                   metadata=[("authorization", "Basic dXNlcjpwYXNz")])
        assert "another scheme" in e.details()


def test_bad_token_with_good_certificate():
    """Who has shown a certificate needs no token."""
    with env.Gateway() as g, tls(g, cert=g.client, token="not-a-token-that-is-known") as api:
        assert api.PublishClientData(mesh.Chunk(), timeout=5).success


def test_foreign_certificate():
    with env.Gateway() as g:
        foreign = env.Pki(g.dir, "foreign").issue("client", "DNS:client")
        with tls(g, cert=foreign) as api:
            expect(grpc.StatusCode.UNAVAILABLE, api.PublishClientData, mesh.Chunk(), timeout=5)
        env.wait_until("the log", lambda: g.log_has("client certificate: unable to get local issuer"))


def test_expired_certificate():
    with env.Gateway() as g:
        expired = expired_issue(g)
        with tls(g, cert=expired) as api:
            expect(grpc.StatusCode.UNAVAILABLE, api.PublishClientData, mesh.Chunk(), timeout=5)
        env.wait_until("the log", lambda: g.log_has("client certificate: certificate has expired"))


def expired_issue(g):
    """`openssl ca` can set both dates; `openssl x509` of this version can't."""
    d = g.dir / "expired"
    d.mkdir()
    (d / "index").touch()
    (d / "serial").write_text("01\n")
    (d / "ca.conf").write_text(f"""
[ca]
default_ca = it
[it]
database = {d}/index
serial = {d}/serial
new_certs_dir = {d}
certificate = {g.ca.cert}
private_key = {g.ca.key}
default_md = sha256
policy = any
[any]
commonName = supplied
""")
    env.run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=old",
            "-keyout", d / "old.key", "-out", d / "old.csr")
    env.run("openssl", "ca", "-batch", "-config", d / "ca.conf", "-in", d / "old.csr", "-out", d / "old.pem",
            "-startdate", "20200101000000Z", "-enddate", "20200102000000Z", "-notext")
    return d / "old.pem", d / "old.key"


def handshake(g, alpn, maximum=None):
    context = ssl.create_default_context(cafile=g.ca.cert)
    if alpn:
        context.set_alpn_protocols(alpn)
    if maximum:
        context.maximum_version = maximum
    with socket.create_connection(("127.0.0.1", g.port), timeout=5) as s:
        with context.wrap_socket(s, server_hostname="localhost") as t:
            t.settimeout(5)
            return t.selected_alpn_protocol(), t.version(), t.recv(9)


def test_alpn_and_versions():
    with env.Gateway() as g:
        assert handshake(g, ["h2"])[:2] == ("h2", "TLSv1.3")
        assert handshake(g, ["http/1.1", "h2"], ssl.TLSVersion.TLSv1_2)[:2] == ("h2", "TLSv1.2")
        for alpn in (["http/1.1"], ["h2c", "h3"]):
            try:
                handshake(g, alpn)
                raise AssertionError("a client without h2 was accepted")
            except ssl.SSLError as e:
                assert "no application protocol" in str(e).lower().replace("_", " "), e
        # No ALPN at all: there is nothing to refuse in TLS, so the connection closes after it.
        assert handshake(g, None)[2] == b""
        context = ssl.create_default_context(cafile=g.ca.cert)
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
        context.set_ciphers("ALL:@SECLEVEL=0")
        try:
            with socket.create_connection(("127.0.0.1", g.port), timeout=5) as s:
                context.wrap_socket(s, server_hostname="localhost")
            raise AssertionError("TLS 1.1 was accepted")
        except (ssl.SSLError, ConnectionResetError):
            pass


def test_plain_text_on_the_tls_port():
    with env.Gateway() as g:
        with socket.create_connection(("127.0.0.1", g.port), timeout=5) as s:
            s.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            while s.recv(4096):
                pass
        assert g.processes["gatewayd"].alive()


def test_reload_of_tokens_and_certificates():
    with env.Gateway() as g:
        with tls(g, token="another-token-0123456789") as api:
            expect(grpc.StatusCode.UNAUTHENTICATED, api.PublishClientData, mesh.Chunk(), timeout=5)
        # Written anew and renamed into place, as tools do: another inode.
        fresh = g.tokens.with_suffix(".new")
        fresh.write_text(hashlib.sha256(b"another-token-0123456789").hexdigest() + " other\n")
        fresh.rename(g.tokens)
        other = env.Pki(g.dir, "other")
        cert, key = other.issue("server", "DNS:localhost")
        env.give_away(cert, key)
        cert.rename(g.server[0])
        key.rename(g.server[1])
        g.reload()
        with tls(g, token="another-token-0123456789", ca=other.cert) as api:
            assert api.PublishClientData(mesh.Chunk(), timeout=5).success
        with tls(g, token=env.TOKEN, ca=other.cert) as api:
            expect(grpc.StatusCode.UNAUTHENTICATED, api.PublishClientData, mesh.Chunk(), timeout=5)


def test_broken_files_at_reload_change_nothing():
    with env.Gateway() as g:
        g.tokens.write_text("this is not a digest\n")
        g.server[0].write_text("nor is this a certificate\n")
        g.reload()
        assert g.log_has("the old tokens stay valid") and g.log_has("the old certificates stay in use")
        with tls(g, token=env.TOKEN) as api:
            assert api.PublishClientData(mesh.Chunk(), timeout=5).success


def test_open_connections_survive_a_reload():
    with env.Gateway() as g, tls(g, cert=g.client) as api, local(g) as near:
        assert api.PublishClientData(mesh.Chunk(), timeout=5).success
        waiting = api.PublishClientData.future(mesh.Chunk(tenant_id="silent"), timeout=1)
        g.reload()
        assert api.PublishClientData(mesh.Chunk(), timeout=5).success
        assert near.PublishClientData(mesh.Chunk(), timeout=5).success
        expect(grpc.StatusCode.DEADLINE_EXCEEDED, waiting.result)
        assert "mesh_gateway_connections_accepted_total{daemon=\"gatewayd\"} 2" in near.GetMetrics(
            mesh.Empty(), timeout=5).text


def test_handshake_that_never_ends():
    """A connection that says nothing is closed in time, and costs no other client anything."""
    with env.Gateway() as g:
        idle = [socket.create_connection(("127.0.0.1", g.port)) for _ in range(20)]
        with tls(g, token=env.TOKEN) as api:
            assert api.PublishClientData(mesh.Chunk(), timeout=5).success
        for s in idle:
            s.settimeout(15)
            assert s.recv(1) == b""
        assert g.log_text().count("the handshake took too long") == 20


def test_listener_without_any_credentials_is_refused():
    g = env.Gateway()
    text = g.conf.read_text()
    g.conf.write_text("\n".join(line for line in text.splitlines() if "client-ca" not in line and "token-file" not in line))
    p = env.Process("gatewayd", [env.BUILD / "bin/gatewayd", "-c", g.conf], g.dir / "gatewayd.log")
    assert p.popen.wait(10) == 1
    assert g.log_has("needs client-ca or token-file")
