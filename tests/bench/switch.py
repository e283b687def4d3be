"""A switch made of network namespaces: each node has one of its own, and any of them can be unplugged."""
import contextlib
import json
import os
import subprocess

NET = "10.232"


def run(*argv, text=None):
    r = subprocess.run(argv, input=text, capture_output=True, text=True, check=False, timeout=60)
    if r.returncode != 0:
        raise OSError(f"{' '.join(argv)}: {r.stderr.strip()}")
    return r.stdout


class Switch:
    """places: node name -> (network namespace, address), as Mesh.up() takes it."""

    def __init__(self, names):
        self.inside = f"mesh{os.getpid()}switch"
        self.ports = {name: f"port{i}" for i, name in enumerate(names)}
        self.places = {name: (f"mesh{os.getpid()}-{i}", f"{NET}.{i // 250}.{i % 250 + 1}")
                       for i, name in enumerate(names)}

    def make(self):
        run("ip", "-batch", "-", text="".join(f"netns add {n}\n" for n in self.spaces()))
        run("ip", "-n", self.inside, "-batch", "-", text="link add name bridge0 type bridge\nlink set dev bridge0 up\n")
        for name, (space, address) in self.places.items():
            port = self.ports[name]
            run("ip", "-n", self.inside, "-batch", "-", text=(
                f"link add {port} type veth peer name eth0 netns {space}\n"
                f"link set {port} master bridge0\nlink set {port} up\n"))
            run("ip", "-n", space, "-batch", "-", text=(
                f"address add {address}/16 dev eth0\nlink set lo up\nlink set eth0 up\n"))

    def spaces(self):
        return [self.inside, *(space for space, _ in self.places.values())]

    def unplug(self, name):
        """Silently: the node's interface stays up, nothing comes or goes any more."""
        run("ip", "-n", self.inside, "link", "set", self.ports[name], "nomaster")

    def plug(self, name):
        run("ip", "-n", self.inside, "link", "set", self.ports[name], "master", "bridge0")

    def sent(self):
        """What all nodes have sent so far: (packets, bytes with their IP headers)."""
        packets = size = 0
        for link in json.loads(run("ip", "-n", self.inside, "-s", "-j", "link")):
            if link["ifname"] in self.ports.values():
                packets += link["stats64"]["rx"]["packets"]
                size += link["stats64"]["rx"]["bytes"]
        return packets, size - 14 * packets  # Ethernet's headers

    def remove(self):
        for space in self.spaces():
            subprocess.run(["ip", "netns", "del", space], capture_output=True, check=False)


@contextlib.contextmanager
def switch(names):
    box = Switch(names)
    try:
        box.make()
        yield box
    finally:
        box.remove()
