"""When a folder holds a mask already, and when what it holds is of something else."""

import json
import os
from dataclasses import replace

import pytest
import rasterio
from rasterio.shutil import copy

from nubila.errors import OutputError
from nubila.infer.api import mask_to_folder
from nubila.infer.provenance import MaskOptions
from nubila.models_io import load_model
from nubila.scenes import open_scene
from nubila.scenes.auxiliary import with_auxiliary
from tests.infer.scenes import BANDS, GRID, counts, scene, write_raster
from tests.infer.toy import write_toy

FILES = [f"{name}.tif" for name in BANDS]
PLAIN = MaskOptions(picture=False)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load_model(write_toy(tmp_path_factory.mktemp("model") / "toy.onnx", bands=BANDS))


def write_band(path, values):
    with rasterio.open(
        path, "w", driver="GTiff", count=1, dtype=values.dtype, crs=GRID.crs, nodata=0,
        height=GRID.shape[0], width=GRID.shape[1], transform=GRID.transform,
    ) as data:  # fmt: skip
        data.write(values, 1)
    return path


@pytest.fixture
def folders(tmp_path):
    """Two scenes of a file a band, whose files have the same names."""
    made = [tmp_path / "A", tmp_path / "B"]
    for seed, folder in enumerate(made):
        folder.mkdir()
        for name, band in zip(FILES, counts(GRID.shape, seed), strict=True):
            write_band(folder / name, band)
            os.utime(folder / name, (1, 1))  # long before any mask
    return made


def opened(files=FILES):
    return open_scene(files, bands=",".join(BANDS), scale=1e-4)


def test_band_files_of_another_folder_are_another_scene(model, folders, tmp_path, monkeypatch):
    out = tmp_path / "out"
    monkeypatch.chdir(folders[0])
    first = mask_to_folder(opened(), out, model=model, options=PLAIN)
    assert mask_to_folder(opened(), out, model=model, options=PLAIN).skipped
    links = json.loads(first.paths["item"].read_text())["links"]
    assert links == [{"rel": "derived_from", "href": f"../A/{name}"} for name in FILES]
    monkeypatch.chdir(folders[1])
    with pytest.raises(OutputError, match=r"another scene with this name is there \(\.\./A/blue"):
        mask_to_folder(opened(), out, model=model, options=PLAIN)
    monkeypatch.chdir(tmp_path)  # the same files by other names for them
    files = [f"A/{name}" for name in FILES]
    again = [str(folders[0] / name) for name in FILES]
    found = [open_scene(f, bands=",".join(BANDS), scale=1e-4) for f in (files, again)]
    assert {each.id for each in found} == {"A"}
    mask_to_folder(found[0], out, model=model, options=PLAIN)
    assert mask_to_folder(found[1], out, model=model, options=PLAIN).skipped


def test_another_auxiliary_raster_is_another_scene(model, folders, tmp_path, monkeypatch):
    def masked(source):
        found = with_auxiliary(source, {"elevation": "dem.tif"})
        return mask_to_folder(found, tmp_path / "out", model=model, options=PLAIN).skipped

    for folder in folders:
        write_band(folder / "dem.tif", counts(GRID.shape)[0])
        os.utime(folder / "dem.tif", (1, 1))
    monkeypatch.chdir(folders[0])
    assert not masked(scene())
    assert masked(scene())
    item = json.loads((tmp_path / "out" / "X1.json").read_text())
    assert [link["href"] for link in item["links"]] == ["X1", "../A/dem.tif"]
    monkeypatch.chdir(folders[1])
    with pytest.raises(OutputError, match="another scene"):
        masked(scene())


@pytest.mark.parametrize("depth", [1, 2])
def test_a_source_of_a_vrt_that_was_changed_since(model, tmp_path, depth):
    image = write_raster(tmp_path / "image.tif")
    inner, outer = tmp_path / "inner.vrt", tmp_path / "outer.vrt"
    copy(image, inner, driver="VRT")
    outer.write_text(inner.read_text().replace("image.tif", "inner.vrt"))
    top = (inner, outer)[depth - 1]
    first = mask_to_folder(top, tmp_path / "out", model=model, options=PLAIN)
    assert mask_to_folder(top, tmp_path / "out", model=model, options=PLAIN).skipped
    later = first.paths["item"].stat().st_mtime + 1
    (tmp_path / "image.tif.aux.xml").write_text("<PAMDataset/>")  # statistics, of a viewer
    os.utime(tmp_path / "image.tif.aux.xml", (later, later))
    assert mask_to_folder(top, tmp_path / "out", model=model, options=PLAIN).skipped
    os.utime(image, (later, later))
    with pytest.raises(OutputError, match=r"image\.tif was last changed(.|\n)*--overwrite"):
        mask_to_folder(top, tmp_path / "out", model=model, options=PLAIN)


def test_a_product_that_was_written_since_is_told_and_left(model, folders, tmp_path):
    """Agencies' products do not change; a copy that was damaged may have been fetched again."""
    product = replace(opened([str(folders[0] / name) for name in FILES]), sensor="sentinel-2")
    first = mask_to_folder(product, tmp_path / "out", model=model, options=PLAIN)
    again = mask_to_folder(product, tmp_path / "out", model=model, options=PLAIN)
    assert again.skipped and again.notes == first.notes
    later = first.paths["item"].stat().st_mtime + 1
    os.utime(folders[0] / "red.tif", (later, later))
    again = mask_to_folder(product, tmp_path / "out", model=model, options=PLAIN)
    assert again.skipped
    assert "red.tif was written after this mask" in again.notes[-1]


@pytest.mark.parametrize("content", [{}, {"properties": None, "links": [], "assets": {}}])
def test_json_of_somebody_else_is_told(model, tmp_path, content):
    (tmp_path / "X1.json").write_text(json.dumps(content))
    with pytest.raises(OutputError, match=r"X1\.json: is there .* which has .*properties"):
        mask_to_folder(scene(), tmp_path, model=model)


def test_a_mask_in_which_0_is_data_is_another_one(model, tmp_path):
    path = tmp_path / "a.tif"
    with rasterio.open(
        path, "w", driver="GTiff", count=len(BANDS), dtype="uint16", crs=GRID.crs,
        height=GRID.shape[0], width=GRID.shape[1], transform=GRID.transform,
    ) as data:  # fmt: skip
        data.write(counts(GRID.shape))
    os.utime(path, (1, 1))

    def masked(**nodata):
        source = open_scene(path, bands=",".join(BANDS), scale=1e-4, **nodata)
        return mask_to_folder(source, tmp_path / "out", model=model, options=PLAIN)

    assert "exactly 0 in every band" in " ".join(masked().notes)
    assert masked().skipped
    said = "made otherwise is there: that 0 in every band is no data was true, is now false"
    with pytest.raises(OutputError, match=said):
        masked(nodata=float("nan"))


@pytest.mark.parametrize("lost", ["mask", "style", "picture", "probabilities", "validity"])
def test_a_mask_of_which_a_file_is_gone_is_made_anew(model, tmp_path, lost):
    options = MaskOptions(probabilities=True, validity=True)
    first = mask_to_folder(scene(), tmp_path, model=model, options=options)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    first.paths[lost].unlink()
    again = mask_to_folder(scene(), tmp_path, model=model, options=options)
    name = first.paths[lost].name
    assert again.notes == (f"made anew: {name} of the earlier mask is gone or cut short",)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before
    assert mask_to_folder(scene(), tmp_path, model=model, options=options).skipped


@pytest.mark.parametrize("size", [0, 10, 3000])
def test_a_mask_that_was_cut_short_is_made_anew(model, tmp_path, size):
    first = mask_to_folder(scene(), tmp_path, model=model)
    before = first.paths["mask"].read_bytes()
    assert len(before) > size
    first.paths["mask"].write_bytes(before[:size])
    assert not mask_to_folder(scene(), tmp_path, model=model).skipped
    assert first.paths["mask"].read_bytes() == before
    first.paths["style"].write_text("<qgis/>")  # one's own, and shorter
    assert mask_to_folder(scene(), tmp_path, model=model).skipped
    item = json.loads(first.paths["item"].read_text())
    for asset in item["assets"].values():  # as items were before
        del asset["file:size"]
    first.paths["item"].write_text(json.dumps(item))
    assert mask_to_folder(scene(), tmp_path, model=model).skipped


@pytest.mark.parametrize("lost", ["picture", "probabilities"])
def test_a_picture_or_raster_that_lacks_its_end_is_made_anew(model, tmp_path, lost):
    options = MaskOptions(probabilities=True)
    first = mask_to_folder(scene(), tmp_path, model=model, options=options)
    before = first.paths[lost].read_bytes()
    first.paths[lost].write_bytes(before[:-100])
    assert not mask_to_folder(scene(), tmp_path, model=model, options=options).skipped
    assert first.paths[lost].read_bytes() == before


def save_smaller(path):
    """Save a mask again as another program does, with a correction and in fewer bytes."""
    before = path.stat().st_size
    with rasterio.open(path) as data:
        values, profile = data.read(), data.profile
    values[:, :20] = 1
    profile.update(driver="GTiff", compress="deflate", zlevel=9)
    with rasterio.open(path, "w", **profile) as data:
        data.write(values)
    assert path.stat().st_size < before
    return path.read_bytes()


def test_a_mask_that_another_program_saved_smaller_is_left_as_it_is(model, tmp_path):
    first = mask_to_folder(scene(), tmp_path, model=model)
    corrected = save_smaller(first.paths["mask"])
    assert mask_to_folder(scene(), tmp_path, model=model).skipped
    assert first.paths["mask"].read_bytes() == corrected


@pytest.mark.parametrize("lost", ["style", "picture"])
def test_a_corrected_mask_is_not_replaced_because_another_file_is_gone(model, tmp_path, lost):
    first = mask_to_folder(scene(), tmp_path, model=model)
    corrected = save_smaller(first.paths["mask"])
    first.paths[lost].unlink()
    said = rf"X1_mask\.tif: was changed .* {first.paths[lost].name} is gone(.|\n)*--overwrite"
    with pytest.raises(OutputError, match=said):
        mask_to_folder(scene(), tmp_path, model=model)
    assert first.paths["mask"].read_bytes() == corrected
    assert not mask_to_folder(scene(), tmp_path, model=model, overwrite=True).skipped


@pytest.mark.parametrize(
    ("was", "now", "said"),
    [
        ({"dilate": 60}, {}, "option dilate was 60, is now not given"),
        ({}, {"picture": False}, "option picture was true, is now false"),
        ({"thresholds": {"cloud": 0.4}}, {"thresholds": {"cloud": 0.5}, "binary": True},
         'option thresholds was {"cloud": 0.4}, is now {"cloud": 0.5}; '
         "option binary was false, is now true"),
        ({"classes": ("cloud",)}, {"classes": ("snow",)},
         'option classes was ["cloud"], is now ["snow"]'),
    ],
)  # fmt: skip
def test_what_a_mask_was_made_with_otherwise_is_told(model, tmp_path, was, now, said):
    mask_to_folder(scene(), tmp_path, model=model, options=MaskOptions(**was))
    with pytest.raises(OutputError) as error:
        mask_to_folder(scene(), tmp_path, model=model, options=MaskOptions(**now))
    assert f"a mask made otherwise is there: {said}. Use --overwrite" in str(error.value)


def test_another_model_or_version_of_nubila_is_told(model, tmp_path):
    first = mask_to_folder(scene(), tmp_path, model=model, options=PLAIN)
    other = replace(model, card=model.card.model_copy(update={"version": "1"}), sha256="ab")
    said = rf"model's version was 0, is now 1; the model's file \(SHA-256\) was {model.sha256}, is"
    with pytest.raises(OutputError, match=said):
        mask_to_folder(scene(), tmp_path, model=other, options=PLAIN)
    item = json.loads(first.paths["item"].read_text())
    item["properties"]["processing:software"] = {"nubila": "0.0"}
    first.paths["item"].write_text(json.dumps(item))
    with pytest.raises(OutputError, match=r'version of nubila was {"nubila": "0.0"}, is now'):
        mask_to_folder(scene(), tmp_path, model=model, options=PLAIN)
