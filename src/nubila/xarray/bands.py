"""Which bands an xarray object has, what they are called, and those that a model takes."""

from __future__ import annotations

import re
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from typing import Final

import xarray as xr

from nubila.bands import STANDS_IN, band_name, label_names, parse_bands, plain_label
from nubila.errors import BandError
from nubila.models_io import ModelCard

__all__ = ["check_required", "stack_bands", "take_bands"]

_BAND_DIMS: Final = ("band", "bands", "variable")
_AFFIXES: Final = re.compile("^SR_|_TOA$", re.IGNORECASE)  # around a label, such as B02_TOA


def take_bands(
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


def check_required(card: ModelCard, names: Collection[str]) -> None:
    """Refuse bands that the model cannot run on, before a graph is built."""
    lacking = [b for b in card.required_bands if not {b, STANDS_IN.get(b)} & {*names}]
    if lacking:
        raise BandError(
            f"model {card.name} needs the band{'s'[: len(lacking) > 1]} {', '.join(lacking)} "
            f"(found: {', '.join(names)})"
        )


def stack_bands(taken: xr.Dataset | xr.DataArray) -> xr.DataArray:
    """Return the bands along a dimension ``band``."""
    if isinstance(taken, xr.Dataset):
        parts = list(taken.data_vars.values())
        return xr.concat(parts, dim="band", coords="minimal", compat="override")
    dim = _band_dim(taken)
    if dim == "band":
        return taken
    # rioxarray numbers each file's bands, and of files put together the number is left over.
    return taken.drop_vars("band", errors="ignore").rename({dim: "band"})
