import importlib
import pkgutil
import subprocess
import sys

import pytest

import nubila

HEAVY = ("torch", "lightning", "xarray", "dask", "rasterio", "onnxruntime", "pydantic", "numpy")


def loaded_after(statement):
    code = f"import sys; {statement}; print(' '.join(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


def test_import_brings_in_nothing_heavy():
    assert not loaded_after("import nubila") & set(HEAVY)


def test_the_command_line_brings_in_nothing_heavy():
    assert not loaded_after("import nubila.cli") & set(HEAVY)


def test_inference_needs_neither_torch_nor_xarray():
    loaded = loaded_after("import nubila; nubila.predict, nubila.open_scene, nubila.list_models")
    assert not loaded & {"torch", "lightning", "onnx", "xarray", "dask", "pystac", "scipy"}


def modules():
    for module in pkgutil.walk_packages(nubila.__path__, "nubila."):
        yield module.name


@pytest.mark.parametrize("name", list(modules()))
def test_all_is_alphabetical_and_true(name):
    module = importlib.import_module(name)
    names = getattr(module, "__all__", None)
    if names is None:
        assert not [n for n in vars(module) if not n.startswith("_")] or name.endswith("_version")
        return
    assert list(names) == sorted(names, key=lambda n: (not n.isupper(), not n[0].isupper(), n))
    for public in names:
        assert hasattr(module, public), f"{name}.{public}"
