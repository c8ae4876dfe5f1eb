"""Train without each source in turn: what it adds, and how its images fare unseen.

    python recipes/leave_one_out.py recipes/small.yaml --root FOLDER --steps 700 -o runs/sources
    python recipes/leave_one_out.py recipes/default-first.yaml recipes/default.yaml --root FOLDER \
        --without l8_biome,38-Cloud,on_cloud_n \
        --without s2_cloud_mask_catalogue_rgb,s2_shadow_calgary --beside compact -o runs/unseen

FOLDER is as for default_manifest.py, and the labels of the recipe are there. Of several recipes
each goes on from the weights of the one before. One network is trained on all sources, one more
with another seed (what is chance), and one without each of the sources and without synthetic
scenes. All are judged on the validation images; the one without a source, beside that with all and
ukis-csmask, also on every image of the source that a person labelled, of which it alone has seen
none. With `--without`, only networks without these sources are trained, and judged on them.
Networks are judged as they are after the last step. Run again, it goes on.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from cross_validation import labels_of, trained

from nubila.datasets import read_manifest
from nubila.datasets.manifest import write_manifest
from nubila.detect import Detector
from nubila.evaluate.compare_detectors import compare_detectors, open_detectors
from nubila.recipe import load_recipe

RECIPES = Path(__file__).resolve().parent
DRAWN = RECIPES / "default.csv"
PEERS = ("ukis-csmask", "ukis-csmask-4", "ukis-csmask-4-native")
SYNTHETIC = "synth"
ALL, AGAIN = "all", "all, another seed"
CLASSES = ("cloud", "cloud shadow")

# A recipe's file to the settings by which it is trained.
Plan = Callable[[Path], list[str]]


def main() -> None:
    """Train, judge, and write the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("recipes", type=Path, nargs="+")
    parser.add_argument("--root", type=Path, required=True, help="folder of the sources")
    parser.add_argument("--steps", type=int, help="of each training; default as the recipe says")
    parser.add_argument(
        "--without", action="append", type=lambda text: text.split(","), metavar="SOURCE,SOURCE"
    )
    parser.add_argument("--beside", default="compact", help="with --without: a model to compare")
    parser.add_argument("-o", "--output", type=Path, required=True)
    given = parser.parse_args()
    given.output.mkdir(parents=True, exist_ok=True)
    found = some(given) if given.without else each(given)
    path = given.output / "scores.json"
    path.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    if "validation" in found:
        print("\n".join([*validation_table(found["validation"]), ""]))
    print("\n".join(unseen_table(found["unseen"])))
    print(path)


def each(given: argparse.Namespace) -> dict[str, Any]:
    """Train with all, with all again, and without each source; return both kinds of scores."""
    data = load_recipe(given.recipes[-1]).data
    manifest = labels_of(given.recipes[-1])
    sources = sorted({spec.folder for spec in read_manifest(manifest, root=data.root)})
    plans: dict[str, Plan] = {ALL: lambda _: [], AGAIN: lambda _: ["seed=2"]}
    plans |= {source: partial(left_out, [source], given.output) for source in sources}
    plans[SYNTHETIC] = lambda _: ["synth.share=0"]
    networks = {name: network(name, plan, given) for name, plan in plans.items()}
    unseen = {
        source: scores
        for source in sources
        if (scores := on_source(source, networks[source], networks[ALL], given.root))
    }
    return {"validation": on_validation(networks, given.root), "unseen": unseen}


def some(given: argparse.Namespace) -> dict[str, Any]:
    """Train without some sources at a time; return the scores on these."""
    (beside,) = open_detectors([given.beside]).values()
    unseen = {}
    for sources in given.without:
        own = network(
            "without " + " ".join(sources), partial(left_out, sources, given.output), given
        )
        for source in sources:
            unseen[source] = on_source(source, own, beside, given.root)
    return {"unseen": unseen}


def network(name: str, plan: Plan, given: argparse.Namespace) -> Detector:
    """Train a network by all recipes in turn, each with its own settings of a plan."""
    folder = given.output / name.replace(", ", "-").replace(" ", "-")
    before: Path | None = None
    for place, recipe in enumerate(given.recipes, start=1):
        last = place == len(given.recipes)
        run = folder if last else folder.with_name(f"{folder.name}-run{place}")
        steps = given.steps or load_recipe(recipe).steps
        lengths = [f"steps={steps}", f"validate_every={steps}"]
        model = trained(recipe, run, [*lengths, *plan(recipe)], start_from=before)
        before = run
    (found,) = open_detectors([str(model)]).values()
    return found


def left_out(sources: Sequence[str], folder: Path, recipe: Path) -> list[str]:
    """Return the settings of a recipe that leave sources out, of its validation split too.

    Else the temperature would be fitted on images that the network is to know nothing of, and an
    unsure network comes out so flat that kinds of one class lose.

    Args:
        sources: their folders.
        folder: where the table without them is written.
        recipe: its file.
    """
    with labels_of(recipe).open() as file:
        rows = [row for row in csv.DictReader(file) if _source(row["image"]) not in sources]
    table = folder / f"without-{'-'.join(sources)}-{recipe.stem}.csv"
    write_manifest(table, rows)
    weights = load_recipe(recipe).data.weights
    kept = {name: weight for name, weight in weights.items() if _source(name) not in sources}
    return [
        f"data.manifest={os.path.relpath(table, recipe.parent)}",
        f"data.weights={json.dumps(kept)}",
    ]


def _source(image: str) -> str:
    """Return the folder that an image lies in, its source."""
    return image.partition("/")[0]


def on_validation(networks: Mapping[str, Detector], root: Path) -> dict[str, Any]:
    """Return network -> folder -> class -> IoU and, but for the first's, its difference."""
    specs = read_manifest(DRAWN, root=root, split="validation")
    specs += read_manifest(DRAWN, root=root, split="same place")
    comparison = compare_detectors(networks, specs)
    folders = [None, *dict.fromkeys(spec.folder for spec in specs)]
    pairs = {folder: comparison.pairs(folder) for folder in folders}
    found: dict[str, Any] = {}
    for name, scores in comparison.scores().items():
        if name in networks:
            parts = {None: scores["overall"]} | scores["folders"]
            found[name] = {
                folder or "all": _classes(parts[folder], pairs[folder].get(f"{name} − {ALL}", {}))
                for folder in folders
            }
    return found


def _classes(scores: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Return class -> IoU, and the interval of what that is more than the first network's."""
    return {
        one: {"iou": scores[one]["iou"], "interval": more.get(one, {}).get("iou_interval")}
        for one in CLASSES
        if one in scores
    }


def on_source(source: str, own: Detector, beside: Detector, root: Path) -> dict[str, Any]:
    """Return the scores on all that people labelled of a source; {} if that is nothing."""
    specs = [spec for spec in read_manifest(DRAWN, root=root) if spec.folder == source]
    if not specs:
        return {}
    detectors = {"without": own, "with": beside, **open_detectors(PEERS)}
    comparison = compare_detectors(detectors, specs)
    overall = {name: scores["overall"] for name, scores in comparison.scores().items()}
    return {
        "images": len(specs),
        "scores": {
            name: {one: scores[one] for one in CLASSES if one in scores}
            for name, scores in overall.items()
        },
        "differences": comparison.pairs(),
    }


def validation_table(found: Mapping[str, Any]) -> Iterator[str]:
    """Return the lines of a table, a network a row, a folder and class a column."""
    columns = [(folder, one) for folder, classes in found[ALL].items() for one in classes]
    yield "| trained on | " + " | ".join(f"{one}, {folder}" for folder, one in columns) + " |"
    yield "|---" * (len(columns) + 1) + "|"
    for name, folders in found.items():
        cells = []
        for folder, one in columns:
            values = folders.get(folder, {}).get(one, {})
            low_high = values.get("interval")
            cell = f"{100 * values['iou']:.1f}" if values.get("iou") is not None else "-"
            if low_high and None not in low_high:
                cell += f" ({100 * low_high[0]:+.1f} to {100 * low_high[1]:+.1f})"
            cells.append(cell)
        told = name if name in (ALL, AGAIN) else f"without {name}"
        yield f"| {told} | " + " | ".join(cells) + " |"


def unseen_table(found: Mapping[str, Any]) -> Iterator[str]:
    """Return the lines of a table, a source and class a row, a detector a column."""
    detectors = list(dict.fromkeys(name for part in found.values() for name in part["scores"]))
    yield "| source | images | class | " + " | ".join(detectors) + " |"
    yield "|---" * (len(detectors) + 3) + "|"
    for source, part in found.items():
        for one in CLASSES:
            ious = [part["scores"].get(name, {}).get(one, {}).get("iou") for name in detectors]
            if any(iou is not None for iou in ious):
                cells = ["-" if iou is None else f"{100 * iou:.1f}" for iou in ious]
                yield f"| {source} | {part['images']} | {one} | " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
