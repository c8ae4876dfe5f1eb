import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import rasterio
from typer.testing import CliRunner

from nubila.cli import app
from nubila.cli.outcomes import print_outcomes, raise_failed
from nubila.errors import BatchError, InputError, OutputError
from nubila.infer.batch import Outcome
from nubila.raster.cog import CogWriter
from nubila.synth import write_geotiff
from tests.infer.scenes import BANDS, GRID, write_raster
from tests.infer.test_area import TRIANGLE
from tests.infer.toy import write_toy


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(write_toy(tmp_path_factory.mktemp("model") / "toy.onnx", bands=BANDS))


@pytest.fixture
def run(model, tmp_path):
    def go(*arguments, folder="out"):
        command = ["mask", "-o", str(tmp_path / folder), "-m", model, *map(str, arguments)]
        return CliRunner().invoke(app, command)

    return go


def test_a_scene_gets_its_files_and_a_summary(run, tmp_path):
    result = run(write_raster(tmp_path / "image.tif"))
    assert result.exit_code == 0, result.output
    for name in ("image_mask.tif", "image_mask.qml", "image_mask.png", "image.json"):
        assert (tmp_path / "out" / name).is_file()
        assert name in result.output
    assert re.search(r"thin cloud \d+\.\d %", result.output)
    assert "without data: 8.3 % of the area" in result.output


def test_what_nubila_wrote_is_left_out_of_several_scenes(run, tmp_path):
    scene = write_geotiff(tmp_path / "a.tif", shape=(40, 40)).path
    assert run(scene, folder=".").exit_code == 0
    given = sorted(tmp_path.glob("*.tif"))
    assert [path.name for path in given] == ["a.tif", "a_mask.tif", "a_truth_10m.tif"]
    result = run(*given)
    assert result.exit_code == 0, result.output
    for left in given[1:]:
        assert f"note: {left}: left out" in result.stderr
    alone = run(given[1])
    assert isinstance(alone.exception, InputError), "what is named alone is tried"


def test_json_lines(run, tmp_path):
    a, b = write_raster(tmp_path / "a.tif"), write_raster(tmp_path / "b.tif", seed=1)
    result = run(a, tmp_path / "none.tif", b, "--json", "--no-picture")
    assert isinstance(result.exception, BatchError)
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["status"] for line in lines] == ["written", "failed", "written"]
    assert lines[1]["kind"] == "MissingFileError"
    assert sum(lines[0]["cover"].values()) == pytest.approx(100, abs=0.01)
    assert lines[0]["cloud_cover"] == round(lines[0]["cloud_cover"], 4)
    assert set(lines[0]["paths"]) == {"mask", "style", "item"}


def test_options_reach_the_mask(run, tmp_path):
    area = tmp_path / "area.geojson"
    area.write_text(json.dumps(TRIANGLE))
    image = write_raster(tmp_path / "image.tif")
    result = run(
        image, "--area", area, "--codes", "scl", "--threshold", "cloud=0.01", "--validity",
        "--resolution", 40, "--dilate", 80, "--min-area", 5000, "--probabilities",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    with rasterio.open(tmp_path / "out" / "image_mask.tif") as data:
        assert set(np.unique(data.read(1))) <= {0, 3, 5, 6, 9, 10, 11}
        assert data.transform.a == 40
        assert data.width < 120
    options = json.loads((tmp_path / "out" / "image.json").read_text())["properties"][
        "nubila:options"
    ]
    assert options["thresholds"] == {"cloud": 0.01}
    assert options["area"]["crs"] == "OGC:CRS84"


def test_bounds_in_another_crs(run, tmp_path):
    image = write_raster(tmp_path / "image.tif")
    result = run(
        image, "--bounds", "600400,5299000,601200,5299600", "--bounds-crs", "EPSG:32632",
        "--binary", "--classes", "cloud,thin cloud",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    with rasterio.open(tmp_path / "out" / "image_mask.tif") as data:
        assert data.shape == (30, 40)
        assert set(np.unique(data.read(1))) <= {0, 1, 255}


def test_one_raster_a_band(run, tmp_path):
    whole = write_raster(tmp_path / "image.tif")
    with rasterio.open(whole) as data:
        values = data.read()
    parts = []
    for number, band in enumerate(values):
        part = tmp_path / f"part{number}.tif"
        with rasterio.open(
            part, "w", driver="GTiff", count=1, dtype="uint16", crs=GRID.crs, nodata=0,
            height=200, width=240, transform=GRID.transform,
        ) as data:  # fmt: skip
            data.write(band, 1)
        parts.append(str(part))
    first = run(whole, folder="whole")
    joined = run(";".join(parts), "--bands", ",".join(BANDS), "--scale", "1e-4", folder="parts")
    assert (first.exit_code, joined.exit_code) == (0, 0), joined.output
    (path,) = (tmp_path / "parts").glob("*_mask.tif")
    with rasterio.open(path) as found, rasterio.open(tmp_path / "whole/image_mask.tif") as data:
        np.testing.assert_array_equal(found.read(1), data.read(1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--area", "a.json", "--bounds", "1,2,3,4"], "leave one out"),
        (["--bounds", "1,2,three,4"], "four numbers"),
        (["--bounds-crs", "EPSG:4326"], "without --bounds"),
        (["--threshold", "cloud"], "cloud=0.4"),
        (["--threshold", "clod=0.4"], "did you mean 'cloud'"),
        (["--codes", "sc"], "did you mean 'scl'"),
        (["--classes", "clod"], "did you mean 'cloud'"),
        (["--binary", "--codes", "scl"], "leave either"),
        (["--model", "nothing"], "nothing"),
        (["--provider", "abacus"], "abacus"),
        (["--bounds", "0,0,1,1"], "lies outside the scene"),
        (["--bands", "blue,grean"], "did you mean 'green'"),
        (["--dilate", "-5"], "from 0 up"),
        (["--bounds", "10,47,11,48", "--bounds-crs", ""], "unknown CRS ''"),
        (["--classes", ""], "unknown class ''"),
        (["--area", ""], "empty name"),
        (["--threshold", "cloud=.4", "--threshold", "Cloud=.6"], "twice for a class: cloud=.4"),
        (["--auxiliary", "nir=a.tif", "--auxiliary", "B08=b.tif"], "twice for nir: a.tif"),
        (["--resolution", "0"], "positive"),
    ],
)
def test_a_wrong_option_is_told(run, tmp_path, arguments, message):
    result = run(write_raster(tmp_path / "image.tif"), *arguments)
    assert result.exit_code != 0
    assert isinstance(result.exception, InputError)
    assert message in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_an_empty_name_of_the_output_is_not_the_working_folder(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = ["mask", str(write_raster(tmp_path / "image.tif")), "-m", model, "-o"]
    result = CliRunner().invoke(app, [*command, ""])
    assert isinstance(result.exception, InputError)
    assert "name a folder, '.' for the working folder" in str(result.exception)
    assert [path.name for path in tmp_path.iterdir()] == ["image.tif"]
    assert CliRunner().invoke(app, [*command, "."]).exit_code == 0
    assert (tmp_path / "image_mask.tif").is_file()


def test_scenes_that_fail_leave_no_empty_folder(run, tmp_path):
    empty = write_raster(tmp_path / "empty.tif")
    with rasterio.open(empty, "r+") as data:
        data.write(np.zeros((4, 200, 240), np.uint16))  # found only when all is read
    for scene in ("none.tif", "empty.tif"):
        assert run(tmp_path / scene, folder="one/out").exit_code != 0
        assert not (tmp_path / "one").exists()
    (tmp_path / "out").mkdir()
    assert run(empty).exit_code != 0
    assert (tmp_path / "out").is_dir(), "a folder that was there stays"


def test_words_fit_how_many_scenes_failed(run, tmp_path):
    image = write_raster(tmp_path / "a.tif")
    one = str(run(tmp_path / "none.tif", "--json").exception)
    assert "none.tif" in one and "others" not in one and "of the scenes" not in one
    both = str(run(tmp_path / "none.tif", tmp_path / "nothing.tif").exception)
    assert both.startswith("2 of 2 scenes failed: ")
    some = str(run(tmp_path / "none.tif", image).exception)
    none = tmp_path / "none.tif"
    assert some == f"1 of 2 scenes failed, the others are done: {none}"
    # Two of one name, of which the other one fails.
    (tmp_path / "p").mkdir()
    same = write_raster(tmp_path / "p/a.tif")
    assert str(run(image, same).exception).endswith(f"the others are done: {same}")


def test_each_granule_that_failed_says_why(capsys):
    outcomes = [Outcome("a.zip", name, None, InputError(f"{name} is torn"), 1) for name in "AB"]
    found = []
    print_outcomes(iter(outcomes), found, as_json=False, many=False)
    assert found == outcomes
    assert capsys.readouterr().err.splitlines() == [
        "failed: a.zip: A is torn", "failed: a.zip: B is torn"
    ]  # fmt: skip
    with pytest.raises(BatchError, match=r"2 of 2 scenes failed: a.zip \(A\), a.zip \(B\)"):
        raise_failed(found, as_json=False, many=False)
    one = []
    print_outcomes(iter(outcomes[:1]), one, as_json=False, many=False)
    assert not capsys.readouterr().err
    with pytest.raises(InputError, match="A is torn"):
        raise_failed(one, as_json=False, many=False)


def test_notes_are_told_again_when_a_mask_was_done_already(run, tmp_path):
    image = write_raster(tmp_path / "image.tif")
    first, again = run(image, "--resolution", 200), run(image, "--resolution", 200)
    assert "done already" in again.output
    notes = [line for line in first.output.splitlines() if "note:" in line]
    assert any("was trained for" in note for note in notes)
    assert [line for line in again.output.splitlines() if "note:" in line] == notes


def test_an_output_that_is_a_file_is_told(run, tmp_path):
    (tmp_path / "out").write_text("")
    result = run(write_raster(tmp_path / "image.tif"))
    assert isinstance(result.exception, OutputError)


def test_a_finished_mask_is_skipped_and_replaced_when_asked(run, tmp_path):
    image = write_raster(tmp_path / "image.tif")
    run(image)
    assert "done already" in run(image).output
    assert isinstance(run(image, "--binary").exception, OutputError)
    assert run(image, "--binary", "--overwrite").exit_code == 0


def test_a_drawn_label_beside_its_image_is_not_replaced_unasked(run, tmp_path):
    image, label = write_raster(tmp_path / "1.tif"), write_raster(tmp_path / "1_mask.tif", seed=1)
    before = label.read_bytes()
    result = run(image, folder=".")
    assert isinstance(result.exception, OutputError)
    assert "1_mask.tif" in str(result.exception) and "--overwrite" in str(result.exception)
    assert label.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["1.tif", "1_mask.tif"]
    assert run(image, "--overwrite", folder=".").exit_code == 0
    assert label.read_bytes() != before


def test_bounds_of_the_whole_earth_take_the_whole_scene(run, tmp_path):
    result = run(write_raster(tmp_path / "image.tif"), "--bounds=-180,-90,180,90")
    assert result.exit_code == 0, result.output
    with rasterio.open(tmp_path / "out" / "image_mask.tif") as data:
        assert data.shape == GRID.shape
        assert (data.read(1)[:, 20:] != 255).all()


def test_the_exit_code_is_two_and_there_is_no_traceback(model, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", "from nubila.cli import main; main()", "mask", "nothing.SAFE",
         "-m", model, "-o", str(tmp_path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "nothing.SAFE" in done.stderr and "Traceback" not in done.stderr
    assert done.stdout == ""


_SLOWLY = """
import sys, time
from nubila.raster import cog
write = cog.CogWriter.write
def slowly(self, strip):
    write(self, strip)
    print("half", flush=True)
    time.sleep(60)
cog.CogWriter.write = slowly
from nubila.cli import main
main()
"""


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_ctrl_c_says_what_is_done(run, tmp_path, monkeypatch, flags):
    images = [write_raster(tmp_path / f"{name}.tif") for name in "abc"]
    assert run(images[0]).exit_code == 0

    def interrupt(self, strip):
        raise KeyboardInterrupt

    monkeypatch.setattr(CogWriter, "write", interrupt)
    for inputs, said in (
        ([images[1]], "interrupted; 0 scenes are done, and nothing half-written is left."),
        (images, "interrupted; 1 scene is done, and nothing half-written is left."),
        ([images[0], "none.tif", images[1]], "interrupted; 1 scene is done, 1 failed, and"),
    ):
        result = run(*inputs, *flags)
        assert result.exit_code == 130
        assert said in result.stderr
    assert not [p.name for p in (tmp_path / "out").iterdir() if not p.name.startswith("a")]


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_a_command_cut_short_and_started_again_ends_with_the_same_files(model, tmp_path, end):
    image = write_raster(tmp_path / "image.tif")
    arguments = ["mask", str(image), "-m", model, "-o", str(tmp_path / "out"), "--json"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", _SLOWLY, *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment,
    ) as process:  # fmt: skip
        assert process.stdout.readline() == "half\n"
        time.sleep(0.1)
        process.send_signal(end)
        assert process.wait() != 0
    folder = tmp_path / "out"
    left = [p.name for p in folder.iterdir()] if folder.exists() else []
    assert not [name for name in left if not name.startswith(".")], "no half file under a real name"
    assert end == signal.SIGKILL or not folder.exists(), "Ctrl-C leaves nothing at all"
    for folder in ("out", "straight"):
        arguments[5] = str(tmp_path / folder)
        assert CliRunner().invoke(app, arguments).exit_code == 0
    for path in (tmp_path / "straight").iterdir():
        assert path.read_bytes() == (tmp_path / "out" / path.name).read_bytes()
    assert len(list((tmp_path / "out").iterdir())) == len(list((tmp_path / "straight").iterdir()))
