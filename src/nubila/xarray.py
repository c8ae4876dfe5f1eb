"""The xarray accessor: ``dataset.nubila.mask()`` for what odc-stac and rioxarray load.

    >>> import nubila.xarray                                        # doctest: +SKIP
    >>> dataset = odc.stac.load(items, bands=["blue", "green", "red", "nir"], chunks={})
    >>> mask = dataset.nubila.mask(scale=1e-4)
    >>> clear = dataset.where(mask == 0)

Arrays in memory give arrays in memory; Dask arrays stay lazy, and how they are chunked leaves no
trace in the mask.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nubila.bands import SENSORS, parse_bands
from nubila.classes import CLASS_NAMES, NO_DATA
from nubila.errors import BandError, GridError, InputError, MetadataError, MissingExtraError
from nubila.infer import predict
from nubila.infer.engine import absence_notes
from nubila.models_io import Model, find_model, load_model

try:
    import xarray as xr
except ImportError as error:
    raise MissingExtraError("xarray", extra="xarray") from error

__all__ = ["NubilaAccessor"]

_SPATIAL: Final = (("y", "x"), ("latitude", "longitude"), ("lat", "lon"))
_BAND_DIMS: Final = ("band", "bands", "variable")
# Least side of a Dask block without its halo: smaller ones would mostly compute halos.
_LEAST_BLOCK: Final = 512


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
            bands: common names in order, for a DataArray whose band coordinate does not tell.
            scale: reflectance = value * scale + offset. Default: ``scale_factor`` among the
                attributes of variable or dataset (of integers: in the encoding too);
                floating-point values without are taken as reflectance if they can be. rioxarray
                writes 1 and 0 where a file has neither scale nor offset, so these two say nothing.
            offset: default ``add_offset`` from the same place, or 0.
            nodata: value that means no data. Default: ``_FillValue`` or ``nodata`` in the same
                places, or what rioxarray knows; NaN always does.
            thresholds: class name -> least probability.

        Returns:
            DataArray named ``mask``, uint8, with the dimensions of a band: 0 clear, 1 cloud,
            2 thin cloud, 3 cloud shadow, 4 snow, 5 water, 255 no data; the classes are told by
            the CF attributes ``flag_values`` and ``flag_meanings``, and ``comment`` tells what the
            mask suffers where a band that matters is not there.

        Raises:
            BandError: bands are unknown, or one that the model needs is missing.
            GridError: there are no two spatial dimensions.
            InputError: without a scale, values are integers or too high for reflectance (of Dask
                arrays the latter is found when a block is computed).
        """
        card = _model(model).card
        # Such a network sees the image as a whole, or cuts it into tiles by the whole.
        whole = card.tile is not None or bool(card.statistics)
        stack, names = _stack(self._data, bands, {b.name for b in card.bands})
        rows, columns = _spatial(stack)
        values = stack.transpose(..., "band", rows, columns)
        settings = {
            "bands": names,
            "model": model,
            "thresholds": thresholds,
            "threads": 1,  # Dask brings its own
            **_scaling(self._data, stack, names, scale, offset, nodata),
        }
        classes = _classes(values.data, settings, None if whole else card.halo, card.stride)
        template = values.isel(band=0, drop=True)
        mask = xr.DataArray(classes, coords=template.coords, dims=template.dims, name="mask")
        mask.attrs = _attributes(card.name)
        if notes := absence_notes(card, names):
            mask.attrs["comment"] = "; ".join(notes)
        return mask


@lru_cache(maxsize=4)
def _model(name: str | None) -> Model:
    return load_model(find_model(name))


def _attributes(model: str) -> dict[str, Any]:
    return {
        "long_name": "cloud mask",
        "flag_values": list(CLASS_NAMES),
        "flag_meanings": " ".join(name.replace(" ", "_") for name in CLASS_NAMES.values()),
        "_FillValue": NO_DATA,
        "model": model,
    }


def _common_name(label: object) -> str | None:
    """Return the common name for a variable's name: a common name, or a label such as ``B8A``."""
    text = str(label)
    try:
        return parse_bands([text])[0]
    except BandError:
        pass
    short = text.upper().removeprefix("SR_").removesuffix("_TOA")
    # Only Sentinel-2 labels: Landsat's B5 is near infrared or short-wave, as the sensor may be.
    found = SENSORS["sentinel-2-msi"].bands.get(short)
    return found[0] if found else None


def _stack(
    data: xr.Dataset | xr.DataArray, bands: str | Sequence[str] | None, wanted: set[str]
) -> tuple[xr.DataArray, tuple[str, ...]]:
    """Return the wanted bands along a dimension ``band``, and their common names."""
    wanted = wanted | {"nir08"} if "nir" in wanted else wanted
    if isinstance(data, xr.Dataset):
        found = {_common_name(v): v for v in data.data_vars if _common_name(v) in wanted}
        if not found:
            raise BandError(
                f"no variable is named like a band (found: {', '.join(map(str, data.data_vars))}); "
                "rename them to blue, green, red, nir ..."
            )
        return xr.concat(
            [data[v] for v in found.values()], dim="band", coords="minimal", compat="override"
        ), tuple(str(name) for name in found)
    dim = next((d for d in _BAND_DIMS if d in data.dims), None)
    if dim is None:
        raise BandError(f"a DataArray needs a dimension 'band'; this one has {data.dims}")
    names = _array_bands(data, dim, bands)
    keep = [i for i, name in enumerate(names) if name in wanted]
    stack = data.isel({dim: keep})
    return (stack if dim == "band" else stack.rename({dim: "band"})), tuple(names[i] for i in keep)


def _array_bands(
    data: xr.DataArray, dim: str, bands: str | Sequence[str] | None
) -> tuple[str, ...]:
    """Return the common name of each entry of the band dimension, ``-`` for those unknown."""
    if bands is None:
        # rioxarray numbers the coordinate and keeps the names that the file has as an attribute.
        coordinate = data.coords[dim].values.tolist() if dim in data.coords else ()
        long_names = data.attrs.get("long_name", ())
        candidates = (
            tuple(_common_name(v) or "-" if isinstance(v, str) else "-" for v in labels)
            for labels in (coordinate, long_names if isinstance(long_names, list | tuple) else ())
        )
        names = next((found for found in candidates if set(found) - {"-"}), ())
        if not names:
            raise BandError(
                "the bands of this DataArray are not named; give bands='blue,green,red'"
            )
    else:
        names = parse_bands(bands)
    if len(names) != data.sizes[dim]:
        raise BandError(f"{len(names)} band names for {data.sizes[dim]} bands")
    return names


def _spatial(stack: xr.DataArray) -> tuple[str, str]:
    for rows, columns in _SPATIAL:
        if rows in stack.dims and columns in stack.dims:
            return rows, columns
    raise GridError(f"no spatial dimensions among {stack.dims}; expected y and x")


def _scaling(
    data: xr.Dataset | xr.DataArray,
    stack: xr.DataArray,
    names: Sequence[str],
    scale: float | None,
    offset: float | None,
    nodata: float | None,
) -> dict[str, float | None]:
    """Return scale, offset and nodata: as given, or from the attributes, which must agree."""
    said = _agreeing(data, names) if isinstance(data, xr.Dataset) else _said(data)
    scale = scale if scale is not None else said.get("scale_factor")
    offset = offset if offset is not None else said.get("add_offset")
    nodata = nodata if nodata is not None else said.get("nodata")
    if scale is None and stack.dtype.kind in "iu":
        raise InputError(
            f"values are {stack.dtype} and no scale is known; give scale=1e-4 for reflectance x "
            "10000 (and offset=-0.1 for Sentinel-2 from baseline 04.00, if it is in the counts)"
        )
    return {
        "scale": None if scale is None else float(scale),
        "offset": float(offset or 0.0),
        "nodata": nodata,
    }


def _agreeing(data: xr.Dataset, names: Sequence[str]) -> dict[str, Any]:
    """Return the attributes about values, which must be the same on all bands that are used."""
    found: dict[str, Any] = {}
    for name, variable in data.data_vars.items():
        if _common_name(name) not in names:
            continue
        said = _said(variable, data)
        for key in ("scale_factor", "add_offset", "nodata"):
            value = said.get(key)
            first = found.setdefault(key, value)
            # NaN, which floating-point bands have for no data, is not equal to itself.
            if first != value and not (first != first and value != value):
                raise MetadataError(
                    f"variable {name!r} has {key} {value}, another band has {found[key]}; "
                    "give scale=, offset= and nodata= after bringing them to one scaling"
                )
    return {key: value for key, value in found.items() if value is not None}


def _said(variable: xr.DataArray, dataset: xr.Dataset | None = None) -> dict[str, Any]:
    """Return ``scale_factor``, ``add_offset`` and ``nodata``, each where it is known.

    They are looked for among the variable's attributes and encoding, then the dataset's, to whose
    attributes ``DataArray.to_dataset("band")`` moves them, last in what rioxarray knows. An
    encoding counts for integers only: to floating-point values xarray has applied it already.
    """
    holders = [variable] if dataset is None else [variable, dataset]
    integers = variable.dtype.kind in "iu"
    found: dict[str, Any] = {}
    for holder in holders:
        for source in (holder.attrs, holder.encoding if integers else {}):
            scaling = {k: source[k] for k in ("scale_factor", "add_offset") if k in source}
            # rioxarray writes 1 and 0 where a file says neither.
            silent = scaling.get("scale_factor", 1) == 1 and not scaling.get("add_offset")
            # One belongs to the other, so that they are never taken from two places.
            if not silent and not {"scale_factor", "add_offset"} & set(found):
                found |= scaling
            nodata = source.get("_FillValue", source.get("nodata"))
            if nodata is not None:
                found.setdefault("nodata", nodata)
    if "nodata" not in found and "rioxarray" in sys.modules:
        found["nodata"] = variable.rio.nodata
    return found


def _classes(values: Any, settings: dict[str, Any], halo: int | None, stride: int) -> Any:  # noqa: ANN401 (NumPy or Dask)
    """Return classes (..., rows, columns) for values (..., bands, rows, columns).

    Without a halo an image is one block, however it came.
    """
    if isinstance(values, np.ndarray):
        return _classes_of_block(values, settings | {"threads": None})
    from dask.array.overlap import overlap, trim_internal

    bands_axis = values.ndim - 3
    if halo is None:
        halo, stride = 0, max(values.shape[-2:])
    blocks = values.rechunk(
        {
            **dict.fromkeys(range(bands_axis), 1),
            bands_axis: -1,
            bands_axis + 1: _block_size(values.chunks[-2], halo, stride),
            bands_axis + 2: _block_size(values.chunks[-1], halo, stride),
        }
    )
    depth = {axis: halo if axis > bands_axis else 0 for axis in range(values.ndim)}
    classes = overlap(blocks, depth=depth, boundary="none").map_blocks(
        _classes_of_block,
        settings,
        dtype=np.uint8,
        drop_axis=bands_axis,
        meta=np.empty((0,) * (values.ndim - 1), np.uint8),
    )
    trimmed = {axis: halo if axis >= bands_axis else 0 for axis in range(classes.ndim)}
    return trim_internal(classes, trimmed, boundary="none")


def _block_size(chunks: tuple[int, ...], halo: int, stride: int) -> tuple[int, ...]:
    """Return block sizes whose edges lie on the network's stride, none smaller than the halo."""
    length = sum(chunks)
    size = max(max(chunks), halo, _LEAST_BLOCK)
    size = -(-size // stride) * stride
    sizes = [size] * (length // size)
    rest = length - sum(sizes)
    if rest and (rest >= halo or not sizes):
        sizes.append(rest)
    elif rest:
        sizes[-1] += rest
    return tuple(sizes)


def _classes_of_block(values: NDArray[Any], settings: dict[str, Any]) -> NDArray[np.uint8]:
    """Return classes of one block; leading dimensions such as time are taken one by one."""
    classes = np.full((*values.shape[:-3], *values.shape[-2:]), NO_DATA, np.uint8)
    loaded = settings | {"model": _model(settings["model"])}
    for index in np.ndindex(values.shape[:-3]):
        classes[index] = predict(values[index], **loaded).classes
    return classes
