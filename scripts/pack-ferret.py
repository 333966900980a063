#!/usr/bin/env python3
"""Packs the Ferret tests of a folder into tests/data/ferret/.

usage: scripts/pack-ferret.py FOLDER

The folder holds `valid*.jsonl.xz` and `invalid*.jsonl.xz`. They become zstd, which the tests can
read with a dependency that is there already; not a byte of what is in them changes.
"""

import lzma
import pathlib
import subprocess
import sys


def main() -> None:
    folder = pathlib.Path(sys.argv[1])
    target = pathlib.Path(__file__).parent.parent / "tests/data/ferret"
    for name in ["valid", "invalid"]:
        sources = sorted(folder.glob(f"{name}*.jsonl.xz"))
        lines = b"".join(lzma.decompress(source.read_bytes()) for source in sources)
        packed = subprocess.run(
            ["zstd", "-19", "--ultra", "-22", "-q", "-c"],
            input=lines,
            stdout=subprocess.PIPE,
            check=True,
        )
        (target / f"{name}.jsonl.zst").write_bytes(packed.stdout)


main()
