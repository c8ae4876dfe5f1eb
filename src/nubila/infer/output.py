"""The files of a mask: raster, style, probabilities, validity, picture and STAC item."""

from __future__ import annotations

import json
import os
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
from rasterio.errors import RasterioError

from nubila.bands import platform_name
from nubila.classes import CLASS_NAMES, NO_DATA
from nubila.errors import OutputError
from nubila.infer.decide import PROBABILITY_NO_DATA, PROBABILITY_SCALE
from nubila.infer.legend import VALIDITY_LEGEND, Legend, make_legend
from nubila.infer.provenance import VERSION_TAG, MaskOptions, Provenance
from nubila.infer.stac import item_frame, stac_item
from nubila.infer.statistics import Statistics, percent
from nubila.raster import Grid
from nubila.raster.atomic import atomic_path
from nubila.raster.cog import CogLook, CogWriter, open_cog
from nubila.raster.gdal import gdal_env

__all__ = ["PICTURE_SIZE", "FileSet", "MaskWriter", "legend_of", "open_files", "write_rest"]

# Longest side of the image in the picture, in pixels.
PICTURE_SIZE: Final = 900


def is_own_raster(path: str | Path) -> bool:
    """Tell whether nubila wrote a raster: a mask, or the truth of a synthetic scene."""
    try:
        with gdal_env(), rasterio.open(path, driver="GTiff") as data:
            return VERSION_TAG in data.tags()
    except RasterioError:
        return False


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

    def is_ours(self, kind: str) -> bool:
        """Tell whether a file that is there was left by nubila, finished or not; false if none is.

        A raster says so itself. Style, picture and item are told by the mask beside them, which is
        the first that is written.
        """
        path = self.path(kind)
        # Not Path.exists, which raises where a name is too long; a dead link is somebody's too.
        if not os.path.lexists(path):
            return False
        if kind not in _RASTERS:
            return self.is_ours("mask")
        return is_own_raster(path)

    def check_ours(self) -> None:
        """Refuse to write where files of these names are that are not nubila's.

        Raises:
            OutputError: there is one.
        """
        for kind in _ENDS:
            path = self.path(kind)
            if os.path.lexists(path) and not self.is_ours(kind):
                raise OutputError(
                    f"{path}: is there already, and it is no file of a mask that nubila made. Name "
                    "another folder, or use --overwrite (overwrite=True in Python), which replaces "
                    "it if it is to be written and otherwise leaves it"
                )

    def check_apart(self, source: str) -> None:
        """Refuse to write the mask's item over the item that the scene was opened from.

        Args:
            source: what the scene was opened from; need not be a file.

        Raises:
            OutputError: they are one file.
        """
        path = self.path("item")
        # Not Path.exists: a scene of many files names them all, which is too long for one name.
        if os.path.exists(path) and os.path.exists(source) and os.path.samefile(path, source):  # noqa: PTH110, PTH121
            raise OutputError(
                f"{path}: is the input, and the mask's own item would replace it; give another "
                "folder"
            )

    def remove(self, kind: str) -> None:
        """Take away a file of an earlier mask, and what GDAL keeps beside it.

        The item goes before other files change, for nothing may say "finished" meanwhile.

        Raises:
            OutputError: it cannot be removed.
        """
        path = self.path(kind)
        try:
            # Beside no raster, should this be cut short, there must be none of these.
            path.with_name(f"{path.name}.aux.xml").unlink(missing_ok=True)
            path.unlink(missing_ok=True)
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
_RASTERS: Final = ("mask", "probabilities", "validity")


def legend_of(options: MaskOptions) -> Legend:
    """Return the legend of the mask file that the options ask for.

    Raises:
        InputError: a name in the options is unknown, or two of them exclude each other.
    """
    return make_legend(classes=options.classes, binary=options.binary, codes=options.codes)


@dataclass(frozen=True)
class MaskWriter:
    """The rasters of a mask, open for writing from top to bottom.

    Attributes:
        frame: of the item, by `nubila.infer.stac.item_frame`.
    """

    frame: Mapping[str, Any]
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

    An earlier mask stays, its item too, until then: a run that fails takes nothing away. Of its
    files those that are not wanted any more go then; files of these names that are not nubila's
    stay. Overviews are made and pixels compressed on so many threads.

    Raises:
        OutputError: a file cannot be written.
    """
    options, tags = provenance.options, provenance.tags()
    # The item comes last; what of it may fail does so before there is a file.
    frame = item_frame(provenance, grid)
    # Asked before there is a mask of ours, by which pictures are told.
    stale = [kind for kind, keep in _wanted(options).items() if not keep and files.is_ours(kind)]

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
        yield MaskWriter(frame, legend, mask, probabilities, validity)
        for writer in (probabilities, validity, mask):
            if writer is not None:
                writer.finish()
        # All are whole on the disk: what is left is to give them their names.
        files.remove("item")
    for kind in stale:
        files.remove(kind)


def _wanted(options: MaskOptions) -> dict[str, bool]:
    """Return of each kind of file but the item whether the options ask for it."""
    return {
        "mask": True,
        "style": True,
        "probabilities": options.probabilities,
        "validity": options.validity,
        "picture": options.picture,
    }


def write_rest(
    files: FileSet,
    writer: MaskWriter,
    grid: Grid,
    provenance: Provenance,
    statistics: Statistics,
    image: NDArray[np.float32] | None,
    notes: Sequence[str] = (),
) -> dict[str, Path]:
    """Write style and picture, and the STAC item last; the writer's rasters are whole by then.

    Returns:
        kind -> path of every file of the mask.

    Raises:
        OutputError: a file cannot be written.
    """
    options, legend = provenance.options, writer.legend
    _write_text(files.path("style"), _style(legend))
    if options.picture:
        _write_picture(files, grid, provenance, legend, statistics, image)
    paths = {kind: files.path(kind) for kind, keep in _wanted(options).items() if keep}
    item = stac_item(
        writer.frame,
        provenance=provenance,
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
        platform_name(provenance.platform),
        provenance.level,
        f"{grid.resolution:.4g} m",
        "area of interest" if provenance.options.area else "",
        f"cloud {percent(statistics.cloud_cover)}" if statistics.cloud_cover is not None else "",
        f"model {provenance.card.name}, version {provenance.card.version}",
    ]
    return "  ·  ".join(part for part in parts if part)
