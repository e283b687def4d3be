#!/usr/bin/python3
"""The checks of tools/lint find what they are for, and leave alone what is right."""
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HEADER = "/*\n * {noun}: a thing.\n */\n#ifndef {guard}\n#define {guard}\n\n#endif\n"


class LintTest(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.dir)
        shutil.copytree(f"{ROOT}/tools/lint", f"{self.dir}/tools/lint")
        os.mkdir(f"{self.dir}/mk")
        shutil.copy(f"{ROOT}/mk/libs.mk", f"{self.dir}/mk/libs.mk")

    def write(self, path, text):
        full = os.path.join(self.dir, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w", encoding="utf-8") as f:
            f.write(text)

    def lint(self, check, *args):
        done = subprocess.run([sys.executable, "-B", f"tools/lint/{check}.py", *args], cwd=self.dir,
                              capture_output=True, text=True)
        self.assertEqual(done.stderr, "")
        return done.returncode, done.stdout

    def finds(self, check, what, *args):
        status, text = self.lint(check, *args)
        self.assertEqual(status, 1, text)
        self.assertIn(what, text)

    def passes(self, check, *args):
        status, text = self.lint(check, *args)
        self.assertEqual(status, 0, text)

    def test_layers(self):
        bad = [
            ("common/base/a.c", "<time.h>"),
            ("common/base/a.c", '"proto/edge.h"'),
            ("proto/a.c", '"common/os/log.h"'),
            ("common/os/a.c", '"routerd/core/lsdb.h"'),
            ("routerd/core/a.c", '"common/os/log.h"'),
            ("routerd/core/a.c", '"transportd/core/link.h"'),
            ("routerd/core/a.c", "<stdio.h>"),
            ("routerd/a.c", '"transportd/link.h"'),
            ("routerd/a.c", "<sodium.h>"),
            ("meshctl/a.c", '"common/os/sandbox.h"'),
            ("transportd/a.c", '"link.h"'),
        ]
        for path, header in bad:
            with self.subTest(path=path, header=header):
                self.write(path, f"#include {header}\n")
                self.finds("layers", path)
                os.remove(os.path.join(self.dir, path))
        self.write("common/os/crypto.c", "#include <sodium.h>\n")
        self.write("routerd/core/a.c", '#include <stdint.h>\n#include "common/base/err.h"\n'
                                       '#include "routerd/core/lsdb.h"\n')
        self.write("routerd/a.c", '#include <time.h>\n#include "routerd/core/a.h"\n#include "proto/pb.h"\n')
        self.write("tests/unit/a.c", '#include <cmocka.h>\n#include "routerd/core/a.h"\n')
        self.passes("layers")

    def test_headers(self):
        self.write("common/os/log.h", HEADER.format(noun="log", guard="COMMON_OS_LOG_H"))
        self.passes("headers")
        self.write("common/os/clock.h", HEADER.format(noun="clock", guard="CLOCK_H"))
        self.finds("headers", "common/os/clock.h: has no include guard COMMON_OS_CLOCK_H")
        self.write("common/os/clock.h", "int a;\n")
        self.finds("headers", "common/os/clock.h: starts with no comment")

    def test_length(self):
        short = "static void\nf(void)\n{\n\ta();\n}\n"
        self.write("routerd/a.c", short * 3)
        self.passes("length")
        self.write("routerd/b.c", "static void\ng(void)\n{\n" + "\ta();\n" * 71 + "}\n")
        self.finds("length", "routerd/b.c:3: function of 71 lines")
        self.write("routerd/b.c", "\n" * 801)
        self.finds("length", "routerd/b.c: 801 lines")

    def test_text(self):
        self.write("routerd/a.c", 'static const char run[] = "/run/mesh", *x = "XXXXXX";\n')
        self.passes("text")
        for line in ("/* TO" + "DO: later */", 'x = "/ho' + 'me/me/x";', "blank at the end ", "not imple" + "mented"):
            with self.subTest(line=line):
                self.write("routerd/a.c", line + "\n")
                self.finds("text", "routerd/a.c:1: ")
        self.write("routerd/a.c", "int a;")
        self.finds("text", "no newline at the end")
        self.write("routerd/a.c", "int a;\n")
        self.write("tools/x", "#!/bin/sh\nif true; then\n")
        self.finds("text", "tools/x")

    def compile(self, path, text):
        self.write(path, text)
        out = os.path.join(self.dir, "build", path[:-2] + ".o")
        os.makedirs(os.path.dirname(out), exist_ok=True)
        subprocess.run(["cc", "-O0", "-c", "-o", out, os.path.join(self.dir, path)], check=True)

    def test_symbols(self):
        self.compile("common/base/buf.c", "#include <string.h>\nvoid *buf(void *p, const void *q, unsigned long n)"
                                          " { return memcpy(p, q, n); }\n")
        self.compile("routerd/core/a.c", "void *buf(void *, const void *, unsigned long);\n"
                                         "void *a(void *p) { return buf(p, p, 1); }\n")
        self.passes("symbols", "build")
        self.compile("routerd/core/a.c", "long now(void);\nlong a(void) { return now(); }\n")
        self.finds("symbols", "routerd/core/a.c calls now", "build")
        self.compile("routerd/core/a.c", "int a;\n")
        self.compile("routerd/a.c", "#include <stdlib.h>\nvoid *a(void) { return malloc(1); }\n")
        self.finds("symbols", "routerd/a.c calls malloc: allocate with common/base/mem.h", "build")

    def test_docs(self):
        self.write("common/os/conf_table.c", '    {"routerd", NULL, "nodes-max", CONF_INT, 0, "1", 0, 0},\n')
        self.write("routerd/a.c", 'static struct metric m = METRIC_COUNTER_INIT("mesh_router_lsas_total", "x", 0);\n')
        self.passes("docs")
        page = ".Dd January 1, 2026\n.Dt {} {}\n.Os\n.Sh NAME\n.Nm x\n.Nd a thing\n"
        conf = page.format("MESH.CONF", 5) + ".Sh ROUTERD\n.Bl -tag -width x\n.It Ic {}\nText.\n.El\n"
        self.write("man/mesh.conf.5", conf.format("nodes-max Ar n"))
        self.passes("docs")
        self.write("man/mesh.conf.5", conf.format("nodes-min Ar n"))
        self.finds("docs", "lacks 'nodes-max' of section routerd")
        self.finds("docs", "'nodes-min' is no directive")
        self.write("man/mesh.conf.5", conf.format("nodes-max Ar n"))
        self.write("man/mesh-metrics.7", page.format("MESH-METRICS", 7) + ".Sh LIST\nmesh_router_gone_total\n")
        self.finds("docs", "lacks the metric 'mesh_router_lsas_total'")
        self.finds("docs", "'mesh_router_gone_total' is no metric")


if __name__ == "__main__":
    unittest.main(verbosity=0)
