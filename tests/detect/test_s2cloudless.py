"""Held to the package's own class."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio

from nubila.detect import View
from nubila.detect.s2cloudless import S2Cloudless
from nubila.errors import BandError

package = pytest.importorskip("s2cloudless")

BANDS = (
    *("coastal", "blue", "green", "red", "rededge071", "rededge075", "rededge078"),
    *("nir", "nir08", "nir09", "cirrus", "swir16", "swir22"),
)


@pytest.fixture(scope="module")
def view(shared_data: Path) -> View:
    """A patch that is partly cloudy, of 13 bands at 10 m."""
    for path in sorted((shared_data / "sen12mscr").glob("*.tif")):
        with rasterio.open(path) as data:
            image = data.read()[:, :96, :96].astype(np.float32) / np.float32(10000)
        found = View(image, BANDS, "sentinel-2-msi", "L1C", 60.0, path.name)
        if 0.2 < (S2Cloudless().detect(found).classes == 1).mean() < 0.8:
            return found
    raise AssertionError("no patch is partly cloudy")


def test_at_60_metres_it_is_the_package_with_its_examples_parameters(view: View) -> None:
    own = package.S2PixelCloudDetector(
        threshold=0.4, average_over=4, dilation_size=2, all_bands=True
    )
    # All 13 bands, of which the package takes its own ten: so our choice of bands is held to it.
    expected = own.get_cloud_masks(np.moveaxis(view.image, 0, -1)[None])[0]
    np.testing.assert_array_equal(S2Cloudless().detect(view).classes, expected)


def test_finer_views_are_brought_to_60_metres(view: View) -> None:
    fine = replace(
        view, image=np.repeat(np.repeat(view.image, 3, axis=1), 3, axis=2), resolution=20.0
    )
    found = S2Cloudless().detect(fine)
    # The mean of nine equal numbers is not always that number, so a pixel on the edge may turn.
    agreeing = found.classes[1::3, 1::3] == S2Cloudless().detect(view).classes
    assert agreeing.mean() > 0.999
    assert (found.classes[::3] == found.classes[1::3]).all()


def test_what_it_cannot_judge(view: View) -> None:
    detector = S2Cloudless()
    assert "L1C" in detector.lacks(replace(view, level="L2A"))
    assert "resolution" in detector.lacks(replace(view, resolution=None))
    ten = tuple(name for name in BANDS if name != "nir")
    narrow = replace(view, image=np.delete(view.image, BANDS.index("nir"), axis=0), bands=ten)
    assert detector.lacks(narrow) == "no nir", "the narrow band is no stand-in for the wide one"
    with pytest.raises(BandError, match="L2A"):
        detector.detect(replace(view, level="L2A"))


def test_no_data_is_not_judged(view: View) -> None:
    image = view.image.copy()
    image[3, :20] = np.nan
    classes = S2Cloudless().detect(replace(view, image=image)).classes
    assert (classes[:20] == 255).all() == (BANDS[3] == "red")
    assert (classes[20:] != 255).all()
