"""When a folder holds a mask already, and when what it holds is of something else."""

import json
import os

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
    with pytest.raises(OutputError, match="other bands or scaling"):
        masked(nodata=float("nan"))
