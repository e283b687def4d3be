"""What one node of a development mesh consists of: keys, certificates, mesh.conf, processes."""
import json
import os
import random
import socket
import subprocess

from . import postgres, procs
from .procs import DevmeshError

DAEMONS = ("transportd", "routerd", "consensusd", "gatewayd")
SOCKET_PATH_MAX = 107  # sun_path
PORTS = range(10000, 32000)  # below the kernel's ephemeral ports
claims = {}  # of ports by this process: a socket each


def claim(port):
    """False: another process that begins a mesh has chosen this one, too, and does not listen on it yet."""
    s = socket.socket(socket.AF_UNIX)
    try:
        s.bind(f"\0devmesh-port-{port}")  # no file: it goes with this process
    except OSError:
        s.close()
        return False
    claims[port] = s
    return True


def release(ports):
    """What listened there has ended."""
    for port in ports:
        if port in claims:
            claims.pop(port).close()


def free_port(taken):
    """A TCP port on 127.0.0.1 that nothing listens on now."""
    while True:
        port = random.choice(PORTS)
        if port in taken or not claim(port):
            continue
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
        taken.add(port)
        return port


def make(directory, name, index, taken, place=None):
    """The description of a node, as mesh.json has it; nothing is done yet.  place: (network namespace, address)
    of its transportd."""
    d = f"{directory}/{name}"
    run = f"{d}/run"
    if len(f"{run}/consensusd.sock") > SOCKET_PATH_MAX:
        raise DevmeshError(f"{directory} is too long a name: Unix sockets allow {SOCKET_PATH_MAX} characters")
    logs = {n: f"{d}/log/{n}.log" for n in DAEMONS + ("postgres", "redis")}
    node = {
        "name": name, "index": index, "dir": d, "config": f"{d}/mesh.conf",
        "grpc_port": free_port(taken), "transport_port": free_port(taken),
        "grpc_socket": f"{run}/grpc.sock", "control_socket": f"{run}/gatewayd.sock",
        "ca": f"{directory}/ca/ca.crt", "client_cert": f"{d}/tls/client.crt",
        "client_key": f"{d}/tls/client.key", "token_file": f"{d}/tokens",
        "keyring": f"{d}/keyring", "redis_socket": f"{d}/redis/redis.sock",
        "logs": logs, "pids": {}, "procs": {},
    }
    node["grpc_address"] = f"127.0.0.1:{node['grpc_port']}"
    node["netns"], ip = place or (None, "127.0.0.1")
    node["transport_address"] = f"{ip}:{node['transport_port']}"
    node["database"] = postgres.dsn(node)
    return node


def meshctl(mesh, *argv, text_in=None):
    return procs.run([f"{mesh['bin']}/meshctl", *argv], mesh_user(mesh), text_in)


def mesh_user(mesh):
    import pwd
    return pwd.getpwnam(mesh["user"]) if mesh["user"] and os.geteuid() == 0 else None


def make_dirs(mesh, node):
    for sub in ("", "/run", "/log", "/tls", "/pg", "/redis", "/state"):
        make_dir(mesh, node["dir"] + sub)


def make_dir(mesh, path):
    os.makedirs(path, 0o700, exist_ok=True)
    user = mesh_user(mesh)
    if user:
        os.chown(path, user.pw_uid, user.pw_gid)


def write_file(mesh, path, text):
    with open(path, "w", encoding="utf-8", opener=lambda p, f: os.open(p, f, 0o600)) as f:
        f.write(text)
    user = mesh_user(mesh)
    if user:
        os.chown(path, user.pw_uid, user.pw_gid)


def make_keys(mesh, node):
    """Node key, certificates of the link and of the API, a client's certificate and a token."""
    ca, tls, name = f"{mesh['dir']}/ca", f"{node['dir']}/tls", node["name"]
    node["node_id"] = meshctl(mesh, "keygen", node["keyring"]).strip()
    meshctl(mesh, "ca", "node", ca, node["node_id"], "--name", name, "--ip",
            node["transport_address"].partition(":")[0], "--dns", "localhost", "-o", f"{tls}/node")
    meshctl(mesh, "ca", "server", ca, f"{name}.gateway", "--ip", "127.0.0.1", "--dns", "localhost", "-o",
            f"{tls}/gateway")
    meshctl(mesh, "ca", "client", ca, f"{name}.client", "-o", f"{tls}/client")
    node["token"] = json.loads(meshctl(mesh, "-j", "token", "devmesh", "--file", node["token_file"]))["token"]


def quoted(text):
    return '"' + str(text).replace("\\", "\\\\").replace('"', '\\"') + '"'


def section(name, values, blocks=()):
    lines = [f"{name} {{"]
    for key, value in values.items():
        lines.append(f"\t{key} {value}")
    for kind, block, inner in blocks:
        lines.append(f"\t{kind} {quoted(block)} {{")
        lines += [f"\t\t{key} {value}" for key, value in inner.items()]
        lines.append("\t}")
    return "\n".join(lines + ["}"]) + "\n"


def override(mesh, node, values):
    """What mesh["settings"] says for this node."""
    for setting in mesh["settings"]:
        path, _, value = setting.partition("=")
        only, _, path = path.rpartition(":")
        daemon, _, key = path.partition(".")
        if daemon not in values or not key or not value:
            raise DevmeshError(f"--set {setting}: expected [NODE:]DAEMON.DIRECTIVE=VALUE, as transportd.links-max=10")
        if only in ("", node["name"]):
            values[daemon][key] = value


def configure(mesh, node, peers):
    """Writes mesh.conf.  peers: (name of the block, its directives); mesh["settings"] override the rest."""
    tls = f"{node['dir']}/tls"
    values = {
        "mesh": {"id": mesh["mesh_id"], "name": "devmesh", "node-name": node["name"],
                 "runtime-dir": quoted(f"{node['dir']}/run")},
        "transportd": {"listen": node["transport_address"], "tls-cert": quoted(f"{tls}/node.crt"),
                       "tls-key": quoted(f"{tls}/node.key"), "tls-ca": quoted(node["ca"]),
                       "heartbeat-interval": "200ms", "dial-backoff-min": "50ms",
                       "dial-backoff-max": "1s"},
        "routerd": {},
        "consensusd": {"keyring": quoted(node["keyring"]), "database": quoted(node["database"]),
                       "sql-dir": quoted(mesh["sql"]), "state-dir": quoted(f"{node['dir']}/state")},
        "gatewayd": {"listen": node["grpc_address"], "grpc-socket": quoted(node["grpc_socket"]),
                     "tls-cert": quoted(f"{tls}/gateway.crt"), "tls-key": quoted(f"{tls}/gateway.key"),
                     "client-ca": quoted(node["ca"]), "token-file": quoted(node["token_file"])},
    }
    if mesh.get("redis"):
        values["consensusd"]["redis-socket"] = quoted(node["redis_socket"])
    for daemon in DAEMONS:
        values[daemon]["user"] = mesh["user"] or "root"
    proxied = [f"127.0.0.1:{lk['proxied_port']}" for lk in mesh["links"]
               if lk["proxied_port"] and lk["b"] == node["name"]]
    if proxied:
        values["transportd"]["listen-proxied"] = " ".join(proxied)
    override(mesh, node, values)
    blocks = [("peer", name, directives) for name, directives in peers]
    text = "# Written by devmesh.\n" + "".join(
        section(s, v, blocks if s == "transportd" else ()) for s, v in values.items())
    write_file(mesh, node["config"], text)


def start_daemon(mesh, node, daemon):
    env = dict(node.get("env", {}))  # of tests: mesh.json is where they write it
    if mesh.get("sanitized"):
        # Leaks are looked for by the unit tests; here the check would need ptrace, which the sandbox forbids.
        env |= {"ASAN_OPTIONS": "detect_leaks=0:abort_on_error=0:disable_coredump=1",
                "UBSAN_OPTIONS": "print_stacktrace=1"}
    inside = daemon == "transportd" and node.get("netns")
    before = ["nsenter", f"--net=/run/netns/{node['netns']}", "--"] if inside else []
    proc = procs.spawn([f"{mesh['bin']}/{daemon}", "-c", node["config"]], node["logs"][daemon],
                       mesh_user(mesh), cwd="/", env=env, before=before)
    node["procs"][daemon] = proc
    node["pids"][daemon] = proc["pid"]


def start_postgres(mesh, node):
    proc = postgres.start(node, mesh_user(mesh))
    node["procs"]["postgres"] = proc
    node["pids"]["postgres"] = proc["pid"]


def start_redis(mesh, node):
    """A Redis server of the node's own, on a Unix socket, that keeps nothing when it ends."""
    proc = procs.spawn(["redis-server", "--port", "0", "--unixsocket", node["redis_socket"], "--unixsocketperm",
                        "700", "--dir", f"{node['dir']}/redis", "--save", "", "--appendonly", "no"],
                       node["logs"]["redis"], mesh_user(mesh), cwd="/")
    node["procs"]["redis"] = proc
    node["pids"]["redis"] = proc["pid"]


def status(mesh, node):
    """What `meshctl -j status` says of the node, or None when it does not answer."""
    argv = [f"{mesh['bin']}/meshctl", "-j", "--timeout", "2s", "-s", node["control_socket"], "status"]
    r = subprocess.run([*procs.run_as(mesh_user(mesh)), *argv], capture_output=True, text=True, check=False,
                       timeout=60)
    try:
        return json.loads(r.stdout)
    except ValueError:
        return None


def log_tail(node, daemon, lines=12):
    try:
        with open(node["logs"][daemon], encoding="utf-8", errors="replace") as f:
            return "".join(f"    {line}" for line in f.readlines()[-lines:])
    except OSError:
        return ""
