import itertools
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from nubila import __version__
from nubila.cli import app


def run_main(app):
    """Run `main` in a process of its own, with `app` in place of the commands."""
    code = (
        "import os, signal, time, nubila.cli as cli, nubila.errors as errors\n"
        f"def app():\n    {app}\n"
        "cli.app = app\ncli.main()"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_our_errors_have_no_traceback_and_exit_with_2():
    run = run_main("raise errors.BandError('no band red')")
    assert (run.returncode, run.stderr) == (2, "error: no band red\n")


def test_other_errors_are_not_hidden():
    run = run_main("raise ZeroDivisionError('a defect of ours')")
    assert run.returncode == 1
    assert "Traceback" in run.stderr


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_signals_unwind_so_that_what_is_half_written_is_taken_away(name, code):
    run = run_main(
        f"\n    try:\n        os.kill(os.getpid(), signal.{name}); time.sleep(9)\n"
        "    finally:\n        print('taken away')"
    )
    assert (run.returncode, run.stdout) == (code, "taken away\n")


def test_ctrl_c_in_a_command_is_told():
    code = (
        "import os, signal, sys, time, nubila.cli as cli\n"
        "def slowly():\n    os.kill(os.getpid(), signal.SIGINT); time.sleep(9)\n"
        "cli.app.command('slowly')(slowly)\n"
        "cli.main()"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, "slowly"], capture_output=True, text=True, check=False
    )
    assert run.returncode == 130
    assert run.stderr.strip() == "interrupted; nothing half-written is left"


def test_version():
    run = subprocess.run(
        [sys.executable, "-c", "import nubila.cli; nubila.cli.main()", "--version"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert run.stdout == f"nubila {__version__}\n"


@pytest.mark.parametrize("command", [[], ["mask"], ["data", "tile"]])
def test_help_has_a_short_name(command):
    short, long = (CliRunner().invoke(app, [*command, word]) for word in ("-h", "--help"))
    assert short.exit_code == 0 and short.output == long.output


@pytest.mark.parametrize("command", [["info"], ["train"], ["data", "check"]])
def test_help_breaks_no_line_where_the_source_does(command):
    """A line ends because the next word has no room, or a paragraph does."""
    output = CliRunner().invoke(app, [*command, "--help"]).output
    lines = [line.strip() for line in output.split("╭")[0].splitlines()]
    for line, following in itertools.pairwise(lines):
        if line and following:
            assert len(line) + 1 + len(following.split()[0]) > 78, line


def test_help_keeps_the_lines_of_what_is_a_table():
    assert "X_mask.qml   its colours" in CliRunner().invoke(app, ["mask", "--help"]).output
