"""``nubila mask``: masks of scenes, into a folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nubila.cli.outcomes import print_outcomes, raise_failed, scene_bars

if TYPE_CHECKING:
    from nubila.infer.batch import Outcome

__all__ = ["mask"]

_WHERE = "What to mask"
_HOW = "How to decide"
_WHAT = "What to write"
_RASTER = "Plain rasters (products know these themselves)"
_RUN = "Running"


def mask(
    scenes: Annotated[
        list[str],
        typer.Argument(
            help="Products (folder, zip, tar), rasters or STAC items; paths or URLs. One raster a "
            "band: join them with ';' and name --bands.",
            show_default=False,
        ),
    ],
    output: Annotated[
        str,
        typer.Option("--output", "-o", metavar="FOLDER", help="Made if it is not there."),
    ] = "masks",
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            help="Name (see nubila models) or ONNX file; default: the one that ships.",
        ),
    ] = None,
    resolution: Annotated[
        float | None,
        typer.Option(
            help="Metres a pixel; default: 20 for Sentinel-2, otherwise the scene's own.",
            rich_help_panel=_WHERE,
        ),
    ] = None,
    area: Annotated[
        str | None,
        typer.Option(
            metavar="GEOJSON",
            help="Area of interest. Only this is read, and cover is over it.",
            rich_help_panel=_WHERE,
        ),
    ] = None,
    bounds: Annotated[
        str | None,
        typer.Option(
            metavar="W,S,E,N",
            help="Area of interest as west, south, east, north.",
            rich_help_panel=_WHERE,
        ),
    ] = None,
    bounds_crs: Annotated[
        str | None,
        typer.Option(
            metavar="CRS",
            help="CRS of --bounds, such as EPSG:32632; default: longitude and latitude.",
            rich_help_panel=_WHERE,
        ),
    ] = None,
    operating_point: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Thresholds, --dilate and --min-area by a name of the model's card (see nubila "
            "models show); what is given beside it goes before.",
            rich_help_panel=_HOW,
        ),
    ] = None,
    threshold: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CLASS=P",
            help="Least probability for a class, such as cloud=0.4 (lower finds more); repeat for "
            "several. Default: the most probable class.",
            rich_help_panel=_HOW,
        ),
    ] = None,
    dilate: Annotated[
        float | None,
        typer.Option(
            metavar="METRES",
            help="Grow cloud, thin cloud and cloud shadow by this; default: 0.",
            rich_help_panel=_HOW,
        ),
    ] = None,
    min_area: Annotated[
        float | None,
        typer.Option(
            metavar="M2",
            help="Fill objects smaller than so many square metres with what is around them; "
            "default: 0. With --area they are told by as much around it as such an object can be "
            "long: with 1e6 at 10 m a margin of 9999 pixels, so mostly the whole scene. Only which "
            "class fills one may still be another than in a mask of the whole scene.",
            rich_help_panel=_HOW,
        ),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Write only these, such as 'cloud,cloud shadow'; the others become clear. With "
            "--binary: those that become 1.",
            rich_help_panel=_WHAT,
        ),
    ] = None,
    binary: Annotated[
        bool,
        typer.Option(
            "--binary",
            help="Write 1 for --classes (default cloud, thin cloud, cloud shadow), 0 otherwise.",
            rich_help_panel=_WHAT,
        ),
    ] = False,
    codes: Annotated[
        str | None,
        typer.Option(
            metavar="SCHEME",
            help="Write the codes of scl, fmask, qa_pixel, cloudsen12, omnicloudmask, ukis-csmask "
            "or s2cloudless.",
            rich_help_panel=_WHAT,
        ),
    ] = None,
    probabilities: Annotated[
        bool,
        typer.Option(
            "--probabilities", help="Write X_probabilities.tif too.", rich_help_panel=_WHAT
        ),
    ] = False,
    validity: Annotated[
        bool,
        typer.Option(
            "--validity",
            help="Write X_validity.tif too: no data, saturated, not judged.",
            rich_help_panel=_WHAT,
        ),
    ] = False,
    no_picture: Annotated[
        bool, typer.Option("--no-picture", help="Leave X_mask.png out.", rich_help_panel=_WHAT)
    ] = False,
    bands: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="In file order: blue,green,red,nir; '-' skips one.",
            rich_help_panel=_RASTER,
        ),
    ] = None,
    scale: Annotated[
        float | None,
        typer.Option(help="Reflectance = value x scale + offset.", rich_help_panel=_RASTER),
    ] = None,
    offset: Annotated[
        float | None, typer.Option(help="See --scale.", rich_help_panel=_RASTER)
    ] = None,
    nodata: Annotated[
        float | None,
        typer.Option(
            help="Value that means no data; default: the file's, otherwise pixels of 0 in every "
            "band (nan: they are data).",
            rich_help_panel=_RASTER,
        ),
    ] = None,
    auxiliary: Annotated[
        list[str] | None,
        typer.Option(
            metavar="BAND=FILE",
            help="A band from a raster of its own, on any grid, such as elevation=dem.tif (in "
            "metres); repeat for several.",
            rich_help_panel=_RASTER,
        ),
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Replace masks that are there already, and whatever else has the names of files "
            "that are written.",
            rich_help_panel=_RUN,
        ),
    ] = False,
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="Default: one a processor.", rich_help_panel=_RUN),
    ] = None,
    provider: Annotated[
        str,
        typer.Option(help="What runs the model: cpu, cuda or openvino.", rich_help_panel=_RUN),
    ] = "cpu",
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print one line of JSON a scene.", rich_help_panel=_RUN),
    ] = False,
) -> None:
    """Find clouds, thin clouds, cloud shadows, snow and water in scenes.

    For each scene X, FOLDER gets

    \b
    X_mask.tif   cloud-optimised GeoTIFF: 0 clear, 1 cloud, 2 thin cloud,
                 3 cloud shadow, 4 snow, 5 water, 255 no data; beside it
                 X_mask.tif.aux.xml, where GDAL looks for these names
    X_mask.qml   its colours and names for QGIS
    X_mask.png   image beside mask
    X.json       STAC item with the cover; written last

    A scene that fails is reported and the next one is masked; the exit code
    is then 2. Run the same command again and only what is missing is done.
    Files of these names that are not of nubila's making are left alone, and
    their scene fails, unless --overwrite is given. Among several scenes,
    rasters that nubila wrote (masks, the truth of nubila synth) are left out.

    \b
    nubila mask S2A_MSIL1C_20240705T101031.SAFE -o masks
    nubila mask *.SAFE LC09*.tar -o masks --json > masks.jsonl
    nubila mask a.SAFE --area farm.geojson --dilate 60 --min-area 10000
    nubila mask a.SAFE --binary --classes cloud --threshold cloud=0.4
    nubila mask a.tif --bands blue,green,red,nir --scale 1e-4 --nodata 0
    """  # noqa: D301 (the backslashes are backspaces: what follows keeps its lines)
    from nubila.errors import InputError
    from nubila.infer.batch import mask_many
    from nubila.infer.provenance import MaskOptions
    from nubila.models_io import load_model

    if not output.strip():  # a shell's variable that is not set; as a path, the working folder
        raise InputError("--output is an empty name; name a folder, '.' for the working folder")
    if bounds_crs is not None and bounds is None:
        raise InputError("--bounds-crs is given without --bounds")
    options = MaskOptions(
        resolution=resolution,
        area=_area(area, bounds, bounds_crs),
        operating_point=operating_point,
        thresholds=_thresholds(threshold or []),
        dilate=dilate,
        min_area=min_area,
        classes=tuple(name.strip() for name in classes.split(",")) if classes is not None else (),
        binary=binary,
        codes=codes,
        probabilities=probabilities,
        validity=validity,
        picture=not no_picture,
    )
    opening = {"bands": bands, "scale": scale, "offset": offset, "nodata": nodata}
    found: list[Outcome] = []
    scenes = _without_results(scenes)
    try:
        with scene_bars(quiet=as_json) as progress:
            outcomes = mask_many(
                scenes,
                output,
                model=load_model(model, provider=provider),
                options=options,
                opening={key: value for key, value in opening.items() if value is not None},
                auxiliary=_auxiliary(auxiliary or []),
                threads=threads,
                overwrite=overwrite,
                progress=progress,
            )
            print_outcomes(outcomes, found, as_json=as_json, many=len(scenes) > 1)
    except KeyboardInterrupt:  # of which Typer would end the program without a word
        typer.echo(_interrupted(found), err=True)
        raise typer.Exit(130) from None
    raise_failed(found, as_json=as_json, many=len(scenes) > 1)


def _without_results(scenes: list[str]) -> list[str]:
    """Leave out what nubila wrote, as *.tif takes masks too; what is named alone is tried."""
    from nubila.infer.output import is_own_raster

    # Not Path.is_file, which raises where the names of many files make one that is too long.
    own = [scene for scene in scenes if os.path.isfile(scene) and is_own_raster(scene)]  # noqa: PTH113
    if not own or len(own) == len(scenes):
        return scenes
    for scene in own:
        typer.secho(f"note: {scene}: left out, a raster that nubila wrote", fg="yellow", err=True)
    return [scene for scene in scenes if scene not in own]


def _interrupted(found: Sequence[Outcome]) -> str:
    """Say what Ctrl-C left, given what became of the scenes before."""
    failed = sum(outcome.error is not None for outcome in found)
    done = len(found) - failed
    told = f"{done} scene{'s are' if done != 1 else ' is'} done" + (
        f", {failed} failed" if failed else ""
    )
    return (
        f"interrupted; {told}, and nothing half-written is left. Without --overwrite, the same "
        "command goes on from here"
    )


def _area(area: str | None, bounds: str | None, crs: str | None) -> Any:  # noqa: ANN401 (an Area, imported late)
    from nubila.errors import InputError
    from nubila.infer.area import read_area

    if area is not None and bounds is not None:
        raise InputError("--area and --bounds are both given; leave one out")
    if area is not None:
        return read_area(area)
    if bounds is None:
        return None
    try:
        numbers = [float(part) for part in bounds.split(",")]
    except ValueError:
        raise InputError(f"--bounds are four numbers W,S,E,N; got {bounds!r}") from None
    return read_area(numbers, crs)


def _thresholds(pairs: list[str]) -> dict[str, float]:
    from nubila.classes import class_code
    from nubila.errors import InputError

    found: dict[str, float] = {}
    given: dict[int, str] = {}
    for pair in pairs:
        name, _, value = pair.partition("=")
        try:
            number = float(value)
        except ValueError:
            raise InputError(
                f"--threshold is a class and a probability such as cloud=0.4; got {pair!r}"
            ) from None
        if (code := class_code(name)) in given:
            raise InputError(f"--threshold is given twice for a class: {given[code]} and {pair}")
        given[code] = pair
        found[name.strip()] = number
    return found


def _auxiliary(pairs: list[str]) -> dict[str, str]:
    from nubila.bands import band_name
    from nubila.errors import InputError

    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, file = pair.partition("=")
        if not equals or not file:
            raise InputError(
                f"--auxiliary is a band and a file such as elevation=dem.tif; got {pair!r}"
            )
        if (band := band_name(name)) in found:
            raise InputError(f"--auxiliary is given twice for {band}: {found[band]} and {file}")
        found[band] = file
    return found
