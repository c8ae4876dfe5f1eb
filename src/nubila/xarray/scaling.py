"""Scale, offset and nodata, as the attributes and encodings of an xarray object tell them."""

from __future__ import annotations

import math
import sys
from collections.abc import Collection, Hashable, Mapping
from typing import Any, Final

import numpy as np
import xarray as xr

from nubila.errors import InputError, MetadataError
from nubila.scenes.fill import is_told
from nubila.scenes.scaling import check_scaling, plain_number

__all__ = ["find_scaling"]

# What attributes say of values, and the argument that says it in their place.
_ARGUMENTS: Final = {"scale_factor": "scale", "add_offset": "offset", "nodata": "nodata"}


def find_scaling(
    data: xr.Dataset | xr.DataArray,
    dtype: np.dtype[Any],
    given: Mapping[str, float | None],
) -> dict[str, float | None]:
    """Return scale, offset and nodata: as given, or from the attributes, which must agree.

    nodata is None where nothing tells it, and NaN where that alone is no data.

    Args:
        data: of a Dataset only the bands that the model takes.
        dtype: of the values that the model is given.
        given: by what attributes call it; None = not given.

    Raises:
        InputError: something is no number, no reflectance has it, or a scale is needed.
        MetadataError: an attribute is no number, or bands disagree.
    """
    asked = [key for key, value in given.items() if value is None]
    said = _agreeing(data, asked) if isinstance(data, xr.Dataset) else _said(data)
    found = {
        key: said.get(key) if value is None else plain_number(value, _ARGUMENTS[key])
        for key, value in given.items()
    }
    scale, offset = found["scale_factor"], found["add_offset"] or 0.0
    if scale is None and dtype.kind in "iu":
        raise InputError(
            f"values are {dtype} and no scale is known; give scale=1e-4 for reflectance x "
            "10000 (and offset=-0.1 for Sentinel-2 from baseline 04.00, if it is in the counts)"
        )
    by = {
        k: f"attribute {k}" if given[k] is None else argument for k, argument in _ARGUMENTS.items()
    }
    check_scaling(
        1.0 if scale is None else scale,
        offset,
        scale_said=f"{by['scale_factor']} is {scale}",
        offset_said=f"{by['add_offset']} is {offset}",
        error=InputError,
    )
    nodata = found["nodata"]
    if not is_told(nodata, given=given["nodata"]):
        nodata = math.nan if _is_decoded(data, dtype) else None
    return {"scale": scale, "offset": offset, "nodata": nodata}


def _is_decoded(data: xr.Dataset | xr.DataArray, dtype: np.dtype[Any]) -> bool:
    """Tell whether encodings say that a value for no data has become NaN among floats already."""
    variables = data.data_vars.values() if isinstance(data, xr.Dataset) else [data]
    return dtype.kind == "f" and all(
        is_told(_numbers(variable.encoding, variable.name).get("_FillValue"))
        for variable in variables
    )


def _agreeing(taken: xr.Dataset, asked: Collection[str]) -> dict[str, float | None]:
    """Return what attributes say of the values, which must be the same on all bands.

    Args:
        taken: the bands.
        asked: keys of `_ARGUMENTS`: those that nobody gave.
    """
    found: dict[str, float | None] = {}
    for name, variable in taken.data_vars.items():
        said: dict[str, float | None] = {"scale_factor": None, "add_offset": 0.0}
        said |= _said(variable, taken)
        for key in asked:
            value = said.get(key)
            if key == "nodata" and value is None:
                continue  # the others' value holds for this band too: nothing contradicts it
            first = found.setdefault(key, value)
            # NaN, which floating-point bands have for no data, is not equal to itself.
            if first != value and not (first != first and value != value):
                raise MetadataError(
                    f"variable {name!r} has {key} {value}, another band has {first}; bring the "
                    f"bands to one {key}, then give {_ARGUMENTS[key]}="
                )
    return found


def _said(variable: xr.DataArray, dataset: xr.Dataset | None = None) -> dict[str, float]:
    """Return ``scale_factor``, ``add_offset`` and ``nodata``, each where it is known.

    They are looked for among the variable's attributes and encoding, then the dataset's, to whose
    attributes ``DataArray.to_dataset("band")`` moves them, last in what rioxarray knows. An
    encoding counts for integers only: to floating-point values xarray has applied it already.
    """
    holders = [variable] if dataset is None else [variable, dataset]
    integers = variable.dtype.kind in "iu"
    found: dict[str, float] = {}
    for holder in holders:
        for source in (holder.attrs, holder.encoding if integers else {}):
            told = _numbers(source, variable.name)
            scaling = {k: v for k, v in told.items() if k in ("scale_factor", "add_offset")}
            # rioxarray writes 1 and 0 where a file says neither.
            silent = scaling.get("scale_factor", 1) == 1 and not scaling.get("add_offset")
            # One belongs to the other, so that they are never taken from two places.
            if not silent and not {"scale_factor", "add_offset"} & set(found):
                found |= scaling
            for key in ("_FillValue", "nodata"):
                if key in told:
                    found.setdefault("nodata", told[key])
    if "nodata" not in found and "rioxarray" in sys.modules:
        found |= _numbers({"nodata": variable.rio.nodata}, variable.name)
    return found


def _numbers(source: Mapping[Any, Any], name: Hashable) -> dict[str, float]:
    """Return what attributes or an encoding say in numbers; None counts as not said."""
    keys = ("scale_factor", "add_offset", "_FillValue", "nodata")
    return {
        key: plain_number(source[key], f"variable {name!r}: {key}", MetadataError)
        for key in keys
        if source.get(key) is not None
    }
