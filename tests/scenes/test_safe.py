"""Sentinel-2 products: every layout, and what must be refused."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio

from nubila import open_scene, open_scenes
from nubila.errors import (
    DamagedFileError,
    GridError,
    InputError,
    MetadataError,
    MissingFileError,
    ProductError,
)
from nubila.raster import Window
from nubila.scenes.archive import open_tree
from tests.scenes.safe_product import (
    NATIVE,
    SafeSpec,
    counts,
    offset_list,
    write_jp2,
    write_safe,
    zip_product,
)

NAMES = {
    "B01": "coastal",
    "B02": "blue",
    "B03": "green",
    "B04": "red",
    "B05": "rededge071",
    "B06": "rededge075",
    "B07": "rededge078",
    "B08": "nir",
    "B8A": "nir08",
    "B09": "nir09",
    "B10": "cirrus",
    "B11": "swir16",
    "B12": "swir22",
}


def expected(values: np.ndarray, offset: float, quantification: float) -> np.ndarray:
    """Reflectance from raw counts, in double precision."""
    reflectance = (values.astype(np.float64) + offset) / quantification
    reflectance[values == 0] = np.nan
    return reflectance


@pytest.fixture(scope="module")
def level_1(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_safe(tmp_path_factory.mktemp("l1c"))


@pytest.fixture(scope="module")
def level_2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_safe(tmp_path_factory.mktemp("l2a"), SafeSpec(level="L2A"))


@pytest.fixture
def copy(level_1: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(level_1, tmp_path / level_1.name))


@pytest.mark.parametrize("label", NAMES)
def test_each_band_at_its_own_resolution(level_1: Path, label: str) -> None:
    scene = open_scene(level_1)
    resolution = NATIVE[label]
    pixels = scene.read([NAMES[label]], resolution=resolution)
    raw = counts("T33UUU", label, resolution, pixels.grid.shape)
    np.testing.assert_allclose(pixels.reflectance[0], expected(raw, -1000, 10_000), atol=1e-6)
    assert scene.band(NAMES[label]).label == label
    assert pixels.validity[0, 0] == 1
    assert pixels.validity[-1, -1] == 2
    assert pixels.validity[-1, 0] == 0


@pytest.mark.parametrize("resolution", [10, 20, 60])
def test_level_2_reads_the_file_of_the_resolution(level_2: Path, resolution: int) -> None:
    scene = open_scene(level_2)
    pixels = scene.read(["blue"], resolution=resolution)
    raw = counts("T33UUU", "B02", resolution, pixels.grid.shape)
    np.testing.assert_allclose(pixels.reflectance[0], expected(raw, -1000, 10_000), atol=1e-6)
    assert scene.level == "L2A"
    assert not scene.notes
    assert scene.masks["scl"].grid.resolution == 20
    assert "cirrus" not in scene.bands


@pytest.mark.parametrize("baseline, offset", [("02.09", None), ("03.01", None), ("99.99", None)])
def test_no_offset_before_baseline_4(tmp_path: Path, baseline: str, offset: None) -> None:
    scene = open_scene(write_safe(tmp_path, SafeSpec(baseline=baseline, offset=offset)))
    band = scene.band("blue")
    assert (band.scale, band.offset) == (1e-4, 0)
    assert bool(scene.notes) == (baseline == "99.99")


def test_scale_comes_from_the_xml_and_not_from_the_name(tmp_path: Path) -> None:
    folder = write_safe(tmp_path, SafeSpec(offset=-500, quantification=8000))
    renamed = folder.rename(tmp_path / "S2A_MSIL1C_20150101T000000_N0200_R000_T01ABC_2015.SAFE")
    band = open_scene(renamed).band("red")
    assert band.scale == 1 / 8000
    assert band.offset == -500 / 8000
    assert "MTD_MSIL1C.xml" in band.scale_from


def test_offsets_by_band(tmp_path: Path) -> None:
    change = {'band_id="3">-1000<': 'band_id="3">-900<'}
    scene = open_scene(write_safe(tmp_path, SafeSpec(mtd=change)))
    assert scene.band("red").offset == pytest.approx(-0.09)
    assert scene.band("green").offset == pytest.approx(-0.1)
    (note,) = scene.notes
    assert "-1000 for B01, B02, B03, B05" in note and note.endswith("; -900 for B04")


@pytest.mark.parametrize("level", ["L1C", "L2A"])
def test_an_offset_before_baseline_4_contradicts(tmp_path: Path, level: str) -> None:
    folder = write_safe(tmp_path, SafeSpec(level=level, baseline="03.01", offset=-1000))
    with pytest.raises(MetadataError, match=rf"MTD_MSI{level}.xml: .*03\.01.*ADD_OFFSET is -1000"):
        open_scene(folder)


def test_offsets_of_zero_before_baseline_4_say_the_same(tmp_path: Path) -> None:
    scene = open_scene(write_safe(tmp_path, SafeSpec(baseline="02.09", offset=0)))
    assert scene.band("red").offset == 0
    assert not scene.notes


@pytest.mark.parametrize("given", ["folder", "main", "manifest", "zip"])
def test_the_ways_to_name_a_product(level_1: Path, tmp_path: Path, given: str) -> None:
    path = {
        "folder": level_1,
        "main": level_1 / "MTD_MSIL1C.xml",
        "manifest": level_1 / "manifest.safe",
    }.get(given) or zip_product(Path(shutil.copytree(level_1, tmp_path / level_1.name)))
    scene = open_scene(path)
    window = Window(3, 5, 20, 30)
    whole = open_scene(level_1).read(["blue", "swir16"], window, 10)
    np.testing.assert_array_equal(
        scene.read(["blue", "swir16"], window, 10).reflectance, whole.reflectance
    )
    assert scene.id == level_1.stem
    assert scene.sun == (49.5, 150.25)
    assert scene.acquired is not None
    assert scene.acquired.isoformat() == "2023-08-21T10:10:21.024000+00:00"
    assert scene.footprint is not None
    assert scene.footprint["coordinates"][0][0] == (12, 45)
    if given == "zip":
        assert sorted(p.name for p in tmp_path.iterdir()) == [level_1.name, path.name]


def test_odd_letter_case_and_prefix(copy: Path) -> None:
    (copy / "MTD_MSIL1C.xml").rename(copy / "MTD_MSIl1c.xml")
    for image in list(copy.rglob("*_B0*.jp2")):
        image.rename(image.with_name(image.name.replace("_B0", "_b0").replace(".jp2", ".JP2")))
    renamed = copy.rename(copy.with_name(f"esa_{copy.name}"))
    scene = open_scene(renamed)
    assert len(scene.bands) == 13
    assert scene.id == copy.stem
    raw = counts("T33UUU", "B02", 10, (48, 48))
    np.testing.assert_allclose(
        scene.read(["blue"]).reflectance[0], expected(raw, -1000, 10_000), atol=1e-6
    )


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    spec = SafeSpec(
        layout="old", baseline="02.01", offset=None, tiles=("T33UUU", "T33UVU"), size=24
    )
    return write_safe(tmp_path_factory.mktemp("old"), spec)


def test_old_product_of_several_granules(old: Path) -> None:
    scenes = open_scenes(old)
    assert [s.id.rpartition("_")[2] for s in scenes] == ["T33UUU", "T33UVU"]
    for scene, tile in zip(scenes, ("T33UUU", "T33UVU"), strict=True):
        raw = counts(tile, "B11", 20, (12, 12))
        read = scene.read(["swir16"], resolution=20).reflectance[0]
        np.testing.assert_allclose(read, expected(raw, 0, 10_000), atol=1e-6)
    with pytest.raises(InputError, match="T33UVU"):
        open_scene(old)


def test_granules_of_one_tile_are_told_apart(tmp_path: Path) -> None:
    tiles = ("T33UUU", "T33UVU", "T33UWU")
    spec = SafeSpec(layout="old", baseline="02.01", offset=None, tiles=tiles, size=24)
    folder = write_safe(tmp_path, spec)
    first, second, other = (spec.granule(tile) for tile in tiles)
    renamed = first.replace("155600", "155700")  # the same tile, of another datastrip
    for file in sorted(folder.rglob("*"), reverse=True):
        if file.suffix in (".xml", ".safe"):
            text = file.read_text().replace(second, renamed)
            file.write_text(text.replace(second[:-7], renamed[:-7]))
        if second[:-7] in file.name:
            file.rename(file.with_name(file.name.replace(second[:-7], renamed[:-7])))
    scenes = open_scenes(folder)
    product = Path(spec.name).stem
    ends = [f"T33UUU_{first}", f"T33UUU_{renamed}", "T33UWU"]
    assert [s.id for s in scenes] == [f"{product}_{end}" for end in ends]
    for scene, tile in zip(scenes, tiles, strict=True):
        raw = counts(tile, "B11", 20, (12, 12))
        read = scene.read(["swir16"], resolution=20).reflectance[0]
        np.testing.assert_allclose(read, expected(raw, 0, 10_000), atol=1e-6)
    for granule in (renamed, ends[1].lower()):
        assert open_scene(folder, granule=granule).id == scenes[1].id
    assert [s.id for s in open_scenes(folder, granule="33UUU")] == [s.id for s in scenes[:2]]
    with pytest.raises(InputError, match=f"by its identifier(.|\n)*{renamed}"):
        open_scene(folder)
    with pytest.raises(InputError, match=f"{renamed}, T33UWU"):
        open_scene(folder, granule=other[:5])


@pytest.mark.parametrize("granule", ["T33UVU", "33uvu"])
def test_one_granule_chosen(old: Path, granule: str) -> None:
    assert open_scene(old, granule=granule).id.endswith("T33UVU")


def test_an_unknown_granule(old: Path) -> None:
    with pytest.raises(InputError, match="T33UUU, T33UVU"):
        open_scene(old, granule="T01ABC")


def test_a_granule_listed_once_for_each_resolution(tmp_path: Path) -> None:
    # As Sen2Cor up to 2.5 wrote it.
    folder = write_safe(tmp_path, SafeSpec(level="L2A"))
    main = folder / "MTD_MSIL2A.xml"
    text = main.read_text()
    start = text.index("<Granule ")
    head = text[start : text.index(">", start) + 1]
    middle = text.index("<IMAGE_FILE>", text.index("_10m</IMAGE_FILE>", start) + 200)
    main.write_text(text[:middle] + "</Granule>" + head + text[middle:])
    assert len(open_scenes(folder)) == 1
    assert len(open_scene(folder).band("blue").files) == 3


def test_old_names_of_level_2_elements(tmp_path: Path) -> None:
    changes = {
        "BOA_QUANTIFICATION_VALUE": "L2A_BOA_QUANTIFICATION_VALUE",
        "IMAGE_FILE": "IMAGE_FILE_2A",
        "<PROCESSING_LEVEL>Level-2A<": "<PROCESSING_LEVEL>Level-2Ap<",
        "PRODUCT_URI": "PRODUCT_URI_2A",
    }
    spec = SafeSpec(level="L2A", baseline="02.05", offset=None, mtd=changes)
    scene = open_scene(write_safe(tmp_path, spec))
    assert scene.level == "L2A"
    assert scene.id == Path(spec.name).stem
    assert len(scene.bands) == 12


def test_impossible_special_values_are_not_used(tmp_path: Path) -> None:
    change = {">65535<": ">1<"}
    scene = open_scene(write_safe(tmp_path, SafeSpec(mtd=change)))
    assert scene.band("blue").saturated is None
    assert any("SATURATED" in note for note in scene.notes)


@pytest.mark.parametrize("level", ["L1C", "L2A"])
def test_count_0_is_no_data_where_the_xml_does_not_say(tmp_path: Path, level: str) -> None:
    spec = SafeSpec(level=level, mtd={"<SPECIAL_VALUE_TEXT>NODATA<": "<SPECIAL_VALUE_TEXT>X<"})
    scene = open_scene(write_safe(tmp_path, spec))
    assert any("NODATA" in note for note in scene.notes)
    pixels = scene.read(["blue"])
    raw = counts("T33UUU", "B02", 10, pixels.grid.shape)
    np.testing.assert_array_equal(pixels.validity == 1, raw == 0)


# What must be refused, or said.


def test_a_missing_band_file_is_named(copy: Path) -> None:
    lost = next(copy.rglob("*_B04.jp2"))
    lost.unlink()
    scene = open_scene(copy)
    assert "red" not in scene.bands
    assert not scene.has_band("red")
    assert any("1 of the 13" in note for note in scene.notes)
    with pytest.raises(MissingFileError, match=lost.name):
        scene.band("red")
    with pytest.raises(MissingFileError, match=lost.name) as caught:
        scene.read(["blue", "red"])
    assert "or read at" not in str(caught.value)  # no resolution would help


def test_a_resolution_is_named_only_where_another_would_do(copy: Path, level_2: Path) -> None:
    next(copy.rglob("*_B04.jp2")).unlink()
    with pytest.raises(MissingFileError, match=r"SAFE: cannot be read:\nband red is not there"):
        open_scene(copy).read(["blue", "red"])
    lacking = Path(shutil.copytree(level_2, copy.parent / level_2.name))
    for resolution in (10, 20):
        next(lacking.rglob(f"*_B02_{resolution}m.jp2")).unlink()
    with pytest.raises(
        MissingFileError, match=r"cannot be read at 20 m:(.|\n)*or read at 60 m"
    ) as e:
        open_scene(lacking).read(["blue", "red"], resolution=20)
    assert "B02_20m.jp2" in str(e.value)


def test_a_missing_near_infrared_is_not_replaced_in_silence(copy: Path) -> None:
    lost = next(copy.rglob("*_B08.jp2"))
    lost.unlink()
    with pytest.raises(MissingFileError, match=lost.name):
        open_scene(copy).read(["nir"])


def test_all_files_missing_at_a_resolution_are_named(level_2: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(level_2, tmp_path / level_2.name))
    for image in [*folder.rglob("R10m/*.jp2"), *folder.rglob("R20m/*.jp2")]:
        image.unlink()
    scene = open_scene(folder)
    assert scene.default_resolution == 60
    assert scene.shape == (8, 8)
    assert scene.band("nir").label == "B8A"
    assert any("60 m" in note for note in scene.notes)
    with pytest.raises(MissingFileError) as caught:
        scene.read(["blue", "green", "red"], resolution=20)
    text = str(caught.value)
    for label in ("B02", "B03", "B04"):
        assert f"{label}_20m.jp2" in text
        assert f"{label}_10m.jp2" in text
        assert f"{label}_60m.jp2" not in text
    assert "read at 60 m" in text


def test_metadata_alone_open_and_fail_only_when_read(copy: Path) -> None:
    for image in copy.rglob("*.jp2"):
        image.unlink()
    scene = open_scene(copy)
    assert scene.shape == (48, 48)
    assert scene.grid.crs.to_epsg() == 32633
    assert len(scene.missing) == 13
    with pytest.raises(MissingFileError, match=r"B02\.jp2"):
        scene.read(["blue"])


@pytest.mark.parametrize("share", [0.001, 0.5, 0.9, 0.995])
@pytest.mark.parametrize("packed", [False, True])
def test_a_truncated_image(tmp_path: Path, share: float, packed: bool) -> None:
    folder = write_safe(tmp_path, SafeSpec(size=192))
    image = next(folder.rglob("*_B03.jp2"))
    content = image.read_bytes()
    image.write_bytes(content[: int(share * len(content))])
    with pytest.raises(DamagedFileError, match=image.name):
        open_scene(zip_product(folder) if packed else folder).read(["green"])


@pytest.mark.parametrize("level", ["L1C", "L2A"])
def test_no_offset_where_the_baseline_has_one(tmp_path: Path, level: str) -> None:
    folder = write_safe(tmp_path, SafeSpec(level=level, offset=None, baseline="04.00"))
    with pytest.raises(MetadataError, match=r"baseline 04\.00 has an offset") as caught:
        open_scene(folder)
    assert f"MTD_MSI{level}.xml" in str(caught.value)


def test_an_offset_that_lacks_a_band(tmp_path: Path) -> None:
    change = {'<RADIO_ADD_OFFSET band_id="3">-1000</RADIO_ADD_OFFSET>': ""}
    with pytest.raises(MetadataError, match="not for B04"):
        open_scene(write_safe(tmp_path, SafeSpec(mtd=change)))


def test_two_conflicting_offset_lists(tmp_path: Path) -> None:
    given = offset_list(SafeSpec())
    change = {given: given + offset_list(SafeSpec(offset=0))}
    with pytest.raises(MetadataError, match="two offsets for band B01, -1000 and 0"):
        open_scene(write_safe(tmp_path, SafeSpec(mtd=change)))


def test_the_other_levels_offset_contradicts(tmp_path: Path) -> None:
    given = offset_list(SafeSpec(level="L2A"))
    change = {given: given + offset_list(SafeSpec(level="L1C", offset=0))}
    with pytest.raises(MetadataError, match="contradict"):
        open_scene(write_safe(tmp_path, SafeSpec(level="L2A", mtd=change)))


def test_the_same_list_twice_is_no_contradiction(tmp_path: Path) -> None:
    given = offset_list(SafeSpec())
    scene = open_scene(write_safe(tmp_path, SafeSpec(mtd={given: given + given})))
    assert scene.band("blue").offset == pytest.approx(-0.1)


@pytest.mark.parametrize(
    "old, new, message",
    [
        (">10000<", ">0<", "one positive QUANTIFICATION_VALUE, found 0;"),
        (">10000<", ">-10000<", "one positive QUANTIFICATION_VALUE, found -10000;"),
        (">10000<", ">1e-300<", r"the scale is 1 / QUANTIFICATION_VALUE 1e-300; expected"),
        ('band_id="3">-1000', 'band_id="3">1e300', "offset of B04 is RADIO_ADD_OFFSET 1e\\+300"),
        (">10000<", ">many<", "QUANTIFICATION_VALUE is 'many'"),
        ("QUANTIFICATION_VALUE", "NOTHING", "found none"),
        ('band_id="3"', 'band_id="13"', "band_id '13'"),
        ('band_id="3">-1000', 'band_id="3">nan', "'nan'"),
        ("PROCESSING_BASELINE", "NOTHING", None),
        ("Granule ", "Nothing ", "mismatched"),
    ],
)
def test_unreadable_metadata(tmp_path: Path, old: str, new: str, message: str | None) -> None:
    folder = write_safe(tmp_path, SafeSpec(mtd={old: new}))
    if message is None:  # the baseline is not needed where the offset is given
        assert open_scene(folder).baseline == ""
        return
    with pytest.raises(MetadataError, match=message):
        open_scene(folder)


def test_neither_offset_nor_baseline(tmp_path: Path) -> None:
    spec = SafeSpec(offset=None, mtd={"<PROCESSING_BASELINE>05.09": "<PROCESSING_BASELINE>"})
    with pytest.raises(MetadataError, match="unknown whether"):
        open_scene(write_safe(tmp_path, spec))


def test_another_level_is_refused(tmp_path: Path) -> None:
    change = {"<PROCESSING_LEVEL>Level-1C": "<PROCESSING_LEVEL>Level-1B"}
    with pytest.raises(ProductError, match="Level-1B"):
        open_scene(write_safe(tmp_path, SafeSpec(mtd=change)))


def test_a_manifest_of_another_tile(copy: Path) -> None:
    manifest = copy / "manifest.safe"
    manifest.write_text(manifest.read_text().replace("T33UUU", "T33UVU"))
    with pytest.raises(MetadataError, match=r"T33UVU.*T33UUU"):
        open_scene(copy)


def test_a_granule_xml_of_another_tile(copy: Path) -> None:
    xml = next(copy.rglob("MTD_TL.xml"))
    xml.write_text(xml.read_text().replace("T33UUU", "T33UVU"))
    with pytest.raises(MetadataError, match="is of tile T33UVU"):
        open_scene(copy)


@pytest.mark.parametrize(
    "epsg, left, side, with_xml",
    [
        (32634, 300_000, 48, True),
        (32634, 300_000, 48, False),
        (32633, 300_010, 48, True),
        (32633, 300_010, 48, False),
        (32633, 300_000, 46, True),
        (32633, 300_000, 46, False),
    ],
)
def test_bands_of_another_place(
    copy: Path, epsg: int, left: int, side: int, with_xml: bool
) -> None:
    image = next(copy.rglob("*_B03.jp2"))
    transform = rasterio.Affine(10, 0, left, 0, -10, 5_000_040)
    values = np.full((side, side), 500, np.uint16)
    write_jp2(image, values, transform, f"EPSG:{epsg}")
    if not with_xml:
        next(copy.rglob("MTD_TL.xml")).unlink()
    with pytest.raises(GridError, match=r"_B03\.jp2"):
        open_scene(copy)


def test_an_entity_bomb(copy: Path) -> None:
    main = copy / "MTD_MSIL1C.xml"
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]>'
    head, body = main.read_text().split("\n", 1)
    main.write_text(f"{head}\n{bomb}\n{body}".replace("Sentinel-2A", "&b;"))
    with pytest.raises(MetadataError, match="entities") as caught:
        open_scene(copy)
    assert str(main) in str(caught.value)


@pytest.mark.parametrize("name", ["MTD_MSIL1C.xml", "MTD_TL.xml", "manifest.safe"])
def test_truncated_xml(copy: Path, name: str) -> None:
    xml = next(copy.rglob(name))
    xml.write_text(xml.read_text()[:400])
    with pytest.raises(MetadataError, match=f"{name}.*cut short"):
        open_scene(copy)


def test_the_main_xml_is_missing(copy: Path) -> None:
    (copy / "MTD_MSIL1C.xml").unlink()
    with pytest.raises(MissingFileError, match="MTD_MSIL1C"):
        open_scene(copy)


def test_two_products_in_one_folder(copy: Path) -> None:
    shutil.copytree(copy, copy.with_name("other.SAFE"))
    with pytest.raises(ProductError, match="several") as caught:
        open_scene(copy.parent)
    assert "other.SAFE" in str(caught.value)


def test_image_names_cannot_lead_out(tmp_path: Path) -> None:
    outside = tmp_path / "outside.jp2"
    write_jp2(outside, np.ones((48, 48), np.uint16), rasterio.Affine.identity(), None)
    spec = SafeSpec(mtd={SafeSpec().images("T33UUU")[1][1]: "../outside_B02"})
    folder = write_safe(tmp_path / "a" / "b", spec)
    shutil.copy(outside, folder.parent / "outside_B02.jp2")
    scene = open_scene(folder)
    assert "blue" in scene.missing


def test_options_for_rasters_are_refused(level_1: Path) -> None:
    with pytest.raises(InputError, match="offset"):
        open_scene(level_1, offset=0.0)


# Real products.


def real(shared_data: Path, part: str) -> Path:
    return next(shared_data.glob(f"sentinel2_*/*{part}*.SAFE"))


@pytest.mark.parametrize(
    "part, level, baseline, offset",
    [
        ("T01LAC", "L1C", "02.09", 0),
        ("T46RER", "L1C", "03.01", 0),
        ("T43MDV", "L2A", "02.12", 0),
        ("T07HFE", "L2A", "02.12", 0),
        ("T01WCP", "L2A", "05.09", -0.1),
        ("T01KAB", "L2A", "05.09", -0.1),
        ("T01CCV", "L2A", "02.12", 0),
        ("T33XWJ", "L2A", "04.00", -0.1),
        ("T22HBD", "L2A", "02.14", 0),
    ],
)
def test_real_metadata(
    shared_data: Path, tmp_path: Path, part: str, level: str, baseline: str, offset: float
) -> None:
    path = real(shared_data, part)
    scene = open_scene(path)
    assert (scene.level, scene.baseline) == (level, baseline)
    assert scene.platform in ("Sentinel-2A", "Sentinel-2B")
    assert len(scene.missing) == (13 if level == "L1C" else 12)
    assert scene.footprint is not None
    if part != "T43MDV":  # comes without MTD_TL.xml
        assert scene.shape == (10_980, 10_980)
        assert scene.sun is not None
        # The tile's zone is in its name, independent of the EPSG code in the XML.
        south = part[3] < "M"
        assert scene.grid.crs.to_epsg() == (32700 if south else 32600) + int(part[1:3])
    with pytest.raises(MissingFileError, match="B02"):
        scene.read(["blue"])
    # A small image beside the real XML shows what the XML's offset does.
    copied = Path(shutil.copytree(path, tmp_path / path.name))
    for xml in copied.rglob("MTD_TL.xml"):
        xml.chmod(0o644)
        xml.unlink()
    name = scene.missing["blue"][0].rpartition(".")[0] + ".jp2"
    for parent in (copied / name).parents:
        if parent.exists():
            parent.chmod(0o755)
    values = np.array([[0, 1000], [2000, 65535]], np.uint16)
    write_jp2(copied / name, values, rasterio.Affine(10, 0, 0, 0, -10, 0), "EPSG:32633")
    read = open_scene(copied).read(["blue"]).reflectance[0]
    truth = np.array([[np.nan, 0.1 + offset], [0.2 + offset, 6.5535 + offset]])
    np.testing.assert_allclose(read, truth, atol=1e-6)


def test_real_pixels_at_60_m(shared_data: Path) -> None:
    path = real(shared_data, "T29UNU")
    scene = open_scene(path)
    assert scene.default_resolution == 60
    window = Window(900, 700, 300, 400)
    for name, label in (("blue", "B02"), ("nir", "B8A"), ("swir22", "B12")):
        with rasterio.open(next(path.rglob(f"*_{label}_60m.jp2"))) as data:
            raw = data.read(1)[window.slices].astype(np.float64)
        truth = np.where(raw == 0, np.nan, (raw - 1000) / 10_000)
        read = scene.read([name], window, 60)
        np.testing.assert_allclose(read.reflectance[0], truth, atol=1e-6)
        np.testing.assert_array_equal(read.validity == 1, np.isnan(truth))
        assert read.grid.bounds == pytest.approx(
            (499980 + 700 * 60, 5900040 - 1200 * 60, 499980 + 1100 * 60, 5900040 - 900 * 60)
        )


def test_the_edge_of_a_real_swath_is_no_data_without_special_values(
    shared_data: Path, tmp_path: Path
) -> None:
    path = real(shared_data, "T29UNU")
    copied = Path(shutil.copytree(path, tmp_path / path.name, copy_function=shutil.copyfile))
    main = copied / "MTD_MSIL2A.xml"
    text = re.sub(r"<Special_Values>.*?</Special_Values>", "", main.read_text(), flags=re.DOTALL)
    main.write_text(text)
    window = Window(0, 0, 300, 300)
    scene = open_scene(copied)
    assert any("NODATA" in note for note in scene.notes)
    np.testing.assert_array_equal(
        scene.read(["blue"], window, 60).validity,
        open_scene(path).read(["blue"], window, 60).validity,
    )


def test_real_pixels_at_20_m_name_what_is_missing(shared_data: Path) -> None:
    scene = open_scene(real(shared_data, "T29UNU"))
    with pytest.raises(MissingFileError) as caught:
        scene.read(["blue", "swir16"], Window(0, 0, 10, 10), 20)
    assert "T29UNU_20221005T115411_B02_20m.jp2" in str(caught.value)
    assert "T29UNU_20221005T115411_B11_20m.jp2" in str(caught.value)


def test_the_tree_of_a_real_product_holds_what_the_folder_holds(shared_data: Path) -> None:
    path = real(shared_data, "T29UNU")
    names = {p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file()}
    assert set(open_tree(path).names) == names


@pytest.fixture
def two_granules(tmp_path: Path) -> Path:
    return write_safe(tmp_path, SafeSpec(tiles=("T33UUU", "T33UVU"), size=24))


def test_the_folder_of_one_granule_is_that_granule(two_granules: Path) -> None:
    """Of a product of several, of which others may not even be there."""
    granule = next(two_granules.glob("GRANULE/*T33UVU*"))
    shutil.rmtree(next(two_granules.glob("GRANULE/*T33UUU*")))
    for folder in (granule, granule / "IMG_DATA"):
        (scene,) = open_scenes(folder)
        assert scene.id.endswith("_T33UVU")
        raw = counts("T33UVU", "B02", 10, (24, 24))
        read = scene.read(["blue"]).reflectance[0]
        np.testing.assert_allclose(read, expected(raw, -1000, 10_000), atol=1e-6)
    assert open_scene(granule, granule="T33UUU").id.endswith("_T33UUU")  # what is given wins
    assert len(open_scenes(two_granules)) == 2


def test_the_folder_of_a_granule_under_another_name(two_granules: Path, level_1: Path) -> None:
    granule = next(two_granules.glob("GRANULE/*T33UVU*"))
    renamed = granule.rename(granule.with_name("mine"))
    said = r"no granule in the folder 'mine'.*give the product itself(.|\n)*L1C_T33UVU_A0"
    with pytest.raises(InputError, match=said):
        open_scenes(renamed)
    assert open_scene(renamed, granule="33UVU").id.endswith("_T33UVU")


def test_the_only_granule_may_be_called_as_one_likes(copy: Path) -> None:
    granule = next(copy.glob("GRANULE/*"))
    assert open_scene(granule.rename(granule.with_name("mine"))).id == copy.stem


@pytest.mark.parametrize("resolution", [10, 20, 60])
def test_a_granule_of_which_nothing_is_there_is_told_at_any_resolution(
    two_granules: Path, resolution: float
) -> None:
    shutil.rmtree(next(two_granules.glob("GRANULE/*T33UVU*")))
    scene = open_scene(two_granules, granule="T33UVU")
    with pytest.raises(MissingFileError, match=r"T33UVU_20230821T101021_B02\.jp2"):
        scene.read(["blue", "green"], resolution=resolution)
