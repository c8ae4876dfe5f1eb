"""Folders, zips and tars as one tree, and the archives that must be refused."""

from __future__ import annotations

import io
import re
import stat
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

from nubila.errors import DamagedFileError, MissingFileError, ProductError
from nubila.raster.gdal import gdal_env
from nubila.scenes.archive import check_member, open_tree

COUNTS = np.arange(12, dtype=np.uint16).reshape(3, 4)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "Product"
    (root / "Granule").mkdir(parents=True)
    (root / "MTD.xml").write_text("<a/>")
    with rasterio.open(
        root / "Granule" / "B2.TIF",
        "w",
        driver="GTiff",
        width=4,
        height=3,
        count=1,
        dtype="uint16",
        transform=Affine.scale(30, -30),
        crs="EPSG:32633",
    ) as data:
        data.write(COUNTS, 1)
    return root


def pack(folder: Path, kind: str) -> Path:
    archive = folder.with_name(f"packed.{kind}")
    files = [f for f in folder.rglob("*") if f.is_file()]
    if kind == "zip":
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as data:
            for file in files:
                data.write(file, file.relative_to(folder))
    else:
        with tarfile.open(archive, "w:gz" if "gz" in kind else "w") as data:
            for file in files:
                data.add(file, file.relative_to(folder))
    return archive


@pytest.mark.parametrize("kind", ["folder", "zip", "tar", "tar.gz", "tgz"])
def test_all_kinds_show_the_same_files(folder: Path, kind: str) -> None:
    tree = open_tree(folder if kind == "folder" else pack(folder, kind))
    assert tree.names == ("Granule/B2.TIF", "MTD.xml")
    assert tree.read("MTD.xml") == b"<a/>"
    assert tree.find("mtd.XML") == "MTD.xml"
    assert tree.find("*/b2.tif") == "Granule/B2.TIF"
    assert tree.find("*.jp2") is None
    assert tree.glob("*") == ("MTD.xml", "Granule/B2.TIF")
    with rasterio.open(tree.gdal_path("Granule/B2.TIF")) as data:
        np.testing.assert_array_equal(data.read(1), COUNTS)
    with pytest.raises(MissingFileError, match="nothing"):
        tree.read("nothing.xml")


def test_reading_leaves_no_file_behind(folder: Path) -> None:
    archive = pack(folder, "tar.gz")
    before = sorted(archive.parent.iterdir())
    tree = open_tree(archive)
    tree.read("MTD.xml")
    with gdal_env(), rasterio.open(tree.gdal_path("Granule/B2.TIF")) as data:
        data.read(1)
    assert sorted(archive.parent.iterdir()) == before


def test_names_that_begin_with_a_dot(folder: Path) -> None:
    archive = folder.with_name("dotted.tar")
    with tarfile.open(archive, "w") as data:
        data.add(folder, ".")
    tree = open_tree(archive)
    assert tree.names == ("Granule/B2.TIF", "MTD.xml")
    assert tree.read("MTD.xml") == b"<a/>"
    with rasterio.open(tree.gdal_path("Granule/B2.TIF")) as data:
        np.testing.assert_array_equal(data.read(1), COUNTS)


@pytest.mark.parametrize("name", ["../out.xml", "a/../../out.xml", "/etc/passwd", "C:\\out.xml"])
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_names_that_lead_out_are_refused(tmp_path: Path, name: str, kind: str) -> None:
    archive = tmp_path / f"tricky.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(archive, "w") as data:
            data.writestr(name, b"x")
    else:
        with tarfile.open(archive, "w") as tar:
            member = tarfile.TarInfo(name)
            member.size = 1
            tar.addfile(member, io.BytesIO(b"x"))
    with pytest.raises(ProductError, match="leads out") as caught:
        open_tree(archive)
    assert archive.name in str(caught.value)
    assert repr(name) in str(caught.value)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_tar_links_and_pipes_are_refused(tmp_path: Path, kind: bytes) -> None:
    archive = tmp_path / "links.tar"
    with tarfile.open(archive, "w") as tar:
        member = tarfile.TarInfo("B2.TIF")
        member.type, member.linkname = kind, "/etc/passwd"
        tar.addfile(member)
    with pytest.raises(ProductError, match=r"'B2\.TIF'"):
        open_tree(archive)


def test_zip_links_are_refused(tmp_path: Path) -> None:
    archive = tmp_path / "links.zip"
    member = zipfile.ZipInfo("MTD.xml")
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(archive, "w") as data:
        data.writestr(member, "/etc/passwd")
    with pytest.raises(ProductError, match="is a link"):
        open_tree(archive)


def test_a_name_twice_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "twice.zip"
    with zipfile.ZipFile(archive, "w") as data:
        data.writestr("MTD.xml", "<a/>")
        with pytest.warns(UserWarning, match="Duplicate"):
            data.writestr("MTD.xml", "<b/>")
    with pytest.raises(ProductError, match="twice"):
        open_tree(archive)


@pytest.mark.parametrize("share", [0.0, 0.2, 0.6, 0.95])
@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_archives_cut_short(folder: Path, kind: str, share: float) -> None:
    (folder / "Z.bin").write_bytes(np.random.default_rng(0).bytes(30_000))
    archive = pack(folder, kind)
    content = archive.read_bytes()
    # A tar ends in up to 10 kB of zeros, without which it is still whole.
    size = len(content.rstrip(b"\0"))
    archive.write_bytes(content[: int(share * size)])
    with pytest.raises(DamagedFileError, match="cut short"):
        open_tree(archive)


def test_a_broken_header_does_not_hide_the_rest(folder: Path) -> None:
    archive = pack(folder, "tar")
    with tarfile.open(archive) as tar:
        second = tar.getmembers()[1].offset
    content = bytearray(archive.read_bytes())
    content[second : second + 200] = b"\xff" * 200
    archive.write_bytes(content)
    with pytest.raises(DamagedFileError, match="no tar header"):
        open_tree(archive)


def test_a_wrong_byte_in_a_zip_member(folder: Path) -> None:
    archive = pack(folder, "zip")
    with zipfile.ZipFile(archive) as data:
        start = data.getinfo("MTD.xml").header_offset
    content = bytearray(archive.read_bytes())
    content[start + 30 + len("MTD.xml") + 1] ^= 0xFF
    archive.write_bytes(content)
    with pytest.raises(DamagedFileError, match=r"MTD\.xml"):
        open_tree(archive).read("MTD.xml")


def test_a_member_is_held_to_its_checksum(folder: Path) -> None:
    archive = folder.with_name("packed.zip")
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as data:
        data.write(folder / "Granule" / "B2.TIF", "./Granule/B2.TIF")
    path = open_tree(archive).gdal_path("Granule/B2.TIF")
    check_member(path)
    content = bytearray(archive.read_bytes())
    place = content.index(COUNTS.tobytes())
    content[place] ^= 1
    archive.write_bytes(content)
    with rasterio.open(path) as data:  # to GDAL it is a file like any other
        assert data.read(1)[0, 0] == 1
    with pytest.raises(DamagedFileError, match=r"packed.zip: 'Granule/B2.TIF' in it is damaged"):
        check_member(path)
    # Not in an archive, in one that is no file on disk, and by a spelling that GDAL knows too.
    check_member(str(folder / "Granule" / "B2.TIF"))
    check_member(f"/vsizip/{{/vsicurl/http://127.0.0.1/{archive.name}}}/Granule/B2.TIF")
    check_member(path.replace("Granule/", "Granule/../Granule/"))


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="no such"):
        open_tree(tmp_path / "absent.zip")


def test_a_huge_member_is_not_read_whole(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nubila.scenes.archive._MOST_BYTES", 2)
    for place in (folder, pack(folder, "zip"), pack(folder, "tar")):
        with pytest.raises(ProductError, match=rf"^{re.escape(str(place))}: 'MTD.xml' .*larger"):
            open_tree(place).read("MTD.xml")


@pytest.mark.parametrize("kind", ["folder", "zip", "tar"])
def test_what_macos_puts_beside_files_is_left_out(folder: Path, kind: str) -> None:
    for name in ("._MTD.xml", "Granule/._B2.TIF", "__MACOSX/Granule/B2.TIF"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"\0\5\x16\7")
    tree = open_tree(folder if kind == "folder" else pack(folder, kind))
    assert tree.names == ("Granule/B2.TIF", "MTD.xml")


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
@pytest.mark.parametrize("name", ["a }{ b", "a}b{c", "{a", "a}", "{x/{y}}/a", "a{b}"])
def test_braces_in_a_name_that_gdal_takes_for_its_own(
    folder: Path, kind: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = folder.parent / f"{name}.{kind}"
    archive.parent.mkdir(parents=True, exist_ok=True)
    pack(folder, kind).rename(archive)
    monkeypatch.chdir(folder.parent)
    for path in (archive, archive.relative_to(folder.parent)):
        with rasterio.open(open_tree(path).gdal_path("Granule/B2.TIF")) as data:
            np.testing.assert_array_equal(data.read(1), COUNTS)


def test_braces_in_a_name_that_does_not_say_what_it_is(folder: Path) -> None:
    archive = pack(folder, "zip").rename(folder.parent / "a{b")
    with pytest.raises(ProductError, match=r"a\{b: .*rename it so that it ends in \.zip"):
        open_tree(archive)


@pytest.mark.parametrize("name", ["packed.tar", "a{b.tar"])
def test_a_tar_that_is_compressed_without_saying_so(folder: Path, name: str) -> None:
    tree = open_tree(pack(folder, "tar.gz").rename(folder.parent / name))
    assert tree.read("MTD.xml") == b"<a/>"
    with gdal_env(), rasterio.open(tree.gdal_path("Granule/B2.TIF")) as data:
        np.testing.assert_array_equal(data.read(1), COUNTS)


@pytest.mark.parametrize("name", ["packed.tar", "packed.tar.gz"])
@pytest.mark.parametrize(("mode", "program"), [("w:bz2", "bzip2"), ("w:xz", "xz")])
def test_a_tar_compressed_as_gdal_does_not_read_it(
    folder: Path, name: str, mode: str, program: str
) -> None:
    archive = folder.parent / name
    with tarfile.open(archive, mode) as data:
        data.add(folder / "MTD.xml", "MTD.xml")
    with pytest.raises(ProductError, match=rf"{re.escape(name)}: .*compressed with {program}"):
        open_tree(archive)


@pytest.mark.parametrize("name", ["packed.tar.gz", "packed.tgz"])
def test_a_tar_that_says_it_is_compressed_and_is_not(folder: Path, name: str) -> None:
    archive = pack(folder, "tar").rename(folder.parent / name)
    with pytest.raises(ProductError, match="not compressed; rename it"):
        open_tree(archive)


@pytest.mark.parametrize(
    ("method", "called"), [(zipfile.ZIP_BZIP2, "bzip2"), (zipfile.ZIP_LZMA, "LZMA")]
)
def test_a_zip_compressed_as_gdal_does_not_read_it(folder: Path, method: int, called: str) -> None:
    archive = folder.parent / "packed.zip"
    with zipfile.ZipFile(archive, "w", method) as data:
        data.write(folder / "MTD.xml", "MTD.xml")
    with pytest.raises(ProductError, match=rf"'MTD.xml'.*compressed with {called}.*deflate"):
        open_tree(archive)


def test_folders_that_are_links(folder: Path, tmp_path: Path) -> None:
    (folder / "Granule").rename(tmp_path / "elsewhere")
    (folder / "Granule").symlink_to(tmp_path / "elsewhere")
    assert open_tree(folder).names == ("Granule/B2.TIF", "MTD.xml")


def test_links_that_lead_in_a_circle(folder: Path, tmp_path: Path) -> None:
    (folder / "Granule" / "up").symlink_to(folder)
    (folder / "Granule" / "here").symlink_to(".")
    other = tmp_path / "elsewhere"
    other.mkdir()
    (other / "back").symlink_to(folder)
    (folder / "out").symlink_to(other)
    names = open_tree(folder).names
    assert names == ("Granule/B2.TIF", "MTD.xml")


def test_a_tar_with_names_that_gdal_does_not_read(folder: Path) -> None:
    name = f"{'a' * 60}/{'b' * 60}/B2.TIF"
    trees = {}
    for style in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        archive = folder.parent / f"packed{style}.tar"
        with tarfile.open(archive, "w", format=style) as data:
            data.add(folder / "Granule" / "B2.TIF", name)
        trees[style] = open_tree(archive)
        assert trees[style].names == (name,)
    with pytest.raises(ProductError, match=r"pax header.*unpack"):
        trees[tarfile.PAX_FORMAT].gdal_path(name)
    with rasterio.open(trees[tarfile.GNU_FORMAT].gdal_path(name)) as data:
        np.testing.assert_array_equal(data.read(1), COUNTS)
