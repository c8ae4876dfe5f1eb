from __future__ import annotations

import csv
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from nubila.classes import CLASS_NAMES, class_set
from nubila.cli import main
from nubila.curate.alignment import align, shifted_correlation
from nubila.curate.audit import AuditRow, _key, audit
from nubila.curate.audit_scores import cloud_mask, judge, label_quality
from nubila.curate.audit_words import _of_agreement
from nubila.curate.mistakes import KINDS, mistake, mistakes
from nubila.curate.predict import keep_predictions
from nubila.curate.predictions import Output, Predictions, PredictionWriter, open_predictions
from nubila.datasets import LabelCodes, SampleSpec, load_sample, read_manifest
from nubila.detect import open_detector
from nubila.errors import MissingExtraError
from tests.curate.samples import write_samples

pytest.importorskip("cleanlab")

NOT_CLOUD = class_set(["clear", "cloud shadow", "snow", "water"])
CLOUD = class_set(["cloud", "thin cloud"])
OUTPUTS = (Output("clear", NOT_CLOUD), Output("cloud", CLOUD))
EACH = tuple(Output(name, 1 << code) for code, name in CLASS_NAMES.items())
EVERY = tuple(range(1, 64))


def _clouds(random: np.random.Generator, side: int = 32) -> NDArray[np.bool_]:
    """Return smooth blobs over a random share of a square."""
    coarse = random.normal(size=(side, side))
    for _ in range(6):
        coarse = sum(np.roll(coarse, s, a) for s in (-2, 0, 2) for a in (0, 1))
    return coarse > np.quantile(coarse, random.uniform(0.3, 0.85))


def _samples(folder: Path, count: int) -> tuple[Path, list[NDArray[np.bool_]]]:
    random = np.random.default_rng(4)
    clouds = [_clouds(random) for _ in range(count)]
    images = [
        np.where(cloud, 0.45, 0.1) + random.normal(0, 0.05, (1, *cloud.shape)) + np.zeros((4, 1, 1))
        for cloud in clouds
    ]
    return write_samples(folder, images, [c.astype(np.uint8) for c in clouds]), clouds


def _imperfect(cloud: NDArray[np.bool_], random: np.random.Generator) -> NDArray[np.float32]:
    """Return probabilities of a detector that misses, invents and moves edges, each time anew."""
    seen = cloud.copy()
    seen[_clouds(random, len(cloud)) & (random.random() < 0.3)] ^= True
    seen = np.roll(seen, random.integers(-2, 3, 2), (0, 1))
    chance = np.where(seen, 0.85, 0.15) + random.normal(0, 0.1, cloud.shape)
    chance = np.clip(chance, 0.01, 0.99).astype(np.float32)
    return np.stack([1 - chance, chance])


def _corrupted(
    specs: tuple[SampleSpec, ...], folder: Path, seed: int
) -> tuple[list[SampleSpec], dict[str, str]]:
    """Make a tenth of the labels wrong, each kind in turn."""
    random = np.random.default_rng(seed)
    found, wrong = list(specs), {}
    for place in random.permutation(len(specs)).tolist():
        if len(wrong) >= len(specs) // 10:
            break
        kind = KINDS[len(wrong) % len(KINDS)]
        other = load_sample(specs[int(random.integers(len(specs)))]).label
        label = mistake(kind, load_sample(specs[place]).label, other, random)
        if label is not None:
            np.save(folder / f"wrong{place}.npy", label)
            codes = LabelCodes(EVERY, EVERY)
            path = folder / f"wrong{place}.npy"
            found[place] = replace(specs[place], mask=path, codes=codes, corner=None)
            wrong[specs[place].id] = kind
    return found, wrong


def _cropped(spec: SampleSpec, folder: Path, number: int, side: int) -> SampleSpec:
    """Keep a corner of a sample, which takes the square of the time less."""
    sample = load_sample(spec)
    image, mask = folder / f"image{number}.npy", folder / f"mask{number}.npy"
    np.save(image, sample.image[:, :side, :side])
    np.save(mask, sample.label[:side, :side])
    return replace(
        spec,
        images=(image,),
        mask=mask,
        bands=sample.bands,
        scale=(1.0,),
        offset=(0.0,),
        nodata=(),
        codes=LabelCodes(EVERY, EVERY),
        resolution=sample.meta.resolution,
        corner=None,
        coverage=None,
    )


def _recall(rows: tuple[AuditRow, ...], wrong: dict[str, str]) -> float:
    return float(np.mean([row.spec.id in wrong for row in rows[: len(wrong)]]))


@pytest.fixture(scope="module")
def synthetic(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[list[SampleSpec], dict[str, str], Predictions]:
    """Sixty samples, six labels of them wrong, and an imperfect detector's predictions."""
    folder = tmp_path_factory.mktemp("audit")
    manifest, clouds = _samples(folder, 60)
    specs = read_manifest(manifest)
    random = np.random.default_rng(7)
    writer = PredictionWriter(folder / "kept", OUTPUTS)
    for spec, cloud in zip(specs, clouds, strict=True):
        writer.write(spec, _imperfect(cloud, random), model="imperfect", fold="1")
    changed, wrong = _corrupted(specs, folder, 0)
    return changed, wrong, open_predictions(folder / "kept")


def test_most_wrong_labels_are_found_on_synthetic_samples(
    synthetic: tuple[list[SampleSpec], dict[str, str], Predictions], tmp_path: Path
) -> None:
    specs, wrong, kept = synthetic
    assert sorted(set(wrong.values())) == sorted(KINDS)
    journal = tmp_path / "measured.jsonl"
    rows = audit(specs, kept, journal, report=lambda _: None)
    assert _recall(rows, wrong) >= 0.8
    assert {row.fold for row in rows} == {"1"}
    first = {row.spec.id: row.finding for row in rows}
    for name, kind in wrong.items():
        expected = {"inverted": "inverted", "shifted": "shifted"}.get(kind)
        assert expected is None or expected in first[name].flags, first[name].reason

    # Killed after some samples, it ends with the same table.
    lines = journal.read_text().splitlines(keepends=True)
    foreign = '{"key": "of another nubila", "facts": {"colour": 1}}\n'
    journal.write_text("".join(lines[:19]) + foreign + lines[19] + lines[20][:50])
    told: list[str] = []
    again = audit(specs, kept, journal, report=told.append)
    assert [(r.spec.id, r.score) for r in again] == [(r.spec.id, r.score) for r in rows]
    assert "21 samples measured" in told[0]


def test_only_an_audit_of_predictions_waits_for_cleanlab(
    synthetic: tuple[list[SampleSpec], dict[str, str], Predictions],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    code = (
        "import sys, nubila.cli.audit, nubila.curate.audit, nubila.curate.review, "
        "nubila.curate.fold_table, nubila.curate.automatic, nubila.curate.ensemble\n"
        "print({'cleanlab', 'sklearn', 'pandas'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
    specs, _, kept = synthetic
    monkeypatch.setitem(sys.modules, "cleanlab.segmentation.rank", None)
    assert audit(specs[:12], None, tmp_path / "images.jsonl", report=lambda _: None)
    with pytest.raises(MissingExtraError, match=r"cleanlab is not installed.*nubila\[curate\]"):
        audit(specs[:12], kept, tmp_path / "both.jsonl", report=lambda _: None)


def test_images_alone_find_many(
    synthetic: tuple[list[SampleSpec], dict[str, str], Predictions], tmp_path: Path
) -> None:
    specs, wrong, _ = synthetic
    rows = audit(specs, None, tmp_path / "measured.jsonl", report=lambda _: None)
    assert _recall(rows, wrong) >= 0.6
    assert all(row.agreement is None for row in rows)

    # Read in another way, it is measured anew, and nothing else is.
    journal = tmp_path / "measured.jsonl"
    other = [specs[0], replace(specs[1], offset=(0.01,)), *specs[2:]]
    audit(other, None, journal, report=lambda _: None)
    assert len(journal.read_text().splitlines()) == len(specs) + 1


def test_most_wrong_labels_are_found_on_real_samples(shared_data: Path, tmp_path: Path) -> None:
    """The shipped model, on images of the catalogue and of Landsat that it was not trained on."""
    table = Path(__file__).resolve().parents[2] / "recipes/default.csv"
    whole = read_manifest(table, root=shared_data, split="validation")
    specs = tuple(_cropped(spec, tmp_path, n, 224) for n, spec in enumerate(whole))
    kept = keep_predictions(
        open_detector("compact"), specs, tmp_path / "kept", report=lambda _: None
    )
    changed, wrong = _corrupted(specs, tmp_path, 0)
    rows = audit(changed, kept, tmp_path / "measured.jsonl", report=lambda _: None)
    assert _recall(rows, wrong) > 0.5


def test_score_of_full_labels_is_cleanlabs_own() -> None:
    from cleanlab.segmentation.rank import get_label_quality_scores

    random = np.random.default_rng(0)
    codes = random.integers(0, 6, (20, 30))
    probabilities = random.dirichlet(np.ones(6), (20, 30)).transpose(2, 0, 1).astype(np.float32)
    expected, _ = get_label_quality_scores(codes[None], probabilities[None], verbose=False)
    found = judge((1 << codes).astype(np.uint8), probabilities, EACH)
    assert found.cleanlab == pytest.approx(float(expected[0]), abs=1e-5)
    assert found.disagreement == pytest.approx(
        1 - np.take_along_axis(probabilities, codes[None], 0).mean(), abs=1e-5
    )


@settings(max_examples=60, deadline=None)
@given(label=st.integers(0, 63), chance=st.floats(0, 1))
def test_a_partial_label_is_as_likely_as_all_it_allows(label: int, chance: float) -> None:
    probabilities = np.array([1 - chance, chance], np.float32).reshape(2, 1, 1)
    quality = float(label_quality(np.full((1, 1), label, np.uint8), probabilities, OUTPUTS)[0, 0])
    if label == 0 or (label & CLOUD and label & NOT_CLOUD):
        assert np.isnan(quality)
    else:
        assert quality == pytest.approx(chance if label & CLOUD else 1 - chance, abs=1e-5)


@pytest.mark.parametrize(("pixels", "told"), [(13, False), (80, True)])
def test_a_few_pixels_of_cloud_are_no_overlap(pixels: int, told: bool) -> None:
    label = np.full((100, 100), NOT_CLOUD, np.uint8)
    cloud = np.zeros((100, 100), np.float32)
    cloud[0, :pixels] = 1
    found = judge(label, np.stack([1 - cloud, cloud]), OUTPUTS)
    assert np.isnan(found.iou) != told
    assert any("IoU" in words for words in _of_agreement(found)) == told


def test_a_label_that_says_nothing_gives_no_score() -> None:
    probabilities = np.full((2, 4, 4), 0.5, np.float32)
    found = judge(np.full((4, 4), 63, np.uint8), probabilities, OUTPUTS)
    assert found.pixels == 0
    assert np.isnan(found.cleanlab)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m[:, ::-1], "flipped left to right"),
        (lambda m: m[::-1], "flipped top to bottom"),
        (lambda m: np.rot90(m, 2), "turned by 180 degrees"),
    ],
)
def test_a_flip_is_told(change: object, words: str) -> None:
    field = _clouds(np.random.default_rng(5), 120).astype(np.float32)
    found = align(change(field), field)  # type: ignore[operator]
    assert found.words == words
    assert found.best > 0.95


def test_a_shift_is_told_in_pixels() -> None:
    field = _clouds(np.random.default_rng(6), 120).astype(np.float32)
    moved = np.full_like(field, np.nan)
    moved[16:, :-24] = field[:-16, 24:]  # 16 down, 24 to the left
    found = align(moved, field)
    assert np.abs(np.array(found.shift) - (-16, 24)).max() <= 2
    assert found.best > 0.9
    assert align(field, field).words == ""


def test_correlation_of_each_shift_is_that_of_the_overlap() -> None:
    random = np.random.default_rng(2)
    mask, field = random.random((9, 12)), random.random((9, 12))
    mask[0, :3] = np.nan
    values = shifted_correlation(mask, field)
    assert values.shape == (7, 9)
    moved = np.full_like(mask, np.nan)
    moved[2:, :-1] = mask[:-2, 1:]
    both = np.isfinite(moved) & np.isfinite(field)
    expected = np.corrcoef(moved[both], field[both])[0, 1]
    assert values[3 + 2, 4 - 1] == pytest.approx(expected, abs=1e-9)


def test_mistakes_are_what_they_are_called() -> None:
    random = np.random.default_rng(3)
    label = np.where(_clouds(random), CLOUD, NOT_CLOUD).astype(np.uint8)
    other = np.where(_clouds(random), CLOUD, NOT_CLOUD).astype(np.uint8)
    found = dict(mistakes(label, other, random))
    assert tuple(found) == KINDS
    assert (found["all clear"] == NOT_CLOUD).all()
    assert np.array_equal(cloud_mask(found["inverted"]), 1 - cloud_mask(label))
    assert np.array_equal(found["swapped"], other)
    assert (found["shifted"] == 0).mean() > 0.2
    assert mistake("all clear", np.full((8, 8), NOT_CLOUD, np.uint8), None, random) is None


def test_images_that_cannot_be_labelled_and_duplicates_are_flagged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest, clouds = _samples(tmp_path, 24)
    folder = tmp_path / "set"
    np.save(folder / "s000.npy", np.full((4, 32, 32), 0.2, np.float32))  # blank
    np.save(folder / "s001.npy", np.full((4, 32, 32), np.nan, np.float32))
    np.save(folder / "s003.npy", np.load(folder / "s002.npy"))
    np.save(folder / "s003_mask.npy", 1 - clouds[2].astype(np.uint8))
    np.save(folder / "s005.npy", np.load(folder / "s004.npy") * np.float32(1.1))
    np.save(folder / "s005_mask.npy", clouds[4].astype(np.uint8))
    bright = 0.5 + np.random.default_rng(0).normal(0, 0.03, (1, 32, 32)) + np.zeros((4, 1, 1))
    np.save(folder / "s006.npy", bright.astype(np.float32))
    np.save(folder / "s006_mask.npy", np.zeros((32, 32), np.uint8))
    target = tmp_path / "audit.csv"
    monkeypatch.setattr("sys.argv", ["nubila", "audit", str(manifest), "-o", str(target)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    with target.open(newline="") as stream:
        rows = {row["id"]: row for row in csv.DictReader(stream)}
    flags = {name.removeprefix("set/"): row["flags"].split(";") for name, row in rows.items()}
    assert flags["s000"] == ["blank"]
    assert flags["s001"] == ["no data"]
    assert "duplicate" in flags["s002"] and "contradicts duplicate" in flags["s003"]
    assert rows["set/s003"]["duplicate_of"] == "set/s002"
    assert flags["s004"] == flags["s005"] == ["near duplicate"]
    assert "empty on cloudy" in flags["s006"]
    assert [int(row["rank"]) for row in rows.values()] == list(range(1, 25))
    assert "inverted" in flags["s003"]
    assert "label has no cloud" in rows["set/s006"]["reason"]


def test_a_prediction_that_was_made_anew_is_measured_anew(tmp_path: Path) -> None:
    manifest, clouds = _samples(tmp_path, 6)
    spec = read_manifest(manifest)[0]
    writer = PredictionWriter(tmp_path / "kept", OUTPUTS)
    values = np.stack([1 - clouds[0], clouds[0]]).astype(np.float32)
    keys = []
    for digest in ("1", "1", "2"):
        writer.write(spec, values, model="m", digest=digest)
        keys.append(_key(spec, open_predictions(tmp_path / "kept"), None))
    assert keys[0] == keys[1] != keys[2]


def test_predictions_of_other_samples_are_told(tmp_path: Path, capsys, monkeypatch) -> None:
    manifest, _ = _samples(tmp_path, 6)
    PredictionWriter(tmp_path / "kept", OUTPUTS)
    arguments = [str(manifest), "--predictions", str(tmp_path / "kept")]
    monkeypatch.setattr("sys.argv", ["nubila", "audit", *arguments, "-o", str(tmp_path / "a.csv")])
    with pytest.raises(SystemExit):
        main()
    assert "no prediction of any of the 6 samples" in capsys.readouterr().err
