"""What a labelled image is, before any pixel is read."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from nubila.bands import STANDS_IN
from nubila.datasets.codes import LabelCodes
from nubila.errors import ManifestError

__all__ = ["LEFT_OUT", "SampleSpec", "located"]

LEFT_OUT: Final = "-"


@dataclass(frozen=True)
class SampleSpec:
    """A row of a manifest, checked but with no pixels read; `datasets.load_sample` reads them.

    Attributes:
        manifest: path of the manifest, or name and folder of a collection; `line` is the row's
            line in it, 0 where there are no lines. For error messages.
        id: the image's path as written, without suffix; unique in a manifest.
        folder: first part of the image's path as written, ``"."`` for a bare file name.
        images: one file, or one or more bands each; or one product, if `scene` is set.
        mask: the label mask; None for an image that has none yet.
        bands: common names in file order, ``"-"`` for a band that is left out; of a product, the
            names to read.
        scale, offset, nodata: one value, or one a file, or one a band; `nodata` is empty for what
            the file itself says. A product says all three itself.
        codes: what the mask's codes stand for.
        resolution: metres as given in the column of that name, or None. A product is read at it.
        tags: columns that nubila gives no meaning; ``date`` (YYYY-MM-DD) and ``place`` where known.
        scene: whether the image is a product that `scenes.open_scene` opens; mask, coverage and
            auxiliary rasters may then lie on grids of their own.
        auxiliary: band name and file of rasters that become bands of a product.
        coverage: a raster that is 0 where the mask says nothing, or None.
        corner: row and column in the mask's file of the image's first pixel; None where the two
            are of one size. What lies outside of the mask has no label.
    """

    manifest: str
    line: int
    id: str
    folder: str
    images: tuple[Path, ...]
    mask: Path | None
    bands: tuple[str, ...]
    scale: tuple[float, ...]
    offset: tuple[float, ...]
    nodata: tuple[float, ...]
    codes: LabelCodes
    sensor: str
    level: str
    split: str
    group: str
    resolution: float | None
    tags: Mapping[str, str] = field(default_factory=dict)
    scene: bool = False
    auxiliary: tuple[tuple[str, Path], ...] = ()
    coverage: Path | None = None
    corner: tuple[int, int] | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that the sample is read from."""
        others = (self.mask, self.coverage, *(path for _, path in self.auxiliary))
        return (*self.images, *(path for path in others if path is not None))

    @property
    def label_file(self) -> Path:
        """The mask's path.

        Raises:
            ManifestError: the image has no label.
        """
        if self.mask is None:
            raise self.error("mask", "empty; this needs a label")
        return self.mask

    def only(self, bands: Collection[str]) -> SampleSpec:
        """Return the sample without its other bands, as if they had never been recorded.

        Args:
            bands: common names; those that it lacks are passed over, but for the wide and the
                narrow near infrared, which stand in for each other.

        Raises:
            ManifestError: it has none of them.
        """
        wanted = {band if band in self.bands else STANDS_IN.get(band, band) for band in bands}
        kept = tuple(band if band in wanted else LEFT_OUT for band in self.bands)
        if self.scene:
            kept = tuple(band for band in kept if band != LEFT_OUT)
        if not set(kept) - {LEFT_OUT}:
            raise self.error("bands", f"{', '.join(self.bands)}: none of {', '.join(bands)}")
        return replace(self, bands=kept)

    def error(self, column: str, message: str) -> ManifestError:
        """Return an error that says where in the manifest the trouble lies."""
        return located(self.manifest, self.line or self.id, column, message)


def located(manifest: object, line: int | str, column: str, message: str) -> ManifestError:
    """Return an error that names a manifest's line, or a collection's sample, and the column."""
    where = f"line {line}" if isinstance(line, int) else f"sample {line}"
    return ManifestError(f"{manifest}: {where}, column {column!r}: {message}")
