"""Each term against a formula written by others or in another way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from scipy import ndimage
from segmentation_models_pytorch import losses as smp
from torch import Tensor
from torch.nn import functional

from nubila.errors import InputError, RecipeError
from nubila.nn.losses import Loss, build_loss, needs_counts, needs_teacher
from nubila.nn.losses.pixelwise import boundary_distance
from nubila.recipe.loss import LossTerm

_TWO = ("clear", "cloud")
_FOUR = ("clear", "cloud", "cloud shadow", "snow")
_TERMS: TypeAdapter[Any] = TypeAdapter(tuple[LossTerm, ...])


def _loss(*terms: dict[str, Any], classes: tuple[str, ...] = _TWO, **more: Any) -> Loss:
    return build_loss(_TERMS.validate_python(terms), classes=classes, **more)


def _batch(outputs: int, classes: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return logits and plain labels, every class among them."""
    random = np.random.default_rng(seed)
    logits = 2 * random.normal(size=(3, outputs, 5, 6))
    labels = random.integers(0, classes, (3, 5, 6))
    return torch.from_numpy(logits), torch.from_numpy(labels)


def _sets(labels: Tensor) -> Tensor:
    return (1 << labels).to(torch.uint8)


def _probabilities(logits: Tensor) -> np.ndarray:
    odds = np.exp(logits.numpy())
    return odds / odds.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("pos_weight", [1.0, 2.5])
def test_bce_of_one_logit_and_of_two(pos_weight: float) -> None:
    logits, labels = _batch(1, 2)
    term = {"name": "bce", "pos_weight": pos_weight}
    expected = functional.binary_cross_entropy_with_logits(
        logits[:, 0], labels.double(), pos_weight=torch.tensor(pos_weight)
    )
    torch.testing.assert_close(_loss(term)(logits, _sets(labels)), expected)
    both = torch.cat([3.0 - logits, torch.full_like(logits, 3.0)], dim=1)
    torch.testing.assert_close(_loss(term)(both, _sets(labels)), expected)


def test_bce_of_four_classes_and_some_of_them() -> None:
    logits, labels = _batch(4, 4)
    p = _probabilities(logits)
    each = [-np.where(labels == k, np.log(p[:, k]), np.log(1 - p[:, k])).mean() for k in range(4)]
    found = _loss({"name": "bce"}, classes=_FOUR)(logits, _sets(labels))
    assert float(found) == pytest.approx(np.mean(each))
    some = {"name": "bce", "classes": ["snow", "cloud"]}
    found = _loss(some, classes=_FOUR)(logits, _sets(labels))
    assert float(found) == pytest.approx((each[1] + each[3]) / 2)


def test_pos_weight_of_38_cloud() -> None:
    clear, cloud = 863_885_830, 374_744_570
    counts = ((clear, cloud), (cloud, clear))
    auto = {"name": "bce", "pos_weight": "auto"}
    by_hand = {"name": "bce", "pos_weight": 2.3052658}
    logits, labels = _batch(1, 2)
    torch.testing.assert_close(
        _loss(auto, counts=counts)(logits, _sets(labels)),
        _loss(by_hand)(logits, _sets(labels)),
        rtol=1e-6,
        atol=0,
    )


def test_pos_weight_is_that_of_the_pixels_in_and_out_of_each_class() -> None:
    term = {"name": "bce", "classes": ["cloud"]}
    counts = ((5, 1), (4, 9), (0, 1), (0, 1))
    found = _loss(term | {"pos_weight": "auto"}, classes=_FOUR, counts=counts)
    expected = _loss(term | {"pos_weight": 2.25}, classes=_FOUR)
    logits, labels = _batch(4, 4)
    torch.testing.assert_close(found(logits, _sets(labels)), expected(logits, _sets(labels)))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_with_smoothing(smoothing: float) -> None:
    logits, labels = _batch(4, 4)
    found = _loss({"name": "cross_entropy", "smoothing": smoothing}, classes=_FOUR)
    expected = functional.cross_entropy(logits, labels, label_smoothing=smoothing)
    torch.testing.assert_close(found(logits, _sets(labels)), expected)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        # Theirs adds its pixel to I / ((P + T) / 2), ours to 2 I / (P + T).
        ({"name": "dice", "smooth": 2}, smp.DiceLoss),
        ({"name": "jaccard", "smooth": 1}, smp.JaccardLoss),
    ],
)
def test_dice_and_jaccard(ours: dict[str, Any], theirs: Any) -> None:
    logits, labels = _batch(1, 2)
    expected = theirs("binary", smooth=1.0)(logits, labels.unsqueeze(1))
    torch.testing.assert_close(_loss(ours)(logits, _sets(labels)), expected)
    logits, labels = _batch(4, 4)
    expected = theirs("multiclass", smooth=1.0)(logits, labels)
    found = _loss(ours, classes=_FOUR)(logits, _sets(labels))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("alpha", [None, 0.25])
def test_focal_of_two(alpha: float | None) -> None:
    logits, labels = _batch(1, 2)
    expected = smp.FocalLoss("binary", alpha=alpha, gamma=1.5)(logits, labels.unsqueeze(1))
    found = _loss({"name": "focal", "gamma": 1.5, "alpha": alpha})(logits, _sets(labels))
    torch.testing.assert_close(found, expected)


def test_focal_of_four() -> None:
    logits, labels = _batch(4, 4)
    p = np.take_along_axis(_probabilities(logits), labels.numpy()[:, None], axis=1)
    found = _loss({"name": "focal"}, classes=_FOUR)(logits, _sets(labels))
    assert float(found) == pytest.approx(np.mean((1 - p) ** 2 * -np.log(p)))


def test_focal_tversky() -> None:
    logits, labels = _batch(4, 4)
    p, total = _probabilities(logits), 0.0
    for k in range(4):
        t = (labels == k).numpy()
        right, missed, false = p[:, k][t].sum(), (1 - p[:, k][t]).sum(), p[:, k][~t].sum()
        index = (right + 1) / (right + 0.7 * missed + 0.3 * false + 1)
        total += (1 - index) ** 0.75 / 4
    found = _loss({"name": "focal_tversky"}, classes=_FOUR)(logits, _sets(labels))
    assert float(found) == pytest.approx(total)


def test_lovasz() -> None:
    logits, labels = _batch(1, 2)
    logits = logits.float()  # theirs takes no other
    expected = smp.LovaszLoss("binary", per_image=True)(logits, labels)
    torch.testing.assert_close(_loss({"name": "lovasz_hinge"})(logits, _sets(labels)), expected)
    logits, labels = _batch(4, 3)  # one class does not occur
    logits = logits.float()
    expected = smp.LovaszLoss("multiclass")(logits, labels)
    found = _loss({"name": "lovasz_softmax"}, classes=_FOUR)(logits, _sets(labels))
    torch.testing.assert_close(found, expected)


def test_lovasz_on_the_hardest_third() -> None:
    logits, labels = _batch(1, 2)
    logits = logits.float()
    total = 0.0
    for z, t in zip(logits[:, 0].flatten(1), labels.flatten(1), strict=True):
        hardest = (1 - z * (2 * t - 1)).argsort(descending=True)[:10]
        total += float(smp.LovaszLoss("binary")(z[hardest][None], t[hardest][None])) / 3
    found = _loss({"name": "lovasz_hinge", "hardest": 1 / 3})(logits, _sets(labels))
    assert float(found) == pytest.approx(total)


def test_lovasz_counts_a_pixel_of_weight_two_twice() -> None:
    logits, labels = _batch(4, 4)
    weights = torch.randint(0, 4, labels.shape, generator=torch.manual_seed(0))
    for name, outputs, classes in (("lovasz_hinge", 2, _TWO), ("lovasz_softmax", 4, _FOUR)):
        loss, kept = _loss({"name": name}, classes=classes), logits[:1, :outputs]
        label = labels[:1] % outputs
        often = weights[0].flatten()
        repeated = kept.flatten(2).repeat_interleave(often, dim=2).unsqueeze(2)
        copies = label.flatten(1).repeat_interleave(often, dim=1).unsqueeze(1)
        found = loss(kept, _sets(label), weights[:1].double())
        torch.testing.assert_close(found, loss(repeated, _sets(copies)))


def test_filtered_jaccard_with_the_filters_of_the_paper() -> None:
    logits, labels = _batch(1, 2)
    labels[1] = 0  # an image without cloud
    y, total = 1 / (1 + np.exp(-logits[:, 0].numpy())), 0.0
    for image, t in zip(y, labels.numpy(), strict=True):
        with np.errstate(over="ignore"):
            high = 1 / (1 + np.exp(1000 * (0.5 - t.sum())))
        both, none = (image * t).sum(), ((1 - image) * (1 - t)).sum()
        jaccard = 1 - (both + 1) / (image.sum() + t.sum() - both + 1)
        inverse = 1 - (none + 1) / ((1 - image).sum() + (1 - t).sum() - none + 1)
        total += (high * jaccard + (1 - high) * inverse) / 3
    found = _loss({"name": "filtered_jaccard"})(logits, _sets(labels))
    assert float(found) == pytest.approx(total)


def test_distance_to_boundary() -> None:
    labels = torch.zeros(1, 20, 24, dtype=torch.int64)
    labels[0, 5:9, 4:11] = 1
    sets = _sets(labels)
    sets[0, 15:] = 3  # allows both: no boundary with either
    sets[0, 5, 4] = 0  # ignored: no boundary either
    found = boundary_distance(sets, farthest=6)[0].numpy()
    grid = np.pad(sets[0].numpy(), 1)
    edge = np.zeros((20, 24), bool)
    for place in np.ndindex(edge.shape):
        row, column = place[0] + 1, place[1] + 1
        for other in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
            pair = grid[row, column], grid[other]
            edge[place] |= min(pair) > 0 and pair[0] & pair[1] == 0
    expected = ndimage.distance_transform_cdt(~edge, "chessboard").astype(float)
    np.testing.assert_array_equal(found, np.where(expected <= 6, expected, np.inf))


def test_boundary_weights() -> None:
    logits, _ = _batch(2, 2)
    labels = torch.zeros(3, 5, 6, dtype=torch.int64)
    labels[:, :, 3:] = 1
    steps = torch.tensor([2, 1, 0, 0, 1, 2]).double()
    weights = (1 + 10 * torch.exp(-(steps**2) / 8)).expand(3, 5, 6)
    each = functional.cross_entropy(logits, labels, reduction="none")
    found = _loss({"name": "boundary", "sigma": 2.0})(logits, _sets(labels))
    torch.testing.assert_close(found, (each * weights).sum() / weights.sum())


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_distillation(temperature: float) -> None:
    logits, labels = _batch(4, 4)
    teacher_logits, _ = _batch(4, 4, seed=1)
    teacher = teacher_logits.softmax(1)
    expected = temperature**2 * functional.kl_div(
        (logits / temperature).log_softmax(1),
        (teacher_logits / temperature).log_softmax(1),
        log_target=True,
        reduction="sum",
    )
    loss = _loss({"name": "distillation", "temperature": temperature}, classes=_FOUR)
    torch.testing.assert_close(
        loss(logits, _sets(labels), teacher=teacher), expected / labels.numel()
    )


def test_distillation_leaves_out_what_the_teacher_does_not_know() -> None:
    logits, labels = _batch(1, 2)
    teacher = torch.rand_like(logits)
    loss = _loss({"name": "distillation"})
    teacher[0] = torch.nan
    found = loss(logits, _sets(labels), teacher=teacher)
    torch.testing.assert_close(found, loss(logits[1:], _sets(labels[1:]), teacher=teacher[1:]))
    with pytest.raises(InputError, match="needs the probabilities of a teacher"):
        loss(logits, _sets(labels))


def test_sums() -> None:
    logits, labels = _batch(1, 2)
    sets = _sets(labels)
    dice, bce, focal = (_loss({"name": n})(logits, sets) for n in ("dice", "bce", "focal"))
    found = _loss({"name": "dice_bce", "weight": 3}, {"name": "focal", "weight": 0.5})
    torch.testing.assert_close(found(logits, sets), 3 * (dice + bce) + 0.5 * focal)
    mixed = _loss({"name": "mixed_focal", "focal": 2, "dice": 0.25})
    torch.testing.assert_close(mixed(logits, sets), 2 * focal + 0.25 * dice)
    assert repr(found) == "Loss(3 dice_bce + 0.5 focal)"


def test_says_what_it_needs() -> None:
    terms = _TERMS.validate_python(({"name": "dice_bce", "pos_weight": "auto"}, {"name": "dice"}))
    assert needs_counts(terms) and not needs_counts(terms[1:])
    terms = _TERMS.validate_python(({"name": "distillation"}, {"name": "dice"}))
    assert needs_teacher(terms) and not needs_teacher(terms[1:])


@pytest.mark.parametrize(
    ("term", "counts", "words"),
    [
        ({"name": "lovasz_hinge"}, None, "'lovasz_hinge' is for two classes, and the recipe has 4"),
        ({"name": "focal", "alpha": 0.5}, None, "'focal' is for two classes.*class_weights"),
        ({"name": "mixed_focal", "alpha": 0.5}, None, "'mixed_focal' is for two classes"),
        ({"name": "dice", "classes": ["shadow"]}, None, "'shadow'; did you mean 'cloud shadow'"),
        ({"name": "bce", "pos_weight": "auto"}, None, "no pixels were counted"),
        (
            {"name": "bce", "pos_weight": "auto"},
            ((5, 7), (4, 8), (3, 9), (0, 12)),
            "of 0 training pixels say 'snow' and no other, and those of 12 rule it out",
        ),
        ({"name": "dice_bce", "pos_weight": "auto"}, ((5, 0),) * 4, "of 5 .* 'clear' .* of 0 rule"),
        ({"name": "dice", "weight": 0}, None, "at least one term"),
    ],
)
def test_a_loss_that_does_not_fit(
    term: dict[str, Any], counts: tuple[tuple[int, int], ...] | None, words: str
) -> None:
    with pytest.raises(RecipeError, match=words):
        _loss(term, classes=_FOUR, counts=counts)


def test_logits_of_other_classes() -> None:
    with pytest.raises(InputError, match="loss of 4 classes was given 2 logits"):
        _loss({"name": "dice"}, classes=_FOUR)(*(torch.zeros(1, 1, 2, 2), torch.ones(1, 2, 2)))
