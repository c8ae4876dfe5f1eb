import errno
import json
import os
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.crs import CRS
from rio_cogeo.cogeo import cog_validate

from nubila.classes import COLOURS, Validity
from nubila.errors import DamagedFileError, GridError, InputError, MissingFileError, OutputError
from nubila.infer.api import mask_scene, mask_to_folder
from nubila.infer.area import read_area
from nubila.infer.decide import scale_probabilities
from nubila.infer.postprocess import postprocess
from nubila.infer.provenance import MaskOptions
from nubila.models_io import load_model
from nubila.raster import Grid, Window, cog
from nubila.scenes import open_scene
from nubila.scenes.array import scene_from_array
from tests.infer.fixed import write_fixed
from tests.infer.scenes import BANDS, GRID, counts, scene, write_raster
from tests.infer.test_area import TRIANGLE
from tests.infer.toy import write_toy
from tests.scenes.landsat_product import LandsatProduct
from tests.scenes.range_server import serve


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load_model(write_toy(tmp_path_factory.mktemp("model") / "toy.onnx", bands=BANDS))


@pytest.fixture(scope="module")
def whole(model):
    return mask_scene(scene(), model=model, probabilities=True)


def by_hand(model):
    """Classes of the whole scene from one run of the model, without the engine."""
    pixels = scene().read(BANDS)
    probabilities = model.run(pixels.reflectance[None])[0]
    classes = np.array(model.card.class_codes, np.uint8)[probabilities.argmax(axis=0)]
    return np.where(pixels.validity == Validity.VALID, classes, 255), probabilities


def test_a_mask_in_memory_is_what_the_model_says(whole, model):
    classes, probabilities = by_hand(model)
    np.testing.assert_array_equal(whole.classes, classes)
    np.testing.assert_allclose(whole.probabilities[:, :, 20:], probabilities[:, :, 20:], atol=1e-5)
    assert np.isnan(whole.probabilities[:, :, :20]).all()
    assert (whole.classes[:, :20] == 255).all()
    assert whole.grid == GRID
    assert sum(whole.cover.values()) == pytest.approx(100)
    assert len(np.unique(classes)) > 3, "the toy model must tell pixels apart"


def test_files_say_what_memory_says(whole, model, tmp_path):
    options = MaskOptions(probabilities=True, validity=True)
    result = mask_to_folder(scene(), tmp_path, model=model, options=options)
    with rasterio.open(result.paths["mask"]) as data:
        np.testing.assert_array_equal(data.read(1), whole.classes)
        assert data.crs == GRID.crs and data.transform == GRID.transform
        assert {k: data.colormap(1)[k][:3] for k in COLOURS} == COLOURS
        tags = data.tags()
    with rasterio.open(result.paths["probabilities"]) as data:
        np.testing.assert_array_equal(data.read(), scale_probabilities(whole.probabilities))
        assert data.scales[0] == 0.004 and data.nodata == 255
        assert data.descriptions[1] == "probability of cloud"
    with rasterio.open(result.paths["validity"]) as data:
        np.testing.assert_array_equal(data.read(1), whole.validity)
    for kind in ("mask", "probabilities", "validity"):
        assert cog_validate(result.paths[kind], strict=True, quiet=True)[0]
    assert tags["NUBILA_MODEL"] == "toy"
    assert tags["NUBILA_MODEL_SHA256"] == model.sha256
    assert tags["NUBILA_SCENE"] == "X1"
    assert float(tags["NUBILA_SCALE_RED"]) == 1e-4
    assert float(tags["NUBILA_OFFSET_NIR"]) == 0
    assert json.loads(tags["NUBILA_OPTIONS"]) == {"probabilities": True, "validity": True}
    assert result.statistics == whole.statistics
    names = {p.name for p in tmp_path.iterdir()}
    assert names == {
        "X1.json", "X1_mask.png", "X1_mask.qml", "X1_mask.tif", "X1_mask.tif.aux.xml",
        "X1_probabilities.tif", "X1_validity.tif", "X1_validity.tif.aux.xml",
    }  # fmt: skip


def test_a_mask_in_memory_writes_the_same_files(whole, model, tmp_path):
    options = MaskOptions(probabilities=True)
    straight = mask_to_folder(scene(), tmp_path / "a", model=model, options=options)
    written = whole.write(tmp_path / "b")
    assert set(written) == set(straight.paths)
    for kind, path in written.items():
        assert path.read_bytes() == straight.paths[kind].read_bytes(), kind


def test_the_style_names_every_class(whole, tmp_path):
    text = whole.write(tmp_path)["style"].read_text()
    assert 'value="3" alpha="255" color="#3c325a" label="cloud shadow"' in text


class _Spy:
    """A source that remembers what was read."""

    def __init__(self, source, seen):
        self._source, self._seen = source, seen

    def __getattr__(self, name):
        return getattr(self._source, name)

    def read(self, factor, window):
        self._seen.append(window)
        return self._source.read(factor, window)


def test_an_area_gets_what_the_whole_scene_got(whole, model):
    found = mask_scene(scene(), model=model, area=TRIANGLE)
    window = GRID.window_of(found.grid.bounds)
    inside = found.validity != Validity.NO_DATA
    np.testing.assert_array_equal(found.classes[inside], whole.classes[window.slices][inside])
    assert (found.classes[~inside] == 255).all()
    assert found.statistics.valid == inside.sum()
    assert found.statistics.pixels < window.height * window.width


def test_only_the_area_is_read(model):
    class Blocks(_Spy):
        block = (32, 32)

    seen: list[Window] = []
    grid = Grid(GRID.crs, GRID.transform, (1600, 1600))
    spied = scene(grid=grid).map_sources(lambda source: Blocks(source, seen))
    mask_scene(spied, model=model, area=TRIANGLE)
    read = sum(w.height * w.width for w in seen) / len(BANDS)
    assert 0 < read < 0.1 * 1600 * 1600


def test_dilation_and_small_objects_are_those_of_the_whole_raster(whole, model, tmp_path):
    expected = postprocess(
        whole.classes, pixel_size=(20.0, 20.0), dilate_m=45.0, min_area_m2=4000.0
    )
    found = mask_scene(scene(), model=model, dilate=45.0, min_area=4000.0)
    np.testing.assert_array_equal(found.classes, expected)
    assert (expected != whole.classes).any()
    options = MaskOptions(dilate=45.0, min_area=4000.0)
    result = mask_to_folder(scene(), tmp_path, model=model, options=options)
    with rasterio.open(result.paths["mask"]) as data:
        np.testing.assert_array_equal(data.read(1), expected)
    assert result.statistics == found.statistics
    assert found.statistics.classes[1] == (expected == 1).sum()


def test_a_dilation_of_less_than_a_pixel_is_noted_in_result_and_item(model, tmp_path):
    said = "dilation of 15 m is less than a pixel of 20 m: nothing grows"
    assert said in mask_scene(scene(), model=model, dilate=15).notes
    options = MaskOptions(dilate=15)
    for _ in range(2):  # the second one finds it done
        result = mask_to_folder(scene(), tmp_path, model=model, options=options)
        assert said in result.notes
    assert said in json.loads(result.paths["item"].read_text())["properties"]["nubila:notes"]
    assert not mask_scene(scene(), model=model, dilate=20).notes


def test_a_least_area_that_nothing_has_is_noted_in_result_and_item(model, tmp_path):
    said = "no class covers 1e+09 m2"
    assert said in mask_scene(scene(), model=model, min_area=1e9).notes[-1]
    result = mask_to_folder(scene(), tmp_path, model=model, options=MaskOptions(min_area=1e9))
    (note,) = json.loads(result.paths["item"].read_text())["properties"]["nubila:notes"]
    assert said in note
    assert not mask_scene(scene(), model=model, min_area=4000).notes


def test_thresholds_change_the_mask(whole, model):
    more = mask_scene(scene(), model=model, thresholds={"cloud": 0.01})
    assert more.cover["cloud"] > whole.cover["cloud"]


@pytest.mark.parametrize(
    ("options", "values"),
    [
        (MaskOptions(codes="scl"), {0, 3, 5, 6, 9, 10, 11}),
        (MaskOptions(binary=True), {0, 1, 255}),
        (MaskOptions(classes=("cloud",)), {0, 1, 255}),
        (MaskOptions(codes="qa_pixel"), {1, 21824, 22280, 54596, 23888, 30048, 21952}),
    ],
)
def test_other_values(whole, model, tmp_path, options, values):
    result = mask_to_folder(scene(), tmp_path, model=model, options=options)
    with rasterio.open(result.paths["mask"]) as data:
        found = data.read(1)
    assert set(np.unique(found).tolist()) <= values
    assert result.statistics == whole.statistics, "cover is that of the classes, however written"


def test_a_finished_mask_is_not_made_again(model, tmp_path):
    first = mask_to_folder(scene(), tmp_path, model=model)
    times = {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()}
    again = mask_to_folder(scene(), tmp_path, model=model)
    assert again.skipped and not first.skipped
    assert again.statistics == first.statistics
    assert {k: p.resolve() for k, p in again.paths.items()} == {
        k: p.resolve() for k, p in first.paths.items()
    }
    assert {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()} == times


def test_the_mask_of_a_raster_that_was_changed_since_is_not_taken_for_finished(model, tmp_path):
    path = write_raster(tmp_path / "a.tif")
    first = mask_to_folder(path, tmp_path / "out", model=model)
    assert mask_to_folder(path, tmp_path / "out", model=model).skipped
    write_raster(path, seed=1)
    later = first.paths["item"].stat().st_mtime + 1
    os.utime(path, (later, later))
    with pytest.raises(OutputError, match=r"a\.tif was last changed(.|\n)*--overwrite"):
        mask_to_folder(path, tmp_path / "out", model=model)
    assert not mask_to_folder(path, tmp_path / "out", model=model, overwrite=True).skipped


def test_a_mask_made_otherwise_is_not_replaced_unasked(model, tmp_path):
    mask_to_folder(scene(), tmp_path, model=model)
    options = MaskOptions(binary=True)
    with pytest.raises(OutputError, match="--overwrite"):
        mask_to_folder(scene(), tmp_path, model=model, options=options)
    with pytest.raises(OutputError, match="another scene"):
        mask_to_folder(replace(scene(), path="other"), tmp_path, model=model)
    result = mask_to_folder(scene(), tmp_path, model=model, options=options, overwrite=True)
    with rasterio.open(result.paths["mask"]) as data:
        assert set(np.unique(data.read(1))) <= {0, 1, 255}


def test_files_of_an_earlier_mask_that_are_no_longer_wanted_go(model, tmp_path):
    options = MaskOptions(probabilities=True)
    mask_to_folder(scene(), tmp_path, model=model, options=options)
    mask_to_folder(scene(), tmp_path, model=model, overwrite=True)
    assert not (tmp_path / "X1_probabilities.tif").exists()


def test_a_failure_of_reading_leaves_no_file(model, tmp_path):
    class Broken(_Spy):
        def read(self, factor, window):
            raise OSError("the disk was pulled out")

    broken = scene().map_sources(lambda source: Broken(source, []))
    with pytest.raises(OSError, match="pulled out"):
        mask_to_folder(broken, tmp_path, model=model)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("failure", [KeyboardInterrupt, RuntimeError])
def test_an_interruption_leaves_no_file(model, tmp_path, failure):
    def interrupt(done, total):
        raise failure

    with pytest.raises(failure):
        mask_to_folder(scene(), tmp_path, model=model, progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_a_scene_without_data_is_an_error(model, tmp_path):
    empty = scene()
    bands = {n: replace(b, nodata=None, scale=float("nan")) for n, b in empty.bands.items()}
    with pytest.raises(InputError, match=r"no pixel of the scene could be judged \(48000 no data"):
        mask_to_folder(replace(empty, bands=bands), tmp_path, model=model)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match="no pixel of the area of interest"):
        mask_scene(scene(), model=model, area=(600_000, 5_299_000, 600_300, 5_299_500),
                   area_crs="EPSG:32632")  # fmt: skip


def test_an_area_elsewhere_is_an_error(model):
    with pytest.raises(GridError, match="outside the scene"):
        mask_scene(scene(), model=model, area=(0, 0, 1, 1))


def test_a_folder_that_is_a_file_is_an_error_before_any_work(model, tmp_path):
    (tmp_path / "file").write_text("")
    seen: list[Window] = []
    spied = scene().map_sources(lambda source: _Spy(source, seen))
    with pytest.raises(OutputError, match="file"):
        mask_to_folder(spied, tmp_path / "file", model=model)
    assert not seen


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"offset": -0.1}, "offset was 0.0, is now -0.1"),
        ({"scale": 2e-4}, "scale was 0.0001, is now 0.0002"),
        ({"nodata": 0}, "nodata was not given, is now 0.0; that 0 in every band is no data was"),
        ({"bands": "red,green,blue,nir"}, "of blue label was band 1, is now band 3; of red label"),
        ({"bands": "blue,green,red,-"}, r'bands was \["blue", "green", "red", "nir"\], is now'),
    ],
)
def test_another_reading_of_the_same_file_is_no_finished_mask(model, tmp_path, other, said):
    path = tmp_path / "a.tif"
    with rasterio.open(
        path, "w", driver="GTiff", count=4, dtype="uint16", crs=GRID.crs, height=GRID.shape[0],
        width=GRID.shape[1], transform=GRID.transform,
    ) as data:  # fmt: skip
        data.write(counts(GRID.shape))
    first = {"bands": ",".join(BANDS), "scale": 1e-4}
    options = MaskOptions(picture=False)

    def skipped(**how):
        source = open_scene(path, **how)
        return mask_to_folder(source, tmp_path / "o", model=model, options=options).skipped

    assert not skipped(**first)
    assert skipped(**first)
    with pytest.raises(OutputError, match=f"made otherwise is there: .*{said}"):
        skipped(**(first | other))


@pytest.mark.parametrize("name", ["../../x", "a/b", "/x", "..", "a\\b", "C:x"])
def test_files_stay_in_their_folder_whatever_the_scene_is_called(model, tmp_path, name):
    folder = tmp_path / "o" / "p"
    result = mask_to_folder(
        replace(scene(), id=name), folder, model=model, options=MaskOptions(picture=False)
    )
    assert {path.parent for path in result.paths.values()} == {folder}
    assert all(path.is_file() for path in result.paths.values())
    assert [p.name for p in (tmp_path / "o").iterdir()] == ["p"]


def test_a_failing_run_leaves_the_earlier_mask_as_it_was(model, tmp_path):
    mask_to_folder(scene(), tmp_path, model=model)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    empty = replace(
        scene(), bands={n: replace(b, scale=float("nan")) for n, b in scene().bands.items()}
    )
    with pytest.raises(InputError, match="could be judged"):
        mask_to_folder(empty, tmp_path, model=model, overwrite=True)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


@pytest.mark.parametrize("through_memory", [False, True])
@pytest.mark.parametrize("step", ["copy", "_verify", "_write_side_file", "flush"])
@pytest.mark.parametrize(("raster", "name"), [(1, "X1_probabilities"), (2, "X1_mask")])
def test_a_disk_that_runs_full_at_a_raster_s_end_leaves_the_earlier_mask_as_it_was(
    model, tmp_path, monkeypatch, raster, name, step, through_memory
):
    options = MaskOptions(probabilities=True)
    mask_to_folder(scene(), tmp_path, model=model, options=options)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    other = scene(seed=1)
    mask = mask_scene(other, model=model, probabilities=True)
    real, done = getattr(cog, step), []

    def full(path, *arguments, **named):
        done.append(path)
        if len(done) == raster:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return real(path, *arguments, **named)

    monkeypatch.setattr(cog, step, full)
    with pytest.raises(OutputError, match=rf"{name}\.tif: .*the disk is full"):
        if through_memory:
            mask.write(tmp_path)
        else:
            mask_to_folder(other, tmp_path, model=model, options=options, overwrite=True)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_nothing_of_a_file_that_is_no_longer_wanted_is_left(model, tmp_path):
    mask_to_folder(scene(), tmp_path, model=model, options=MaskOptions(validity=True))
    mask_to_folder(scene(), tmp_path, model=model, overwrite=True)
    assert not [p.name for p in tmp_path.iterdir() if "validity" in p.name]


def test_over_the_network_only_what_the_model_takes_is_fetched(model, tmp_path):
    values = counts(GRID.shape)
    place = {
        "proj:code": GRID.crs.to_string(),
        "proj:shape": GRID.shape,
        "proj:transform": list(GRID.transform)[:6],
    }
    assets = {}
    with serve(tmp_path) as server:
        for n, name in enumerate((*BANDS, "swir16", "coastal")):
            with rasterio.open(
                tmp_path / f"{name}.tif", "w", driver="GTiff", count=1, dtype="uint16",
                crs=GRID.crs, height=GRID.shape[0], width=GRID.shape[1],
                transform=GRID.transform, nodata=0,
            ) as data:  # fmt: skip
                data.write(values[n % 4], 1)
            scaling = [{"scale": 1e-4, "offset": 0, "nodata": 0}]
            assets[name] = {"href": f"{server.url}/{name}.tif", "raster:bands": scaling, **place}
        item = {
            "type": "Feature", "stac_version": "1.0.0", "id": "X1", "geometry": None, "links": [],
            "properties": {"datetime": "2024-07-05T10:10:00Z"}, "assets": assets,
        }  # fmt: skip
        mask = mask_scene(open_scene(item), model=model)
        assert server.asked() == {f"{name}.tif" for name in BANDS}
    np.testing.assert_array_equal(mask.classes, mask_scene(scene(), model=model).classes)


def test_the_missing_file_of_a_band_that_would_stand_in_is_named(model):
    source = scene()
    bands = {name: band for name, band in source.bands.items() if name != "nir"}
    broken = replace(source, bands=bands, missing={"nir08": ("IMG/B8A_20m.jp2",)})
    needs_nir = replace(model, card=model.card.model_copy(update={"bands": tuple(
        use.model_copy(update={"required": True}) for use in model.card.bands
    )}))  # fmt: skip
    with pytest.raises(MissingFileError, match=r"IMG/B8A_20m\.jp2"):
        mask_scene(broken, model=needs_nir)


@pytest.mark.parametrize("overwrite", [False, True])
def test_the_item_that_is_the_input_is_not_written_over(model, tmp_path, overwrite):
    path = tmp_path / "X1.json"
    path.write_text("{}")
    source = replace(scene(), path=str(path))
    with pytest.raises(OutputError, match="is the input"):
        mask_to_folder(source, tmp_path, model=model, overwrite=overwrite)
    assert path.read_text() == "{}"


def test_what_is_no_item_is_told(model, tmp_path):
    (tmp_path / "X1.json").write_text("[]")
    with pytest.raises(OutputError, match="found list"):
        mask_to_folder(scene(), tmp_path, model=model)


def matters(whole, row, column, size):
    """Whether clouds outside of a window reach pixels in it that those inside do not."""
    inner = Window(row, column, size, size).slices
    alone, expected = (
        postprocess(classes, pixel_size=(20.0, 20.0), dilate_m=50.0)
        for classes in (whole.classes[inner], whole.classes)
    )
    return (alone != expected[inner])[np.tri(size, dtype=bool)].any()


@pytest.mark.parametrize("kind", ["bounds", "polygon"])
def test_clouds_grow_into_the_area_from_outside(whole, model, kind, tmp_path):
    row, column = next(
        (r, c) for r in range(0, 180, 20) for c in range(24, 220, 20) if matters(whole, r, c, 20)
    )
    west, south, east, north = GRID.crop(Window(row, column, 20, 20)).bounds
    ring = [[west, north], [west, south], [east, south], [west, north]]
    polygon = {"type": "Polygon", "coordinates": [ring]}
    area = read_area((west, south, east, north) if kind == "bounds" else polygon, 32632)
    found = mask_scene(scene(), model=model, area=area, dilate=50.0, probabilities=True)
    window = GRID.window_of(found.grid.bounds)
    assert found.grid == GRID.crop(window)
    expected = postprocess(whole.classes, pixel_size=(20.0, 20.0), dilate_m=50.0)[window.slices]
    inside = found.validity != Validity.NO_DATA
    np.testing.assert_array_equal(found.classes[inside], expected[inside])
    np.testing.assert_allclose(
        found.probabilities[:, inside], whole.probabilities[:, *window.slices][:, inside], atol=1e-5
    )
    assert np.isnan(found.probabilities[:, ~inside]).all()
    np.testing.assert_array_equal(found.image, whole.image[:, *window.slices])
    assert found.statistics.pixels == found.statistics.valid == inside.sum()
    options = MaskOptions(area=area, dilate=50.0, probabilities=True)
    result = mask_to_folder(scene(), tmp_path, model=model, options=options)
    with rasterio.open(result.paths["mask"]) as data:
        np.testing.assert_array_equal(data.read(1), found.classes)
    with rasterio.open(result.paths["probabilities"]) as data:
        np.testing.assert_array_equal(data.read(), scale_probabilities(found.probabilities))


@pytest.fixture
def shading(tmp_path):
    """A model that calls cloud what is brighter than the mean of the scene."""
    return load_model(write_fixed(tmp_path / "mean.onnx", tile=None, statistics=("mean",)))


def drawn_scene(cloud, grid):
    """Return a scene that is bright where there is cloud."""
    values = np.where(cloud, 8000, 1000).astype(np.uint16)
    return scene_from_array(np.stack([values] * 2), "red,nir", scale=1e-4, grid=grid)


@pytest.mark.parametrize("dilate", [0.0, 60.0])
def test_a_cloud_that_crosses_the_edge_of_an_area_is_measured_whole(shading, dilate):
    cloud = np.zeros(GRID.shape, bool)
    cloud[60:100, 81:110] = True  # 1160 pixels, of which few are in the area
    cloud[20:30, 60:68] = cloud[150:160, 76:83] = True  # small ones: in the area, and beside it
    source, how = drawn_scene(cloud, GRID), {"dilate": dilate, "min_area": 400.0 * 125}
    window = Window(10, 40, 160, 43)
    area = read_area(GRID.crop(window).bounds, 32632)
    whole = mask_scene(source, model=shading, **how)
    found = mask_scene(source, model=shading, area=area, **how)
    assert (whole.classes[window.slices] == 1).sum() > 40 and not whole.classes[:50].any()
    np.testing.assert_array_equal(found.classes, whole.classes[window.slices])


def test_clouds_grow_in_an_area_as_in_a_scene_of_degrees(shading):
    cloud = np.zeros((300, 60), bool)
    cloud[10:14, 20:24] = cloud[280:284, 20:24] = True
    # Across 30 degrees of latitude, so that a pixel is wider in the middle than at the top.
    grid = Grid(CRS.from_epsg(4326), Affine(0.1, 0, 10, 0, -0.1, 75), cloud.shape)
    source = drawn_scene(cloud, grid)
    whole = mask_scene(source, model=shading, dilate=30_000.0)
    for row in (0, 270):
        window = Window(row, 0, 30, 60)
        area = read_area(grid.crop(window).bounds, 4326)
        found = mask_scene(source, model=shading, area=area, dilate=30_000.0)
        assert found.classes.sum() > 16
        np.testing.assert_array_equal(found.classes, whole.classes[window.slices])


@pytest.mark.parametrize("picture", [True, False])
@pytest.mark.parametrize(("scale", "said"), [(1e-4, False), (1.0, True), (1e-8, True)])
def test_a_scale_that_gives_no_reflectance_is_noted(model, tmp_path, scale, said, picture):
    opened = open_scene(write_raster(tmp_path / "a.tif"), scale=scale)
    options = MaskOptions(picture=picture)
    result = mask_to_folder(opened, tmp_path / "out", model=model, options=options)
    assert any("hardly right" in note for note in result.notes) == said
    assert ("picture" in result.paths) == picture
    item = json.loads(result.paths["item"].read_text(encoding="utf-8"))
    assert item["properties"]["nubila:notes"] == list(result.notes)
    again = mask_to_folder(opened, tmp_path / "out", model=model, options=options)
    assert again.skipped and again.notes == result.notes


FOREIGN = ("X1_mask.tif", "X1_mask.png", "X1_mask.qml", "X1_validity.tif", "X1_probabilities.tif")


def drawn(path):
    """Write a file that is somebody's own: a raster without our tag, or a few bytes."""
    if path.suffix == ".tif":
        with rasterio.open(
            path, "w", driver="GTiff", count=1, dtype="uint8", crs=GRID.crs, height=4, width=4,
            transform=GRID.transform,
        ) as data:  # fmt: skip
            data.write(np.full((1, 4, 4), 3, np.uint8))
    else:
        path.write_bytes(b"mine")
    return path.read_bytes()


@pytest.mark.parametrize("name", FOREIGN)
def test_files_that_are_not_ours_are_left_alone_before_any_work(model, whole, tmp_path, name):
    before = drawn(tmp_path / name)
    seen: list[Window] = []
    spied = scene().map_sources(lambda source: _Spy(source, seen))
    with pytest.raises(OutputError, match=rf"{name}: is there already(.|\n)*--overwrite"):
        mask_to_folder(spied, tmp_path, model=model)
    assert not seen
    with pytest.raises(OutputError, match=f"{name}: is there already"):
        whole.write(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_bytes() == before


@pytest.mark.parametrize("through_memory", [False, True])
def test_overwriting_replaces_what_is_written_and_deletes_nothing_of_others(
    model, tmp_path, through_memory
):
    before = {name: drawn(tmp_path / name) for name in FOREIGN}
    options = MaskOptions(picture=False)
    if through_memory:
        mask = mask_scene(scene(), model=model)
        replace(mask, provenance=replace(mask.provenance, options=options)).write(
            tmp_path, overwrite=True
        )
    else:
        mask_to_folder(scene(), tmp_path, model=model, options=options, overwrite=True)
    changed = {name for name in FOREIGN if (tmp_path / name).read_bytes() != before[name]}
    assert changed == {"X1_mask.tif", "X1_mask.qml"}


def test_a_damaged_or_dead_file_of_these_names_is_somebodys_too(model, tmp_path):
    (tmp_path / "X1_mask.tif").write_bytes(b"II*\0 no more")
    with pytest.raises(OutputError, match=r"X1_mask\.tif: is there already"):
        mask_to_folder(scene(), tmp_path, model=model)
    (tmp_path / "X1_mask.tif").unlink()
    (tmp_path / "X1_mask.tif").symlink_to(tmp_path / "not mounted")
    with pytest.raises(OutputError, match=r"X1_mask\.tif: is there already"):
        mask_to_folder(scene(), tmp_path, model=model)
    assert (tmp_path / "X1_mask.tif").is_symlink()


@pytest.mark.parametrize("lost", [(), ("X1_mask.png",), ("X1_mask.png", "X1_mask.qml")])
def test_what_a_run_that_was_cut_short_left_is_replaced(model, tmp_path, lost):
    first = MaskOptions(probabilities=True, validity=True)
    mask_to_folder(scene(), tmp_path / "a", model=model, options=first)
    # Rasters appear first, the mask's before the others; the item comes last.
    for name in ("X1.json", *lost):
        (tmp_path / "a" / name).unlink()
    again = MaskOptions(picture=False)
    for folder in ("a", "straight"):
        assert not mask_to_folder(scene(), tmp_path / folder, model=model, options=again).skipped
    left, straight = (
        {p.name: p.read_bytes() for p in (tmp_path / folder).iterdir()}
        for folder in ("a", "straight")
    )
    assert left == straight


def test_a_mask_in_memory_replaces_an_earlier_one(model, whole, tmp_path):
    options = MaskOptions(probabilities=True, validity=True)
    mask_to_folder(scene(), tmp_path, model=model, options=options)
    assert "validity" not in whole.write(tmp_path)
    assert not [p.name for p in tmp_path.iterdir() if "validity" in p.name]


def test_a_mask_in_memory_does_not_replace_the_item_that_is_its_input(whole, tmp_path):
    path = tmp_path / "X1.json"
    path.write_text("{}")
    mask = replace(whole, provenance=replace(whole.provenance, path=str(path)))
    for overwrite in (False, True):
        with pytest.raises(OutputError, match="is the input"):
            mask.write(tmp_path, overwrite=overwrite)
    with pytest.raises(OutputError, match=r"X1\.json: is there already"):
        whole.write(tmp_path)
    assert path.read_text() == "{}"


@pytest.mark.parametrize("dated", [True, False])
def test_a_scene_of_several_files_with_long_names(model, tmp_path, monkeypatch, dated):
    monkeypatch.chdir(tmp_path)
    values, long = counts(GRID.shape), "surface-reflectance-of-a-long-name-" * 2
    files = []
    for name, band in zip(BANDS, values, strict=True):
        files.append(f"{long}{name}.tif")
        with rasterio.open(
            files[-1], "w", driver="GTiff", count=1, dtype="uint16", crs=GRID.crs, nodata=0,
            height=GRID.shape[0], width=GRID.shape[1], transform=GRID.transform,
        ) as data:  # fmt: skip
            data.write(band, 1)
    assert len(", ".join(files)) > 255
    opened = open_scene(files, bands=",".join(BANDS), scale=1e-4)
    opened = replace(opened, acquired=scene().acquired if dated else None)
    first = mask_to_folder(opened, tmp_path / "out", model=model)
    assert not first.skipped
    assert mask_to_folder(opened, tmp_path / "out", model=model).skipped
    with pytest.raises(OutputError, match="option binary was false, is now true"):
        mask_to_folder(opened, tmp_path / "out", model=model, options=MaskOptions(binary=True))
    again = mask_scene(opened, model=model).write(tmp_path / "out")
    assert again["item"] == first.paths["item"]


def test_a_scene_with_a_name_that_is_too_long_for_a_file_is_told_before_any_work(model, tmp_path):
    seen: list[Window] = []
    spied = scene("X" * 300).map_sources(lambda source: _Spy(source, seen))
    with pytest.raises(OutputError, match="too long"):
        mask_to_folder(spied, tmp_path, model=model)
    assert not seen


def test_a_zip_whose_bytes_changed_is_not_masked(model, tmp_path):
    product = LandsatProduct()
    folder = product.write(tmp_path / product.id)
    archive = tmp_path / f"{product.id}.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as data:
        for file in sorted(folder.iterdir()):
            data.write(file, file.name)
    mask_to_folder(archive, tmp_path / "whole", model=model)
    content = bytearray(archive.read_bytes())
    red = product.counts["4"].tobytes()
    content[content.index(red) + len(red) // 2] ^= 4
    archive.write_bytes(content)
    with pytest.raises(DamagedFileError, match=r"'.*_B4.TIF' in it is damaged.*fetch it"):
        mask_to_folder(archive, tmp_path / "out", model=model)
    assert not [file for file in (tmp_path / "out").rglob("*") if file.is_file()]
