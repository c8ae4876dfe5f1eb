import subprocess
import sys

import pytest

_BLOCKS = """
import ctypes, resource, sys
import numpy as np
from nubila.train.memory import keep_freed_memory

if sys.argv[1] == "kept":
    assert keep_freed_memory()
def faults():
    for _ in range(5):
        blocks = [np.ones(16 << 20, np.uint8) for _ in range(6)]
        del blocks
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
first = faults()
print(faults() - first)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's own")
def test_blocks_come_back_without_page_faults() -> None:
    counts = {
        how: int(subprocess.check_output([sys.executable, "-c", _BLOCKS, how]))
        for how in ("kept", "given back")
    }
    assert counts["kept"] < 100 < counts["given back"]
