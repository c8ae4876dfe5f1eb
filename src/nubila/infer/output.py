"""The files of a mask: raster, style, probabilities, validity, picture and STAC item."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import Any, Final

import numpy as np
import rasterio
from numpy.typing import NDArray

from nubila.classes import CLASS_NAMES, NO_DATA
from nubila.errors import OutputError
from nubila.infer.decide import PROBABILITY_NO_DATA, PROBABILITY_SCALE
from nubila.infer.legend import VALIDITY_LEGEND, Legend, make_legend
from nubila.infer.provenance import MaskOptions, Provenance
from nubila.infer.stac import stac_item
from nubila.infer.statistics import Statistics, percent
from nubila.raster import Grid
from nubila.raster.atomic import atomic_path
from nubila.raster.cog import CogLook, CogWriter, open_cog

__all__ = ["PICTURE_SIZE", "FileSet", "MaskWriter", "legend_of", "open_files", "write_rest"]

# Longest side of the image in the picture, in pixels.
PICTURE_SIZE: Final = 900


@dataclass(frozen=True)
class FileSet:
    """The names of the files of one mask in a folder.

    Attributes:
        folder: where they are.
        scene_id: what they are named after. It comes from a product's metadata or an item on the
            web, so whatever might lead out of the folder becomes ``_``.
    """

    folder: Path
    scene_id: str

    def path(self, kind: str) -> Path:
        """Return the path of ``mask``, ``probabilities``, ``validity``, ``style`` ..."""
        stem = re.sub(r'[\\/:*?"<>|\x00-\x1f]', "_", self.scene_id).lstrip(".") or "scene"
        return self.folder / f"{stem}{_ENDS[kind]}"

    def remove(self, kind: str) -> None:
        """Take away a file of an earlier mask, and what GDAL keeps beside it.

        The item goes before other files change, for nothing may say "finished" meanwhile.

        Raises:
            OutputError: it cannot be removed.
        """
        path = self.path(kind)
        try:
            path.unlink(missing_ok=True)
            path.with_name(f"{path.name}.aux.xml").unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"{path}: cannot be replaced: {error.strerror}") from error


_ENDS: Final = {
    "mask": "_mask.tif",
    "style": "_mask.qml",
    "probabilities": "_probabilities.tif",
    "validity": "_validity.tif",
    "picture": "_mask.png",
    "item": ".json",
}


def legend_of(options: MaskOptions) -> Legend:
    """Return the legend of the mask file that the options ask for.

    Raises:
        InputError: a name in the options is unknown, or two of them exclude each other.
    """
    return make_legend(classes=options.classes, binary=options.binary, codes=options.codes)


@dataclass(frozen=True)
class MaskWriter:
    """The rasters of a mask, open for writing from top to bottom."""

    legend: Legend
    mask: CogWriter
    probabilities: CogWriter | None
    validity: CogWriter | None

    def write(
        self,
        classes: NDArray[np.uint8],
        validity: NDArray[np.uint8],
    ) -> None:
        """Append rows of class codes and validity."""
        self.mask.write(self.legend.apply(classes))
        if self.validity is not None:
            self.validity.write(validity)

    def write_probabilities(self, probabilities: NDArray[np.uint8]) -> None:
        """Append rows of probabilities, (classes, rows, columns) by `scale_probabilities`."""
        if self.probabilities is not None:
            self.probabilities.write(probabilities)


@contextmanager
def open_files(
    files: FileSet, grid: Grid, provenance: Provenance, legend: Legend, threads: int = 1
) -> Iterator[MaskWriter]:
    """Open the rasters of a mask; they appear under their names together, when all are whole.

    An earlier mask stays, its item too, until then: a run that fails takes nothing away. Overviews
    are made and pixels compressed on so many threads.

    Raises:
        OutputError: a file cannot be written.
    """
    options, tags = provenance.options, provenance.tags()

    with ExitStack() as stack:

        def opened(kind: str, wanted: bool, look: CogLook, **shape: Any) -> CogWriter | None:  # noqa: ANN401
            if not wanted:
                return None
            return stack.enter_context(
                open_cog(files.path(kind), grid=grid, look=look, threads=threads, **shape)
            )

        probabilities = opened(
            "probabilities",
            options.probabilities,
            _probability_look(provenance, tags),
            bands=len(provenance.card.classes),
        )
        validity = opened("validity", options.validity, _look(VALIDITY_LEGEND, "validity", tags))
        mask = opened("mask", True, _look(legend, "class", tags), dtype=legend.dtype)
        assert mask is not None
        yield MaskWriter(legend, mask, probabilities, validity)
        files.remove("item")


def write_rest(
    files: FileSet,
    grid: Grid,
    provenance: Provenance,
    legend: Legend,
    statistics: Statistics,
    image: NDArray[np.float32] | None,
    notes: Sequence[str] = (),
) -> dict[str, Path]:
    """Write style and picture, take away what an earlier run left, write the STAC item last.

    Returns:
        kind -> path of every file of the mask.

    Raises:
        OutputError: a file cannot be written.
    """
    options = provenance.options
    _write_text(files.path("style"), _style(legend))
    if options.picture:
        _write_picture(files, grid, provenance, legend, statistics, image)
    wanted = {
        "mask": True,
        "style": True,
        "probabilities": options.probabilities,
        "validity": options.validity,
        "picture": options.picture,
    }
    for kind, keep in wanted.items():
        if not keep:
            files.remove(kind)
    paths = {kind: files.path(kind) for kind, keep in wanted.items() if keep}
    item = stac_item(
        provenance=provenance,
        grid=grid,
        statistics=statistics,
        legend=legend,
        files=paths,
        folder=files.folder,
        notes=notes,
    )
    _write_text(files.path("item"), json.dumps(item, indent=2, ensure_ascii=False) + "\n")
    return paths | {"item": files.path("item")}


def _look(legend: Legend, name: str, tags: Mapping[str, str]) -> CogLook:
    small = legend.dtype == "uint8"
    return CogLook(
        nodata=legend.nodata,
        overviews="mode",
        descriptions=[name],
        colours=legend.colours if small else {},
        # 255 stays without a name: the list of names would have 249 empty ones before it.
        categories=legend.names | _named_no_data(legend) if small else {},
        tags=tags,
    )


def _named_no_data(legend: Legend) -> dict[int, str]:
    return {legend.nodata: "no data"} if legend.nodata != NO_DATA else {}


def _probability_look(provenance: Provenance, tags: Mapping[str, str]) -> CogLook:
    return CogLook(
        nodata=PROBABILITY_NO_DATA,
        overviews="average",
        descriptions=[f"probability of {CLASS_NAMES[c]}" for c in provenance.card.class_codes],
        scale=PROBABILITY_SCALE,
        tags=tags,
    )


def _style(legend: Legend) -> str:
    from nubila.infer.style import qml_style

    return qml_style(legend)


def _write_text(path: Path, text: str) -> None:
    with atomic_path(path) as target:
        target.write_text(text, encoding="utf-8")


def _write_picture(
    files: FileSet,
    grid: Grid,
    provenance: Provenance,
    legend: Legend,
    statistics: Statistics,
    image: NDArray[np.float32] | None,
) -> None:
    from nubila.infer.picture import Caption, draw_picture

    picture = draw_picture(
        image=image,
        values=_small(files.path("mask"), PICTURE_SIZE),
        legend=legend,
        statistics=statistics,
        caption=Caption(provenance.scene_id, _details(provenance, grid, statistics)),
    )
    with atomic_path(files.path("picture")) as target:
        # The third level takes half the time of the usual sixth, for a twelfth more bytes.
        picture.save(target, format="PNG", compress_level=3)


def _small(path: Path, longest: int) -> NDArray[np.uint8]:
    """Read a raster at no more than so many pixels on its longest side, from its overviews."""
    with rasterio.open(path) as data:
        factor = max(1.0, max(data.shape) / longest)
        shape = tuple(max(1, round(n / factor)) for n in data.shape)
        found: NDArray[np.uint8] = data.read(1, out_shape=shape)
    return found


def _details(provenance: Provenance, grid: Grid, statistics: Statistics) -> str:
    parts = [
        f"{provenance.acquired.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if provenance.acquired else "",
        provenance.platform,
        provenance.level,
        f"{grid.resolution:.4g} m",
        "area of interest" if provenance.options.area else "",
        f"cloud {percent(statistics.cloud_cover)}" if statistics.cloud_cover is not None else "",
        f"model {provenance.card.name} {provenance.card.version}",
    ]
    return "  ·  ".join(part for part in parts if part)
