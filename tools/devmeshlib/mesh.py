"""A whole mesh: bringing it up, breaking it, taking it down.

    m = Mesh.up("/tmp/m", 3, "line")
    m.kill("b", "transportd"); m.restart("b", "transportd"); m.cut("a", "b")
    m.down()

The state is DIR/mesh.json; Mesh.load(DIR) takes up a mesh that another program started.
"""
import fcntl
import json
import os
import pwd
import shutil
import signal
import time
from contextlib import contextmanager

from . import middle, nodes, postgres, procs, proxy, topology
from .nodes import DAEMONS
from .procs import DevmeshError

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
USERS = ("postgres", "nobody")  # who the servers run as when root starts them
STOP_ORDER = ("gatewayd", "consensusd", "routerd", "transportd")
PARTS = DAEMONS + ("postgres", "redis", "all")


def default_user():
    if os.geteuid() != 0:
        return None
    for name in USERS:
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    raise DevmeshError(f"none of the users {', '.join(USERS)} exists, and servers must not run as root")


def check_links(links, direct):
    if direct and any(lk.ipv6 for lk in links):
        raise DevmeshError("ipv6 is for links through the proxy: transportd listens on 127.0.0.1")


def describe(lk, number, taken):
    """A link, as mesh.json has it."""
    return dict(a=lk.a, b=lk.b, both=lk.both, delay_ms=lk.delay_ms, rate_mbit=lk.rate_mbit, proxy=lk.proxy,
                ipv6=lk.ipv6, number=number, port=nodes.free_port(taken),
                back_port=nodes.free_port(taken) if lk.both else 0,
                connect_port=nodes.free_port(taken) if lk.proxy else 0,
                tls_port=nodes.free_port(taken) if lk.token else 0,
                proxied_port=nodes.free_port(taken) if lk.token else 0)


class Mesh:
    def __init__(self, state, say=None):
        self.state = state
        self.say = say or (lambda text: None)
        self.claimed = set()  # ports, if this process began it

    # --- state ---

    @property
    def dir(self):
        return self.state["dir"]

    @property
    def nodes(self):
        return self.state["nodes"]

    @classmethod
    def load(cls, directory, say=None):
        directory = os.path.abspath(directory)
        try:
            with open(f"{directory}/mesh.json", encoding="utf-8") as f:
                return cls(json.load(f), say)
        except (OSError, ValueError):
            raise DevmeshError(f"there is no mesh in {directory}; devmesh up -d {directory} makes one") from None

    def save(self):
        path = f"{self.dir}/mesh.json"
        with open(f"{path}.new", "w", encoding="utf-8", opener=lambda p, f: os.open(p, f, 0o600)) as f:
            json.dump(self.state, f, indent=2)
            f.write("\n")
        user = nodes.mesh_user(self.state)
        if user:
            os.chown(f"{path}.new", user.pw_uid, user.pw_gid)
        os.replace(f"{path}.new", path)

    @contextmanager
    def changing(self):
        """Holds the mesh's lock, with the state as it is on disk; writes it back."""
        with open(f"{self.dir}/.lock", "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.state.update(Mesh.load(self.dir).state)
            try:
                yield
            finally:
                self.save()

    def node(self, name):
        for n in self.nodes:
            if n["name"].lower() == name.lower() or n.get("node_id") == name:
                return n
        raise DevmeshError(f"no node '{name}'; there are {', '.join(n['name'] for n in self.nodes)}")

    # --- up ---

    @classmethod
    def up(cls, directory, count=3, shape="line", *, say=None, build=None, direct=False, tenants=("demo",),
           settings=(), redis=False, timeout=60, daemons=DAEMONS, places=None):
        """places: node name -> (network namespace, address) for its transportd; only for direct links."""
        names, links = topology.make(shape, count)
        directory = os.path.abspath(directory)
        if os.path.exists(f"{directory}/mesh.json"):
            old = cls.load(directory)
            if old.running():
                raise DevmeshError(f"a mesh is running in {directory}; devmesh down -d {directory} ends it")
            raise DevmeshError(f"{directory} has the data of an earlier mesh; devmesh down --remove -d "
                               f"{directory} removes it, or use another directory")
        check_links(links, direct)
        taken, places = set(), places or {}
        self = cls({
            "dir": directory, "user": default_user(), "topology": shape, "direct": direct, "procs": {},
            "settings": list(settings), "tenants": list(tenants), "daemons": list(daemons),
            "proxy_socket": f"{directory}/proxy.sock", "up_at": time.time(),
            "nodes": [nodes.make(directory, name, i, taken, places.get(name)) for i, name in enumerate(names)],
            "links": [describe(lk, i, taken) for i, lk in enumerate(links)],
        }, say)
        self.claimed = taken
        try:
            self._prepare(build, redis)
            self._start(timeout)
        except BaseException:
            if os.path.exists(f"{directory}/mesh.json"):
                self.stop_all()
                os.replace(f"{directory}/mesh.json", f"{directory}/mesh.json.failed")
            raise
        return self

    def _prepare(self, build, redis):
        s = self.state
        nodes.make_dir(s, self.dir)
        self._choose_programs(build)
        self.save()
        self.say(f"making keys and certificates of {len(self.nodes)} nodes in {self.dir}")
        s["mesh_id"] = nodes.meshctl(s, "id").strip()
        nodes.meshctl(s, "ca", "init", "--mesh", s["mesh_id"], f"{self.dir}/ca")
        for n in self.nodes:
            nodes.make_dirs(s, n)
            nodes.make_keys(s, n)
        for tenant in s["tenants"]:
            name, _, only = tenant.partition(":")  # "demo": all nodes have the key; "demo:a,c": a and c
            nodes.meshctl(s, "tenant-key", name, *(n["keyring"] for n in self.nodes
                                                   if not only or n["name"] in only.split(",")))
        self.say("making databases")
        template = f"{self.dir}/pg-template"
        postgres.make_template(template, nodes.mesh_user(s))
        for n in self.nodes:
            postgres.copy_template(template, f"{n['dir']}/data", nodes.mesh_user(s))
        postgres.remove_template(template)
        s["redis"] = redis
        self.save()

    def _choose_programs(self, build):
        """Copies in DIR: the user of the servers may not get at the build, and a make may change it."""
        s = self.state
        build = os.path.abspath(build or os.environ.get("MESH_BUILD") or f"{ROOT}/build/gcc")
        programs = [*s["daemons"], "meshctl", "meshproxy"]
        missing = [p for p in programs if not os.path.exists(f"{build}/bin/{p}")]
        if missing:
            raise DevmeshError(f"{build}/bin has no {', '.join(missing)}: run make first")
        s["sanitized"] = "address" in os.path.basename(build)
        s["bin"], s["sql"] = f"{self.dir}/bin", f"{self.dir}/sql"
        for path in (s["bin"], s["sql"]):
            nodes.make_dir(s, path)
        for p in programs:
            self._lend(f"{build}/bin/{p}", f"{s['bin']}/{p}", 0o755)
        for name in os.listdir(f"{ROOT}/etc/sql"):
            self._lend(f"{ROOT}/etc/sql/{name}", f"{s['sql']}/{name}", 0o644)

    @staticmethod
    def _lend(source, copy, mode):
        shutil.copyfile(source, copy)
        os.chmod(copy, mode)

    def _start(self, timeout):
        s, user = self.state, nodes.mesh_user(self.state)
        self.say("starting databases" + ("" if s["direct"] else ", proxy") + " and daemons")
        for n in self.nodes:
            self._launch(nodes.start_postgres, n)
            if s["redis"]:
                self._launch(nodes.start_redis, n)
        if not s["direct"]:
            s["procs"]["proxy"] = proxy.start(f"{s['bin']}/meshproxy", self.dir, user)
            self._forward_links()
        for lk in s["links"]:
            self._start_middle(lk)
        for n in self.nodes:
            nodes.configure(s, n, self._peers(n))
            for daemon in s["daemons"]:
                self._launch(nodes.start_daemon, n, daemon)
        self.save()
        self.wait_ready(timeout)

    def _launch(self, starter, *args):
        """Starts a process and writes down at once that it is ours, whatever happens next."""
        starter(self.state, *args)
        self.save()

    def _forward_links(self):
        for lk in self.state["links"]:
            name, verb = self.link_name(lk), "forward6" if lk["ipv6"] else "forward"
            self._proxy(f"{verb} {name} {lk['port']} {lk['tls_port'] or self.node(lk['b'])['transport_port']}")
            if lk["both"]:
                self._proxy(f"forward {name} {lk['back_port']} {self.node(lk['a'])['transport_port']}")
            if lk["delay_ms"]:
                self._proxy(f"delay {name} {lk['delay_ms']}")
            if lk["rate_mbit"]:
                self._proxy(f"rate {name} {lk['rate_mbit']}")

    def _start_middle(self, lk):
        """The proxies that the link leads through; the dialler sees: its HTTP proxy, meshproxy, nginx, b."""
        s, where = self.state, f"{self.dir}/link{lk['number']}"
        if lk["tls_port"]:
            s["procs"][f"nginx{lk['number']}"] = middle.start_reverse_proxy(
                s, f"{where}-nginx", lk["tls_port"], lk["proxied_port"])
            self.save()
        if lk["connect_port"]:
            s["procs"][f"tinyproxy{lk['number']}"] = middle.start_connect_proxy(
                s, f"{where}-tinyproxy", lk["connect_port"], self._dial_port(lk), lk["proxy"] == "login")
            middle.write_login(s, f"{where}-login")
            self.save()

    def _dial_port(self, lk):
        if not self.state["direct"]:
            return lk["port"]
        return lk["tls_port"] or self.node(lk["b"])["transport_port"]

    def _peers(self, node):
        """Whom the node dials: (name of the peer block, its directives)."""
        found = {}
        for lk in self.state["links"]:
            a, b = self.node(lk["a"]), self.node(lk["b"])
            peer = b if a is node else a if b is node and lk["both"] else None
            if peer is None:
                continue
            name = f"{peer['name']}-{lk['number']}" if peer["name"] in found else peer["name"]
            found[name] = {"address": self._peer_address(lk, peer), "node-id": peer["node_id"],
                           **(self._middle_directives(lk) if peer is b else {})}
        return found.items()

    def _peer_address(self, lk, peer):
        if peer is self.node(lk["a"]):
            return peer["transport_address"] if self.state["direct"] else f"127.0.0.1:{lk['back_port']}"
        if self.state["direct"] and not lk["tls_port"]:
            return peer["transport_address"]
        return f"{'[::1]' if lk['ipv6'] else '127.0.0.1'}:{self._dial_port(lk)}"

    def _middle_directives(self, lk):
        found, where = {}, f"{self.dir}/link{lk['number']}"
        if lk["connect_port"]:
            found["proxy"] = f"127.0.0.1:{lk['connect_port']}"
            if lk["proxy"] == "login":
                found["proxy-auth"] = nodes.quoted(f"{where}-login")
        if lk["tls_port"]:
            found |= {"admission": "token", "server-ca": nodes.quoted(f"{self.dir}/ca/ca.crt"), "sni": "localhost"}
        return found

    # --- readiness ---

    def wait_ready(self, timeout=60, names=None):
        """Waits until these nodes (default: all) serve and know every node of the mesh as alive."""
        wanted = [self.node(n) for n in names] if names else self.nodes
        end = time.monotonic() + timeout
        for n in wanted:
            shown = None
            while (reason := self._not_ready(n)) is not None:
                if reason != shown:
                    self.say(f"  {n['name']}: {reason}")
                    shown = reason
                if time.monotonic() > end:
                    raise DevmeshError(f"node {n['name']} is not ready after {timeout:g} s: {reason}\n"
                                       + self.logs_text(n))
                time.sleep(0.05)
            self.say(f"  {n['name']}: ready")

    def _not_ready(self, node):
        """Why the node is not ready, or None."""
        s = self.state
        procs.reap()
        if not postgres_ready(node, s):
            return "waiting for its database"
        for daemon in s["daemons"]:
            if not procs.alive(node["procs"].get(daemon)):
                raise DevmeshError(f"{daemon} of node {node['name']} has ended:\n"
                                   + nodes.log_tail(node, daemon))
        if set(s["daemons"]) != set(DAEMONS):
            return None
        status = nodes.status(s, node)
        if status is None:
            return "waiting for its API"
        for d in status.get("daemons", []):
            if d["pid"] and d["pid"] != node["pids"].get(d["name"]):
                return f"its API still speaks of an earlier {d['name']}"
        if not status.get("serving"):
            down = [f"{d['name']} {d['state']}" + (f" ({d['detail']})" if d.get("detail") else "")
                    for d in status.get("daemons", []) if d["state"] != "running"]
            return "not serving" + (f": {', '.join(down)}" if down else "")
        alive = {n["node_id"] for n in status.get("nodes", []) if n.get("status") == "alive"}
        unseen = [n["name"] for n in self.nodes if n["node_id"] not in alive and self.expected_alive(n)]
        return f"does not see {', '.join(unseen)} yet" if unseen else None

    def expected_alive(self, node):
        return all(procs.alive(node["procs"].get(d)) for d in self.state["daemons"])

    def logs_text(self, node):
        return "".join(f"  {d}:\n{nodes.log_tail(node, d)}" for d in self.state["daemons"])

    # --- breaking and repairing ---

    def kill(self, name, part):
        """SIGKILL to a daemon, to the database server with its children, or to the whole node."""
        with self.changing():
            node = self.node(name)
            for p in self._parts(part, node):
                proc = node["procs"].get(p)
                if p == "postgres":
                    postgres.kill(proc)
                elif procs.send(proc, signal.SIGKILL):
                    procs.wait_gone([proc], 10)

    def signal(self, name, part, sig):
        node = Mesh.load(self.dir).node(name)
        for p in self._parts(part, node):
            proc = node["procs"].get(p)
            for member in procs.family(proc) if p == "postgres" else [proc]:
                procs.send(member, sig)

    def restart(self, name, part="all", wait=True, timeout=60):
        """Stops what still runs of a part (SIGTERM) and starts it."""
        with self.changing():
            node = self.node(name)
            parts = self._parts(part, node)
            daemons = [d for d in STOP_ORDER if d in parts]
            procs.stop([node["procs"].get(d) for d in daemons])
            if "postgres" in parts:
                postgres.stop(node["procs"].get("postgres"))
                self._launch(nodes.start_postgres, node)
            if "redis" in parts:
                procs.stop([node["procs"].get("redis")])
                self._launch(nodes.start_redis, node)
            for d in reversed(daemons):
                self._launch(nodes.start_daemon, node, d)
        if wait:
            self.wait_ready(timeout, [name])

    def start(self, name, part="all", wait=False, timeout=60):
        """Starts what does not run of a part."""
        with self.changing():
            node = self.node(name)
            parts = [p for p in self._parts(part, node) if not procs.alive(node["procs"].get(p))]
            if "postgres" in parts:
                self._launch(nodes.start_postgres, node)
            if "redis" in parts:
                self._launch(nodes.start_redis, node)
            for d in self.state["daemons"]:
                if d in parts:
                    self._launch(nodes.start_daemon, node, d)
        if wait:
            self.wait_ready(timeout, [name])

    def _parts(self, part, node):
        if part not in PARTS:
            raise DevmeshError(f"no part '{part}' of a node; there are {', '.join(PARTS)}")
        if part == "all":
            return [*self.state["daemons"], "postgres", *(["redis"] if self.state.get("redis") else [])]
        if part not in node["procs"]:
            raise DevmeshError(f"{part} of node {node['name']} was never started")
        return [part]

    @staticmethod
    def link_name(lk):
        return f"{lk['a']}--{lk['b']}"

    def _link(self, a, b):
        a, b = self.node(a)["name"], self.node(b)["name"]
        for lk in self.state["links"]:
            if {lk["a"], lk["b"]} == {a, b}:
                return self.link_name(lk)
        raise DevmeshError(f"{a} and {b} have no link")

    def _proxy(self, line):
        return proxy.command(self.state["proxy_socket"], line)

    def shape_link(self, verb, a, b, *words):
        """verb: a command of meshproxy for the link, without its name: cut, heal, reset, half, stall, delay (ms),
        jitter (ms), rate (Mbit/s, 0.05 is 50 kbit/s), conns; words: what follows.  The lines it answers."""
        if self.state["direct"]:
            raise DevmeshError("the links of this mesh are direct (up --direct): they can't be changed")
        return self._proxy(" ".join([verb, self._link(a, b), *(str(w) for w in words if w is not None)]))

    def conns(self, a, b):
        """The TCP connections of the link: which of a node's lanes each is, its local_address tells."""
        return [proxy.Conn(*map(int, line.split())) for line in self.shape_link("conns", a, b)]

    def carried(self, a, b):
        """Bytes that the link has carried so far: (from the dialler, to it)."""
        lines = [line.split() for line in self._proxy("status") if line.split()[0] == self._link(a, b)]
        return tuple(sum(int(w[w.index(way) + 1]) for w in lines) for way in ("up", "down"))

    def cut(self, a, b, conn=None, way=None):
        """conn: the id of one connection; way: up (what the dialler sends) or down."""
        self.shape_link("cut", a, b, way, conn)

    def heal(self, a, b, conn=None, way=None):
        self.shape_link("heal", a, b, way, conn)

    def reset(self, a, b, conn=None):
        self.shape_link("reset", a, b, conn)

    def half(self, a, b, conn=None, way=None):
        """Closes one direction, as a FIN that was lost the other way would."""
        self.shape_link("half", a, b, way, conn)

    def refuse(self, a, b):
        """New connections of the link are reset, until heal; those that there are stay."""
        self.shape_link("refuse", a, b)

    def stall(self, a, b, ms, conn=None):
        self.shape_link("stall", a, b, conn, ms)

    # --- down ---

    def running(self):
        """Processes of the mesh that are alive: (node name or "", part)."""
        found = [("", p) for p, proc in self.state["procs"].items() if procs.alive(proc)]
        return found + [(n["name"], p) for n in self.nodes for p, proc in n["procs"].items()
                        if procs.alive(proc)]

    def stop_all(self):
        for d in STOP_ORDER:
            procs.stop([n["procs"].get(d) for n in self.nodes])
        procs.stop([n["procs"].get("postgres") for n in self.nodes], signal.SIGINT, 20)
        procs.stop([n["procs"].get("redis") for n in self.nodes])
        procs.stop(list(self.state["procs"].values()), seconds=5)
        nodes.release(self.claimed)

    def down(self, remove=False):
        """Stops everything; DevmeshError if something is left.  remove: DIR goes, too."""
        with self.changing():
            self.stop_all()
            left = self.running()
        if left:
            raise DevmeshError("still running: " + ", ".join(f"{n} {p}".strip() for n, p in left))
        if remove:
            shutil.rmtree(self.dir)


def postgres_ready(node, state):
    if not procs.alive(node["procs"].get("postgres")):
        raise DevmeshError(f"the database server of node {node['name']} has ended:\n"
                           + nodes.log_tail(node, "postgres"))
    return postgres.ready(node, nodes.mesh_user(state))
