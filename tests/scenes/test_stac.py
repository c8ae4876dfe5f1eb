"""STAC items in the published structures of the large catalogues, against raw counts."""

from __future__ import annotations

import copy
import json
import re
from datetime import UTC, datetime

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.crs import CRS

from nubila.classes import Validity
from nubila.errors import (
    BandError,
    GridError,
    MetadataError,
    MissingFileError,
    ProductError,
)
from nubila.scenes.location import gdal_path, read_text, resolve
from nubila.scenes.stac import open_stac

from .range_server import serve

EPSG = 32632
CORNER = (399960, 5500020)
SIZE = {10: 120, 20: 60, 60: 20}
# Earth Search's asset keys: (file, resolution, name in eo:bands, common name in eo:bands).
EARTH_SEARCH = {
    "coastal": ("B01", 60, "coastal", "coastal"),
    "blue": ("B02", 10, "blue", "blue"),
    "red": ("B04", 10, "red", "red"),
    "rededge1": ("B05", 20, "rededge1", "rededge"),
    "rededge2": ("B06", 20, "rededge2", "rededge"),
    "nir": ("B08", 10, "nir", "nir"),
    "nir08": ("B8A", 20, "nir08", "nir08"),
    "swir16": ("B11", 20, "swir16", "swir16"),
}
PLANETARY = {
    "B02": (10, "blue"),
    "B04": (10, "red"),
    "B05": (20, "rededge"),
    "B06": (20, "rededge"),
    "B8A": (20, "rededge"),
    "B09": (60, None),
    "B11": (20, "swir16"),
}
LANDSAT = {
    "blue": ("SR_B2", "OLI_B2"),
    "red": ("SR_B4", "OLI_B4"),
    "nir08": ("SR_B5", "OLI_B5"),
    "swir16": ("SR_B6", "OLI_B6"),
}


def transform_of(resolution):
    return Affine(resolution, 0, CORNER[0], 0, -resolution, CORNER[1])


def write(path, resolution, *, epsg=EPSG, shape=None, seed=0, dtype="uint16", tags=None):
    rows, columns = shape or (SIZE[resolution], SIZE[resolution])
    counts = np.random.default_rng(seed).integers(1000, 9000, (rows, columns)).astype(dtype)
    counts[:3] = 0
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=1,
        height=rows,
        width=columns,
        dtype=dtype,
        crs=f"EPSG:{epsg}",
        transform=transform_of(resolution),
    ) as data:
        data.write(counts, 1)
        if tags:
            data.scales, data.offsets = (tags[0],), (tags[1],)
    return counts


def skeleton(identifier, properties):
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": identifier,
        "properties": {
            "datetime": "2023-06-28T07:24:41.632000Z",
            "view:sun_azimuth": 72.5,
            "view:sun_elevation": 69.8,
            **properties,
        },
        "geometry": {
            "type": "Polygon",
            "coordinates": [[[8, 49], [9, 49], [9, 50], [8, 50], [8, 49]]],
        },
        "links": [],
        "assets": {},
    }


def projection(resolution):
    size = SIZE[resolution]
    return {"proj:shape": [size, size], "proj:transform": list(transform_of(resolution))[:6]}


def earth_search(folder, *, applied=True, baseline="05.09", offset=-0.1):
    """An item of Earth Search v1, sentinel-2-l2a, as https://earth-search.aws.element84.com."""
    item = skeleton(
        "S2A_32TNS_20230628_0_L2A",
        {
            "platform": "sentinel-2a",
            "constellation": "sentinel-2",
            "instruments": ["msi"],
            "proj:epsg": EPSG,
            "s2:product_type": "S2MSI2A",
            "s2:processing_baseline": baseline,
        },
    )
    if applied is not None:
        item["properties"]["earthsearch:boa_offset_applied"] = applied
    counts = {}
    for number, (key, (file, size, name, common)) in enumerate(EARTH_SEARCH.items()):
        counts[key] = write(folder / f"{file}.tif", size, seed=number)
        raster = {"nodata": 0, "data_type": "uint16", "spatial_resolution": size, "scale": 0.0001}
        raster |= {} if offset is None else {"offset": offset}
        item["assets"][key] = {
            "href": f"./{file}.tif",
            "type": "image/tiff; application=geotiff; profile=cloud-optimized",
            "eo:bands": [{"name": name, "common_name": common}],
            "gsd": size,
            **projection(size),
            "raster:bands": [raster],
            "roles": ["data", "reflectance"],
        }
        item["assets"][f"{key}-jp2"] = item["assets"][key] | {
            "href": f"s3://sentinel-s2-l2a/tiles/32/T/NS/2023/6/28/0/R{size}m/{file}.jp2",
            "type": "image/jp2",
        }
    item["assets"]["scl"] = {
        "href": "./SCL.tif",
        "type": "image/tiff; application=geotiff; profile=cloud-optimized",
        **projection(20),
        "raster:bands": [{"nodata": 0, "data_type": "uint8", "spatial_resolution": 20}],
        "roles": ["data", "reflectance"],
    }
    write(folder / "SCL.tif", 20, dtype="uint8")
    item["assets"]["visual"] = {
        "href": "./TCI.tif",
        "type": "image/tiff; application=geotiff; profile=cloud-optimized",
        "eo:bands": [{"name": n, "common_name": n} for n in ("red", "green", "blue")],
        "roles": ["visual"],
    }
    item["assets"]["granule_metadata"] = {"href": "./m.xml", "type": "application/xml"}
    item["assets"]["thumbnail"] = {"href": "./t.jpg", "type": "image/jpeg", "roles": ["thumbnail"]}
    return item, counts


def planetary_sentinel(folder, *, baseline):
    """An item of the Planetary Computer's sentinel-2-l2a: no raster:bands at all."""
    item = skeleton(
        "S2A_MSIL2A_20230628T070631_R106_T32TNS_20230628T113955",
        {
            "platform": "Sentinel-2A",
            "constellation": "Sentinel 2",
            "instruments": ["msi"],
            "proj:epsg": EPSG,
            "s2:product_type": "S2MSI2A",
            "s2:processing_baseline": baseline,
            "s2:mean_solar_zenith": 20.2,
        },
    )
    counts = {}
    for number, (key, (size, common)) in enumerate(PLANETARY.items()):
        counts[key] = write(folder / f"{key}_{size}m.tif", size, seed=number)
        band = {"name": key, "description": "x"} | ({"common_name": common} if common else {})
        item["assets"][key] = {
            "href": str(folder / f"{key}_{size}m.tif"),
            "type": "image/tiff; application=geotiff; profile=cloud-optimized",
            "gsd": size,
            **projection(size),
            "eo:bands": [band],
            "roles": ["data"],
        }
    item["assets"]["visual"] = item["assets"]["B04"] | {
        "eo:bands": [{"name": n} for n in ("B04", "B03", "B02")]
    }
    item["assets"]["preview"] = {"href": "https://x.invalid/p.tif", "roles": ["thumbnail"]}
    return item, counts


def planetary_landsat(folder, *, stated=True):
    """An item of landsat-c2-l2 as the Planetary Computer and the Survey's catalogue have it."""
    item = skeleton(
        "LC08_L2SP_195025_20230628_02_T1",
        {
            "platform": "landsat-8",
            "instruments": ["oli", "tirs"],
            "proj:epsg": EPSG,
            "landsat:correction": "L2SP",
            "landsat:collection_number": "02",
            **projection(20),
        },
    )
    counts = {}
    for number, (key, (file, name)) in enumerate(LANDSAT.items()):
        counts[key] = write(folder / f"{file}.TIF", 20, seed=number)
        item["assets"][key] = {
            "href": f"{file}.TIF",
            "type": "image/tiff; application=geotiff; profile=cloud-optimized",
            "eo:bands": [{"name": name, "common_name": key}],
            "roles": ["data"],
        }
        if stated:
            raster = {"scale": 2.75e-05, "nodata": 0, "offset": -0.2, "data_type": "uint16"}
            item["assets"][key]["raster:bands"] = [raster]
    item["assets"]["lwir11"] = item["assets"]["red"] | {
        "eo:bands": [{"name": "TIRS_B10", "common_name": "lwir11"}],
        "raster:bands": [{"scale": 0.00341802, "offset": 149.0, "nodata": 0}],
    }
    for key in ("qa_pixel", "qa_radsat"):
        item["assets"][key] = {"href": f"{key}.TIF", "type": "image/tiff; application=geotiff"}
        write(folder / f"{key}.TIF", 20)
    flags = np.zeros((60, 60), np.uint16)
    flags[30, 31] = 1 << 3
    with rasterio.open(folder / "qa_radsat.TIF", "r+") as data:
        data.write(flags, 1)
    return item, counts


def save(item, folder):
    path = folder / "item.json"
    path.write_text(json.dumps(item))
    return path


def reflectance(scene, name):
    return scene.read([name], resolution=scene.bands[name].resolution).reflectance[0]


def expect(scene, name, counts, scale, offset):
    expected = np.where(counts == 0, np.nan, counts * scale + offset)
    np.testing.assert_allclose(reflectance(scene, name), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("applied", "baseline", "stated", "offset"),
    [
        (True, "05.09", -0.1, 0.0),  # taken off, raster:bands as it was: what most items say
        (True, "05.09", 0, 0.0),
        (True, "04.00", None, 0.0),
        (False, "05.11", -0.1, -0.1),
        (False, "02.14", 0, 0.0),
        (False, "03.01", None, 0.0),
        (None, "05.09", -0.1, -0.1),  # as sentinel-2-c1-l2a
        (None, "02.14", 0, 0.0),
    ],
)
def test_earth_search(tmp_path, applied, baseline, stated, offset):
    item, counts = earth_search(tmp_path, applied=applied, baseline=baseline, offset=stated)
    scene = open_stac(save(item, tmp_path))
    names = {**{key: key for key in EARTH_SEARCH}, "rededge1": "rededge071"}
    names["rededge2"] = "rededge075"
    assert list(scene.bands) == list(names.values())
    for key, name in names.items():
        expect(scene, name, counts[key], 1e-4, offset)
    assert "boa_offset_applied" in scene.bands["red"].scale_from or applied is None


def test_earth_search_item(tmp_path):
    item, _ = earth_search(tmp_path)
    scene = open_stac(save(item, tmp_path))
    assert scene.id == item["id"]
    assert (scene.sensor, scene.level, scene.baseline) == ("sentinel-2-msi", "L2A", "05.09")
    assert scene.platform == "sentinel-2a"
    assert scene.sun == (69.8, 72.5)
    assert scene.acquired == datetime(2023, 6, 28, 7, 24, 41, 632000, tzinfo=UTC)
    assert scene.footprint == item["geometry"]
    assert scene.crs == CRS.from_epsg(EPSG)
    assert scene.shape == (120, 120)
    assert scene.default_resolution == 20
    assert list(scene.masks) == ["scl"]
    assert scene.masks["scl"].grid.resolution == pytest.approx(20)


@pytest.mark.parametrize(
    ("applied", "baseline", "stated", "said"),
    [
        (True, "02.14", 0, "before 04.00"),
        (True, "05.09", -0.2, "neither 0 nor the usual"),
        (False, "05.09", 0, "offset 0.* 05.09.*means offset -0.1"),
        (False, "05.09", None, "no offset.*means offset -0.1"),
        (False, "02.14", -0.1, "offset -0.1.*02.14.*means offset 0"),
        (None, "04.00", 0, "means offset -0.1"),
        (None, "four", -0.1, "expected one such as"),
    ],
)
def test_sentinel_metadata_that_contradict_each_other(tmp_path, applied, baseline, stated, said):
    item, _ = earth_search(tmp_path, applied=applied, baseline=baseline, offset=stated)
    with pytest.raises(MetadataError, match=said):
        open_stac(save(item, tmp_path))


def test_flag_is_about_the_cogs_only(tmp_path):
    """The JPEG 2000 assets have the agency's counts, so there the stated offset holds."""
    item, counts = earth_search(tmp_path, applied=True)
    item["assets"] = {k: v for k, v in item["assets"].items() if k.endswith("-jp2")}
    for key, (file, *_) in EARTH_SEARCH.items():
        item["assets"][f"{key}-jp2"]["href"] = f"{file}.tif"
    scene = open_stac(save(item, tmp_path))
    expect(scene, "red", counts["red"], 1e-4, -0.1)


@pytest.mark.parametrize(
    ("baseline", "offset"),
    [("02.12", 0.0), ("03.01", 0.0), ("04.00", -0.1), ("05.11", -0.1), ("N0510", -0.1)],
)
def test_planetary_computer_sentinel(tmp_path, baseline, offset):
    item, counts = planetary_sentinel(tmp_path, baseline=baseline)
    scene = open_stac(item)
    names = ["blue", "red", "rededge071", "rededge075", "nir08", "nir09", "swir16"]
    assert list(scene.bands) == names
    for key, name in zip(PLANETARY, names, strict=True):
        expect(scene, name, counts[key], 1e-4, offset)
    assert scene.bands["red"].nodata == 0
    assert any("states no scale" in note for note in scene.notes)


def rewrite(path, values, *, tags=None, nodata=None):
    """Put other values into a file, as somebody does who derives one."""
    with rasterio.open(path) as data:
        profile = data.profile | {"dtype": values.dtype, "nodata": nodata}
    path.unlink()
    with rasterio.open(path, "w", **profile) as data:
        data.write(np.broadcast_to(values, (profile["height"], profile["width"])), 1)
        if tags:
            data.scales, data.offsets = (tags[0],), (tags[1],)


def derived(folder, catalogue, values, **keywords):
    """An item that states no scale, of files that somebody derived."""
    if catalogue == "sentinel":
        item, _ = planetary_sentinel(folder, baseline="05.09")
    elif catalogue == "landsat":
        item, _ = planetary_landsat(folder, stated=False)
    else:
        item, _ = earth_search(folder, applied=True)
        for asset in item["assets"].values():
            asset.pop("raster:bands", None)
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() == ".tif" and path.name[:2] not in ("qa", "SC"):
            rewrite(path, values, **keywords)
    return item


CATALOGUES = ["sentinel", "landsat", "flag"]


@pytest.mark.parametrize("catalogue", CATALOGUES)
@pytest.mark.parametrize("nodata", [None, -9999])
def test_floats_are_no_counts_of_a_habit(tmp_path, catalogue, nodata):
    item = derived(tmp_path, catalogue, np.float32(0.3), nodata=nodata)
    file = {"sentinel": "B04_10m.tif", "landsat": "SR_B4.TIF", "flag": "B04.tif"}[catalogue]
    with rasterio.open(tmp_path / file, "r+") as data:
        data.write(
            np.full((1, 5, data.width), nodata or 0, "float32"), window=((0, 5), (0, data.width))
        )
    scene = open_stac(save(item, tmp_path))
    red = scene.read(["red"], resolution=scene.bands["red"].resolution)
    np.testing.assert_array_equal(red.reflectance[0, 5:], np.float32(0.3))
    empty = nodata is not None
    assert (red.validity[:5] == (Validity.NO_DATA if empty else Validity.VALID)).all()
    (note,) = (note for note in scene.notes if "taken as reflectance" in note)
    assert "float32" in note
    assert file in note


def test_floats_of_0_in_every_band_are_no_data(tmp_path):
    values = np.full(SIZE[20], 0.3, "float32")
    values[:10] = 0
    item = derived(tmp_path, "landsat", values)
    scene = open_stac(save(item, tmp_path))
    validity = scene.read(["red", "swir16"]).validity
    assert (validity[:, :10] == Validity.NO_DATA).all()
    assert (validity[:, 10:] != Validity.NO_DATA).all()
    assert any("0 in every band" in note for note in scene.notes)


@pytest.mark.parametrize("catalogue", CATALOGUES)
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_tags_of_a_file_that_contradict_a_habit(tmp_path, catalogue, dtype):
    offset = 0.0 if catalogue != "flag" else -0.1
    item = derived(tmp_path, catalogue, np.array(3000, dtype), tags=(1e-4, offset))
    with pytest.raises(
        MetadataError, match=r"B0?\d.*: contradiction: the file's tags(.|\n)*list of"
    ):
        open_stac(save(item, tmp_path))


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_tags_of_a_file_that_say_what_a_habit_says(tmp_path, dtype):
    item = derived(tmp_path, "sentinel", np.array(3000, dtype), tags=(1e-4, -0.1))
    scene = open_stac(save(item, tmp_path))
    np.testing.assert_allclose(reflectance(scene, "red"), 0.2, atol=1e-6)
    assert scene.bands["red"].nodata == 0


@pytest.mark.parametrize(
    ("values", "tags", "said"),
    [
        (np.float32(0.3), None, "holds float32 values without a scale(.|\n)*list of rasters"),
        (np.uint16(3000), (1e-4, 0), "contradiction: the file's tags(.|\n)*list of rasters"),
    ],
)
def test_a_habit_is_held_to_a_remote_file_when_it_is_read(tmp_path, values, tags, said):
    item = derived(tmp_path, "sentinel", values, tags=tags)
    with serve(tmp_path) as server:
        for key, (size, _) in PLANETARY.items():
            item["assets"][key]["href"] = f"{server.url}/{key}_{size}m.tif?sig=secret"
        server.query = "sig=secret"
        scene = open_stac(item)
        assert not server.asked()
        with pytest.raises(MetadataError, match=rf"{server.url}/B04_10m\.tif: {said}") as told:
            scene.read(["red"])
    assert "secret" not in str(told.value)


def stated(folder, values, *, tags=None, own=None, nodata=0, **fields):
    """An item that states a scale of counts, of one file that may be another."""
    item, _ = plain(folder)
    rewrite(folder / "a.tif", values, tags=tags, nodata=own)
    raster = {"scale": 1e-4, "offset": 0, "nodata": nodata}
    item["assets"]["data"] |= {"raster:bands": [raster], **fields}
    return item


STATED_OTHERWISE = [
    ({"values": np.uint16(3000), "tags": (1e-4, -0.1)}, "tags say.*-0.1;.*0.0001 and offset 0"),
    ({"values": np.uint16(3000), "tags": (2e-5, 0)}, "tags say scale 2e-05.*scale 0.0001"),
    ({"values": np.float32(0.3)}, "float32 values that are reflectance already.*scale 0.0001"),
    ({"values": np.uint16(3000), "own": 9}, "9 means no data, by the item 0"),
]


@pytest.mark.parametrize(("made", "said"), STATED_OTHERWISE)
def test_what_an_item_states_is_held_to_the_file(tmp_path, made, said):
    item = stated(tmp_path, **made)
    with pytest.raises(MetadataError, match=rf"a\.tif: contradiction.*{said}.*list of rasters"):
        open_stac(save(item, tmp_path))


@pytest.mark.parametrize(("made", "said"), STATED_OTHERWISE)
def test_what_an_item_states_is_held_to_a_remote_file_when_it_is_read(tmp_path, made, said):
    item = stated(tmp_path, **made, **projection(20), **{"proj:code": f"EPSG:{EPSG}"})
    with serve(tmp_path) as server:
        item["assets"]["data"]["href"] = f"{server.url}/a.tif"
        scene = open_stac(item)
        assert not server.asked()
        with pytest.raises(MetadataError, match=rf"{server.url}/a\.tif: contradiction.*{said}"):
            scene.read(["red"])


@pytest.mark.parametrize(
    "made",
    [
        {"values": np.uint16(3000)},
        {"values": np.uint16(3000), "tags": (1e-4, 0), "own": 0},
        {"values": np.float32(3000), "own": np.nan},
        {
            "values": np.float32(3),
            "own": -9999,
            "nodata": -9999,
        },  # counts over deep water are whole numbers
        {"values": np.float32(3000.5)},  # and high, where they were resampled
    ],
)
def test_a_file_that_bears_an_item_out(tmp_path, made):
    scene = open_stac(save(stated(tmp_path, **made), tmp_path))
    np.testing.assert_allclose(reflectance(scene, "red"), made["values"] * 1e-4, rtol=1e-5)


def test_a_file_that_is_not_on_disk_fails_only_when_it_is_read(tmp_path):
    item, counts = planetary_sentinel(tmp_path, baseline="05.09")
    (tmp_path / "B02_10m.tif").unlink()
    scene = open_stac(item)
    expect(scene, "red", counts["B04"], 1e-4, -0.1)
    with pytest.raises(MissingFileError, match=r"B02_10m\.tif"):
        scene.read(["blue"])


# HLS User Guide 2.0, NASA LP DAAC: Landsat by Sentinel-2's numbers, but for its own wavelengths.
HLS_LANDSAT = {
    **{"B01": "coastal", "B02": "blue", "B03": "green", "B04": "red", "B05": "nir08"},
    **{"B06": "swir16", "B07": "swir22", "B09": "cirrus", "B10": "lwir11", "B11": "lwir12"},
}


def hls(folder, properties, common=None):
    """An item of HLS's Landsat; its keys are its labels."""
    item = skeleton("HLS.L30.T33UUU.2021110T101010.v2.0", properties)
    write(folder / "a.tif", 20)
    for label, name in HLS_LANDSAT.items():
        band = {"name": label} | (
            {"common_name": (common or {}).get(label, name)} if common else {}
        )
        raster = [{"scale": 1e-4, "nodata": -9999}]
        item["assets"][label] = {"href": "a.tif", "eo:bands": [band], "raster:bands": raster}
    return save(item, folder)


@pytest.mark.parametrize("common", [None, {"B05": "nir08"}, {"B05": "nir"}])
@pytest.mark.parametrize("instrument", ["OLI", None])
def test_labels_of_landsat_in_hls(tmp_path, common, instrument):
    properties = {"platform": "LANDSAT-8", "instruments": ["OLI"]} if instrument else {}
    path = hls(tmp_path, properties, common)
    if instrument is None and common is None:
        with pytest.raises(BandError, match="B05, which is another band of Sentinel-2"):
            open_stac(path)
        return
    scene = open_stac(path)
    expected = [name for name in HLS_LANDSAT.values() if not name.startswith("lwir")]
    if instrument is None:
        expected[4] = common["B05"]
    assert list(scene.bands) == expected


def test_a_label_of_landsat_that_its_common_name_contradicts(tmp_path):
    properties = {"platform": "LANDSAT-8", "instruments": ["OLI"]}
    path = hls(tmp_path, properties, {"B05": "rededge071"})
    with pytest.raises(MetadataError, match=r"'B05' \(nir08\), but its common name 'rededge071'"):
        open_stac(path)


@pytest.mark.parametrize("labels", [["B02", "B05", "B8A"], ["B2", "B5", "B8A"], ["B05", "B08"]])
def test_labels_of_sentinel_2_without_a_platform(tmp_path, labels):
    item, _ = planetary_sentinel(tmp_path, baseline="05.09")
    for asset in item["assets"].values():
        asset["raster:bands"] = [{"scale": 1e-4, "offset": -0.1, "nodata": 0}]
    band = item["assets"]["B04"]
    commons = {"B5": "rededge", "B05": "rededge", "B8A": "rededge"}
    item["assets"] = {}
    for label in labels:
        named = {"name": label} | ({"common_name": commons[label]} if label in commons else {})
        item["assets"][label] = band | {"eo:bands": [named]}
    del item["properties"]["platform"], item["properties"]["constellation"]
    names = {"2": "blue", "5": "rededge071", "8": "nir", "8A": "nir08"}
    assert list(open_stac(item).bands) == [names[label.lstrip("B0")] for label in labels]


def test_a_common_name_beats_a_label_of_a_sensor_that_is_not_told(tmp_path):
    item = skeleton("x", {})
    write(tmp_path / "a.tif", 20)
    for label, name in (("B08", "nir"), ("B04", "green")):
        bands = {"eo:bands": [{"name": label, "common_name": name}]}
        item["assets"][label] = {"href": "a.tif", **bands, "raster:bands": [{"scale": 1e-4}]}
    assert list(open_stac(save(item, tmp_path)).bands) == ["nir", "green"]


def test_sentinel_without_scale_and_baseline(tmp_path):
    item, _ = planetary_sentinel(tmp_path, baseline="04.00")
    del item["properties"]["s2:processing_baseline"]
    with pytest.raises(MetadataError, match=r"no scale(.|\n)*list of rasters"):
        open_stac(item)


@pytest.mark.parametrize("stated", [True, False])
def test_landsat(tmp_path, stated):
    item, counts = planetary_landsat(tmp_path, stated=stated)
    scene = open_stac(save(item, tmp_path))
    assert list(scene.bands) == list(LANDSAT)  # the thermal band is no reflectance
    for name in LANDSAT:
        expect(scene, name, counts[name], 2.75e-5, -0.2)
    assert (scene.sensor, scene.level) == ("landsat-oli", "L2SP")
    validity = scene.read(["red", "swir16"]).validity
    assert np.argwhere(validity == Validity.SATURATED).tolist() == [[30, 31]]
    assert (scene.read(["blue"]).validity != Validity.SATURATED).all()
    assert list(scene.masks) == ["qa_pixel"]
    assert bool(scene.notes) is not stated


def test_landsat_level_1_needs_its_mtl(tmp_path):
    item, _ = planetary_landsat(tmp_path)
    item["properties"]["landsat:correction"] = "L1TP"
    with pytest.raises(MetadataError, match="MTL"):
        open_stac(save(item, tmp_path))


@pytest.mark.parametrize("product", ["LC08_L2SP_005009_20150710_20200908_02_T2"])
def test_real_landsat_bands_by_an_item(shared_data, product):
    folder = shared_data / "landsat_c2l2" / product
    item = skeleton(
        product,
        {"platform": "landsat-8", "instruments": ["oli", "tirs"], "landsat:correction": "L2SP"},
    )
    for number, name in ((2, "blue"), (4, "red"), (5, "nir08")):
        item["assets"][name] = {
            "href": str(folder / f"{product}_SR_B{number}.TIF"),
            "eo:bands": [{"name": f"OLI_B{number}", "common_name": name}],
            "raster:bands": [{"scale": 2.75e-05, "offset": -0.2, "nodata": 0}],
        }
    scene = open_stac(item)
    mtl = (folder / f"{product}_MTL.txt").read_text()
    group = mtl.partition("LEVEL2_SURFACE_REFLECTANCE_PARAMETERS")[2]
    mult = float(re.search(r"REFLECTANCE_MULT_BAND_4 = (\S+)", group)[1])
    add = float(re.search(r"REFLECTANCE_ADD_BAND_4 = (\S+)", group)[1])
    with rasterio.open(folder / f"{product}_SR_B4.TIF") as data:
        expect(scene, "red", data.read(1), mult, add)


def stac_1_1(folder):
    """STAC 1.1 as the Copernicus Data Space has it: one asset a band and resolution."""
    item = skeleton(
        "S2A_MSIL2A_20230628T070631_N0509_R106_T32TNS_20230628T113955",
        {"platform": "sentinel-2a", "processing:version": "05.09", "processing:level": "L2"},
    )
    item["stac_version"] = "1.1.0"
    counts = {}
    for label, common, sizes in (("B02", "blue", (10, 20, 60)), ("B05", "rededge071", (20, 60))):
        for size in sizes:
            key = f"{label}_{size}m"
            counts[key] = write(folder / f"{key}.tif", size, seed=size)
            item["assets"][key] = {
                "href": f"./{key}.tif",
                "type": "image/jp2",
                "roles": ["data", "reflectance", f"gsd:{size}m"],
                "bands": [{"name": label, "eo:common_name": common}],
                "proj:code": f"EPSG:{EPSG}",
                **projection(size),
                "nodata": 0,
                "data_type": "uint16",
                "raster:scale": 0.0001,
                "raster:offset": -0.1,
            }
    return item, counts


def test_stac_1_1(tmp_path):
    item, counts = stac_1_1(tmp_path)
    scene = open_stac(save(item, tmp_path))
    assert list(scene.bands) == ["blue", "rededge071"]
    sizes = [file.grid.resolution for file in scene.bands["blue"].files]
    assert sizes == pytest.approx([10, 20, 60])
    for resolution in (10, 20, 60):
        stored = counts[f"B02_{resolution}m"]
        expected = np.where(stored == 0, np.nan, stored * 1e-4 - 0.1)
        found = scene.read(["blue"], resolution=resolution).reflectance[0]
        np.testing.assert_allclose(found, expected, atol=1e-6)
    assert scene.level == "L2"


def test_stac_1_1_band_wins_over_asset_and_asset_over_item(tmp_path):
    item, counts = stac_1_1(tmp_path)
    item["properties"] = {"datetime": None, "start_datetime": "2023-06-28T00:00:00Z"}
    item["properties"] |= {"raster:scale": 3e-4, "raster:offset": 0.05, "nodata": 0}
    blue, red_edge = item["assets"]["B02_10m"], item["assets"]["B05_20m"]
    item["assets"] = {"blue": blue, "red-edge": red_edge}
    blue["bands"] = [{"name": "blue", "raster:scale": 2e-4}]
    del blue["raster:offset"], red_edge["raster:scale"], red_edge["raster:offset"]
    scene = open_stac(save(item, tmp_path))
    expect(scene, "blue", counts["B02_10m"], 2e-4, 0.05)
    expect(scene, "rededge071", counts["B05_20m"], 3e-4, 0.05)
    assert scene.acquired.year == 2023


def test_several_bands_in_one_asset(tmp_path):
    counts = np.random.default_rng(1).integers(1, 9000, (3, 20, 20)).astype("uint16")
    with rasterio.open(
        tmp_path / "a.tif",
        "w",
        driver="GTiff",
        count=3,
        height=20,
        width=20,
        dtype="uint16",
        crs=f"EPSG:{EPSG}",
        transform=transform_of(10),
    ) as data:
        data.write(counts)
    item = skeleton("planet", {"platform": "0e20"})
    item["assets"]["analytic"] = {
        "href": "a.tif",
        "eo:bands": [{"name": "red"}, {"name": "udm"}, {"name": "b3", "common_name": "nir"}],
        "raster:bands": [{"scale": 1e-4}, {}, {"scale": 2e-4, "offset": 0.01}],
    }
    scene = open_stac(save(item, tmp_path))
    assert list(scene.bands) == ["red", "nir"]
    assert scene.sensor == "unknown"
    np.testing.assert_allclose(scene.read(["red"]).reflectance[0], counts[0] * 1e-4, atol=1e-6)
    np.testing.assert_allclose(
        scene.read(["nir"]).reflectance[0], counts[2] * 2e-4 + 0.01, atol=1e-6
    )


def plain(folder, **keywords):
    """An item of no known catalogue, without scale in it."""
    counts = write(folder / "a.tif", 20, **keywords)
    item = skeleton("x", {"platform": "other"})
    item["assets"]["data"] = {"href": "a.tif", "eo:bands": [{"name": "red"}]}
    return item, counts


def test_scale_from_the_file_where_the_item_has_none(tmp_path):
    item, counts = plain(tmp_path, tags=(3e-4, -0.05))
    scene = open_stac(save(item, tmp_path))
    np.testing.assert_allclose(scene.read(["red"]).reflectance[0], counts * 3e-4 - 0.05, atol=1e-6)
    assert "tags" in scene.bands["red"].scale_from


@pytest.mark.parametrize("tags", [(0.0, 0.1), (-1e-4, 0.0), (np.inf, 0.0), (1e300, 0), (1, 1e300)])
def test_a_scale_from_the_file_that_no_reflectance_has_is_refused(tmp_path, tags):
    item, _ = plain(tmp_path, tags=tags)
    with pytest.raises(MetadataError, match=r"in the tags of .*a\.tif the (scale|offset) is"):
        open_stac(save(item, tmp_path))


def test_no_scale_anywhere(tmp_path):
    item, _ = plain(tmp_path)
    with pytest.raises(MetadataError, match=r"asset 'data'.*no scale(.|\n)*list of rasters"):
        open_stac(save(item, tmp_path))


def change(item, asset, **fields):
    changed = copy.deepcopy(item)
    changed["assets"][asset] |= fields
    return changed


def test_items_that_contradict_themselves(tmp_path):
    item, _ = stac_1_1(tmp_path)
    both = change(
        item, "B02_10m", **{"raster:bands": [{"scale": 2e-4}], "bands": [{"raster:scale": 1e-4}]}
    )
    with pytest.raises(MetadataError, match="raster:bands says scale"):
        open_stac(save(both, tmp_path))
    names = change(item, "B02_10m", bands=[{"name": "B02", "eo:common_name": "red"}])
    with pytest.raises(MetadataError, match=r"'B02' \(blue\), but its common name 'red'"):
        open_stac(save(names, tmp_path))
    scales = change(item, "B02_20m", **{"raster:scale": 2e-4})
    with pytest.raises(MetadataError, match="two assets contradict each other about band blue"):
        open_stac(save(scales, tmp_path))
    nodata = change(item, "B02_20m", nodata=65535)
    with pytest.raises(MetadataError, match="two assets contradict"):
        open_stac(save(nodata, tmp_path))
    lengths = change(item, "B02_10m", **{"raster:bands": [{}, {}]})
    with pytest.raises(MetadataError, match="differ in length"):
        open_stac(save(lengths, tmp_path))
    for scale in (0, -1, "ten"):
        with pytest.raises(MetadataError, match="expected a"):
            open_stac(save(change(item, "B02_10m", **{"raster:scale": scale}), tmp_path))


def test_grid_that_the_file_contradicts(tmp_path):
    item, _ = stac_1_1(tmp_path)
    moved = [10, 0, CORNER[0] + 5000, 0, -10, CORNER[1]]
    item["assets"] = {"B02_10m": item["assets"]["B02_10m"]}
    scene = open_stac(save(change(item, "B02_10m", **{"proj:transform": moved}), tmp_path))
    with pytest.raises(GridError, match="elsewhere"):
        scene.read(["blue"])
    unreadable = change(item, "B02_10m", **{"proj:transform": ["a", 1]})
    with pytest.raises(MetadataError, match="proj:"):
        open_stac(save(unreadable, tmp_path))


def test_bands_of_another_crs_or_extent(tmp_path):
    item, _ = stac_1_1(tmp_path)
    write(tmp_path / "B05_20m.tif", 20, epsg=32633)
    for asset in item["assets"].values():
        del asset["proj:code"]
    with pytest.raises(GridError, match="EPSG:32633"):
        open_stac(save(item, tmp_path))
    write(tmp_path / "B05_20m.tif", 20, shape=(30, 60))
    with pytest.raises(GridError, match="same ground"):
        open_stac(save(item, tmp_path))


@pytest.mark.parametrize(
    ("content", "error", "said"),
    [
        ("{", ProductError, "not JSON"),
        ("[]", ProductError, "type 'Feature'"),
        ('{"type": "Collection", "id": "x"}', ProductError, "'Collection'"),
        ('{"type": "FeatureCollection", "features": []}', ProductError, "'FeatureCollection'"),
        ('{"type": "Feature", "id": "x"}', ProductError, "properties and assets"),
        (
            '{"type": "Feature", "id": "x", "properties": {}, "assets": {"a": {}}}',
            ProductError,
            "h",
        ),
        ('{"type": "Feature", "id": "x", "properties": {}, "assets": {}}', BandError, "no asset"),
        (
            '{"type": "Feature", "id": "x", "properties": {}, '
            '"assets": {"a": {"href": "a.tif", "eo:bands": [0]}}}',
            MetadataError,
            "STAC before 1.0",
        ),
    ],
)
def test_no_item(tmp_path, content, error, said):
    (tmp_path / "item.json").write_text(content)
    with pytest.raises(error, match=said):
        open_stac(tmp_path / "item.json")


def test_real_item_of_an_old_stac_is_refused(shared_data):
    path = next((shared_data / "landsat_c2l2").glob("*/*_stac.json"))
    with pytest.raises(MetadataError, match=r"stac_version is '0\.7\.0'.*MTL"):
        open_stac(path)


def test_missing_files(tmp_path):
    item, _ = earth_search(tmp_path)
    path = save(item, tmp_path)
    (tmp_path / "B04.tif").unlink()
    scene = open_stac(path)
    assert reflectance(scene, "blue").shape == (120, 120)
    with pytest.raises(MissingFileError, match=r"B04\.tif"):
        scene.read(["red"])
    with pytest.raises(MissingFileError, match="item"):
        open_stac(tmp_path / "no-item.json")


def test_url_fetches_only_what_is_read(tmp_path):
    item, counts = earth_search(tmp_path)
    save(item, tmp_path)
    with serve(tmp_path) as server:
        scene = open_stac(f"{server.url}/item.json")
        assert server.asked() == {"item.json"}
        expect(scene, "red", counts["red"], 1e-4, 0.0)
        assert server.asked() == {"item.json", "B04.tif"}
        with pytest.raises(MissingFileError, match="404"):
            open_stac(f"{server.url}/other.json")


def test_signed_addresses_stay_whole(tmp_path):
    item, counts = planetary_sentinel(tmp_path, baseline="05.09")
    signature = "st=2023-06-28T00%3A00%3A00Z&sp=rl&sig=a%2Bb%2Fc%3D"
    with serve(tmp_path) as server:
        server.query = signature
        for key, (size, _) in PLANETARY.items():
            item["assets"][key]["href"] = f"{server.url}/{key}_{size}m.tif?{signature}"
        scene = open_stac(item)
        expect(scene, "red", counts["B04"], 1e-4, -0.1)
    assert signature not in scene.bands["red"].files[0].source.name


def test_unsigned_addresses_are_noted(tmp_path):
    item, _ = planetary_sentinel(tmp_path, baseline="05.09")
    item["assets"]["B04"]["href"] = "https://sentinel2l2a01.blob.core.windows.net/x/B04_10m.tif"
    assert any("sign" in note for note in open_stac(item).notes)


def test_mapping_and_pystac_object(tmp_path):
    pystac = pytest.importorskip("pystac")
    item, counts = earth_search(tmp_path)
    item["links"] = [{"rel": "self", "href": str(tmp_path / "item.json")}]
    for given in (item, pystac.Item.from_dict(item), pystac.Item.from_file(save(item, tmp_path))):
        expect(open_stac(given), "red", counts["red"], 1e-4, 0.0)


def test_a_pystac_object_is_read_without_its_catalogue(tmp_path):
    pystac = pytest.importorskip("pystac")
    item, counts = earth_search(tmp_path)
    item["links"] = [{"rel": "self", "href": str(tmp_path / "item.json")}]
    given = pystac.Item.from_dict(item)
    for kind in ("root", "parent", "collection"):
        given.add_link(pystac.Link(kind, "http://127.0.0.1:1/catalog.json"))
    expect(open_stac(given), "red", counts["red"], 1e-4, 0.0)


def test_a_flag_that_is_neither_true_nor_false_is_refused(tmp_path):
    item, _ = earth_search(tmp_path)
    item["properties"]["earthsearch:boa_offset_applied"] = "true"
    with pytest.raises(MetadataError, match="neither true nor false"):
        open_stac(item)


@pytest.mark.parametrize("field", ["eo:bands", "raster:bands", "bands"])
def test_what_should_be_a_list_and_is_none_is_told(tmp_path, field):
    item, _ = earth_search(tmp_path)
    item["links"] = ["x"]
    item["assets"]["red"][field] = 5
    with pytest.raises(MetadataError, match="must be lists"):
        open_stac(item)


@pytest.mark.parametrize(
    "address",
    ["http://127.0.0.1:1/a.json?sig=secret", "http://127.0.0.1:1/a b", "http://[::1/a"],
)
def test_an_address_that_cannot_be_read_is_told(address):
    with pytest.raises(ProductError, match="cannot be read") as caught:
        read_text(address)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("/data/a.tif", "/data/a.tif"),
        ("/vsizip/x.zip/a.tif", "/vsizip/x.zip/a.tif"),
        ("http://h/a.tif", "/vsicurl/http://h/a.tif"),
        ("https://h/a.tif?x=%2B&y=1", "/vsicurl/https://h/a.tif?x=%2B&y=1"),
        ("s3://bucket/a/b.tif", "/vsis3/bucket/a/b.tif"),
        ("gs://bucket/b.tif", "/vsigs/bucket/b.tif"),
        ("file:///data/a%20b.tif", "/data/a b.tif"),
    ],
)
def test_gdal_path(location, expected):
    assert gdal_path(location) == expected


def test_gdal_path_of_another_scheme():
    with pytest.raises(ProductError, match="ftp://"):
        gdal_path("ftp://h/a.tif")
    with pytest.raises(ProductError, match="https://"):
        read_text("s3://bucket/item.json")


@pytest.mark.parametrize(
    ("reference", "base", "expected"),
    [
        ("./a.tif", "https://h/x/item.json", "https://h/x/a.tif"),
        ("../a.tif", "https://h/x/y/item.json?z=1", "https://h/x/a.tif"),
        ("a.tif", "s3://b/x/item.json", "s3://b/x/a.tif"),
        ("../a.tif", "/d/x/item.json", "/d/a.tif"),
        ("/a.tif", "/d/x/item.json", "/a.tif"),
        ("/a.tif", "https://h/x/item.json", "https://h/a.tif"),
        ("/vsis3/b/a.tif", "https://h/x/item.json", "/vsis3/b/a.tif"),
        ("s3://b/a.tif", "/d/x/item.json", "s3://b/a.tif"),
        ("a.tif", "", "a.tif"),
    ],
)
def test_resolve(reference, base, expected):
    assert resolve(reference, base) == expected


@pytest.mark.parametrize(
    ("identifier", "advice"), [("LC08_L2SP_005009_20150710_20200908_02_T2", True), ("a", False)]
)
def test_an_item_before_1_0_is_told_its_version(tmp_path, identifier, advice):
    item = planetary_landsat(tmp_path)[0] | {"stac_version": "0.7.0", "id": identifier}
    with pytest.raises(MetadataError, match=r"stac_version is '0\.7\.0'") as caught:
        open_stac(item)
    assert ("MTL" in str(caught.value)) is advice


def test_the_flag_of_the_cogs_is_not_of_the_jpeg_2000_assets(tmp_path):
    item, _ = earth_search(tmp_path, applied=True, offset=0)
    jp2 = {k: v for k, v in item["assets"].items() if k.endswith("-jp2")}
    said = r"boa_offset_applied is true, but of the COGs.*JPEG 2000.*offset -0\.1"
    with pytest.raises(MetadataError, match=said):
        open_stac(item | {"assets": jp2})


def test_counts_of_a_known_sensor_without_a_stated_value_have_no_data_at_0(tmp_path):
    counts = write(tmp_path / "a.tif", 20)
    item = skeleton("x", {"constellation": "sentinel-2"})
    bands = {"eo:bands": [{"name": "B04"}], "raster:bands": [{"scale": 1e-4, "offset": -0.1}]}
    item["assets"]["red"] = {"href": "a.tif", **bands}
    scene = open_stac(save(item, tmp_path))
    validity = scene.read(["red"]).validity
    np.testing.assert_array_equal(validity == Validity.NO_DATA, counts == 0)
    assert any("no data" in note for note in scene.notes)


def test_0_in_every_band_is_no_data_where_neither_item_nor_file_say_so(tmp_path):
    item, counts = plain(tmp_path, tags=(3e-4, 0))
    item["assets"]["more"] = item["assets"]["data"] | {"eo:bands": [{"common_name": "nir"}]}
    scene = open_stac(save(item, tmp_path))
    assert scene.bands["red"].nodata is None
    assert any("exactly 0 in every band" in note for note in scene.notes)
    validity = scene.read(["red", "nir"]).validity
    np.testing.assert_array_equal(validity == Validity.NO_DATA, counts == 0)
    item["assets"]["more"]["raster:bands"] = [{"nodata": 3}]
    assert not open_stac(save(item, tmp_path)).bands["red"].zero_fill


@pytest.mark.parametrize(("value", "said"), [(8000.0, "to 8000"), (-9999.0, "down to -9999")])
def test_floats_that_no_reflectance_can_be(tmp_path, value, said):
    item, _ = plain(tmp_path, dtype="float32")
    with rasterio.open(tmp_path / "a.tif", "r+") as data:
        values = np.full(data.shape, 0.2, "float32")
        values[5:10] = value
        data.write(values, 1)
    with pytest.raises(MetadataError, match=f"{said}(.|\n)*list of rasters"):
        open_stac(save(item, tmp_path))
    item["assets"]["data"]["raster:bands"] = [{"nodata": value}]
    scene = open_stac(save(item, tmp_path))
    assert np.count_nonzero(scene.read(["red"]).validity) == 5 * values.shape[1]


@pytest.mark.parametrize("offset", [float("nan"), float("inf"), True])
def test_an_offset_that_is_no_number_is_refused(tmp_path, offset):
    item, _ = plain(tmp_path)
    item["assets"]["data"]["raster:bands"] = [{"scale": 1e-4, "offset": offset}]
    with pytest.raises(MetadataError, match=r"offset is (nan|inf|True)"):
        open_stac(save(item, tmp_path))
