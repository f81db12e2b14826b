"""The whole road in miniature, gone once at reduced size."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Callable

import pytest

ROOT = Path(__file__).parents[2]


@pytest.hookimpl(tryfirst=True)  # before xdist reads the mark
@pytest.fixture(scope='session')
def run_demo() -> Callable[[Path], str]:
    """Function that runs the short demo in a folder; returns its output."""

    def run(folder: Path) -> str:
        # With the interpreter of the tests, whichever that is.
        environment = dict(
            os.environ, OVD_VENV=sys.prefix, CUDA_VISIBLE_DEVICES=''
        )
        done = subprocess.run(
            ['sh', str(ROOT / 'tools/demo.sh'), '--short', str(folder)],
            env=environment,
            cwd='/',
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == 0, done.stdout[-5000:]
        return done.stdout

    return run


@pytest.fixture(scope='session')
def road(
    tmp_path_factory: pytest.TempPathFactory, run_demo: Callable[[Path], str]
) -> Path:
    """Folder, with a space in its path, where the short demo was run."""
    folder = tmp_path_factory.mktemp('road') / 'a folder'
    (folder / 'output.txt').parent.mkdir()
    (folder / 'output.txt').write_text(run_demo(folder))
    return folder
