"""Freed memory is kept by the process."""

import subprocess
import sys

import pytest

CODE = """
import resource
import sys
import numpy as np
from ovd.clip.allocator import keep_freed_memory
if sys.argv[1] == 'keep':
    assert keep_freed_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
np.ones(40 << 20, np.uint8)
before = faults()
for _ in range(20):
    np.ones(40 << 20, np.uint8)
print(faults() - before)
"""


@pytest.mark.skipif(
    not sys.platform.startswith('linux'), reason='it is for glibc'
)
def test_pages_are_not_asked_for_again():
    plain, kept = (
        int(
            subprocess.run(
                [sys.executable, '-c', CODE, how],
                check=True,
                capture_output=True,
                text=True,
            ).stdout
        )
        for how in ('plain', 'keep')
    )
    # 40 MiB are 10,240 small pages or 20 huge ones
    assert kept < plain / 10


def test_other_systems_are_left_alone(monkeypatch):
    from ovd.clip import allocator

    monkeypatch.setattr(allocator.sys, 'platform', 'darwin')
    assert allocator.keep_freed_memory() is False
