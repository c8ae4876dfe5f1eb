from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from nubila.classes import CLASS_NAMES, class_set
from nubila.cli import app
from nubila.curate.combination import Combination
from nubila.curate.predictions import Output, PredictionWriter
from nubila.datasets import load_sample, read_manifest
from nubila.detect import View, open_detector
from nubila.errors import InputError
from nubila.models_io import BandUse, ModelCard, load_model
from tests.curate.samples import write_samples

onnx = pytest.importorskip("onnx")

_CLOUD = class_set(["cloud", "thin cloud"])
_STANDS = {"clear": ("clear", "snow", "water", "cloud shadow"), "cloud": ("cloud", "thin cloud")}


def _write(
    path: Path,
    bands: tuple[str, ...],
    *,
    classes: tuple[str, ...] = ("clear", "cloud"),
    seed: int = 0,
    kernel: int = 3,
    stride: int = 2,
    output: str = "probabilities",
    statistics: tuple[str, ...] = (),
    opset: int = 18,
    stands_for: dict | None = None,
) -> Path:
    """Write a random linear model; with statistics, their sum over bands is added to the first."""
    helper, dtype = onnx.helper, onnx.TensorProto.FLOAT
    random = np.random.default_rng(seed)
    weight = random.normal(0, 1, (len(classes), len(bands), kernel, kernel)).astype(np.float32)
    tensors = [
        onnx.numpy_helper.from_array(np.float32(0), "zero"),
        onnx.numpy_helper.from_array(weight, "weight"),
        onnx.numpy_helper.from_array(random.uniform(1, 2, len(bands)).astype(np.float32), "scale"),
        onnx.numpy_helper.from_array(np.array([1, 2], np.int64), "axes"),
        onnx.numpy_helper.from_array(np.array([-1, 1, 1, 1], np.int64), "shape"),
    ]
    pads = [kernel // 2] * 4
    scores = "scores" if statistics else ("logits" if output == "logits" else "raw")
    nodes = [
        helper.make_node("IsNaN", ["reflectance"], ["missing"]),
        helper.make_node("Where", ["missing", "zero", "reflectance"], ["filled"]),
        helper.make_node("Conv", ["filled", "weight"], [scores], pads=pads),
    ]
    ports = [("reflectance", ["n", len(bands), "h", "w"])]
    if statistics:
        last = "logits" if output == "logits" else "raw"
        ports.append(("statistics", ["n", len(statistics), len(bands)]))
        nodes += [
            helper.make_node("Mul", ["statistics", "scale"], ["scaled"]),
            helper.make_node("ReduceSum", ["scaled", "axes"], ["sum"], keepdims=0),
            helper.make_node("Reshape", ["sum", "shape"], ["column"]),
            helper.make_node("Mul", ["scores", "column"], [last]),
        ]
    if output == "probabilities":
        nodes.append(helper.make_node("Softmax", ["raw"], ["probabilities"], axis=1))
    given = [helper.make_tensor_value_info(name, dtype, shape) for name, shape in ports]
    gives = helper.make_tensor_value_info(output, dtype, ["n", len(classes), "h", "w"])
    graph = helper.make_graph(nodes, "toy", given, [gives], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    stands = _STANDS if stands_for is None else stands_for
    card = ModelCard(
        name=path.stem,
        version="1",
        summary="toy",
        bands=[{"name": band, "required": band == "red"} for band in bands],
        classes=classes,
        stands_for={name: stands[name] for name in classes if name in stands},
        resolution=(10, 30 if kernel == 3 else 60),
        receptive_field=kernel // 2,
        stride=stride,
        statistics=statistics,
        output=output,
        licence="Apache-2.0",
        parameters=weight.size,
    )
    helper.set_model_props(model, {"nubila.card": card.model_dump_json()})
    onnx.save(model, path)
    return path


def _run(*arguments: object):
    return CliRunner().invoke(app, ["ensemble", *map(str, arguments)])


@pytest.fixture
def three(tmp_path: Path) -> list[Path]:
    """Members that differ in bands, their order, classes' order, stride, output and operators."""
    return [
        _write(tmp_path / "one.onnx", ("red", "nir"), seed=1, stride=2),
        _write(
            tmp_path / "two.onnx",
            ("green", "red"),
            classes=("cloud", "clear"),
            seed=2,
            stride=3,
            kernel=5,
            output="logits",
            opset=17,
        ),
        _write(tmp_path / "three.onnx", ("nir", "red"), seed=3, stride=4, statistics=("p2", "p98")),
    ]


def test_one_file_gives_what_its_members_give(three: list[Path], tmp_path: Path) -> None:
    done = _run(*three, "-o", tmp_path / "mean.onnx")
    assert done.exit_code == 0, (done.output, done.exception)
    whole = load_model(tmp_path / "mean.onnx")
    card = whole.card
    assert [(b.name, b.required) for b in card.bands] == [
        ("red", True),
        ("nir", False),
        ("green", False),
    ]
    assert (card.stride, card.receptive_field, card.classes) == (12, 2, ("clear", "cloud"))
    assert (card.statistics, card.resolution) == (("p2", "p98"), (10, 30))
    assert card.parameters == 2 * 2 * 9 + 2 * 2 * 25 + 2 * 2 * 9
    told = yaml.safe_load(card.recipe)["ensemble"]["members"]
    assert [member["name"] for member in told] == ["one", "two", "three"]
    assert told[0]["weights"] == {"clear": 0.333333, "cloud": 0.333333}
    assert (tmp_path / "mean.stac.json").is_file()

    # Through nubila's engine, an odd size and with no data, against the members one by one.
    random = np.random.default_rng(5)
    image = random.uniform(0, 1, (3, 53, 41)).astype(np.float32)
    image[:, 9:17, 3:5] = np.nan
    view = View(image, ("green", "red", "nir"), resolution=10.0, name="v")
    found = open_detector(str(tmp_path / "mean.onnx")).detect(view)
    expected = np.zeros((2, 53, 41))
    for path in three:
        one = open_detector(str(path)).detect(view)
        codes = [output.code for output in one.outputs]
        expected += one.probabilities[[codes.index(0), codes.index(1)]] / 3
    judged = ~np.isnan(expected[0])
    np.testing.assert_allclose(found.probabilities[:, judged], expected[:, judged], atol=0.005)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Six images of six scenes whose label is what red and nir say together."""
    random = np.random.default_rng(7)
    images = [random.uniform(0, 1, (4, 12, 13)).astype(np.float32) for _ in range(6)]
    masks = [(image[2] + image[3] > 1).astype(np.uint8) for image in images]
    return write_samples(tmp_path, images, masks)


def _kept(folder: Path, data: Path, bands: tuple[int, ...], noise: int) -> Path:
    """Keep predictions of a member that sees some of the bands, and noise."""
    random = np.random.default_rng(noise)
    outputs = [Output("clear", 63 & ~_CLOUD), Output("cloud", _CLOUD)]
    writer = PredictionWriter(folder, outputs)
    for spec in read_manifest(data):
        image = load_sample(spec).image
        cloud = np.clip(image[list(bands)].mean(axis=0) + random.normal(0, 0.1, (12, 13)), 0, 1)
        writer.write(spec, np.stack([1 - cloud, cloud]).astype(np.float32), model="made")
    return folder


def _clouds(folder: Path, data: Path) -> dict[str, np.ndarray]:
    from nubila.curate.predictions import open_predictions

    kept = open_predictions(folder)
    return {name: (p := kept.read(name))[1] / p.sum(axis=0) for name in kept}


def test_an_ensemble_says_what_any_member_suffers_without_a_band(three: list[Path]) -> None:
    from nubila.curate.ensemble_graph import _band

    card = load_model(three[0]).card
    told = [
        card.model_copy(update={"bands": (BandUse(name="nir", required=False, without=words),)})
        for words in ("sand is cloud", "", "haze is cloud", "sand is cloud")
    ]
    assert _band("nir", False, told).without == "sand is cloud; haze is cloud"
    assert _band("nir", True, told).without == ""


def test_an_ensemble_claims_no_licence_that_a_member_lacks(three: list[Path]) -> None:
    from nubila.curate.ensemble_graph import _licence

    card = load_model(three[0]).card
    cards = [card.model_copy(update={"licence": own}) for own in ("MIT", "CC0-1.0", "MIT", "")]
    assert _licence(cards[:3]) == "MIT AND CC0-1.0"
    assert _licence(cards) == ""


def test_the_table_of_members_and_pairs(data: Path, tmp_path: Path) -> None:
    models = [_write(tmp_path / f"{n}.onnx", ("red", "nir")) for n in ("red", "nir")]
    folders = [_kept(tmp_path / "p0", data, (2,), 0), _kept(tmp_path / "p1", data, (3,), 1)]
    options = [part for folder in folders for part in ("--predictions", folder)]
    out = tmp_path / "pair.onnx"
    done = _run(*models, "--data", data, *options, "--weights", "simplex", "-o", out)
    assert done.exit_code == 0, (done.output, done.exception)
    truth = np.stack([load_sample(spec).label == _CLOUD for spec in read_manifest(data)])
    clouds = [np.stack(list(_clouds(folder, data).values())) for folder in folders]

    def iou(cloud: np.ndarray) -> float:
        return float(((cloud > 0.5) & truth).sum() / ((cloud > 0.5) | truth).sum())

    with (tmp_path / "pair.csv").open() as stream:
        rows = {row["members"]: row for row in csv.DictReader(stream)}
    assert list(rows) == ["red", "nir", "red + nir", "all, simplex weights"]
    assert float(rows["red"]["cloud iou"]) == pytest.approx(iou(clouds[0]), abs=1e-5)
    assert float(rows["nir"]["cloud iou"]) == pytest.approx(iou(clouds[1]), abs=1e-5)
    mean = iou((clouds[0] + clouds[1]) / 2)
    assert float(rows["red + nir"]["cloud iou"]) == pytest.approx(mean, abs=2e-3)
    same = ((clouds[0] > 0.5) == (clouds[1] > 0.5)).mean()
    assert float(rows["red + nir"]["agreement"]) == pytest.approx(same, abs=1e-5)
    # Each part of the scenes by weights of the others: near to the mean here, never the truth.
    assert abs(float(rows["all, simplex weights"]["cloud iou"]) - mean) < 0.05
    weights = [m["weights"]["cloud"] for m in yaml.safe_load(load_model(out).card.recipe)[
        "ensemble"]["members"]]  # fmt: skip
    design = np.stack([c.ravel() for c in clouds]).astype(float)
    one = design[0] - design[1]
    expected = one @ (truth.ravel() - design[1]) / (one @ one)  # least squares on a line
    assert weights == pytest.approx([expected, 1 - expected], abs=1e-4)


def test_free_weights_of_each_class_are_in_the_graph(three: list[Path], tmp_path: Path) -> None:
    from nubila.curate.ensemble_graph import write_ensemble

    members = [load_model(path) for path in three]
    free = Combination(np.array([[1.1, 0.3], [-0.4, 0.5], [0.2, 0.3]]), scaled=True)
    # The file is held to its members as it is written.
    whole = load_model(write_ensemble(members, free, tmp_path / "free.onnx", name="free"))
    found = whole.run(np.full((1, 3, 12, 24), 0.3, np.float32), None, np.ones((2, 3), np.float32))
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)
    assert yaml.safe_load(whole.card.recipe)["ensemble"]["scaled"]


def test_members_that_do_not_fit_are_refused(three: list[Path], data: Path, tmp_path: Path) -> None:
    other = _write(tmp_path / "other.onnx", ("red",), stands_for={})
    out = ("-o", tmp_path / "e.onnx")
    for arguments, message in (
        ((three[0], other, *out), "tell different classes apart"),
        ((three[0], *out), "two members at least"),
        ((three[0], "brightness+four", *out), "brightness+four: no ONNX file"),
        ((three[0], three[1], "--weights", "simplex", *out), "--data"),
        ((three[0], three[1], "--weights", "fre", *out), "did you mean 'free'"),
        ((three[0], three[1], "--per-class", "--data", data, *out), "--per-class: a mean has no"),
        ((three[0], three[1], "--split", "train", *out), "name their table with --data"),
        ((three[0], three[1], "--data", data, "--predictions", tmp_path, *out), "1 folders for 2"),
    ):
        done = _run(*arguments)
        assert isinstance(done.exception, InputError), done.output
        assert message in str(done.exception)
    assert not (tmp_path / "e.onnx").exists()


@pytest.mark.parametrize("absent", ["torch", "onnx", "onnxscript"])
def test_what_writes_the_file_is_asked_for_first(
    three: list[Path], data: Path, tmp_path: Path, absent: str
) -> None:
    # In a process of its own: in this one the modules that need it are imported already.
    arguments = ["nubila", "ensemble", *map(str, three), "--data", str(data), "-o", "e.onnx"]
    code = f"import sys; sys.modules[{absent!r}] = None; sys.argv = {arguments!r}; "
    code += "from nubila.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith(f"error: {absent} is not installed"), done.stderr
    assert not list(tmp_path.glob("e*"))


def test_any_detectors_are_compared_without_a_file(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = _run("brightness", "brightness+hflip", "--data", data)
    assert done.exit_code == 0, (done.output, done.exception)
    line = next(row for row in done.output.splitlines() if row.startswith("brightness + "))
    assert line.split()[-1] == "100.00"  # a rule of each pixel alone
    assert len(list((tmp_path / "ensemble-predictions").iterdir())) == 2
    assert CLASS_NAMES[1] in done.output
