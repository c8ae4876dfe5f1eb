"""What is given is recognised, or refused with what would be accepted."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio

from nubila import open_scene, open_scenes
from nubila.errors import DamagedFileError, InputError, MissingFileError, ProductError
from tests.scenes.landsat_product import LandsatProduct
from tests.scenes.safe_product import SafeSpec, write_safe, zip_product


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, object, dict[str, object]]]:
    """The other readers, replaced by what they were called with."""
    calls: list[tuple[str, object, dict[str, object]]] = []

    def reader(name: str):
        def read(source: object, **options: object) -> str:
            calls.append((name, source, options))
            return name

        return read

    for name in ("landsat.open_landsat", "generic.open_raster", "stac.open_stac"):
        monkeypatch.setattr(f"nubila.scenes.{name}", reader(name.split("_")[1]))
    return calls


def touch(path: Path, content: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def test_rasters(tmp_path: Path, called: list) -> None:
    path = touch(tmp_path / "a.tif")
    open_scene(path, bands="blue,green", scale=1e-4)
    options = {"bands": "blue,green", "scale": 1e-4, "offset": None, "nodata": None}
    assert called == [("raster", [str(path)], options)]


@pytest.mark.parametrize(
    "source",
    [
        *(
            ["a.tif", "b.tif"],
            "https://example.org/a.tif?x=1",
            "s3://bucket/a.tif",
            "/vsimem/a.tif",
        ),
        *("https://example.org/items/S2A_1/B04.TIF?x=1", "https://example.org/items/B04.jp2"),
    ],
)
def test_lists_and_addresses_of_rasters(source: object, called: list) -> None:
    open_scene(source)
    assert called[0][:2] == ("raster", source if isinstance(source, list) else [source])


@pytest.mark.parametrize(
    "url", ["https://example.org/item.json", "https://example.org/collections/s2/items/S2A_1"]
)
def test_addresses_of_items(url: str, called: list) -> None:
    open_scene(url)
    assert called[0][:2] == ("stac", url)


def test_items(tmp_path: Path, called: list) -> None:
    item = {"type": "Feature", "assets": {}}
    path = touch(tmp_path / "item.json", json.dumps(item))
    open_scene(path)
    open_scene(item)
    assert [c[:2] for c in called] == [("stac", path), ("stac", item)]


@pytest.mark.parametrize("name", ["LC08_L2SP_1_MTL.txt", "LC08_MTL.xml", "LC08_MTL.json"])
def test_landsat(tmp_path: Path, name: str, called: list) -> None:
    path = touch(tmp_path / "LC08" / name)
    open_scene(path)
    open_scene(path.parent)
    assert [c[0] for c in called] == ["landsat", "landsat"]


def test_nothing_there() -> None:
    with pytest.raises(MissingFileError, match=r"absent\.SAFE: no such file"):
        open_scene("absent.SAFE")


def test_a_folder_without_a_product(tmp_path: Path) -> None:
    touch(tmp_path / "letter.txt")
    with pytest.raises(ProductError) as caught:
        open_scene(tmp_path)
    text = str(caught.value)
    for word in ("MTD_MSIL1C.xml", "Landsat", "STAC", "letter.txt", str(tmp_path)):
        assert word in text


@pytest.mark.parametrize("name", ["manifest.safe", "MTD_MSIL2A.xml", "LC08_MTL.txt"])
def test_a_folder_of_products(tmp_path: Path, name: str) -> None:
    """The images of a product deeper down must not be read without its XML."""
    touch(tmp_path / "a" / "b" / name)
    touch(tmp_path / "a" / "b" / "T33UUU_20170216T102101_B02.jp2")
    with pytest.raises(ProductError, match=r"deeper.*\n  a/b"):
        open_scene(tmp_path)


def test_where_a_product_was_found_is_said(tmp_path: Path) -> None:
    product = write_safe(tmp_path / "down", SafeSpec())
    (scene,) = open_scenes(product.parent)
    assert scene.notes[0] == f"found further down, in {product}"
    for given in (product, zip_product(product)):
        assert not any("found" in note for note in open_scene(given).notes)
    landsat = LandsatProduct().write(tmp_path / "landsat" / "a")
    assert open_scene(landsat.parent).notes[0] == f"found further down, in {landsat}"


def test_an_archive_of_products(tmp_path: Path) -> None:
    """No path can be given of what is in an archive."""
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as data:
        for product in ("S2A", "S2B"):
            data.writestr(f"a/{product}.SAFE/MTD_MSIL2A.xml", "<a/>")
    with pytest.raises(ProductError, match=r"unpack it and give one:\n  a/S2A\.SAFE"):
        open_scene(tmp_path / "two.zip")


@pytest.mark.parametrize("name", ["letter.json", "letter.geojson"])
def test_json_that_is_no_item(tmp_path: Path, name: str) -> None:
    with pytest.raises(ProductError, match="no STAC item"):
        open_scene(touch(tmp_path / name, "{}"))
    with pytest.raises(ProductError, match="not JSON"):
        open_scene(touch(tmp_path / name, "{"))


def test_xml_that_is_no_product(tmp_path: Path) -> None:
    with pytest.raises(ProductError, match="no Sentinel-2 product"):
        open_scene(touch(tmp_path / "letter.xml", "<a/>"))
    granule = tmp_path / "S2A.SAFE" / "GRANULE" / "L1C_T33UUU"
    granule.mkdir(parents=True)
    with pytest.raises(ProductError, match="one granule of it: give the product's folder"):
        open_scene(touch(granule / "MTD_TL.xml", "<a/>"))


@pytest.mark.parametrize("name", ["README.md", "model.onnx"])
def test_a_file_of_another_kind_is_told_what_would_do(tmp_path: Path, name: str) -> None:
    with pytest.raises(ProductError, match=r"nubila opens a Sentinel-2 .* STAC item") as caught:
        open_scene(touch(tmp_path / name, "Dear Sir"))
    assert "cut short" not in str(caught.value)


@pytest.mark.parametrize("text", ["", " "])
def test_an_empty_name_is_not_the_working_folder(text: str) -> None:
    with pytest.raises(InputError, match="empty name"):
        open_scene(text)


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("b.tif;g.tif; r.tif;", ["b.tif", "g.tif", "r.tif"]),
        ("https://a.org/b.tif?x;/vsis3/a/g.tif", ["https://a.org/b.tif?x", "/vsis3/a/g.tif"]),
        ("https://a.org/b.tif?x=1;y=2", ["https://a.org/b.tif?x=1;y=2"]),
        (";".join(f"{i}.tif" for i in range(2000)), [f"{i}.tif" for i in range(2000)]),
    ],
)
def test_names_joined_are_one_raster_a_band(text: str, paths: list[str], called: list) -> None:
    open_scene(text)
    assert called[0][:2] == ("raster", paths)


def test_a_file_with_a_semicolon_in_its_name(tmp_path: Path, called: list) -> None:
    path = str(touch(tmp_path / "a;b.tif"))
    open_scene(path)
    assert called[0][:2] == ("raster", [path])


def test_a_file_that_is_nothing(tmp_path: Path) -> None:
    with pytest.raises((DamagedFileError, ProductError), match=r"letter\.txt"):
        open_scene(touch(tmp_path / "letter.txt", "Dear Sir"))


def test_an_archive_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(DamagedFileError, match=r"letter\.zip"):
        open_scene(touch(tmp_path / "letter.zip", "Dear Sir"))


def test_products_behind_an_address_are_to_be_fetched() -> None:
    with pytest.raises(ProductError, match="download"):
        open_scene("https://example.org/S2A_MSIL1C.SAFE.zip")


def test_an_empty_list() -> None:
    with pytest.raises(InputError, match="empty"):
        open_scene([])


@pytest.mark.parametrize("option", ["bands", "scale", "offset", "nodata", "granule"])
def test_options_that_do_not_apply(tmp_path: Path, option: str, called: list) -> None:
    item = {"type": "Feature", "assets": {}}
    with pytest.raises(InputError, match=option):
        open_scenes(item, **{option: "blue" if option in ("bands", "granule") else 1.0})
    assert not called


def test_a_raster_opens_for_real(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    values = np.random.default_rng(0).integers(0, 5000, (3, 20, 30)).astype(np.uint16)
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=30,
        height=20,
        count=3,
        dtype="uint16",
        crs="EPSG:32633",
        transform=rasterio.Affine(10, 0, 3e5, 0, -10, 5e6),
    ) as data:
        data.write(values)
    scene = open_scene(path, bands="blue,green,red", scale=1e-4)
    read = scene.read(["red", "blue"]).reflectance
    np.testing.assert_allclose(read, values[[2, 0]] / 10_000, atol=1e-6)


@pytest.mark.parametrize("kind", ["folder", "zip", "tar"])
def test_products_copied_by_a_mac(tmp_path: Path, kind: str) -> None:
    product = write_safe(tmp_path, SafeSpec(level="L2A", size=24))
    files = [file for file in product.rglob("*") if file.is_file()]
    for file in files:
        file.with_name(f"._{file.name}").write_bytes(b"\0\5\x16\7")
    path = product if kind == "folder" else product.with_suffix(f".{kind}")
    if kind == "zip":
        path = zip_product(product)
    if kind == "tar":
        with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
            archive.add(product, product.name)
    assert open_scene(path).id == product.stem
    images = next(product.rglob("R10m"))
    shutil.copytree(images, tmp_path / "images")
    assert len(open_scene(tmp_path / "images").bands) == 4


def test_a_folder_above_that_cannot_be_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may list every folder, so that the system does not refuse it is played."""
    product = write_safe(tmp_path, SafeSpec(level="L2A", size=24))
    images = next(product.rglob("R10m"))
    bare = Path(shutil.copytree(images, tmp_path / "home" / "user" / "images"))
    closed = {images.parent, tmp_path / "home"}
    listed = Path.iterdir

    def iterdir(folder: Path) -> Iterator[Path]:
        if folder in closed:
            raise PermissionError(13, "Permission denied", str(folder))
        return listed(folder)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    assert any("no product XML" in note for note in open_scene(bare).notes)
    assert open_scene(images).id == product.stem


@pytest.mark.parametrize("name", ["product", "product.SAFE", "product.dat"])
def test_a_zip_that_is_not_called_one(tmp_path: Path, name: str) -> None:
    product = write_safe(tmp_path / "made", SafeSpec(size=24))
    archive = zip_product(product).rename(tmp_path / name)
    scene = open_scene(archive)
    assert scene.id == product.stem
    assert np.isfinite(scene.read(["blue"]).reflectance).any()


def test_a_zip_cut_short_that_is_not_called_one(tmp_path: Path) -> None:
    archive = zip_product(write_safe(tmp_path / "made", SafeSpec(size=24)))
    cut = tmp_path / "product"
    cut.write_bytes(archive.read_bytes()[:2000])
    with pytest.raises(DamagedFileError, match="cut short"):
        open_scene(cut)


def test_a_raster_that_is_called_like_an_mtl(tmp_path: Path, called: list) -> None:
    path = touch(tmp_path / "scene_MTL.tif")
    open_scene(path)
    assert called[0][:2] == ("raster", [str(path)])
    with pytest.raises(ProductError, match="no product in it"):
        open_scene(tmp_path)


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("there", [False, True])
def test_a_name_that_is_not_utf_8_is_told(tmp_path: Path, many: bool, there: bool) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.tif")
    if there:
        touch(Path(path))
    for given in (path, Path(path)):
        with pytest.raises(InputError, match=r"caf\\xe9\.tif: a name that is not UTF-8.*rename"):
            open_scene([given, given] if many else given)


def test_a_name_within_a_folder_that_is_not_utf_8_is_told(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    touch(folder / "T33UUU_20170216T102101_B02.jp2")
    with pytest.raises(InputError, match=r"caf\\xe9/T33UUU"):
        open_scene(tmp_path)


@pytest.mark.parametrize("source", [None, 5, b"a.tif", {"a.tif"}])
def test_what_is_no_source_is_told(source: object) -> None:
    with pytest.raises(InputError, match=r"no scene is opened from .*; nubila opens a Sentinel-2"):
        open_scenes(source)
