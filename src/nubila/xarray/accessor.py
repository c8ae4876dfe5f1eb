"""The accessor that gives xarray objects ``.nubila``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import xarray as xr

from nubila.classes import CLASS_NAMES, NO_DATA
from nubila.errors import GridError, InputError
from nubila.infer.decide import threshold_list
from nubila.infer.engine import absence_notes
from nubila.infer.operating import given_thresholds
from nubila.scenes.fill import FILL_NOTE
from nubila.xarray.bands import check_required, stack_bands, take_bands
from nubila.xarray.blocks import classes_of, known_model
from nubila.xarray.scaling import find_scaling

__all__ = ["NubilaAccessor"]

_SPATIAL: Final = (("y", "x"), ("latitude", "longitude"), ("lat", "lon"))


@xr.register_dataset_accessor("nubila")
@xr.register_dataarray_accessor("nubila")
class NubilaAccessor:
    """Masks for a Dataset with a variable a band, or a DataArray with a band dimension."""

    def __init__(self, data: xr.Dataset | xr.DataArray) -> None:
        self._data = data

    def mask(
        self,
        *,
        model: str | None = None,
        bands: str | Sequence[str] | None = None,
        scale: float | None = None,
        offset: float | None = None,
        nodata: float | None = None,
        thresholds: Mapping[str, float] | None = None,
    ) -> xr.DataArray:
        """Return class codes on the same coordinates.

        Args:
            model: name or path; default the model that ships.
            bands: common names in the order of the variables or the band dimension, ``-`` leaves
                one out. Default: what these are called: common names, or labels (``B8A``) where
                they can only be Sentinel-2's; B05 and B10 are other bands in Landsat's products.
            scale: reflectance = value * scale + offset. Default: ``scale_factor`` among the
                attributes of variable or dataset (of integers: in the encoding too);
                floating-point values without are taken as reflectance if they can be. rioxarray
                writes 1 and 0 where a file has neither scale nor offset, so these two say nothing.
            offset: default ``add_offset`` from the same place, or 0.
            nodata: value that means no data. Default: ``_FillValue`` or ``nodata`` in the same
                places, or what rioxarray knows, of all bands if some say nothing; NaN always does.
                Where only NaN is known to, pixels of exactly 0 in every band that the model takes
                are no data too, and ``comment`` says so; ``nodata=nan`` means that they are data.
            thresholds: class name -> least probability.

        Returns:
            DataArray named ``mask``, uint8, with the dimensions of a band: 0 clear, 1 cloud,
            2 thin cloud, 3 cloud shadow, 4 snow, 5 water, 255 no data; the classes are told by
            the CF attributes ``flag_values`` and ``flag_meanings``, and ``comment`` tells what was
            assumed, and what the mask suffers where a band that matters is not there. The bands'
            grid mapping, which holds the CRS, is the mask's too.

        Raises:
            BandError: bands are unknown, their labels may be another sensor's, two are the same,
                or one that the model needs is missing.
            GridError: there are no two spatial dimensions.
            MetadataError: bands differ in scale, offset or nodata, and it is not given, or an
                attribute that tells one is no number.
            InputError: there are no pixels; scale, offset or nodata is no usable number; a
                threshold is wrong; or without a scale, values are integers or too high for
                reflectance (of Dask arrays the latter is found when a block is computed).
            ModelError: there is no such model.
        """
        card = known_model(model).card
        threshold_list(card, given_thresholds(thresholds))  # now, not when a block is computed
        # Such a network sees the image as a whole, or cuts it into tiles by the whole.
        whole = card.tile is not None or bool(card.statistics)
        taken, names = take_bands(self._data, bands, card)
        stack = stack_bands(taken)
        rows, columns = _spatial(stack)
        check_required(card, names)
        given = {"scale_factor": scale, "add_offset": offset, "nodata": nodata}
        values = stack.transpose(..., "band", rows, columns)
        # What rioxarray was told of an array it forgets of a part of it.
        told = taken if isinstance(taken, xr.Dataset) else self._data
        scaling = find_scaling(told, stack.dtype, given)
        settings = {
            "bands": names,
            "model": model,
            "thresholds": thresholds,
            "threads": 1,  # Dask brings its own
            **scaling,
        }
        classes = classes_of(values.data, settings, None if whole else card.halo, card.stride)
        template = values.isel(band=0, drop=True)
        mask = xr.DataArray(classes, coords=template.coords, dims=template.dims, name="mask")
        mask.attrs = _attributes(card.name)
        # Of what is lazy nobody knows yet whether there are such pixels.
        filled = (FILL_NOTE,) if scaling["nodata"] is None and len(names) > 1 else ()
        if notes := (*absence_notes(card, names), *filled):
            mask.attrs["comment"] = "; ".join(notes)
        return _with_grid_mapping(mask, self._data, taken)


def _attributes(model: str) -> dict[str, Any]:
    return {
        "long_name": "cloud mask",
        "flag_values": list(CLASS_NAMES),
        "flag_meanings": " ".join(name.replace(" ", "_") for name in CLASS_NAMES.values()),
        "_FillValue": NO_DATA,
        "model": model,
    }


def _spatial(stack: xr.DataArray) -> tuple[str, str]:
    for rows, columns in _SPATIAL:
        if rows in stack.dims and columns in stack.dims:
            sides = stack.sizes[rows], stack.sizes[columns]
            if 0 in sides:
                raise InputError(f"there are no pixels: {rows}, {columns} are of sizes {sides}")
            return rows, columns
    raise GridError(f"no spatial dimensions among {stack.dims}; expected y and x")


def _with_grid_mapping(
    mask: xr.DataArray, data: xr.Dataset | xr.DataArray, taken: xr.Dataset | xr.DataArray
) -> xr.DataArray:
    """Return the mask with the grid mapping of the first band, without which its CRS is lost."""
    first = next(iter(taken.data_vars.values())) if isinstance(taken, xr.Dataset) else taken
    for holder in (first, data):
        for place in ("encoding", "attrs"):
            name = getattr(holder, place).get("grid_mapping")
            if name is None:
                continue
            getattr(mask, place)["grid_mapping"] = name
            # A variable, not a coordinate, where a file is opened without decode_coords="all".
            if isinstance(data, xr.Dataset) and name in data.data_vars and not data[name].dims:
                return mask.assign_coords({name: data[name].variable})
            return mask
    return mask
