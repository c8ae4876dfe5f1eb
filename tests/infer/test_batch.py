from dataclasses import replace

import pytest

from nubila.errors import InputError, MissingFileError, OutputError
from nubila.infer.api import mask_scene, mask_to_folder
from nubila.infer.batch import mask_many
from nubila.infer.provenance import MaskOptions
from nubila.models_io import load_model
from tests.infer.scenes import BANDS, write_raster
from tests.infer.toy import write_toy


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load_model(write_toy(tmp_path_factory.mktemp("model") / "toy.onnx", bands=BANDS))


def run(sources, folder, model, **options):
    return list(
        mask_many([str(s) for s in sources], folder, model=model, options=MaskOptions(**options))
    )


def test_a_bad_scene_does_not_stop_the_others(model, tmp_path):
    a, b = write_raster(tmp_path / "a.tif"), write_raster(tmp_path / "b.tif", seed=1)
    (tmp_path / "bad.tif").write_bytes(b"not a raster")
    found = run([a, tmp_path / "none.tif", tmp_path / "bad.tif", b], tmp_path / "out", model)
    assert [o.status for o in found] == ["written", "failed", "failed", "written"]
    assert isinstance(found[1].error, MissingFileError)
    again = run([a, b], tmp_path / "out", model)
    assert [o.status for o in again] == ["skipped", "skipped"]
    assert again[0].record()["cover"] == found[0].record()["cover"]


def test_two_scenes_of_one_name_do_not_overwrite_each_other(model, tmp_path):
    for n, folder in enumerate(("one", "two")):
        (tmp_path / folder).mkdir()
        write_raster(tmp_path / folder / "image.tif", seed=n)
    sources = [tmp_path / "one" / "image.tif", tmp_path / "two" / "image.tif"]
    found = list(
        mask_many(
            [str(s) for s in sources],
            tmp_path / "out",
            model=model,
            options=MaskOptions(),
            overwrite=True,
        )
    )
    assert [o.status for o in found] == ["written", "failed"]
    assert "one/image.tif" in str(found[1].error)
    # In a later run too, when only the second is given.
    (later,) = run(sources[1:], tmp_path / "out", model)
    assert isinstance(later.error, OutputError)


def test_a_wrong_option_is_told_before_any_scene(model, tmp_path):
    for wrong in ({"codes": "fmsk"}, {"classes": ("clod",)}, {"thresholds": {"cloud": 7}}):
        with pytest.raises(InputError):
            run([tmp_path / "none.tif"], tmp_path / "out", model, **wrong)


def test_progress_names_the_scene(model, tmp_path):
    seen = []
    list(
        mask_many(
            [str(write_raster(tmp_path / "a.tif"))],
            tmp_path / "out",
            model=model,
            options=MaskOptions(),
            progress=lambda *what: seen.append(what),
        )
    )
    assert seen[0] == ("a", 0, 48_000)
    assert seen[-1] == ("a", 48_000, 48_000)


def test_one_file_by_two_names_is_one_scene(model, tmp_path):
    path = write_raster(tmp_path / "a.tif")
    found = run([path, tmp_path / "." / "out" / ".." / "a.tif"], tmp_path / "out", model)
    assert [o.status for o in found] == ["written", "skipped"]


def test_an_auxiliary_band_that_the_model_does_not_take_is_told(model, tmp_path):
    path = write_raster(tmp_path / "a.tif")
    with pytest.raises(InputError, match=r"takes no band 'elevation' \(it takes: blue"):
        list(
            mask_many(
                [str(path)],
                tmp_path / "out",
                model=model,
                options=MaskOptions(),
                auxiliary={"elevation": path},
            )
        )
    with pytest.raises(InputError, match="takes no band 'elevation'"):
        mask_scene(path, model=model, auxiliary={"elevation": path})
    assert not (tmp_path / "out").exists()


def test_a_class_that_the_model_does_not_tell_is_refused_before_anything_is_done(model, tmp_path):
    path, out = write_raster(tmp_path / "a.tif"), tmp_path / "out"
    card = model.card.model_copy(update={"classes": ("clear", "cloud", "cloud shadow")})
    few = replace(model, card=card)
    options = {"classes": ("thin cloud",), "binary": True}
    with pytest.raises(InputError, match="'thin cloud': model toy does not tell it"):
        run([path], out, few, **options)
    with pytest.raises(InputError, match="'thin cloud': model toy does not tell it"):
        mask_to_folder(path, out, model=few, options=MaskOptions(**options))
    assert not out.exists()
