"""`CloudMask`: a mask in memory, with all that is needed to write it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nubila.infer.decide import scale_probabilities
from nubila.infer.output import FileSet, legend_of, open_files, write_rest
from nubila.infer.provenance import Provenance
from nubila.infer.statistics import Statistics, percent
from nubila.models_io import ModelCard
from nubila.raster import Grid
from nubila.raster.atomic import make_folder

__all__ = ["CloudMask"]


@dataclass(frozen=True, repr=False)
class CloudMask:
    """The mask of a scene, in memory.

    Attributes:
        classes: (rows, columns) uint8 class codes; 255 = no data, not judged, or outside of the
            area of interest.
        validity: (rows, columns) uint8 of `nubila.classes.Validity`: why a pixel has no class.
        probabilities: (classes, rows, columns) float32 in the order of ``card.classes``, NaN where
            nothing was judged; None if not asked for.
        grid: where the pixels lie.
        statistics: pixels by class and by validity over the area.
        provenance: scene, bands, model and options.
        image: (3, rows, columns) small reflectance picture in red, green, blue, or None.
        notes: what a person should know.

    >>> mask = nubila.mask_scene("S2A_MSIL1C_....SAFE")             # doctest: +SKIP
    >>> mask.cover["cloud"], mask.write("out")["mask"]              # doctest: +SKIP
    (31.2, PosixPath('out/S2A_MSIL1C_..._mask.tif'))
    """

    classes: NDArray[np.uint8]
    validity: NDArray[np.uint8]
    probabilities: NDArray[np.float32] | None
    grid: Grid
    statistics: Statistics
    provenance: Provenance
    image: NDArray[np.float32] | None = None
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Return scene, size, cover and model in a line, without the arrays."""
        rows, columns = self.grid.shape
        cover = ", ".join(f"{name} {percent(share)}" for name, share in self.cover.items())
        return (
            f"<CloudMask of {self.scene_id}: {rows} x {columns} at {self.grid.resolution:g} m, "
            f"{cover or 'no data'}; model {self.card.name}, version {self.card.version}>"
        )

    @property
    def scene_id(self) -> str:
        """Identifier of the scene."""
        return self.provenance.scene_id

    @property
    def card(self) -> ModelCard:
        """Card of the model that made the mask."""
        return self.provenance.card

    @property
    def cover(self) -> dict[str, float]:
        """Class name -> percentage of the valid pixels of the area."""
        return self.statistics.cover

    def write(self, folder: str | Path, *, overwrite: bool = False) -> dict[str, Path]:
        """Write the files that ``nubila mask`` writes; those of an earlier mask are replaced.

        Files of an earlier mask that this one has not are taken away.

        Args:
            folder: made if it is not there.
            overwrite: replace files of the names that are written though they are not nubila's;
                such that are not written stay.

        Returns:
            ``mask``, ``style``, ``picture``, ``item`` and, where there are probabilities,
            ``probabilities``: the path of each.

        Raises:
            OutputError: a file cannot be written, or the folder holds files of such names that are
                not nubila's.
        """
        files = FileSet(Path(folder), self.scene_id)
        files.check_apart(self.provenance.path)
        if not overwrite:
            files.check_ours()
        make_folder(folder)
        options = replace(self.provenance.options, probabilities=self.probabilities is not None)
        provenance = replace(self.provenance, options=options)
        legend = legend_of(options)
        with open_files(files, self.grid, provenance, legend) as writer:
            writer.write(self.classes, self.validity)
            if self.probabilities is not None:
                writer.write_probabilities(scale_probabilities(self.probabilities))
        return write_rest(
            files, writer, self.grid, provenance, self.statistics, self.image, self.notes
        )
