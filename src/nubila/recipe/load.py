"""Reading a recipe: a wrong key or value is an error with its line and the nearest valid one."""

from __future__ import annotations

import re
import types
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from nubila.errors import RecipeError, nearest, reason
from nubila.recipe.data import Tiling
from nubila.recipe.labels import AutoMask, FoldStep, Labels, LabelStep
from nubila.recipe.model import Library
from nubila.recipe.recipe import Recipe

__all__ = ["is_weights_file", "load_recipe"]

# Lies beside the recipe that a run has written down, and beside no other.
_OF_A_RUN: Final = "environment.json"


def load_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read and check a recipe; paths in it, relative to its folder, come out absolute.

    Where it gives its model no name (`export.name`), that is the file's.

    Args:
        path: YAML file.
        overrides: ``key.subkey=value`` each, the value in YAML.

    Raises:
        RecipeError: no such file, no YAML, or a wrong key or value, with its line.
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{file}: cannot be read: {reason(error)}") from error
    except yaml.YAMLError as error:
        raise RecipeError(f"{file}: no valid YAML: {error}") from error
    if not isinstance(values, dict):
        raise RecipeError(f"{file}: expected keys and values, found {type(values).__name__}")
    _check_repeats(file, node)
    given = {_override(file, values, text) for text in overrides}
    try:
        recipe = Recipe.model_validate(values)
    except ValidationError as error:
        raise RecipeError(_explain(file, node, given, error)) from error
    _check_meant(recipe, file.parent, given)
    # What a run wrote down is taken as it is: it was trained so, whatever had no effect.
    if not (file.parent / _OF_A_RUN).is_file():
        _check_tiling(recipe, file)
    return _placed(_named(recipe, file.stem), file.parent)


def _check_tiling(recipe: Recipe, file: Path) -> None:
    """Raise for keys of `tiling` without a tile store: what is not cut has none.

    Whole samples are dealt out to splits too, and the size of tiles means nothing there.
    """
    if recipe.data.tiles is not None:
        return
    free, plain = ("splits", "seed", "size"), Tiling()
    lost = [k for k, v in recipe.tiling if k not in free and v != getattr(plain, k)]
    if lost:
        names = ", ".join(f"tiling.{key}" for key in lost)
        raise RecipeError(
            f"{file}: {names}: only tiles are cut so, and data.tiles names no tile store; name "
            f"one, or leave {'them' if len(lost) > 1 else 'it'} out"
        )


def _check_meant(recipe: Recipe, folder: Path, given: Iterable[tuple[str, ...]]) -> None:
    """Raise for a path of --set that is there only as seen from the working folder."""
    made = {("synth", "cache"), ("views", "cache"), ("data", "tiles")}  # by a run
    if any(step.name == "auto_mask" for step in recipe.labels.steps):
        made.add(("data", "manifest"))
    for names in given:
        path: Any = recipe
        for name in names:
            path = getattr(path, name, None)
        if not isinstance(path, Path) or names[-1] in ("cache", "tiles"):  # which a run makes
            continue
        if names == ("data", "manifest") and any(
            s.name == "auto_mask" for s in recipe.labels.steps
        ):
            continue  # a step of the labels writes it
        if path.exists() and not (placed := folder / path).exists():
            raise RecipeError(
                f"--set {'.'.join(names)}={path}: paths are taken from the recipe's folder, and "
                f"there is no {placed.resolve()}; give {path.resolve()}"
            )


def _named(recipe: Recipe, stem: str) -> Recipe:
    """Return the recipe with a name for its model: what is trained is no model that ships."""
    if "name" in recipe.export.model_fields_set:
        return recipe
    name = re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-")
    if not name:  # of a file in other letters
        return recipe
    return recipe.model_copy(update={"export": recipe.export.model_copy(update={"name": name})})


def _placed(recipe: Recipe, folder: Path) -> Recipe:
    """Return the recipe with its paths taken from the folder that it lies in."""
    paths = {
        key: (folder / value).resolve() for key, value in recipe.data if isinstance(value, Path)
    }
    data = recipe.data.model_copy(update=paths)
    spectra = recipe.synth.spectra
    synth = recipe.synth.model_copy(
        update={
            "cache": (folder / recipe.synth.cache).resolve(),
            "spectra": None if spectra is None else (folder / spectra).resolve(),
        }
    )
    kept = recipe.views.cache
    views = recipe.views.model_copy(
        update={"cache": None if kept is None else (folder / kept).resolve()}
    )
    chips = recipe.mask.chips
    mask = recipe.mask.model_copy(
        update={
            "scenes": tuple((folder / scene).resolve() for scene in recipe.mask.scenes),
            "auxiliary": {k: (folder / v).resolve() for k, v in recipe.mask.auxiliary.items()},
            "chips": None if chips is None else (folder / chips).resolve(),
        }
    )
    weights = {k: (folder / v).resolve() for k, v in recipe.finetune if isinstance(v, Path)}
    finetune = recipe.finetune.model_copy(update=weights)
    changes: dict[str, Any] = {"data": data, "synth": synth, "views": views, "mask": mask}
    changes["finetune"] = finetune
    changes["labels"] = _placed_labels(recipe.labels, folder)
    if isinstance(recipe.model, Library) and is_weights_file(recipe.model.weights):
        pretrained = str((folder / str(recipe.model.weights)).resolve())
        changes["model"] = recipe.model.model_copy(update={"weights": pretrained})
    return recipe.model_copy(update=changes)


def _placed_labels(labels: Labels, folder: Path) -> Labels:
    def placed(step: LabelStep) -> LabelStep:
        if isinstance(step, AutoMask):
            tables = tuple((folder / path).resolve() for path in step.manifests)
            water = None if step.water is None else (folder / step.water).resolve()
            return step.model_copy(update={"manifests": tables, "water": water})
        if isinstance(step, FoldStep):
            tables = tuple((folder / path).resolve() for path in step.pool)
            return step.model_copy(update={"pool": tables})
        return step

    return labels.model_copy(update={"steps": tuple(placed(step) for step in labels.steps)})


def is_weights_file(weights: str | None) -> bool:
    """Tell whether pretrained weights are named by a file, and not by a package or a hub."""
    return Path(weights or "").suffix.lower() in (".pt", ".pth", ".safetensors", ".onnx")


def _override(file: Path, values: dict[str, Any], text: str) -> tuple[str, ...]:
    """Set one value in place and return its key."""
    key, sign, value = text.partition("=")
    names = tuple(name.strip() for name in key.split("."))
    if not sign or not all(names):
        raise RecipeError(f"--set {text!r}: expected key=value, such as optim.lr=1e-4")
    target = values
    for name in names[:-1]:
        target = target.setdefault(name, {})
        if not isinstance(target, dict):
            raise RecipeError(f"--set {text!r}: {name!r} in {file} is a value, not a section")
    try:
        target[names[-1]] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise RecipeError(f"--set {text!r}: the value is no valid YAML") from error
    return names


def _check_repeats(file: Path, node: yaml.Node | None) -> None:
    """Raise for a key that stands twice, of which YAML would keep the last without a word."""
    if isinstance(node, yaml.SequenceNode):
        for entry in node.value:
            _check_repeats(file, entry)
    if not isinstance(node, yaml.MappingNode):
        return
    seen: dict[str, int] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if key.value in seen:
            raise RecipeError(
                f"{file}: line {line}: {key.value!r} stands on line {seen[key.value]} already"
            )
        seen[key.value] = line
        _check_repeats(file, value)


def _explain(
    file: Path, node: yaml.Node | None, given: set[tuple[str, ...]], error: ValidationError
) -> str:
    """Return one line of text for each thing that is wrong."""
    lines = []
    for problem in error.errors(include_url=False):
        path, _ = _walk([str(part) for part in problem["loc"]])
        from_set = any(path[: len(key)] == key for key in given)
        deepest = (*path, "name") if problem["type"] == "union_tag_invalid" else path
        where = "--set" if from_set else f"line {_line(node, deepest)}"
        key = ".".join(path) or "recipe"
        if problem["type"] == "extra_forbidden":
            _, choices = _walk([str(part) for part in problem["loc"][:-1]])
            text = f"unknown key {key!r}{nearest(path[-1], choices)} (known: {', '.join(choices)})"
        elif problem["type"] == "union_tag_invalid":
            known = [tag.strip(" '") for tag in problem["ctx"]["expected_tags"].split(",")]
            tag = problem["ctx"]["tag"]
            text = f"{key}.name: no {tag!r}{nearest(tag, known)} (known: {', '.join(known)})"
        elif problem["type"] == "missing":
            text = f"key {key!r} is missing"
        else:
            message = problem["msg"].removeprefix("Value error, ")
            message = message[0].lower() + message[1:]
            value = problem["input"]
            found = "" if isinstance(value, Mapping | BaseModel) else f", found {value!r}"
            text = f"{key}: {message}{found}"
        lines.append(f"{file}: {where}: {text}")
    return "\n".join(lines)


def _line(node: yaml.Node | None, path: Sequence[str]) -> int:
    """Return the line of the deepest part of a key path that the file has."""
    line = 1
    for part in path:
        if isinstance(node, yaml.SequenceNode) and part.isdigit() and int(part) < len(node.value):
            node = node.value[int(part)]
            line = node.start_mark.line + 1
            continue
        found = None
        if isinstance(node, yaml.MappingNode):
            found = next((pair for pair in node.value if pair[0].value == part), None)
        if found is None:
            break
        line, node = found[0].start_mark.line + 1, found[1]
    return line


def _choices(annotation: Any) -> list[type[BaseModel]]:  # noqa: ANN401 (any annotation)
    """Return the sections that a value of this type may be."""
    if get_origin(annotation) is Annotated:
        return _choices(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType, tuple, list):
        return [found for inner in get_args(annotation) for found in _choices(inner)]
    is_section = isinstance(annotation, type) and issubclass(annotation, BaseModel)
    return [annotation] if is_section else []


def _walk(path: Sequence[str]) -> tuple[tuple[str, ...], list[str]]:
    """Return a path as written, without unions' tags, and the keys that its last section knows."""
    sections: list[type[BaseModel]] = [Recipe]
    written = []
    for part in path:
        tagged = [s for s in sections if _tag(s) == part]
        if tagged:
            sections = tagged
            continue
        written.append(part)
        if not part.isdigit():
            fields = [s.model_fields[part] for s in sections if part in s.model_fields]
            # Pydantic takes the outermost Annotated off, so a plain union is left to look into.
            sections = [found for f in fields for found in _choices(f.annotation)]
    keys = list(dict.fromkeys(key for section in sections for key in section.model_fields))
    return tuple(written), keys


def _tag(section: type[BaseModel]) -> str | None:
    """Return the `name` that tells a section from the others of its union."""
    field = section.model_fields.get("name")
    values = get_args(field.annotation) if field is not None else ()
    return values[0] if len(values) == 1 and isinstance(values[0], str) else None
