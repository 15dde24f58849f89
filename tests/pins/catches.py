#!/usr/bin/env python3
"""catches.py NVCC: that pins.py names what is wrong, in kernels that are made wrong and in tables that say otherwise."""
import os
import subprocess
import sys
import tempfile
import unittest

import objects
import pins
import sass
import wrappers

NVCC = sys.argv.pop() if len(sys.argv) > 1 else "nvcc"


def compile_planted(folder, name, *targets):
    return pins.compile_kernels(NVCC, "planted_sm90.cu", os.path.join(folder, name + ".o"), *targets)


class Planted(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cuobjdump = pins.find_cuobjdump()
        cls.folder = tempfile.TemporaryDirectory()
        path = compile_planted(cls.folder.name, "planted_sm90.cu", "-gencode=arch=compute_90a,code=sm_90a")
        cls.object = path
        cls.rows = {kernel.name: pins.describe(kernel, 0)[0] for kernel in objects.read_object(cls.cuobjdump, path, "planted")}

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def words(self, name, **changes):
        row = self.rows[name]
        return " ".join(pins.compare(row, {key: str(value) for key, value in dict(row, **changes).items()}))

    def test_serialised(self):
        self.assertIn("serialised", self.words("planted_serialised"))
        self.assertIn("HGMMA.64x128x16", self.rows["planted_serialised"]["counts"])

    def test_registers_that_are_not_there(self):
        self.assertIn("register_shortage", self.words("planted_shortage"))
        self.assertNotIn("register_shortage", self.words("planted_serialised"))

    def test_local_memory(self):
        self.assertIn("local", self.words("planted_local", local=0))

    def test_spills(self):
        self.assertIn("spills", self.words("planted_spilled", spills=0))
        self.assertIn("local", self.words("planted_spilled", local=0))

    def test_tables(self):
        row = self.rows["planted_serialised"]
        self.assertIn("registers", self.words("planted_serialised", registers=int(row["registers"] / 1.04)))
        self.assertNotIn("registers", self.words("planted_serialised", registers=int(row["registers"] / 1.01)))
        self.assertIn("slots", self.words("planted_serialised", slots=int(row["slots"] / 1.04)))
        self.assertIn("blocks", self.words("planted_serialised", blocks=row["blocks"] + 1))
        self.assertIn("counts", self.words("planted_serialised", counts="HGMMA.64x128x16.F32.BF16=4"))
        self.assertIn("is not in pins.tsv", " ".join(pins.compare(row, None)))

    def test_wrappers(self):
        line = "        /*0080*/                   LDSM.16.MT88.4 R4, [R0] ;   /* 0x000000000004783b */"
        code = {"ldmatrix_x4": [sass.parse(line)]}
        self.assertEqual([], list(wrappers.check(code, [["ldmatrix_x4", "LDSM.16.MT88.4 R, [R]", "!LDS "]])))
        self.assertIn("expected LDSM.16.M88.4", " ".join(wrappers.check(code, [["ldmatrix_x4", "LDSM.16.M88.4"]])))
        self.assertIn("expected !LDSM", " ".join(wrappers.check(code, [["ldmatrix_x4", "!LDSM"]])))
        self.assertIn("is not in wrappers.tsv", " ".join(wrappers.check(code, [])))
        self.assertIn("no kernel is called", " ".join(wrappers.check({}, [["ldmatrix_x4", "LDSM"]])))
        self.assertIn("ldmatrix_x4", wrappers.wrapped_functions())

    def test_limits(self):
        rows = list(self.rows.values())
        self.assertEqual([], list(pins.beyond(rows, [("planted_local", "sm_90a", "registers", "255")])))
        self.assertEqual(1, len(list(pins.beyond(rows, [("planted_l.*", "sm_90a", "registers", "3")]))))
        self.assertEqual(1, len(list(pins.beyond(rows, [("planted_local", "sm_90a", "bound", "matrix")]))))
        self.assertIn("no kernel", " ".join(pins.beyond(rows, [("planted_gone", "sm_90a", "registers", "255")])))

    def test_what_an_object_holds(self):
        self.assertEqual(objects.contents(self.cuobjdump, self.object), [("ELF", "sm_90a")])
        path = compile_planted(self.folder.name, "both.cu", "-gencode=arch=compute_90a,code=[sm_90a,compute_90a]")
        self.assertIn(("PTX", "sm_90a"), objects.contents(self.cuobjdump, path))

    def test_other_targets_are_refused(self):
        with self.assertRaises(subprocess.CalledProcessError) as refusal:
            compile_planted(self.folder.name, "other.cu", "-gencode=arch=compute_90,code=sm_90")
        self.assertIn("for sm_90a alone", refusal.exception.stderr)


if __name__ == "__main__":
    unittest.main()
