"""The xarray accessor: ``dataset.nubila.mask()`` for what odc-stac and rioxarray load.

    >>> import nubila.xarray                                        # doctest: +SKIP
    >>> dataset = odc.stac.load(items, bands=["blue", "green", "red", "nir"], chunks={})
    >>> mask = dataset.nubila.mask(scale=1e-4)
    >>> clear = dataset.where(mask == 0)

Arrays in memory give arrays in memory; Dask arrays stay lazy, and how they are chunked leaves no
trace in the mask.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nubila.bands import STANDS_IN, band_name, label_names, parse_bands, plain_label
from nubila.classes import CLASS_NAMES, NO_DATA
from nubila.errors import BandError, GridError, InputError, MetadataError, MissingExtraError
from nubila.infer import predict
from nubila.infer.decide import threshold_list
from nubila.infer.engine import absence_notes
from nubila.models_io import Model, ModelCard, find_model, load_model

try:
    import xarray as xr
except ImportError as error:
    raise MissingExtraError("xarray", extra="xarray") from error

__all__ = ["NubilaAccessor"]

_SPATIAL: Final = (("y", "x"), ("latitude", "longitude"), ("lat", "lon"))
_BAND_DIMS: Final = ("band", "bands", "variable")
_AFFIXES: Final = re.compile("^SR_|_TOA$", re.IGNORECASE)  # around a label, such as B02_TOA
# What attributes say of values, and the argument that says it in their place.
_ARGUMENTS: Final = {"scale_factor": "scale", "add_offset": "offset", "nodata": "nodata"}
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
            thresholds: class name -> least probability.

        Returns:
            DataArray named ``mask``, uint8, with the dimensions of a band: 0 clear, 1 cloud,
            2 thin cloud, 3 cloud shadow, 4 snow, 5 water, 255 no data; the classes are told by
            the CF attributes ``flag_values`` and ``flag_meanings``, and ``comment`` tells what the
            mask suffers where a band that matters is not there. The bands' grid mapping, which
            holds the CRS, is the mask's too.

        Raises:
            BandError: bands are unknown, their labels may be another sensor's, two are the same,
                or one that the model needs is missing.
            GridError: there are no two spatial dimensions.
            MetadataError: bands differ in scale, offset or nodata, and it is not given.
            InputError: a threshold is wrong; or without a scale, values are integers or too high
                for reflectance (of Dask arrays the latter is found when a block is computed).
            ModelError: there is no such model.
        """
        card = _model(model).card
        threshold_list(card, thresholds)  # now, not when a block is computed
        # Such a network sees the image as a whole, or cuts it into tiles by the whole.
        whole = card.tile is not None or bool(card.statistics)
        taken, names = _taken(self._data, bands, card)
        stack = _stack(taken)
        rows, columns = _spatial(stack)
        _check_required(card, names)
        given = {"scale_factor": scale, "add_offset": offset, "nodata": nodata}
        values = stack.transpose(..., "band", rows, columns)
        settings = {
            "bands": names,
            "model": model,
            "thresholds": thresholds,
            "threads": 1,  # Dask brings its own
            # What rioxarray was told of an array it forgets of a part of it.
            **_scaling(taken if isinstance(taken, xr.Dataset) else self._data, stack.dtype, given),
        }
        classes = _classes(values.data, settings, None if whole else card.halo, card.stride)
        template = values.isel(band=0, drop=True)
        mask = xr.DataArray(classes, coords=template.coords, dims=template.dims, name="mask")
        mask.attrs = _attributes(card.name)
        if notes := absence_notes(card, names):
            mask.attrs["comment"] = "; ".join(notes)
        return _with_grid_mapping(mask, self._data, taken)


def _model(name: str | None) -> Model:
    """Return a model, the one kept from an earlier call if its file is the same."""
    path = find_model(name).resolve()
    state = path.stat()
    return _loaded(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=4)
def _loaded(path: Path, mtime_ns: int, size: int) -> Model:
    # Time and size are there as keys: a file that was replaced by another is loaded anew.
    return load_model(path)


def _attributes(model: str) -> dict[str, Any]:
    return {
        "long_name": "cloud mask",
        "flag_values": list(CLASS_NAMES),
        "flag_meanings": " ".join(name.replace(" ", "_") for name in CLASS_NAMES.values()),
        "_FillValue": NO_DATA,
        "model": model,
    }


def _taken(
    data: xr.Dataset | xr.DataArray, bands: str | Sequence[str] | None, card: ModelCard
) -> tuple[xr.Dataset | xr.DataArray, tuple[str, ...]]:
    """Return the data with only the bands that the model takes, and their common names."""
    dim = None if isinstance(data, xr.Dataset) else _band_dim(data)
    labels, names = _names(data, dim, bands)
    # One near infrared is read for the other only where that is not there.
    wanted = {b.name if b.name in names else STANDS_IN.get(b.name) for b in card.bands}
    keep = [n for n, name in enumerate(names) if name in wanted]
    if not keep:
        raise BandError(
            f"none of the bands that model {card.name} takes is there "
            f"({', '.join(b.name for b in card.bands)}; found: {_listed(labels)}); {_advice(dim)}"
        )
    found = tuple(names[n] for n in keep)
    for name in found:
        if found.count(name) > 1:
            same = _listed(labels[n] for n in keep if names[n] == name)
            raise BandError(
                f"{same}: each would be the band {name}; drop all but one, or {_advice(dim)}"
            )
    if isinstance(data, xr.Dataset):
        return data[[list(data.data_vars)[n] for n in keep]], found
    return data.isel({dim: keep}), found


def _band_dim(data: xr.DataArray) -> Hashable:
    dim = next((d for d in _BAND_DIMS if d in data.dims), None)
    if dim is None:
        raise BandError(f"a DataArray needs a dimension 'band'; this one has {data.dims}")
    return dim


def _advice(dim: Hashable | None) -> str:
    rename = "" if dim is not None else "rename the variables to blue, green, red, nir ... or "
    return f"{rename}give bands='blue,green,red,nir' in their order ('-' leaves one out)"


def _listed(labels: Iterable[object]) -> str:
    return ", ".join(map(str, labels)) or "none"


def _names(
    data: xr.Dataset | xr.DataArray, dim: Hashable | None, bands: str | Sequence[str] | None
) -> tuple[list[object], tuple[str, ...]]:
    """Return what each band is called, and its common name, ``-`` for those unknown.

    Args:
        data: a Dataset with a variable a band, or a DataArray.
        dim: the DataArray's dimension of bands, None of a Dataset.
        bands: as given.
    """
    said = _said_labels(data, dim)
    count = len(said[0]) if dim is None else data.sizes[dim]
    if bands is not None:
        found = said[0] or list(range(1, count + 1)), parse_bands(bands)
    else:
        found = _first_telling(said, dim)
    if len(found[1]) != count:
        raise BandError(f"{len(found[1])} band names for {count} bands ({_listed(found[0])})")
    return found


def _said_labels(data: xr.Dataset | xr.DataArray, dim: Hashable | None) -> list[list[object]]:
    """Return the bands' labels from each place that may tell them, the likeliest first."""
    if isinstance(data, xr.Dataset):
        return [list(data.data_vars)]
    # rioxarray numbers the coordinate and keeps the names that the file has as an attribute.
    coordinate = data.coords[dim].values.tolist() if dim in data.coords else []
    long_names = data.attrs.get("long_name", ())
    return [coordinate, list(long_names) if isinstance(long_names, list | tuple) else []]


def _first_telling(
    said: Sequence[list[object]], dim: Hashable | None
) -> tuple[list[object], tuple[str, ...]]:
    """Return the first labels that tell bands, and the common name of each."""
    open_labels: list[str] = []
    for labels in said:
        texts = [_AFFIXES.sub("", str(label).strip()) for label in labels]
        known = label_names(texts)
        names = tuple(_known(text, known) for text in texts)
        unclear = [
            str(label)
            for label, text in zip(labels, texts, strict=True)
            if plain_label(text) and not known
        ]
        if not unclear and set(names) - {"-"}:
            return labels, names
        open_labels += unclear
    if open_labels:
        raise BandError(
            f"{_listed(open_labels)}: such labels are not the same bands for each sensor, and "
            f"nothing shows that these are Sentinel-2's; {_advice(dim)}"
        )
    what = "no variable is named like a band" if dim is None else "the bands are not named"
    raise BandError(f"{what} (found: {_listed(said[0])}); {_advice(dim)}")


def _known(text: str, labels: Mapping[str, str]) -> str:
    """Return the common name for a name or an alias, or for a label as the table has it."""
    if label := plain_label(text):
        return labels.get(label, "-")
    try:
        return band_name(text)
    except BandError:
        return "-"


def _check_required(card: ModelCard, names: Collection[str]) -> None:
    """Refuse bands that the model cannot run on, before a graph is built."""
    lacking = [b for b in card.required_bands if not {b, STANDS_IN.get(b)} & {*names}]
    if lacking:
        raise BandError(
            f"model {card.name} needs the band{'s'[: len(lacking) > 1]} {', '.join(lacking)} "
            f"(found: {', '.join(names)})"
        )


def _stack(taken: xr.Dataset | xr.DataArray) -> xr.DataArray:
    """Return the bands along a dimension ``band``."""
    if isinstance(taken, xr.Dataset):
        parts = list(taken.data_vars.values())
        return xr.concat(parts, dim="band", coords="minimal", compat="override")
    dim = _band_dim(taken)
    return taken if dim == "band" else taken.rename({dim: "band"})


def _spatial(stack: xr.DataArray) -> tuple[str, str]:
    for rows, columns in _SPATIAL:
        if rows in stack.dims and columns in stack.dims:
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


def _scaling(
    data: xr.Dataset | xr.DataArray,
    dtype: np.dtype[Any],
    given: Mapping[str, float | None],
) -> dict[str, float | None]:
    """Return scale, offset and nodata: as given, or from the attributes, which must agree.

    Args:
        data: of a Dataset only the bands that the model takes.
        dtype: of the values that the model is given.
        given: by what attributes call it; None = not given.
    """
    asked = [key for key, value in given.items() if value is None]
    said = _agreeing(data, asked) if isinstance(data, xr.Dataset) else _said(data)
    found = {key: said.get(key) if value is None else value for key, value in given.items()}
    scale, offset = found["scale_factor"], found["add_offset"]
    if scale is None and dtype.kind in "iu":
        raise InputError(
            f"values are {dtype} and no scale is known; give scale=1e-4 for reflectance x "
            "10000 (and offset=-0.1 for Sentinel-2 from baseline 04.00, if it is in the counts)"
        )
    return {
        "scale": None if scale is None else float(scale),
        "offset": float(offset or 0.0),
        "nodata": found["nodata"],
    }


def _agreeing(taken: xr.Dataset, asked: Collection[str]) -> dict[str, Any]:
    """Return what attributes say of the values, which must be the same on all bands.

    Args:
        taken: the bands.
        asked: keys of `_ARGUMENTS`: those that nobody gave.
    """
    found: dict[str, Any] = {}
    for name, variable in taken.data_vars.items():
        said = {"scale_factor": None, "add_offset": 0.0, **_said(variable, taken)}
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
    # Of one block an axis has no neighbours, and Dask refuses a halo wider than the array.
    sides = [halo if n > 1 else 0 for n in blocks.numblocks[-2:]]
    depth = dict(enumerate([0] * (bands_axis + 1) + sides))
    classes = overlap(blocks, depth=depth, boundary="none").map_blocks(
        _classes_of_block,
        settings,
        dtype=np.uint8,
        drop_axis=bands_axis,
        meta=np.empty((0,) * (values.ndim - 1), np.uint8),
    )
    trimmed = dict(enumerate([0] * bands_axis + sides))
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
