"""Two networks with a NAT between them, made of network namespaces: who is inside can only dial out."""
import contextlib
import os
import subprocess

RULES = """
flush ruleset
table ip nat {
	chain out {
		type nat hook postrouting priority 100;
		oifname "out" MASQUERADE
	}
}
table ip filter {
	chain forward {
		type filter hook forward priority 0; policy drop;
		iifname "in" accept
		ct state established,related accept
	}
}
"""


class Nat:
    INSIDE, OUTSIDE = "10.231.1.2", "10.231.2.2"

    def __init__(self):
        self.names = {n: f"mesh{os.getpid()}{n}" for n in ("inside", "nat", "outside")}

    def run(self, *argv, where=None, text=None):
        inside = ["ip", "netns", "exec", self.names[where]] if where else []
        r = subprocess.run([*inside, *argv], input=text, capture_output=True, text=True, check=False, timeout=30)
        if r.returncode != 0:
            raise OSError(f"{' '.join(argv)}: {r.stderr.strip()}")

    def make(self):
        for name in self.names.values():
            self.run("ip", "netns", "add", name)
        for side, net, device in (("inside", "10.231.1", "in"), ("outside", "10.231.2", "out")):
            self.run("ip", "link", "add", "eth0", "netns", self.names[side], "type", "veth", "peer", "name", device,
                     "netns", self.names["nat"])
            for where, name, address in ((side, "eth0", f"{net}.2/24"), ("nat", device, f"{net}.1/24")):
                self.run("ip", "address", "add", address, "dev", name, where=where)
                self.run("ip", "link", "set", name, "up", where=where)
            self.run("ip", "link", "set", "lo", "up", where=side)
        self.run("ip", "route", "add", "default", "via", "10.231.1.1", where="inside")
        self.run("sysctl", "-qw", "net.ipv4.ip_forward=1", where="nat")
        self.masquerade()

    def masquerade(self, ports=""):
        """From the outer address; with ports ("20000-30000") only from these."""
        rule = f"meta l4proto tcp masquerade to :{ports}" if ports else "masquerade"
        self.run("nft", "-f", "-", where="nat", text=RULES.replace("MASQUERADE", rule))

    def forget(self):
        """The NAT loses what it knows of the connections that there are."""
        self.run("conntrack", "-F", where="nat")

    def remove(self):
        for name in self.names.values():
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


@contextlib.contextmanager
def nat():
    """The Nat, or None with the reason printed where namespaces can't be made."""
    box = Nat()
    try:
        try:
            box.make()
        except OSError as e:
            print(f"        (skipped: no network namespaces here: {e})")
            yield None
            return
        yield box
    finally:
        box.remove()
