"""s2cloudless (Sentinel Hub, CC-BY-SA-4.0): gradient-boosted trees on each pixel of Sentinel-2 L1C.

Its example averages and dilates by 4 and 2 pixels at 60 m and by 22 and 11 pixels at 10 m, so by
240 and 120 m; finer views are brought to 60 m, where it was made to run.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from nubila.detect.detector import Detection, Output, View, as_detection, refusal
from nubila.detect.scale import at_resolution, nearest_to
from nubila.detect.version import peer_version
from nubila.errors import MissingExtraError

__all__ = ["S2Cloudless"]

# B01, B02, B04, B05, B08, B8A, B09, B10, B11, B12: the package's MODEL_BANDS.
_BANDS: Final = (
    *("coastal", "blue", "red", "rededge071", "nir"),
    *("nir08", "nir09", "cirrus", "swir16", "swir22"),
)
_OUTPUTS: Final = (
    Output(0, ("clear", "cloud shadow", "snow", "water")),
    Output(1, ("cloud", "thin cloud")),
)
_RESOLUTION: Final = 60.0
_AVERAGE: Final = 240.0  # metres
_DILATION: Final = 120.0
_THRESHOLD: Final = 0.4  # the package's default


@dataclass(frozen=True)
class S2Cloudless:
    """The package's own class, at 60 m.

    Attributes:
        threads: of LightGBM.

    Raises:
        MissingExtraError: s2cloudless is not installed.
    """

    threads: int = 1

    def __post_init__(self) -> None:
        _detector(*_disks(_RESOLUTION))

    @property
    def name(self) -> str:
        """What reports call it."""
        return "s2cloudless"

    @property
    def version(self) -> str:
        """The release of the package, which brings its weights."""
        return peer_version("s2cloudless")

    @property
    def outputs(self) -> tuple[Output, ...]:
        """What it tells apart."""
        return _OUTPUTS

    def lacks(self, view: View) -> str:
        """Return what it would need to judge a view, in words; empty if it can."""
        # By name: the wide near infrared must not be stood in for by the narrow one.
        missing = [n for n in _BANDS if n not in view.bands or view.band(n) is None]
        if missing:
            return f"no {', '.join(missing)}"
        if view.surface:
            return f"no top-of-atmosphere reflectance (L1C), but {view.level}"
        return "" if view.resolution else "no resolution in metres"

    def detect(self, view: View) -> Detection:
        """Judge a view.

        Raises:
            BandError: it cannot; the message says what it lacks.
        """
        image = view.stack(_BANDS)
        if self.lacks(view) or image is None or view.resolution is None:
            raise refusal(self, view)
        empty = np.isnan(image).any(axis=0)
        coarse = at_resolution(image, view.resolution, _RESOLUTION)
        # Rows and columns are rounded, so the pixels that result may be a little off 60 m.
        resolution = view.resolution * image.shape[1] / coarse.shape[1]
        cloud = nearest_to(_masks(coarse, resolution, self.threads), image.shape[1:])
        return as_detection(np.where(empty, np.uint8(255), cloud), _OUTPUTS)


def _masks(image: NDArray[np.float32], resolution: float, threads: int) -> NDArray[np.uint8]:
    """Return (rows, columns) 1 for cloud, as the package's `get_cloud_masks` does."""
    detector = _detector(*_disks(resolution))
    filled = np.moveaxis(np.where(np.isnan(image), np.float32(0), image), 0, -1)[None]
    # In two steps, because `get_cloud_masks` takes no number of threads.
    probabilities = detector.get_cloud_probability_maps(filled, num_threads=threads)
    masks: NDArray[np.uint8] = detector.get_mask_from_prob(probabilities)[0].astype(np.uint8)
    return masks


def _disks(resolution: float) -> tuple[int, int]:
    """Return the radii in pixels that probabilities are averaged and clouds dilated by."""
    return max(1, round(_AVERAGE / resolution)), max(1, round(_DILATION / resolution))


class _Detector(Protocol):
    """The package's `S2PixelCloudDetector`, as far as it is used; images are stacked."""

    def get_cloud_probability_maps(
        self, data: NDArray[np.float32], *, num_threads: int
    ) -> NDArray[np.float32]:
        """Return (images, rows, columns) of (images, rows, columns, bands)."""

    def get_mask_from_prob(self, cloud_probs: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Return (images, rows, columns) masks, averaged and dilated."""


@lru_cache
def _detector(average: int, dilation: int) -> _Detector:
    try:
        from s2cloudless.cloud_detector import S2PixelCloudDetector
    except ImportError as error:
        raise MissingExtraError("s2cloudless", extra="compare") from error
    detector: _Detector = S2PixelCloudDetector(
        threshold=_THRESHOLD, all_bands=False, average_over=average, dilation_size=dilation
    )
    return detector
