"""Predictions in the form that the On Cloud N competition takes: a mask of 0 and 1 a chip."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import rasterio
from numpy.typing import NDArray

from nubila.classes import CLOUD_CODES, NO_DATA
from nubila.errors import InputError
from nubila.infer.delivery import mask_in_memory, prepare
from nubila.infer.provenance import MaskOptions
from nubila.models_io import Model
from nubila.raster.atomic import atomic_path, make_folder
from nubila.scenes import open_scene

__all__ = ["predict_chips"]

_BANDS: Final = {"B02": "blue", "B03": "green", "B04": "red", "B08": "nir"}
# Sentinel-2 Level-2A counts of before baseline 04.00, which have no offset.
_SCALE: Final = 1e-4


def predict_chips(
    model: Model, folder: Path, output: Path, *, report: Callable[[str], None]
) -> tuple[Path, ...]:
    """Write ``<chip>.tif``, 1 where there is cloud, for every chip of a folder.

    Args:
        model: the model.
        folder: one folder a chip, each with ``B02.tif``, ``B03.tif``, ``B04.tif``, ``B08.tif`` in
            reflectance x 10000.
        output: made if it is not there.
        report: called with each line for people.

    Returns:
        The files, uint8 with the chip's shape and georeference. Pixels without data are 0, for the
        competition knows two values.

    Raises:
        InputError: no chips are there, or a chip lacks a band.
    """
    chips = sorted(path for path in folder.glob("*") if path.is_dir())
    if not chips:
        raise InputError(f"{folder}: no folder of a chip is there; expected <chip>/B02.tif ...")
    make_folder(output)
    written = tuple(_predict_chip(model, chip, output / f"{chip.name}.tif") for chip in chips)
    report(f"{len(written)} chips predicted in {output}")
    return written


def _predict_chip(model: Model, chip: Path, path: Path) -> Path:
    files = [chip / f"{name}.tif" for name in _BANDS]
    for file in files:
        if not file.is_file():
            raise InputError(f"{file}: no such file; a chip needs {', '.join(_BANDS)} as .tif")
    scene = open_scene(files, bands=tuple(_BANDS.values()), scale=_SCALE, offset=0.0)
    # Not `mask_scene`, to which a chip without any data is an error.
    classes = mask_in_memory(prepare(scene, model, MaskOptions()), 1, None).classes
    _write(path, np.isin(classes, CLOUD_CODES) & (classes != NO_DATA), files[0])
    return path


def _write(path: Path, cloud: NDArray[np.bool_], like: Path) -> None:
    with rasterio.open(like) as data:
        profile = {"crs": data.crs, "transform": data.transform}
    profile |= {"height": cloud.shape[0], "width": cloud.shape[1], "count": 1, "dtype": "uint8"}
    with (
        atomic_path(path) as temporary,
        rasterio.open(temporary, "w", driver="GTiff", compress="deflate", **profile) as out,
    ):
        out.write(cloud.astype(np.uint8), 1)
