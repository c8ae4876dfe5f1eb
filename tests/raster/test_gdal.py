"""Reading counts: levels, damage, and files beside files."""

from __future__ import annotations

import os
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.enums import Resampling

from nubila.errors import DamagedFileError, MissingFileError, ProductError
from nubila.raster import Window
from nubila.raster.gdal import gdal_env, open_source, read_info

COUNTS = np.random.default_rng(0).integers(1, 5000, (300, 420)).astype(np.uint16)


def write(path, driver, values=COUNTS, **options):
    with rasterio.open(
        path,
        "w",
        driver=driver,
        width=values.shape[1],
        height=values.shape[0],
        count=1,
        dtype=values.dtype,
        crs="EPSG:32633",
        transform=Affine(10, 0, 300_000, 0, -10, 5_000_000),
        **options,
    ) as data:
        data.write(values, 1)
    return str(path)


def write_jp2(path, values=COUNTS, blocks=64):
    return write(
        path,
        "JP2OpenJPEG",
        values,
        REVERSIBLE="YES",
        QUALITY="100",
        BLOCKXSIZE=blocks,
        BLOCKYSIZE=blocks,
        RESOLUTIONS=4,
    )


@pytest.mark.parametrize("window", [Window(0, 0, 300, 420), Window(17, 63, 100, 3)])
def test_counts_as_they_are(tmp_path, window):
    for path in (write_jp2(tmp_path / "a.jp2"), write(tmp_path / "a.tif", "GTiff")):
        source, info = open_source(path)
        np.testing.assert_array_equal(source.read(1, window), COUNTS[window.slices])
        assert info.grid.shape == COUNTS.shape
        assert source.shape == COUNTS.shape


def test_levels_are_the_files_own(tmp_path):
    path = write_jp2(tmp_path / "a.jp2")
    source, info = open_source(path)
    assert source.factors == (1, *info.overviews)
    assert len(source.factors) > 1
    for level, factor in enumerate(source.factors[1:]):
        with rasterio.open(path, overview_level=level) as data:
            truth = data.read(1)
        assert truth.shape == (-(-300 // factor), -(-420 // factor))
        window = Window(3, 5, 20, 11)
        np.testing.assert_array_equal(source.read(factor, window), truth[window.slices])


def test_overviews_beside_a_local_file_are_used(tmp_path):
    path = write(tmp_path / "a.tif", "GTiff")
    with rasterio.Env(TIFF_USE_OVR=True), rasterio.open(path, "r+") as data:
        data.build_overviews([2, 4], Resampling.average)
    assert (tmp_path / "a.tif.ovr").exists()
    assert open_source(path)[0].factors == (1, 2, 4)


def test_levels_of_another_rounding_end_the_list(tmp_path, monkeypatch):
    path = write(tmp_path / "a.tif", "GTiff", np.ones((301, 421), np.uint16))
    with rasterio.open(path, "r+") as data:
        data.build_overviews([2, 4], Resampling.nearest)
    assert open_source(path)[0].factors == (1, 2, 4)
    monkeypatch.setattr("nubila.raster.gdal._is_plain", lambda path, factor, *_: factor != 2)
    assert open_source(path)[0].factors == (1,)


@pytest.mark.parametrize("lost", ["all but the header", "half", "last 10 %", "last 1 %", "2 bytes"])
def test_a_truncated_jp2(tmp_path, lost):
    path = write_jp2(tmp_path / "cut.jp2")
    check_cut(path, lost)


@pytest.mark.parametrize("lost", ["all but the header", "half", "last 10 %", "last 1 %", "2 bytes"])
@pytest.mark.parametrize("part", ["l2a_safe_60m/*/GRANULE/*/IMG_DATA/R60m/*_SCL_60m", "*/*/*_B01"])
def test_a_truncated_real_jp2(shared_data, tmp_path, part, lost):
    real = next(shared_data.glob(f"sentinel2_{part}.jp2"))
    path = tmp_path / "cut.jp2"
    path.write_bytes(real.read_bytes())
    check_cut(str(path), lost)


def check_cut(path, lost):
    size = Path(path).stat().st_size
    keep = {
        "all but the header": 200,
        "half": size // 2,
        "last 10 %": int(0.9 * size),
        "last 1 %": int(0.99 * size),
        "2 bytes": size - 2,
    }[lost]
    window = Window.whole(read_info(path).grid.shape)
    truth = open_source(path)[0].read(1, window)
    os.truncate(path, keep)
    if lost == "2 bytes":  # the end marker: every pixel is still there
        with suppress(DamagedFileError):
            np.testing.assert_array_equal(open_source(path)[0].read(1, window), truth)
        return
    with pytest.raises(DamagedFileError, match=r"cut\.jp2") as caught:
        open_source(path)[0].read(1, window)
    assert "previous exception" not in str(caught.value)


def test_all_of_a_jp2_or_an_error(tmp_path):
    """However much is cut off, the counts are right or there is an error."""
    whole = write_jp2(tmp_path / "whole.jp2", blocks=32)
    content = (tmp_path / "whole.jp2").read_bytes()
    truth, _ = open_source(whole)
    window = Window.whole(COUNTS.shape)
    errors = 0
    for keep in np.random.default_rng(1).integers(500, len(content), 12):
        path = tmp_path / "cut.jp2"
        path.write_bytes(content[:keep])
        try:
            counts = open_source(str(path))[0].read(1, window)
        except DamagedFileError:
            errors += 1
            continue
        np.testing.assert_array_equal(counts, truth.read(1, window))
    assert errors >= 10


def test_a_truncated_tiff(tmp_path):
    path = write(
        tmp_path / "cut.tif", "GTiff", compress="deflate", tiled=True, blockxsize=64, blockysize=64
    )
    os.truncate(path, Path(path).stat().st_size // 2)
    with pytest.raises(DamagedFileError, match=r"cut\.tif"):
        source, _ = open_source(path)
        source.read(1, Window.whole(COUNTS.shape))


@pytest.mark.parametrize("left", [0, 1, 20, 300, 1000])
@pytest.mark.parametrize("suffix", [".jp2", ".tif"])
def test_a_file_cut_within_its_header(tmp_path, suffix, left):
    whole = write_jp2(tmp_path / "a.jp2") if suffix == ".jp2" else ""
    whole = whole or write(tmp_path / "a.tif", "GTiff")
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(Path(whole).read_bytes()[: left if suffix == ".jp2" else left // 10])
    with pytest.raises(DamagedFileError, match="cut short") as caught:
        read_info(str(cut))
    text = str(caught.value)
    assert text.startswith(f"{cut}: ") and text.count(str(tmp_path)) == 1
    assert text.count(cut.name) == 1 and text.endswith("Fetch the file again.")


def test_nothing_there_and_no_raster(tmp_path):
    with pytest.raises(MissingFileError, match=r"absent\.tif"):
        read_info(str(tmp_path / "absent.tif"))
    text = tmp_path / "text.tif"
    text.write_text("no raster")
    with pytest.raises(DamagedFileError, match="cannot be opened as a raster"):
        read_info(str(text))


def test_gdals_own_decoding_threads_are_off():
    with gdal_env():
        assert rasterio.env.getenv()["GDAL_NUM_THREADS"] == 1
    assert os.environ["OPJ_NUM_THREADS"] == "0"


def test_threads_read_the_same_and_none_loses_an_error(tmp_path):
    whole = write_jp2(tmp_path / "whole.jp2")
    cut = tmp_path / "cut.jp2"
    content = (tmp_path / "whole.jp2").read_bytes()
    cut.write_bytes(content[: len(content) // 2])
    sources = [open_source(str(path))[0] for path in (whole, cut)] * 8
    window = Window.whole(COUNTS.shape)

    def read(source):
        try:
            return source.read(1, window)
        except DamagedFileError:
            return None

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(read, sources))
    for counts in found[::2]:
        np.testing.assert_array_equal(counts, COUNTS)
    assert found[1::2] == [None] * 8


@contextmanager
def answering(answer):
    """Give the address of a server on this machine that answers every request so."""

    class Handler(BaseHTTPRequestHandler):
        do_GET = do_HEAD = answer  # noqa: N815 (the names that http.server wants)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/a.tif"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("status", [401, 403])
def test_a_server_that_does_not_hand_a_file_out_is_no_damaged_file(status):
    with (
        answering(lambda request: request.send_error(status)) as address,
        pytest.raises(ProductError, match="refuses access") as caught,
    ):
        read_info(f"/vsicurl/{address}?sig=secret")
    assert not isinstance(caught.value, DamagedFileError)
    assert str(caught.value).startswith(f"{address}: ")
    assert str(status) in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_server_that_is_not_there_is_no_damaged_file():
    with pytest.raises(ProductError, match="cannot be reached") as caught:
        read_info("/vsicurl/http://127.0.0.1:1/a.tif")
    assert not isinstance(caught.value, DamagedFileError)


def test_a_server_that_hands_out_whole_files_only(tmp_path):
    content = Path(write(tmp_path / "a.tif", "GTiff")).read_bytes()

    def answer(request):
        request.send_response(200)  # whatever part was asked for
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        if request.command == "GET":
            with suppress(ConnectionError):  # GDAL hangs up
                request.wfile.write(content)

    with (
        answering(answer) as address,
        pytest.raises(ProductError, match="Download the file, and give its path") as caught,
    ):
        read_info(f"/vsicurl/{address}")
    assert not isinstance(caught.value, DamagedFileError)


def test_bytes_that_do_not_come_over_the_network_may_be_a_lost_connection(tmp_path):
    values = np.random.default_rng(1).integers(1, 9999, (900, 900)).astype(np.uint16)
    content = Path(write(tmp_path / "a.tif", "GTiff", values)).read_bytes()

    def answer(request):
        there = request.headers.get("Range", "bytes=0-")[6:].split("-")
        first, last = int(there[0]), int(there[1] or len(content) - 1)
        part = content[first : last + 1] if first < 500_000 else b""
        partly = request.command == "GET"
        request.send_response(206 if partly else 200)
        request.send_header("Accept-Ranges", "bytes")
        request.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
        request.send_header("Content-Length", str(len(part) if partly else len(content)))
        request.end_headers()
        if partly:
            request.wfile.write(part)

    with answering(answer) as address:
        source, _ = open_source(f"/vsicurl/{address}")
        with pytest.raises(DamagedFileError, match="connection was lost, or the file is damaged"):
            source.read(1, Window(800, 0, 100, 900))


def test_a_server_that_never_answers_is_given_up(monkeypatch):
    with gdal_env():
        assert rasterio.env.getenv()["GDAL_HTTP_LOW_SPEED_TIME"] == 30
        assert rasterio.env.getenv()["GDAL_HTTP_CONNECTTIMEOUT"] == 30
    monkeypatch.setenv("GDAL_HTTP_LOW_SPEED_TIME", "1")  # a person's own goes before
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(ProductError, match="does not answer") as caught,
    ):
        read_info(f"/vsicurl/http://127.0.0.1:{silent.getsockname()[1]}/a.tif")
    assert not isinstance(caught.value, DamagedFileError)


def test_a_container_lists_what_is_in_it(tmp_path):
    path = tmp_path / "a.gpkg"
    for name in ("red", "nir"):
        write(path, "GPKG", COUNTS.astype(np.uint8), RASTER_TABLE=name, APPEND_SUBDATASET="YES")
    with pytest.raises(ProductError, match="holds no bands itself") as caught:
        read_info(str(path))
    assert f"GPKG:{path}:red" in str(caught.value)


def test_what_a_mask_leaves_out_is_no_number(tmp_path):
    path = write(tmp_path / "a.tif", "GTiff", COUNTS, tiled=True, blockxsize=64, blockysize=64)
    there = np.full(COUNTS.shape, 255, np.uint8)
    there[:100] = 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as data:
        data.write_mask(there)
        data.build_overviews([2], Resampling.average)
    source, info = open_source(path)
    assert info.masked == (True,)
    counts = source.read(1, Window.whole(COUNTS.shape))
    np.testing.assert_array_equal(np.isnan(counts), there == 0)
    np.testing.assert_array_equal(counts[100:], COUNTS[100:])
    level = source.read(2, Window(0, 0, 150, 210))
    np.testing.assert_array_equal(np.isnan(level), np.arange(150)[:, None] < np.full(210, 50))
