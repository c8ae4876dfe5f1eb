"""The command line: argument parsing and printing only."""

from __future__ import annotations

import importlib
import inspect
import signal
import sys
import warnings
from typing import Final

import typer

from nubila.errors import NubilaError

__all__ = ["app", "main"]

# By the heading of the help page: modules of this package that hold a function of the same name.
_COMMANDS: Final = {
    "Scenes": ("info", "mask", "synth"),
    "Models": (
        *("run", "train", "sweep", "slurm", "export"),
        *("evaluate", "compare", "hard_cases", "tune", "ensemble"),
    ),
    "Labels": ("folds", "audit", "review", "auto_mask", "pseudo_label", "rounds"),
}

# Each is a module of this package that holds a Typer application of the same name.
_GROUPS: Final = {"Models": ("models", "recipe"), "Labels": ("data",)}

app = typer.Typer(
    name="nubila",
    help="Find clouds, thin clouds, cloud shadows, snow and water in satellite scenes.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from nubila import __version__

        typer.echo(f"nubila {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version and exit."
    ),
) -> None:
    pass


for _heading, _names in _COMMANDS.items():
    for _name in _names:
        _command = getattr(importlib.import_module(f"nubila.cli.{_name}"), _name)
        app.command(_name.replace("_", "-"), rich_help_panel=_heading)(_command)
for _heading, _names in _GROUPS.items():
    for _name in _names:
        _group = getattr(importlib.import_module(f"nubila.cli.{_name}"), _name)
        app.add_typer(_group, name=_name, rich_help_panel=_heading)


def _flow(group: typer.Typer) -> None:
    """Take line breaks of the source out of help texts: Rich keeps those of a second paragraph."""
    for command in group.registered_commands:
        text = command.help or inspect.getdoc(command.callback) or ""
        paragraphs = (
            part if part.startswith("\b") else " ".join(part.split()) for part in text.split("\n\n")
        )
        command.help = "\n\n".join(paragraphs)
    for inner in group.registered_groups:
        if inner.typer_instance is not None:
            _flow(inner.typer_instance)


_flow(app)


def _terminate(number: int, _frame: object) -> None:
    """Stop as after Ctrl-C, so that whatever is half-written is taken away."""
    raise SystemExit(128 + number)


def main() -> None:
    """Run the command line; errors of ours are printed without a traceback and exit with 2."""
    signal.signal(signal.SIGTERM, _terminate)  # a scheduler's way of saying Ctrl-C
    # An image without a georeference is a fact that `nubila info` tells, not a warning.
    for start in ("Dataset has no geotransform", "The given matrix is equal to Affine.identity"):
        warnings.filterwarnings("ignore", message=start)
    try:
        app()
    except NubilaError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except (KeyboardInterrupt, SystemExit) as stop:
        # Typer makes an exit of Ctrl-C and says nothing; commands that say more exit by themselves.
        cause = getattr(stop.__context__, "__cause__", None)
        if not isinstance(stop, KeyboardInterrupt) and not isinstance(cause, KeyboardInterrupt):
            raise
        print("interrupted; nothing half-written is left", file=sys.stderr)
        raise SystemExit(130) from None
