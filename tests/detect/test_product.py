from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio

from nubila.datasets import load_sample, read_manifest
from nubila.detect import View, open_detector, own_mask, view_of
from nubila.errors import BandError


def _manifest(folder: Path, product: Path, metres: str) -> Path:
    path = folder / "m.csv"
    path.write_text(f"image,mask,bands,resolution\n{product},,red;nir08,{metres}\n")
    return path


def test_scl_of_a_real_product(shared_data: Path, tmp_path: Path) -> None:
    (product,) = (shared_data / "sentinel2_l2a_safe_60m").glob("*.SAFE")
    (spec,) = read_manifest(_manifest(tmp_path, product.absolute(), "60"), unlabelled=True)
    view = view_of(load_sample(spec), own_mask(spec))
    detector = open_detector("product")
    assert detector.lacks(view) == ""
    classes = detector.detect(view).classes
    (scl,) = product.rglob("*_SCL_60m.jp2")
    with rasterio.open(scl) as data:
        codes = data.read(1)
    assert classes.shape == codes.shape
    for code, expected in {3: 3, 4: 0, 5: 0, 6: 5, 7: 255, 8: 1, 9: 1, 10: 2, 0: 255}.items():
        assert set(np.unique(classes[codes == code])) <= {expected}, code
    assert (classes == 1).mean() > 0.2


def test_qa_pixel_of_a_real_product_at_half_its_resolution(
    shared_data: Path, tmp_path: Path
) -> None:
    product = sorted(p for p in (shared_data / "landsat_c2l2").iterdir() if p.is_dir())[0]
    (metadata,) = product.glob("*_MTL.txt")
    (quality,) = product.glob("*_QA_PIXEL.TIF")
    with rasterio.open(quality) as data:
        metres, codes = data.res[0], data.read(1)[:511]
    manifest = _manifest(tmp_path, metadata.absolute(), f"{2 * metres}")
    (spec,) = read_manifest(manifest, unlabelled=True)
    found = own_mask(spec)
    assert found is not None
    # Bit 0 is fill, bit 3 cloud; the centres of twice as large pixels lie on a corner of four.
    small = codes[1:511:2, 1:511:2]
    found = found[: small.shape[0], : small.shape[1]]
    assert ((found == 0) == (small & 1 == 1)).mean() > 0.99
    assert (found[small & 9 == 8] == 1 << 1).mean() > 0.9


def test_where_qa_pixel_is_masked_out_it_says_nothing(shared_data: Path, tmp_path: Path) -> None:
    source = sorted(p for p in (shared_data / "landsat_c2l2").iterdir() if p.is_dir())[0]
    product = tmp_path / source.name
    product.mkdir()
    for file in source.iterdir():
        shutil.copyfile(file, product / file.name)
    (quality,) = product.glob("*_QA_PIXEL.TIF")
    with rasterio.open(quality, "r+") as data:
        told = data.read(1) & 1 == 0
        told[:, :200] = False
        data.write_mask(told)
    (metadata,) = product.glob("*_MTL.txt")
    (spec,) = read_manifest(_manifest(tmp_path, metadata, ""), unlabelled=True)
    found = own_mask(spec)
    assert found is not None
    np.testing.assert_array_equal(found != 0, told)


def test_without_a_mask_it_cannot_judge() -> None:
    view = View(np.ones((1, 4, 4), np.float32), ("red",), name="patch")
    assert open_detector("product").lacks(view) == "no mask of the product's own"
    with pytest.raises(BandError, match="patch: product cannot judge it"):
        open_detector("product").detect(view)
