"""Score a recipe on every labelled image of default.csv by networks that have not seen its place.

    python recipes/cross_validation.py recipes/small.yaml FOLDER --steps 2000 -o runs/cross

FOLDER is as for default_manifest.py, and the labels that the recipe names are there (`make weights`
makes them). The labelled places are dealt out to folds; for each, a network is trained on the other
folds and on everything that has no label of a person, as the recipe says but from new weights, and
judged beside ukis-csmask on the images of its fold, whose masks are those that people drew. The
folds' counts are joined, so that intervals are over all scenes. Networks are judged as they are
after the last step, so that nothing is chosen on what is scored; only the temperature is fitted
there, which hardly changes what is called. Run again, it goes on.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nubila.datasets import SampleSpec, read_manifest
from nubila.datasets.manifest import write_manifest
from nubila.detect import Detection, Detector, Output, View
from nubila.evaluate.compare_detectors import (
    Comparison,
    Contender,
    compare_detectors,
    open_detectors,
)
from nubila.evaluate.compare_report import write_comparison
from nubila.recipe import load_recipe

RECIPES = Path(__file__).resolve().parent
PEERS = ("ukis-csmask", "ukis-csmask-4", "ukis-csmask-4-native")
OWN = "held out"


def main() -> None:
    """Deal out, train, judge, and write the report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("recipe", type=Path)
    parser.add_argument("root", type=Path, help="folder of the sources")
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--steps", type=int, required=True, help="of each training")
    parser.add_argument("-o", "--output", type=Path, required=True)
    given = parser.parse_args()
    tables = deal_out(given.recipe, given.root, given.folds, given.output)
    parts: list[Comparison] = []
    judged: list[SampleSpec] = []
    networks: dict[str, Detector] = {}
    peers = open_detectors(PEERS)
    for table in tables:
        (own,) = open_detectors([str(train(given, table))]).values()
        specs = read_manifest(table, root=given.root, split="validation")
        parts.append(compare_detectors({OWN: own, **peers}, specs))
        networks |= {spec.id: own for spec in specs}
        judged += specs
    # Pictures are drawn by each image's own network too: the others have been trained on it.
    found = write_comparison(joined(parts), {OWN: HeldOut(networks), **peers}, judged, given.output)
    print(json.dumps({key: str(path) for key, path in found.items()}, indent=2))


@dataclass(frozen=True)
class HeldOut:
    """The networks of all folds as one detector: each image is judged by that of its fold.

    Attributes:
        networks: id of a sample -> the network that has not seen its place.
    """

    networks: Mapping[str, Detector]

    @property
    def name(self) -> str:
        """What reports call it."""
        return OWN

    @property
    def outputs(self) -> tuple[Output, ...]:
        """What it tells apart, the same in all folds."""
        return next(iter(self.networks.values())).outputs

    def lacks(self, view: View) -> str:
        """Return what the network of the view's fold would need, in words; empty if it can."""
        return self.networks[view.name].lacks(view)

    def detect(self, view: View) -> Detection:
        """Judge a view by the network of its fold."""
        return self.networks[view.name].detect(view)


def deal_out(recipe: Path, root: Path, count: int, folder: Path) -> list[Path]:
    """Write a table a fold, its images for validation and all others to train on.

    To train on, an image has the mask that the recipe's manifest has; to be judged on, the one that
    a person drew.
    """
    with (RECIPES / "default.csv").open() as file:
        drawn = {row["image"]: row for row in csv.DictReader(file)}
    with labels_of(recipe).open() as file:
        told = list(csv.DictReader(file))
    places = {image: place(row) for image, row in drawn.items()}
    rows = [row | {"place": places[image], "source": image.split("/")[0], "split": "train"}
            for image, row in drawn.items()]  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    labelled = folder / "labelled.csv"
    write_manifest(labelled, rows)
    dealt = folder / "folds.csv"
    nubila("folds", labelled, "--root", root, "-k", count, "--together", "place",
           "--by", "source,cloud_cover", "-o", dealt)  # fmt: skip
    with dealt.open() as file:
        folds = {row["image"]: row["fold"] for row in csv.DictReader(file)}
    tables = []
    for fold in sorted(set(folds.values())):
        kept = {places[image] for image, own in folds.items() if own == fold}
        table = folder / f"fold-{fold}.csv"
        write_manifest(table, [dict(drawn[row["image"]], split="validation")
                               if folds.get(row["image"]) == fold else row | {"split": "train"}
                               for row in told
                               if folds.get(row["image"]) == fold
                               or place(row) not in kept])  # fmt: skip
        tables.append(table)
    return tables


def labels_of(recipe: Path) -> Path:
    """Return the manifest that a recipe trains on."""
    manifest = load_recipe(recipe).data.manifest
    if manifest is None:
        raise SystemExit(f"{recipe}: trains on a collection; expected data.manifest")
    return manifest


def place(row: Mapping[str, str]) -> str:
    """Return what of a row stays in one fold: its group, but all dates of Calgary together."""
    if row["image"].startswith("s2_shadow_calgary/"):
        return row["group"].rpartition("_")[0]  # calgary_2020-06-15
    return row["group"]


def train(given: argparse.Namespace, table: Path) -> Path:
    """Return the model of a fold."""
    values = {
        "data.manifest": os.path.relpath(table, given.recipe.parent),
        "steps": given.steps,
        "validate_every": given.steps,
    }
    return trained(given.recipe, given.output / table.stem, [f"{k}={v}" for k, v in values.items()])


def trained(
    recipe: Path, run: Path, settings: Sequence[str], *, start_from: Path | None = None
) -> Path:
    """Return the model of a run beside it; a run that is finished is not done again.

    It starts from the weights of another run that is given, or from new ones, whatever the recipe
    says: those that a second run starts from have seen what is to be judged. A folder that holds a
    run of another recipe or other data is refused by `nubila train`.
    """
    model = run.with_name(f"{run.name}.onnx")
    start = "null" if start_from is None else os.path.relpath(start_from, recipe.parent)
    settings = [*settings, f"finetune.start_from={start}"]
    options = [part for one in settings for part in ("--set", one)]
    nubila("train", recipe, "-o", run, *options)
    # Always: biases and decision of the recipe may be others than when the run was finished.
    nubila("export", run, "-o", model)
    return model


def joined(parts: list[Comparison]) -> Comparison:
    """Return the comparisons of all folds as one."""
    contenders = []
    for same in zip(*(part.contenders for part in parts), strict=True):
        lacking = {words: sum(c.lacking.get(words, 0) for c in same)
                   for c in same for words in c.lacking}  # fmt: skip
        tallies = tuple(tally for c in same for tally in c.tallies)
        contenders.append(Contender(same[0].name, same[0].told, tallies, lacking))
    return Comparison(tuple(contenders), tuple(d for part in parts for d in part.disagreement))


def nubila(*arguments: object) -> None:
    """Run the command of this environment."""
    command = Path(sys.executable).with_name("nubila")
    subprocess.run([command, *map(str, arguments)], check=True)


if __name__ == "__main__":
    main()
