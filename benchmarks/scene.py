"""How fast a whole scene is masked, beside the limit of the machine and beside a peer.

    python benchmarks/scene.py --peer-python /path/to/venv-with-ukis-csmask/bin/python

Writes synthetic Sentinel-2 L1C products once, then measures each thing in a process of its own, one
after the other, and writes `results.md`. See README.md for what the figures mean.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
PEER_SIDE = (
    2048  # pixels; the peer is too slow for a whole scene, and its rate does not depend on it
)

WARM_UP = 512  # pixels of a product that is masked first, so that all modules are compiled


def main() -> None:
    arguments = parse()
    if arguments.measure:
        print(json.dumps(MEASURES[arguments.measure](arguments)))
        return
    measure_size(arguments, write_product(arguments.work, WARM_UP), WARM_UP)
    rows = [
        line
        for size in arguments.sizes
        for line in measure_size(arguments, write_product(arguments.work, size), size)
    ]
    text = report(arguments, rows)
    arguments.output.write_text(text)
    print(text)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path("build/benchmark"))
    parser.add_argument("--output", type=Path, default=HERE / "results.md")
    parser.add_argument("--sizes", type=int, nargs="+", default=[2048, 5490, 10980])
    parser.add_argument("--resolutions", type=float, nargs="+", default=[20.0, 10.0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--model", help="name or path; default the model that ships")
    parser.add_argument("--peer-python", help="a Python that has ukis-csmask 1.0.0")
    parser.add_argument("--measure", choices=sorted(MEASURES), help=argparse.SUPPRESS)
    parser.add_argument("--product", help=argparse.SUPPRESS)
    parser.add_argument("--resolution", type=float, help=argparse.SUPPRESS)
    return parser.parse_args()


def write_product(work: Path, size: int) -> Path:
    """Return a product of this size, made unless it is there."""
    from nubila.synth import write_safe

    folder = work / f"size_{size}"
    found = list(folder.glob("*.SAFE"))
    if found:
        return found[0]
    print(f"writing a product of {size} x {size} in {folder}", file=sys.stderr, flush=True)
    return Path(write_safe(folder, size=size, seed=3, preset="mixed").path)


def measure_size(arguments: argparse.Namespace, product: Path, size: int) -> list[dict]:
    lines = []
    for metres in arguments.resolutions:
        line = {"size": size, "metres": metres, "pixels": (size * 10 / metres) ** 2}
        for name in ("mask", "decode", "onnx", "memory"):
            line[name] = measured(arguments, sys.executable, name, product, metres)
        if arguments.peer_python and size == max(arguments.sizes):
            line["peer"] = measured(arguments, arguments.peer_python, "peer", product, metres)
        lines.append(line)
    return lines


def measured(
    arguments: argparse.Namespace, python: str, name: str, product: Path, metres: float
) -> dict:
    """Run one measurement in a process of its own."""
    command = [python, __file__, "--measure", name, "--product", str(product)]
    command += ["--resolution", str(metres), "--threads", str(arguments.threads)]
    command += ["--work", str(arguments.work)]
    command += ["--model", arguments.model] if arguments.model else []
    print(f"{name} at {metres:g} m of {product.name}", file=sys.stderr, flush=True)
    # Compiled modules are kept on both sides, as Python does unless it is told otherwise.
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    run = subprocess.run(command, capture_output=True, text=True, check=False, env=kept)
    if run.returncode:
        sys.exit(f"{' '.join(command)}\n{run.stderr}")
    return json.loads(run.stdout.splitlines()[-1])


def usage(start: float, cpu: float) -> dict:
    """Return wall and CPU seconds since a start, and the peak of this process in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "wall": time.perf_counter() - start,
        "cpu": time.process_time() - cpu,
        "mib": peak / (1 << 20 if sys.platform == "darwin" else 1 << 10),
    }


def measure_mask(arguments: argparse.Namespace) -> dict:
    """`nubila mask`, by the function that the command calls."""
    from nubila.infer import MaskOptions, mask_to_folder

    start, cpu = time.perf_counter(), time.process_time()
    result = mask_to_folder(
        arguments.product,
        arguments.work / "masks",
        model=arguments.model,
        options=MaskOptions(resolution=arguments.resolution),
        threads=arguments.threads,
        overwrite=True,
    )
    run = result.run
    parts = {"decode": run.decode_seconds, "model": run.model_seconds, "tile": run.tile_seconds}
    return usage(start, cpu) | {"parts": parts}


def measure_decode(arguments: argparse.Namespace) -> dict:
    """GDAL alone: every needed band once, by whole block rows, on one thread."""
    from nubila.models_io import find_model, load_model
    from nubila.raster import Window
    from nubila.scenes import open_scene

    scene = open_scene(arguments.product)
    card = load_model(find_model(arguments.model)).card
    bands = [scene.band(b.name) for b in card.bands if scene.has_band(b.name)]
    start, cpu = time.perf_counter(), time.process_time()
    for band in bands:
        file, factor = band.level(arguments.resolution)
        rows, columns = (-(-n // factor) for n in file.source.shape)
        step = file.source.block[0]
        for row in range(0, rows, step):
            file.source.read(factor, Window(row, 0, min(step, rows - row), columns))
    return usage(start, cpu)


def measure_onnx(arguments: argparse.Namespace) -> dict:
    """Plain ONNX Runtime on one thread: seconds a pixel on an image in memory."""
    import numpy as np
    import onnxruntime

    from nubila.models_io import find_model, load_model

    model = load_model(find_model(arguments.model))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.path, options, providers=["CPUExecutionProvider"])
    side, runs = 1024, 6
    image = np.random.default_rng(0).uniform(0, 1, (1, len(model.card.bands), side, side))
    feed = {"reflectance": image.astype(np.float32)}
    session.run(None, feed)
    start, cpu = time.perf_counter(), time.process_time()
    for _ in range(runs):
        session.run(None, feed)
    figures = usage(start, cpu)
    return figures | {"cpu_a_pixel": figures["cpu"] / runs / side**2}


def corner(arguments: argparse.Namespace) -> tuple[list[str], object]:
    """Return names and reflectance (6, rows, columns) of the product's corner, in memory."""
    from nubila.raster import Window
    from nubila.scenes import open_scene

    scene = open_scene(arguments.product)
    side = min(PEER_SIDE, scene.grid_at(arguments.resolution).shape[0])
    names = ["blue", "green", "red", "nir", "swir16", "swir22"]
    window = Window(0, 0, side, side)
    return names, scene.read(names, window, arguments.resolution).reflectance


def measure_memory(arguments: argparse.Namespace) -> dict:
    """`nubila.predict` on an array in memory; the model is loaded before."""
    import nubila
    from nubila.models_io import find_model

    names, image = corner(arguments)
    model = nubila.load_model(find_model(arguments.model))
    options = {"bands": names, "model": model, "threads": arguments.threads}
    nubila.predict(image[:, :512, :512], **options)
    start, cpu = time.perf_counter(), time.process_time()
    nubila.predict(image, **options)
    return usage(start, cpu) | {"pixels": image.shape[1] * image.shape[2]}


def measure_peer(arguments: argparse.Namespace) -> dict:
    """ukis-csmask on the same corner: in memory, and with rasterio's reading in front of it."""
    import numpy as np
    import rasterio
    from ukis_csmask.mask import CSmask

    names = ["blue", "green", "red", "nir", "swir16", "swir22"]
    labels = ["B02", "B03", "B04", "B08", "B11", "B12"]
    folder = next(Path(arguments.product).glob("GRANULE/*/IMG_DATA"))
    start, cpu = time.perf_counter(), time.process_time()
    image = None
    for number, label in enumerate(labels):
        with rasterio.open(next(folder.glob(f"*_{label}.jp2"))) as data:
            metres = data.transform.a
            side = min(PEER_SIDE, int(data.width * metres / arguments.resolution))
            pixels = int(side * arguments.resolution / metres)
            window = rasterio.windows.Window(0, 0, pixels, pixels)
            counts = data.read(1, window=window, out_shape=(side, side))
        if image is None:
            image = np.empty((side, side, len(labels)), np.float32)
        image[:, :, number] = counts * np.float32(1e-4) - np.float32(0.1)
    reading = time.perf_counter() - start
    middle = time.perf_counter()
    CSmask(image, names, product_level="l1c", intra_op_num_threads=arguments.threads)
    return usage(start, cpu) | {
        "pixels": image.shape[0] * image.shape[1],
        "reading": reading,
        "running": time.perf_counter() - middle,
    }


MEASURES = {
    "mask": measure_mask,
    "decode": measure_decode,
    "onnx": measure_onnx,
    "memory": measure_memory,
    "peer": measure_peer,
}


def report(arguments: argparse.Namespace, rows: list[dict]) -> str:
    lines = [
        "# Results",
        "",
        f"Made by `benchmarks/scene.py` on {platform.machine()}, {platform.system()}, "
        f"Python {platform.python_version()}, {arguments.threads} threads. Absolute times are of "
        "one shared machine; the ratios are what to read.",
        "",
        "| tile | at | Mpx | wall s | Mpx/s | limit s | wall / limit | CPU decode | CPU model | "
        "CPU rest | peak MiB |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [scene_line(row, arguments.threads) for row in rows]
    peers = [row for row in rows if "peer" in row]
    if peers:
        lines += [
            "",
            "| at | nubila in memory Mpx/s | ukis-csmask in memory Mpx/s | ratio | "
            "nubila from SAFE Mpx/s | ukis-csmask with reading Mpx/s | ratio | peer's peak MiB |",
            "|---|---|---|---|---|---|---|---|",
        ]
        lines += [peer_line(row) for row in peers]
    return "\n".join(lines) + "\n"


def scene_line(row: dict, threads: int) -> str:
    mask, parts = row["mask"], row["mask"]["parts"]
    limit = (row["decode"]["cpu"] + row["onnx"]["cpu_a_pixel"] * row["pixels"]) / threads
    rest = mask["cpu"] - parts["decode"] - parts["model"]
    megapixels, wall = row["pixels"] / 1e6, mask["wall"]
    return (
        f"| {row['size']} | {row['metres']:g} m | {megapixels:.1f} | {wall:.1f} | "
        f"{megapixels / wall:.2f} | {limit:.1f} | **{wall / limit:.2f}** | "
        f"{parts['decode']:.1f} | {parts['model']:.1f} | {rest:.1f} | {mask['mib']:.0f} |"
    )


def peer_line(row: dict) -> str:
    peer, memory = row["peer"], row["memory"]
    ours = memory["pixels"] / memory["wall"] / 1e6
    theirs = peer["pixels"] / peer["running"] / 1e6
    whole = row["pixels"] / row["mask"]["wall"] / 1e6
    reading = peer["pixels"] / (peer["running"] + peer["reading"]) / 1e6
    return (
        f"| {row['metres']:g} m | {ours:.2f} | {theirs:.3f} | **{ours / theirs:.1f}** | "
        f"{whole:.2f} | {reading:.3f} | **{whole / reading:.1f}** | {peer['mib']:.0f} |"
    )


if __name__ == "__main__":
    main()
