import errno
import os
import signal
import stat
import subprocess
import sys
import textwrap
import time

import pytest

from nubila.errors import OutputError
from nubila.raster.atomic import atomic_path, check_folder, make_folder, new_folder


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def test_the_final_name_appears_only_when_whole(tmp_path):
    final = tmp_path / "mask.tif"
    with atomic_path(final) as path:
        path.write_text("half")
        assert path.parent == tmp_path and path.suffix == ".tif"
        assert not final.exists()
        path.write_text("whole")
    assert final.read_text() == "whole"
    assert names(tmp_path) == ["mask.tif"]


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, failure):
    final = tmp_path / "mask.tif"
    final.write_text("old")
    with pytest.raises(failure), atomic_path(final) as path:
        path.write_text("half")
        path.with_name(path.name + ".aux.xml").write_text("GDAL's")
        raise failure
    assert final.read_text() == "old"
    assert names(tmp_path) == ["mask.tif"]


def test_a_full_disk_is_an_output_error_that_names_the_file(tmp_path):
    final = tmp_path / "mask.tif"
    with pytest.raises(OutputError, match=r"mask\.tif.*disk is full.*free"), atomic_path(final):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert names(tmp_path) == []


def test_a_real_limit_on_the_size_of_files(tmp_path):
    script = """
        import resource, sys
        from nubila.errors import OutputError
        from nubila.raster.atomic import atomic_path
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            with atomic_path(sys.argv[1]) as path:
                path.write_bytes(bytes(5000))
        except OutputError as error:
            print(error)
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path / "mask.tif")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "larger than" in done.stdout
    assert names(tmp_path) == []


def test_a_missing_folder_is_an_output_error(tmp_path):
    with pytest.raises(OutputError, match="none"), atomic_path(tmp_path / "none" / "x.txt") as path:
        path.write_text("x")


def test_an_error_of_reading_something_else_stays_what_it_is(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "mask.tif"):
        open(tmp_path / "input.tif")  # noqa: PTH123, SIM115 (must fail)


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path):
    final = tmp_path / "mask.tif"
    script = """
        import sys, time
        from nubila.raster.atomic import atomic_path
        with atomic_path(sys.argv[1]) as path:
            path.write_text("half")
            print("written", flush=True)
            time.sleep(60)
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(final)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "written\n"
        with atomic_path(final) as path:  # the other is alive: its file is left alone
            path.write_text("first")
        assert len(names(tmp_path)) == 2
        process.send_signal(signal.SIGKILL)
    assert final.read_text() == "first"
    with atomic_path(final) as path:
        path.write_text("second")
    assert names(tmp_path) == ["mask.tif"]
    assert final.read_text() == "second"


def test_ctrl_c_leaves_nothing(tmp_path):
    script = """
        import sys, time
        from nubila.raster.atomic import atomic_path
        with atomic_path(sys.argv[1]) as path:
            path.write_text("half")
            print("written", flush=True)
            time.sleep(60)
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path / "mask.tif")]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        process.stdout.readline()
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        assert process.wait() != 0
    assert names(tmp_path) == []


def test_make_folder(tmp_path):
    assert make_folder(tmp_path / "a" / "b").is_dir()
    assert names(tmp_path / "a" / "b") == []


def test_a_new_folder_goes_again_if_the_body_fails_and_it_is_empty(tmp_path):
    folder = tmp_path / "a" / "b"
    with pytest.raises(ValueError, match="why"), new_folder(folder):
        raise ValueError("why")
    assert names(tmp_path) == []
    with pytest.raises(ValueError, match="why"), new_folder(folder) as made:
        (made / "kept").touch()
        raise ValueError("why")
    assert names(folder) == ["kept"]
    with new_folder(tmp_path / "c"):
        pass
    assert (tmp_path / "c").is_dir()


def test_check_folder_leaves_nothing(tmp_path):
    check_folder(tmp_path / "a" / "b")
    assert names(tmp_path) == []
    (tmp_path / "file").touch()
    for wrong in (tmp_path / "file", tmp_path / "file" / "folder"):
        with pytest.raises(OutputError):
            check_folder(wrong)


def test_make_folder_refuses_a_file(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="file of this name"):
        make_folder(tmp_path / "file")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_make_folder_refuses_a_read_only_folder(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="permission denied"):
        make_folder(tmp_path)


def test_make_folder_when_the_system_refuses(tmp_path):
    # /proc refuses new files whoever asks, so this holds for root too.
    if not os.path.isdir("/proc/self"):  # noqa: PTH112 (a probe of the platform)
        pytest.skip("no /proc")
    with pytest.raises(OutputError, match="cannot be written"):
        make_folder("/proc/nubila")


def test_what_cannot_be_brought_to_the_disk_is_an_output_error(tmp_path, monkeypatch):
    def fails(_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fails)
    with (
        pytest.raises(OutputError, match="Input/output error"),
        atomic_path(tmp_path / "x") as path,
    ):
        path.write_text("x")
    assert names(tmp_path) == []


def test_a_file_system_that_cannot_flush_folders_will_do(tmp_path, monkeypatch):
    flush = os.fsync

    def fails(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        flush(handle)

    monkeypatch.setattr(os, "fsync", fails)
    with atomic_path(tmp_path / "x") as path:
        path.write_text("x")
    assert names(tmp_path) == ["x"]


@pytest.mark.parametrize("test", [check_folder, make_folder])
def test_a_folder_whose_name_is_not_utf_8_is_told_and_not_made(tmp_path, test):
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    with pytest.raises(OutputError, match=r"caf\\xe9/masks: a name that is not UTF-8"):
        test(folder / "masks")
    assert not list(tmp_path.iterdir())
