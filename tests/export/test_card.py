from pathlib import Path

from nubila.export.card import _portable
from nubila.recipe import load_recipe


def test_a_card_holds_no_path_of_the_machine_that_made_it(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(
        "steps: 1\n"
        "data: {manifest: deep/m.csv, root: deep/images}\n"
        "finetune: {start_from: runs/first}\n"
        "mask: {auxiliary: {elevation: deep/dem.tif}}\n"
        "labels: {steps: [{name: auto_mask, manifests: [deep/a.csv, deep/b.csv]}]}\n"
    )
    text = _portable(load_recipe(path))
    assert str(tmp_path) not in text and "deep" not in text
    for name in ("m.csv", "a.csv", "b.csv", "dem.tif", "first"):
        assert name in text
