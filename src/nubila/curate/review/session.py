"""A review in progress: samples, their layers and the decisions on them, without any HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nubila.classes import DecisionRule, class_code
from nubila.curate.predictions import Output, Predictions
from nubila.curate.review.cache import Cache
from nubila.curate.review.digest import file_digest, label_digest, sets_digest
from nubila.curate.review.images import picture_png, render
from nubila.curate.review.items import Item
from nubila.curate.review.store import Decision, ReviewStore
from nubila.datasets import Sample, load_sample
from nubila.errors import InputError, ManifestError
from nubila.infer.decide import kinds_of, likeliest

__all__ = ["Review", "prediction_sets"]

Sets = NDArray[np.uint8]

_SAMPLE_BYTES: Final = 600_000_000
_PICTURE_BYTES: Final = 200_000_000
_ALL_CLASSES: Final = 0b111111
# A new model changes some pixels of every prediction; less than this share is no news.
_LEAST_CHANGE: Final = 0.02


@dataclass(frozen=True)
class State:
    """Where a sample stands: its decision, and whether something changed since."""

    decision: Decision | None
    changed: tuple[str, ...]

    @property
    def open(self) -> bool:
        """Whether it is to be looked at."""
        return self.decision is None or bool(self.changed)


class Review:
    """What the page shows and does.

    Args:
        items: in the order in which they are shown; at least one.
        store: of the decisions.
        who: signs the decisions of this session.
        predictions: of the samples, or None.
    """

    def __init__(
        self,
        items: Sequence[Item],
        store: ReviewStore,
        *,
        who: str,
        predictions: Predictions | None = None,
    ) -> None:
        self.items, self.store, self.who, self.predictions = tuple(items), store, who, predictions
        self._samples: Cache[Sample] = Cache(
            _SAMPLE_BYTES, lambda sample: sample.image.nbytes + sample.label.nbytes
        )
        self._pictures: Cache[bytes] = Cache(_PICTURE_BYTES, len)

    def item(self, number: int) -> Item:
        """Return a sample by its place.

        Raises:
            InputError: there is no such place.
        """
        if not 0 <= number < len(self.items):
            raise InputError(f"no sample {number}; there are {len(self.items)}")
        return self.items[number]

    def states(self) -> list[State]:
        """Return where each sample stands; files are read only where they have been touched."""
        current = self.store.current()
        return [self._state(item, current.get(item.spec.id)) for item in self.items]

    def state(self, number: int) -> State:
        """Return where a sample stands."""
        item = self.item(number)
        return self._state(item, self.store.current().get(item.spec.id))

    def sample(self, number: int) -> Sample:
        """Return a sample's pixels, kept in memory for a while.

        Raises:
            InputError: there is no such place.
            ManifestError: a file cannot be decoded.
        """
        item = self.item(number)
        return self._samples.get(number, lambda: load_sample(item.spec))

    def picture(self, number: int, bands: tuple[str, ...], stretch: str) -> bytes:
        """Return a sample's picture as PNG, kept in memory for a while.

        Raises:
            InputError: as `images.render` does.
            ManifestError: a file cannot be decoded.
        """
        sample = self.sample(number)
        key = number, bands, stretch
        return self._pictures.get(key, lambda: picture_png(render(sample, bands, stretch)))

    def prediction(self, number: int) -> Sets | None:
        """Return the (rows, columns) sets of classes that the prediction says, or None.

        Raises:
            InputError: it cannot be read, or is of another size than the image.
        """
        item = self.item(number)
        if (found := self._raw_prediction(item)) is None:
            return None
        sample = self.sample(number)
        if found.shape != sample.label.shape:
            raise InputError(
                f"the prediction of {item.spec.id!r} has {found.shape} rows and columns, the image "
                f"{sample.label.shape}; predict anew"
            )
        found[~np.isfinite(sample.image).any(axis=0)] = 0
        return found

    def decide(self, number: int, action: str, *, why: str = "", mask: Sets | None = None) -> State:
        """Decide on a sample; what it gives is on the disk when this returns.

        Args:
            number: place of the sample.
            action: one of `store.ACTIONS`.
            why: a remark.
            mask: (rows, columns) sets of classes, for ``fix`` only.

        Raises:
            InputError: there is nothing to use as label, or it does not fit the image.
            OutputError: it cannot be written.
        """
        item = self.item(number)
        label = self._label_digest(item)
        result = {"keep": label}.get(action, "")
        if action == "prediction" and (mask := self.prediction(number)) is None:
            raise InputError(f"{item.spec.id}: there is no prediction to use")
        if action == "fix" and mask is None:
            raise InputError(f"{item.spec.id}: a fix needs a mask")
        if mask is not None:
            self._check_mask(number, mask)
            result = sets_digest(mask)
        self.store.decide(
            item.spec.id,
            action,
            who=self.who,
            why=why,
            label=label,
            prediction=self._prediction_digest(item),
            result=result,
            mask=mask,
            seen=self._raw_prediction(item),
        )
        return self.state(number)

    def undo(self) -> tuple[int | None, Decision] | None:
        """Take one's own last decision back; return its sample's place (None if not shown here)."""
        decision = self.store.undo(self.who)
        if decision is None:
            return None
        places = (i for i, item in enumerate(self.items) if item.spec.id == decision.sample)
        return next(places, None), decision

    def keep_draft(self, number: int, mask: Sets | None) -> None:
        """Keep a mask that one is drawing, or throw it away; those of others stay.

        Raises:
            InputError: it does not fit the image.
            OutputError: it cannot be written.
        """
        if mask is not None:
            self._check_mask(number, mask)
        self.store.keep_draft(self.item(number).spec.id, self.who, mask)

    def draft(self, number: int) -> Sets | None:
        """Return the (rows, columns) sets that one is drawing, or None."""
        return self.store.draft(self.item(number).spec.id, self.who)

    def _check_mask(self, number: int, mask: Sets) -> None:
        expected = self.sample(number).label.shape
        if mask.shape != expected or (mask & ~np.uint8(_ALL_CLASSES)).any():
            raise InputError(
                f"a mask of {mask.shape} rows and columns with values up to {mask.max()}; expected "
                f"{expected}, and sets of nubila's six classes"
            )

    def _label_digest(self, item: Item) -> str:
        """Return a label's digest, or ``""`` where it cannot be read: it may still be dropped."""
        try:
            return label_digest(item.spec, self.store)
        except (ManifestError, FileNotFoundError):
            return ""

    def _raw_prediction(self, item: Item) -> Sets | None:
        if self.predictions is None or item.spec.id not in self.predictions:
            return None
        kept = self.predictions
        return prediction_sets(kept.read(item.spec.id), kept.outputs, kept[item.spec.id].decision)

    def _prediction_digest(self, item: Item) -> str:
        if self.predictions is None or item.spec.id not in self.predictions:
            return ""
        path = self.predictions.folder / self.predictions[item.spec.id].file
        try:
            return file_digest(path, self.store)
        except OSError as error:
            raise InputError(f"{path}: the prediction cannot be read: {error.strerror}") from error

    def _state(self, item: Item, decision: Decision | None) -> State:
        if decision is None:
            return State(None, ())
        changed = []
        if self._label_digest(item) not in (decision.label, decision.result):
            changed.append("label")
        if self._prediction_differs(item, decision):
            changed.append("prediction")
        return State(decision, tuple(changed))

    def _prediction_differs(self, item: Item, decision: Decision) -> bool:
        """Tell whether a prediction says something else than what was seen, if one was."""
        now = self._prediction_digest(item)
        if now in ("", decision.prediction):
            return False
        key, stamp = f"change since decision {decision.number}", now
        kept = self.store.digest(key, stamp)
        if kept is None:
            seen, found = self.store.seen(decision), self._raw_prediction(item)
            assert found is not None  # it has a digest
            kept = repr(_change(seen, found))
            self.store.keep_digest(key, stamp, kept)
        return float(kept) > _LEAST_CHANGE


def _change(seen: Sets | None, found: Sets) -> float:
    """Return the share of pixels, judged both times, of which another class is now said."""
    if seen is None or seen.shape != found.shape:
        return 1.0
    both = (seen != 0) & (found != 0)
    return float((seen != found)[both].mean()) if both.any() else 0.0


def prediction_sets(
    probabilities: NDArray[np.float32], outputs: Sequence[Output], decision: DecisionRule = "class"
) -> Sets:
    """Return the set of classes of the likeliest output; 0 where nothing was judged.

    Args:
        probabilities: (outputs, rows, columns), NaN = not judged.
        outputs: what each is the probability of. Of a single one, every other class is what it is
            not.
        decision: how the likeliest follows from probabilities, as of `ModelCard.decision`.
    """
    missing = np.isnan(probabilities).any(axis=0)
    if len(outputs) == 1:
        inside = outputs[0].classes
        sets = np.where(probabilities[0] >= 0.5, inside, _ALL_CLASSES & ~inside).astype(np.uint8)
    else:
        table = np.array([output.classes for output in outputs], np.uint8)
        kinds = kinds_of([class_code(output.name) for output in outputs], decision)
        sets = table[likeliest(np.nan_to_num(probabilities, nan=-1.0), kinds)[1]]
    sets[missing] = 0
    return sets
