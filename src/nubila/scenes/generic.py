"""Any raster that GDAL opens: one file with several bands, or a file a band."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from affine import Affine

from nubila.bands import BANDS, SENSORS, band_name, label_names, parse_bands, plain_label
from nubila.errors import BandError, InputError, MetadataError, nearest
from nubila.raster.gdal import GdalSource, RasterInfo, alpha_band, open_source
from nubila.raster.grid import Grid
from nubila.scenes.fill import FILL_NOTE, FILL_SWITCH, filled_with_0, is_told
from nubila.scenes.grids import common_grid
from nubila.scenes.location import gdal_path, unsigned
from nubila.scenes.reflectance import in_percent, sample_of, too_high, too_low
from nubila.scenes.scaling import check_scaling, given_scaling
from nubila.scenes.scene import Band, BandFile, Scene

__all__ = ["open_raster"]

_THERMAL: Final = ("lwir11", "lwir12")
_FEWEST_LETTERS: Final = 4  # of what names share, to name a scene: not "10m", "sr" or "toa"


@dataclass(frozen=True)
class _Layer:
    """One band of one file, before it has a name; its path is without what signs it."""

    path: str
    index: int
    source: GdalSource
    info: RasterInfo

    @property
    def description(self) -> str:
        """What the file calls the band, or an empty text."""
        return (self.info.descriptions[self.index - 1] or "").strip()

    @property
    def label(self) -> str:
        """What tells the band from others of the scene where it has no description."""
        if self.description:
            return self.description
        return f"band {self.index}" if self.info.count > 1 else _identifier([self.path])


def open_raster(
    paths: str | Path | Sequence[str | Path],
    *,
    bands: str | Sequence[str] | None = None,
    scale: float | None = None,
    offset: float | None = None,
    nodata: float | None = None,
    sensor: str | None = None,
) -> Scene:
    """Open GeoTIFF, COG, VRT, PNG or anything else that GDAL reads, local or over the network.

    What is given wins over what the files say, and a note says so. Integer counts without a scale
    are refused, for a wrong guess would give a wrong mask without a word; floating-point values
    are taken as reflectance if they can be.

    Args:
        paths: a file or several, each a path, an http(s) or s3 URL, or a GDAL ``/vsi...`` name.
        bands: names in the order of the files and their bands, ``-`` for one to be left out;
            default: what the files call their bands.
        scale: reflectance = value * scale + offset, for all bands.
        offset: see `scale`; default the file's, or 0.
        nodata: value that means no data; default the file's. Where no band of several has one
            (NaN in a file says nothing), pixels of exactly 0 in every band that is read are no
            data, and a note says so; NaN given here means that they are data.
        sensor: a key of `nubila.bands.SENSORS`, whose own labels (``B2``) bands may then have;
            without it labels count where they can only be Sentinel-2's.

    Raises:
        BandError: a band's name is unknown, or no band can be named.
        MetadataError: there is no scale, one that no reflectance has, or the values cannot be
            reflectance.
        InputError: scale, offset or nodata is no usable number, the sensor is unknown, or a
            raster holds complex numbers.
        GridError: the files differ in CRS or extent, or are turned against north.
        MissingFileError: a file is not there (or the server says so).
        DamagedFileError: GDAL cannot open a file.
    """
    _check_sensor(sensor)
    scale, offset, nodata = given_scaling(scale, offset, nodata)
    files = [str(p) for p in ([paths] if isinstance(paths, (str, Path)) else paths)]
    layers = [layer for file in files for layer in _layers(file)]
    names, notes = _names(layers, bands, sensor)
    layers = _without_false_masks(layers, names)
    found, said = _bands(layers, names, scale, offset, nodata)
    if not found:
        raise BandError(
            f"{unsigned(files[0])}: every band is left out, so there is nothing to read"
        )
    grid = common_grid(unsigned(files[0]), found)
    shown = tuple(unsigned(file) for file in files)
    return Scene(
        id=_identifier(files),
        path=", ".join(shown),
        sensor=sensor or "unknown",
        level="",
        bands=found,
        grid=grid,
        default_resolution=grid.resolution,
        notes=(*_place_notes(grid), *notes, *said),
        files=shown if len(shown) > 1 else (),
    )


def _check_sensor(sensor: str | None) -> None:
    if sensor is not None and sensor not in SENSORS:
        raise InputError(
            f"unknown sensor {sensor!r}{nearest(sensor, SENSORS)} (known: {', '.join(SENSORS)})"
        )


def _place_notes(grid: Grid) -> Iterator[str]:
    """Say what is assumed where nothing says where on Earth the pixels lie."""
    if grid.crs is None and grid.transform == Affine.identity():
        yield (
            "no CRS and no transform, so each pixel is taken as 1 m wide and the mask lies "
            "nowhere; ground control points and RPCs are not used (bring the file to a CRS with "
            "gdalwarp first)"
        )
    elif grid.crs is None:
        yield "no CRS, so the transform is taken to be in metres, and the mask has no CRS either"


def _layers(path: str) -> Iterator[_Layer]:
    source, info = open_source(gdal_path(path))
    for index in range(1, info.count + 1):
        own = replace(source, index=index, masked=info.masked[index - 1])
        yield _Layer(unsigned(path), index, own, info)


def _without_false_masks(layers: Sequence[_Layer], names: Sequence[str]) -> list[_Layer]:
    """Return layers unmasked where the file's alpha band is named as one that holds data."""
    named = {
        layer.path
        for layer, name in zip(layers, names, strict=True)
        if name != "-" and layer.index - 1 == alpha_band(layer.info.masked, layer.info.nodata)
    }
    return [
        replace(layer, source=replace(layer.source, masked=False)) if layer.path in named else layer
        for layer in layers
    ]


def _names(
    layers: Sequence[_Layer], bands: str | Sequence[str] | None, sensor: str | None
) -> tuple[list[str], list[str]]:
    """Return a name or ``-`` for each layer, and notes."""
    if bands is not None:
        given = parse_bands(bands)
        if len(given) != len(layers):
            raise BandError(
                f"{len(given)} bands are named ({','.join(given)}), but {_listing(layers)}\nName "
                f"each, with - for a band to be left out."
            )
        return list(given), []
    said = [layer.description for layer in layers]
    words = [word for text in said for word in _words(text)]
    labels = label_names(words, sensor or "unknown", [layer.path for layer in layers])
    names = [_name_of(text, labels) for text in said]
    open_labels = [] if labels else [text for text in said if plain_label(text)]
    if open_labels or set(names) == {"-"}:
        why = f" ({open_labels[0]} is not the same for each sensor)" if open_labels else ""
        raise BandError(
            f"the bands have no names that nubila knows{why}: {_listing(layers)}\nSay which is "
            f"which with --bands, such as --bands blue,green,red,nir ('-' leaves a band out; "
            f"known: {', '.join(BANDS)})"
        )
    for name in names:
        if name != "-" and names.count(name) > 1:
            raise BandError(
                f"band {name!r} is there twice: {_listing(layers)}\nSay which with --bands."
            )
    return names, [
        f"band {layer.index} of {layer.path} ({layer.description or 'without a description'}) "
        f"is none that nubila knows and is left out"
        for layer, name in zip(layers, names, strict=True)
        if name == "-"
    ]


def _listing(layers: Sequence[_Layer]) -> str:
    """Say for each file what it calls its bands."""
    files: dict[str, list[str]] = {}
    for layer in layers:
        files.setdefault(layer.path, []).append(repr(layer.description))
    return f"there are {len(layers)} bands, described as" + "".join(
        f"\n  {path}: {', '.join(said)}" for path, said in files.items()
    )


def _name_of(description: str, labels: Mapping[str, str]) -> str:
    """Return the common name that a description means, or ``-``.

    It may be a name or an alias, a label, or hold just one of these (``SR_B2``, ``B2 blue``).
    """
    texts = [description, *_words(description)]
    names = {name for text in texts if (name := _known(text, labels))}
    return names.pop() if len(names) == 1 else "-"


def _words(description: str) -> list[str]:
    return [word for word in re.split(r"[^A-Za-z0-9]+", description) if len(word) > 1]


def _known(text: str, labels: Mapping[str, str]) -> str:
    if label := plain_label(text):
        return labels.get(label, "")
    try:
        return band_name(text)
    except BandError:
        return ""


def _bands(
    layers: Sequence[_Layer],
    names: Sequence[str],
    scale: float | None,
    offset: float | None,
    nodata: float | None,
) -> tuple[dict[str, Band], tuple[str, ...]]:
    """Return bands by name, and notes on what was assumed, overridden or left out."""
    bands: dict[str, Band] = {}
    said: dict[str, list[str]] = {}
    thermal = []
    for layer, name in zip(layers, names, strict=True):
        if name in _THERMAL:
            thermal.append(f"band {name} of {layer.path} is no reflectance and is left out")
        elif name != "-":
            bands[name], notes = _band(layer, name, scale, offset, nodata)
            for note in notes:
                said.setdefault(note, []).append(name)
    filled = _filled(bands, said)
    return filled, (*thermal, *_gathered(said, bands))


def _filled(bands: Mapping[str, Band], said: dict[str, list[str]]) -> dict[str, Band]:
    """Return the bands, filled with 0 where nothing says of any of them what means no data."""
    found = filled_with_0(bands)
    if untold := [name for name, band in bands.items() if band.zero_fill]:
        every = all(band.zero_fill for band in found.values())
        note = (
            f"{FILL_NOTE} {FILL_SWITCH}"
            if every
            else "no value for no data is given, so values of 0 are data (--nodata)"
        )
        said[note] = untold
    return found


def _band(
    layer: _Layer, name: str, scale: float | None, offset: float | None, nodata: float | None
) -> tuple[Band, list[str]]:
    """Return a band, and notes on what was assumed or overridden."""
    info, index = layer.info, layer.index - 1
    own = info.scales[index], info.offsets[index]
    dtype, own_nodata = info.dtypes[index], info.nodata[index]
    if dtype.startswith("complex"):
        raise InputError(
            f"{layer.path}: band {layer.index} ({name}) holds {dtype} values; a raster must hold "
            f"real numbers"
        )
    band = Band(
        name=name,
        label=layer.label,
        files=(BandFile(layer.source, info.grid),),
        scale=own[0] if scale is None else scale,
        offset=own[1] if offset is None else offset,
        scale_from="given" if scale is not None else f"tags of {layer.path}",
        nodata=own_nodata if nodata is None else nodata,
        resolution=info.grid.resolution,
        zero_fill=not is_told(own_nodata, given=nodata, masked=layer.source.masked),
    )
    _check_scaling(layer, band)
    notes = _override_notes(layer, scale, offset, nodata)
    if scale is not None or own != (1.0, 0.0):
        return band, notes
    if np.dtype(dtype).kind != "f":
        raise MetadataError(
            f"{layer.path}: band {layer.index} ({name}) holds {dtype} counts and the file "
            f"has no scale. Say how they become reflectance, such as --scale 0.0001 (and "
            f"--offset -0.1 for Sentinel-2 counts of baseline 04.00 and later)"
        )
    notes.append(f"{dtype} without a scale, taken as reflectance (1 = 100 %)")
    _check_reflectance(layer, band)
    return replace(band, scale_from="floating-point values taken as they are"), notes


def _check_scaling(layer: _Layer, band: Band) -> None:
    """Refuse what the file's tags say, where it counts: what is given was judged before."""
    where = f"{layer.path}: band {layer.index} ({band.name}):"
    check_scaling(
        band.scale,
        band.offset,
        scale_said=f"{where} the scale in the file's tags is {band.scale:g}",
        offset_said=f"{where} the offset in the file's tags is {band.offset:g}",
    )


def _override_notes(
    layer: _Layer, scale: float | None, offset: float | None, nodata: float | None
) -> list[str]:
    info, index = layer.info, layer.index - 1
    tagged = (info.scales[index], info.offsets[index]) != (1.0, 0.0)
    said = (
        ("scale", scale, info.scales[index] if tagged else None),
        ("offset", offset, info.offsets[index] if tagged else None),
        ("nodata", nodata, info.nodata[index]),
    )
    return [
        f"the given {what} {given:g} is used, not the file's {own:g}"
        for what, given, own in said
        if given is not None and own is not None and given != own
    ]


def _check_reflectance(layer: _Layer, band: Band) -> None:
    """Refuse values that no reflectance has, judged by nine blocks of the coarsest level."""
    values = sample_of(layer.source)
    where = f"{layer.path}: band {layer.index} ({band.name}) has values"
    high, low = (judge(values, band.nodata) for judge in (too_high, too_low))
    if high is not None:
        raise MetadataError(
            f"{where} to {high:g} and no scale, so it is no reflectance (1 = 100 %). Say how it "
            f"becomes one, such as --scale {'0.01 for percent' if in_percent(high) else '0.0001'}"
        )
    if low is not None:
        raise MetadataError(
            f"{where} down to {low:g}, which no reflectance is. If that means no data, say "
            f"--nodata {low:g}; if it is meant, --scale 1"
        )


def _gathered(said: Mapping[str, Sequence[str]], bands: Mapping[str, Band]) -> Iterator[str]:
    """Give each note once, with the bands that it is about unless it is about all."""
    for text, names in said.items():
        yield text if len(names) == len(bands) else f"{', '.join(names)}: {text}"


def _identifier(paths: Sequence[str]) -> str:
    """Return the file's name, or the longest part that the names of several share.

    Parts end at separators: of scene_B02 and scene_B03, "scene" and not "scene_B0". Where they
    share nothing but a few letters at the end (``10m``), it is their folder's name.
    """
    plain = [Path(unsigned(path).rstrip("/")) for path in paths]
    stems = [path.stem for path in plain]
    if len(stems) == 1:
        return stems[0]
    words = list(re.finditer(r"[^_.\- ]+", stems[0]))
    parts = [
        (first.start(), stems[0][first.start() : last.end()])
        for i, first in enumerate(words)
        for last in words[i:]
    ]
    for start, part in sorted(parts, key=lambda p: -len(p[1])):
        bounded = re.compile(rf"(?<![^_.\- ]){re.escape(part)}(?![^_.\- ])")
        telling = start == 0 or len(part) >= _FEWEST_LETTERS
        if telling and all(bounded.search(stem) for stem in stems):
            return part
    return plain[0].parent.name or stems[0]
