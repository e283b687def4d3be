"""The command line of devmesh."""
import argparse
import os
import signal
import sys

from . import nodes, procs
from .mesh import PARTS, Mesh
from .procs import DevmeshError

SIGNALS = {"pause": signal.SIGSTOP, "continue": signal.SIGCONT, "hup": signal.SIGHUP, "term": signal.SIGTERM}


def say(text):
    print(text, flush=True)


def parser():
    p = argparse.ArgumentParser(
        prog="devmesh", description="A mesh of nodes on this machine, each with its own four daemons, "
        "database, keys and certificates.")
    sub = p.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name, help_text, *operands):
        c = sub.add_parser(name, help=help_text, description=help_text)
        c.add_argument("-d", dest="dir", metavar="DIR", default=os.environ.get("DEVMESH_DIR"),
                       help="directory of the mesh (default: DEVMESH_DIR)")
        for o in operands:
            c.add_argument(o, metavar=o.upper())
        return c

    up = command("up", "start a mesh and wait until it works")
    up.add_argument("-n", dest="count", type=int, default=3, help="number of nodes (default 3)")
    up.add_argument("-t", dest="shape", metavar="line|ring|full|FILE", default="line",
                    help="who is linked with whom (default line); a FILE has lines 'a -> b' (a dials b), "
                    "'a <-> b', and options delay=MS rate=MBIT proxy=connect proxy=login token ipv6")
    up.add_argument("--direct", action="store_true",
                    help="links without the proxy: faster, but can't be cut, delayed or slowed")
    up.add_argument("--build", metavar="DIR", help="where the programs are (default build/gcc)")
    up.add_argument("--tenant", action="append", metavar="ID[:NODE,…]",
                    help="tenant with a key on all nodes, or on these (default demo; may be repeated)")
    up.add_argument("--set", dest="settings", action="append", default=[], metavar="[NODE:]DAEMON.KEY=VALUE",
                    help="a directive for every mesh.conf, or that of a node (may be repeated)")
    up.add_argument("--redis", action="store_true", help="give each node a Redis server and configure it")
    up.add_argument("--daemons", metavar="LIST", default=",".join(nodes.DAEMONS),
                    help="start only these (for development)")
    up.add_argument("--timeout", type=float, default=60, help="seconds until it must work (default 60)")
    down = command("down", "stop everything")
    down.add_argument("--remove", action="store_true", help="and remove DIR")
    command("status", "show what runs")
    part = f"PART is {', '.join(PARTS)}"
    command("kill", f"kill a part of a node with SIGKILL; {part}", "node", "part")
    restart = command("restart", f"restart a part of a node; {part}", "node")
    restart.add_argument("part", metavar="PART", nargs="?", default="all")
    restart.add_argument("--no-wait", action="store_true", help="don't wait until the node works")
    command("signal", f"send pause, continue, hup or term; {part}", "node", "part", "signal")
    conn = {"flags": ("--conn",), "metavar": "ID", "type": int, "help": "only this connection (conns lists them)"}
    way = {"flags": ("--way",), "choices": ("up", "down"), "help": "only what the dialler sends (up), or gets"}

    def shape(name, help_text, *operands, options=()):
        c = command(name, help_text, "a", "b", *operands)
        for o in options:
            c.add_argument(*o["flags"], **{k: v for k, v in o.items() if k != "flags"})

    shape("conns", "list the link's connections")
    shape("cut", "make the link a silent black hole", options=(conn, way))
    shape("heal", "undo cut and refuse", options=(conn, way))
    shape("reset", "close the link's connections with a reset", options=(conn,))
    shape("refuse", "reset new connections of the link, until heal")
    shape("half", "close one direction of the link's connections, default up", options=(conn, way))
    shape("stall", "hold everything back for MS", "ms", options=(conn,))
    shape("delay", "delay the link by MS each way", "ms")
    shape("jitter", "delay by up to MS more, at random", "ms")
    shape("rate", "limit the link to MBIT each way (0.05 is 50 kbit/s); 0: no limit", "mbit")
    return p


def cmd_up(a):
    m = Mesh.up(a.dir, a.count, a.shape, say=say, build=a.build, direct=a.direct,
                tenants=a.tenant or ["demo"], settings=a.settings, redis=a.redis, timeout=a.timeout,
                daemons=[d for d in a.daemons.split(",") if d])
    say("")
    summary(m)
    say(f"\nDIR/mesh.json has addresses, keys and sockets.  Try:\n"
        f"  {m.state['bin']}/meshctl -s {m.nodes[0]['control_socket']} nodes\n"
        f"  tools/devmesh down -d {m.dir} --remove")


def summary(m):
    say(f"{'NODE':<6} {'ID':<14} {'GRPC':<18} RUNNING")
    for n in m.nodes:
        up = [p for p, proc in n["procs"].items() if procs.alive(proc)]
        lost = [p for p in n["procs"] if p not in up]
        text = "all" if not lost else ", ".join(up) + "   DOWN: " + ", ".join(lost)
        say(f"{n['name']:<6} {n['node_id']:<14} {n['grpc_address']:<18} {text}")
    for lk in m.state["links"]:
        say(f"link   {lk['a']} {'<->' if lk['both'] else '->'} {lk['b']}")


def cmd_status(m, _):
    summary(m)
    if not m.state["direct"] and ("", "proxy") in m.running():
        say("")
        for line in m._proxy("status"):
            say(f"proxy  {line}")


def cmd_signal(m, a):
    if a.signal not in SIGNALS:
        raise DevmeshError(f"no signal '{a.signal}'; there are {', '.join(SIGNALS)}")
    m.signal(a.node, a.part, SIGNALS[a.signal])


def cmd_conns(m, a):
    say(f"{'CONN':>6} {'DIALLER':>8} {'LISTENER':>8} {'BYTES UP':>12} {'BYTES DOWN':>12} {'AGE':>10}")
    for c in m.conns(a.a, a.b):
        say(f"{c.id:>6} {c.client_port:>8} {c.server_port:>8} {c.up_bytes:>12} {c.down_bytes:>12} "
            f"{c.age_ms / 1000:>8.1f} s")


COMMANDS = {
    "down": lambda m, a: m.down(a.remove),
    "status": cmd_status,
    "kill": lambda m, a: m.kill(a.node, a.part),
    "restart": lambda m, a: m.restart(a.node, a.part, wait=not a.no_wait),
    "signal": cmd_signal,
    "conns": cmd_conns,
    "cut": lambda m, a: m.cut(a.a, a.b, a.conn, a.way),
    "heal": lambda m, a: m.heal(a.a, a.b, a.conn, a.way),
    "reset": lambda m, a: m.reset(a.a, a.b, a.conn),
    "refuse": lambda m, a: m.refuse(a.a, a.b),
    "half": lambda m, a: m.half(a.a, a.b, a.conn, a.way),
    "stall": lambda m, a: m.stall(a.a, a.b, a.ms, a.conn),
    "delay": lambda m, a: m.shape_link("delay", a.a, a.b, a.ms),
    "jitter": lambda m, a: m.shape_link("jitter", a.a, a.b, a.ms),
    "rate": lambda m, a: m.shape_link("rate", a.a, a.b, a.mbit),
}


def main():
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    a = parser().parse_args()
    if not a.dir:
        print("devmesh: which mesh? give -d DIR or set DEVMESH_DIR", file=sys.stderr)
        return 2
    try:
        if a.command == "up":
            cmd_up(a)
        else:
            COMMANDS[a.command](Mesh.load(a.dir, say), a)
    except DevmeshError as e:
        print(f"devmesh: {e}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("devmesh: interrupted", file=sys.stderr)
        return 130
    return 0
