"""The file that a test shares with a consensusd that dies at a point: tests/crash/crash.c."""
import mmap
import os
import struct

HEAD = struct.Struct("=8sIIII")  # magic, count, armed, left, died
POINT = struct.Struct("=48s8sQ")  # name, sides, passed
ARMED, LEFT, DIED = 12, 16, 20
SIZE = 1 << 16


class CrashFile:
    def __init__(self, path, uid, gid):
        """A new file for a daemon that runs as this user; what it has is there when the daemon was started."""
        self.path = path
        with open(path, "wb") as f:
            f.truncate(SIZE)
            os.fchown(f.fileno(), uid, gid)
        with open(path, "r+b") as f:
            self.map = mmap.mmap(f.fileno(), SIZE)
        self.names = {}

    def begun(self):
        """Whether the daemon has written its points."""
        if self.map[:8] != b"crashpts":
            return False
        count = HEAD.unpack_from(self.map)[1]
        for i in range(count):
            name, sides, _ = POINT.unpack_from(self.map, HEAD.size + i * POINT.size)
            self.names[name.rstrip(b"\0").decode()] = (i, sides.rstrip(b"\0").decode())
        return True

    def passed(self, name):
        i = self.names[name][0]
        return POINT.unpack_from(self.map, HEAD.size + i * POINT.size)[2]

    def points(self, side):
        """Those that a node of this side must get to."""
        return [name for name, (_, sides) in self.names.items() if side in sides]

    def _put(self, offset, value):
        struct.pack_into("=I", self.map, offset, value)

    def arm(self, name, number):
        """The daemon, or the next one that is started with the file, dies when it passes there so often."""
        self._put(DIED, 0)
        self._put(LEFT, number)
        self._put(ARMED, self.names[name][0] + 1)

    def disarm(self):
        self._put(ARMED, 0)

    def died(self, name):
        return struct.unpack_from("=I", self.map, DIED)[0] == self.names[name][0] + 1
