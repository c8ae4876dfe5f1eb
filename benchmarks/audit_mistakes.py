"""How many wrong labels `nubila audit` finds: a tenth of them is made wrong, and ranked.

    python benchmarks/audit_mistakes.py recipes/default.csv --root ../shared/data --model compact
    python benchmarks/audit_mistakes.py recipes/default.csv --root ../shared/data \
        --predictions runs/x/predictions

Prints precision, which at as many as were made wrong is recall too, and recall by kind of mistake.
"""

from __future__ import annotations

import argparse
import shutil
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from nubila.classes import CLASS_NAMES
from nubila.curate.audit import audit
from nubila.curate.mistakes import KINDS, mistake
from nubila.curate.predict import keep_predictions
from nubila.curate.predictions import Predictions, open_predictions
from nubila.datasets import LabelCodes, SampleSpec, load_sample, read_manifest
from nubila.detect import open_detector


def corrupt(
    specs: Sequence[SampleSpec], folder: Path, seed: int
) -> tuple[list[SampleSpec], dict[str, str]]:
    """Make a tenth of the labels wrong, as many of each kind; return samples and id -> kind."""
    random = np.random.default_rng(seed)
    found = list(specs)
    wrong: dict[str, str] = {}
    every = tuple(range(1, 1 << len(CLASS_NAMES)))
    for place in random.permutation(len(specs)).tolist():
        if len(wrong) >= len(specs) // 10:
            break
        spec, other = specs[place], specs[int(random.integers(len(specs)))]
        kind = KINDS[len(wrong) % len(KINDS)]
        label = mistake(kind, load_sample(spec).label, load_sample(other).label, random)
        if label is None:
            continue
        path = folder / f"{place}.npy"
        np.save(path, label)
        codes = LabelCodes(every, every)
        found[place] = replace(spec, mask=path, codes=codes, corner=None, coverage=None)
        wrong[spec.id] = kind
    return found, wrong


def recalls(
    specs: Sequence[SampleSpec], predictions: Predictions | None, seed: int, journal: Path
) -> dict[str, list[bool]]:
    """Return, by kind of mistake, which were found among as many as were made."""
    with TemporaryDirectory() as folder:
        changed, wrong = corrupt(specs, Path(folder), seed)
        copy = Path(folder) / "measured.jsonl"
        if journal.is_file():
            shutil.copy(journal, copy)
        rows = audit(changed, predictions, copy, report=lambda _: None)
        top = {row.spec.id for row in rows[: len(wrong)]}
        shutil.copy(copy, journal)
    found = defaultdict(list)
    for name, kind in wrong.items():
        found[kind].append(name in top)
    return dict(found)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("manifest")
    parser.add_argument("--root")
    parser.add_argument("--split")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--model", help="default: no predictions")
    source.add_argument("--predictions", type=Path, help="kept ones, such as those out of fold")
    parser.add_argument("--work", default="runs/audit-mistakes", help="kept predictions lie here")
    parser.add_argument("--seeds", type=int, default=5)
    given = parser.parse_args()
    specs = read_manifest(given.manifest, root=given.root, split=given.split)
    work = Path(given.work)
    work.mkdir(parents=True, exist_ok=True)
    kept = None if given.predictions is None else open_predictions(given.predictions)
    if given.model:
        detector = open_detector(given.model)
        kept = keep_predictions(detector, specs, work / given.model, report=print)
    journal = "out-of-fold" if given.predictions else given.model
    every: dict[str, list[bool]] = defaultdict(list)
    shares = []
    for seed in range(given.seeds):
        found = recalls(specs, kept, seed, work / f"{journal}.jsonl")
        hits = [hit for kind in found.values() for hit in kind]
        shares.append(float(np.mean(hits)))
        for kind, each in found.items():
            every[kind] += each
        print(f"seed {seed}: {sum(hits)} of {len(hits)} found among the first {len(hits)}")
    print(f"{len(specs)} samples, precision = recall {np.mean(shares):.2f} "
          f"({min(shares):.2f} to {max(shares):.2f}); by chance 0.10")  # fmt: skip
    for kind, each in every.items():
        print(f"  {kind}: {np.mean(each):.2f} of {len(each)}")


if __name__ == "__main__":
    main()
