"""Many scenes into one folder: a bad one does not stop the others, finished ones are skipped."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nubila.errors import OutputError
from nubila.infer.api import MaskResult, mask_to_folder
from nubila.infer.decide import check_told, threshold_list
from nubila.infer.delivery import check_taken
from nubila.infer.operating import point_of
from nubila.infer.output import legend_of
from nubila.infer.provenance import MaskOptions
from nubila.models_io import Model
from nubila.raster.atomic import check_folder
from nubila.scenes import Scene
from nubila.scenes.auxiliary import with_auxiliary

__all__ = ["Outcome", "SceneProgress", "mask_many"]

# Called with the scene's id, pixels done and pixels in all.
SceneProgress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Outcome:
    """What became of one scene.

    Attributes:
        source: what was given.
        scene_id: None if it could not be opened.
        result: None if it failed.
        error: None if it is done.
        seconds: wall time.
    """

    source: str
    scene_id: str | None
    result: MaskResult | None
    error: Exception | None
    seconds: float

    @property
    def status(self) -> str:
        """``written``, ``skipped`` or ``failed``."""
        if self.result is None:
            return "failed"
        return "skipped" if self.result.skipped else "written"

    def record(self) -> dict[str, Any]:
        """Return plain values, for a line of JSON."""
        found: dict[str, Any] = {
            "input": self.source,
            "scene": self.scene_id,
            "status": self.status,
            "seconds": round(self.seconds, 3),
        }
        if self.result is None:
            return found | {"error": str(self.error), "kind": type(self.error).__name__}
        statistics = self.result.statistics
        cloud = statistics.cloud_cover
        return found | {
            "cover": {name: round(share, 4) for name, share in statistics.cover.items()},
            "cloud_cover": None if cloud is None else round(cloud, 4),
            "pixels": statistics.pixels,
            "valid_pixels": statistics.valid,
            "resolution": self.result.grid.resolution,
            "paths": {kind: str(path) for kind, path in self.result.paths.items()},
            "notes": list(self.result.notes),
        }


def mask_many(
    sources: Sequence[str | Sequence[str]],
    folder: str | Path,
    *,
    model: Model,
    options: MaskOptions,
    opening: Mapping[str, Any] | None = None,
    auxiliary: Mapping[str, str | Path] | None = None,
    threads: int | None = None,
    overwrite: bool = False,
    renew: bool = False,
    progress: SceneProgress | None = None,
) -> Iterator[Outcome]:
    """Mask scenes one after the other, telling of each when it is done.

    Args:
        sources: what `nubila.open_scenes` takes; a product of several granules gives several
            outcomes.
        folder: made if it is not there, once there is something to write.
        model: the model.
        options: for all of them.
        opening: keywords of `nubila.open_scenes` for plain rasters.
        auxiliary: bands from rasters of their own; see `nubila.scenes.auxiliary`.
        threads: default one a processor.
        overwrite: replace masks that are there, and other files of the names that are written.
        renew: replace masks of nubila's that were made otherwise, and nothing else.
        progress: called along the way.

    Raises:
        InputError: an option is wrong; nothing was done.
        OutputError: the folder cannot be written to; nothing was done.
    """
    folder = check_folder(folder)
    check_taken(model.card, auxiliary or {})
    legend_of(options)
    check_told(model.card, options.classes)
    threshold_list(model.card, point_of(options, model.card).thresholds)

    def mask(scene: Scene) -> MaskResult:
        return mask_to_folder(
            with_auxiliary(scene, auxiliary or {}),
            folder,
            model=model,
            options=options,
            threads=threads,
            overwrite=overwrite,
            renew=renew,
            progress=_named(progress, scene.id),
        )

    return _outcomes(sources, opening or {}, mask)


def _outcomes(
    sources: Sequence[str | Sequence[str]],
    opening: Mapping[str, Any],
    mask: Callable[[Scene], MaskResult],
) -> Iterator[Outcome]:
    from nubila.scenes import open_scenes

    taken: dict[str, str] = {}
    for source in sources:
        name = source if isinstance(source, str) else ";".join(source)
        start = time.perf_counter()
        try:
            scenes = open_scenes(source, **opening)
        except Exception as error:  # whatever it is, it belongs to this scene only
            yield Outcome(name, None, None, error, time.perf_counter() - start)
            continue
        for scene in scenes:
            start = time.perf_counter()
            try:
                _claim(scene, name, taken)
                result = mask(scene)
            except Exception as error:  # as above
                yield Outcome(name, scene.id, None, error, time.perf_counter() - start)
            else:
                yield Outcome(name, scene.id, result, None, time.perf_counter() - start)


def _claim(scene: Scene, source: str, taken: dict[str, str]) -> None:
    """Hold two inputs apart whose files would have the same names."""
    # File systems that do not tell upper from lower case are common.
    other = taken.setdefault(scene.id.lower(), source)
    if other != source and not _is_same_file(other, source):
        raise OutputError(
            f"{source}: its files would be named {scene.id!r} like those of {other}; mask it into "
            "another folder"
        )


def _is_same_file(one: str, other: str) -> bool:
    try:
        return Path(one).samefile(other)
    except (OSError, ValueError):  # an address, or several files joined
        return False


def _named(progress: SceneProgress | None, scene_id: str) -> Callable[[int, int], None] | None:
    if progress is None:
        return None
    return lambda done, total: progress(scene_id, done, total)
