"""A copy of the tools, and an interpreter of sh that stands in for Python.

It notes its arguments and does what each test needs, so nothing is installed.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

FAKE_PYTHON = r"""#!/bin/sh
# Notes its arguments in $LOG, one call per line; $FAULTY lists the
# interpreters that lack something, $BREAK a part of the call that fails.
case "$*" in
    *ensurepip*) echo "${PROBE:-usable}"; exit ;;
    *check_host*)
        case "$FAULTY" in *"[$0]"*) echo 'it has no mmdet' >&2; exit 1 ;; esac
        exit 0 ;;
    '-c import torch'*) [ -n "$HAS_TORCH" ]; exit ;;
    '-c import mmcv'*) exit 1 ;;
    '-c import cv2') [ -z "$NO_GL" ]; exit ;;
    '-m pip --version') exit ;;
    '-m venv '*)
        for folder; do :; done
        mkdir -p "$folder/bin" && cp "$0" "$folder/bin/python" ;;
esac
{ printf '%s|%s' "${0##*/}" "$PWD"; printf '|%s' "$@"; echo; } >>"$LOG"
if [ -n "$BREAK" ]; then
    case "$*" in *"$BREAK"*) exit 3 ;; esac
fi
for output in $OUTPUTS; do
    case "$*" in *"$output"*) touch "$output" ;; esac
done
"""


class Clone:
    """A checkout in a path with spaces, and a fake interpreter beside it."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / 'a clone'
        self.log = folder / 'calls'
        self.elsewhere = folder / 'some where'
        self.elsewhere.mkdir()
        (self.root / 'ovd').mkdir(parents=True)
        shutil.copytree(ROOT / 'tools', self.root / 'tools')
        shutil.copy(ROOT / 'setup.py', self.root)
        self.python = self.add_python(folder / 'interpreters' / 'python3.11')
        self.variables = dict(
            PATH=os.environ['PATH'],
            LOG=str(self.log),
            PYTHON=str(self.python),
            OVD_PYTHON=str(self.python),
        )

    @staticmethod
    def add_python(path: Path) -> Path:
        path.parent.mkdir(parents=True)
        path.write_text(FAKE_PYTHON)
        path.chmod(0o755)
        return path

    def add_command(self, name: str, script: str) -> None:
        """Put a script on the path of what is run."""
        path = self.log.parent / 'commands' / name
        path.parent.mkdir()
        path.write_text(script)
        path.chmod(0o755)
        self.variables['PATH'] = f'{path.parent}:{self.variables["PATH"]}'

    def run(self, script: str, *args: str, **variables: str):
        """Run a script from another folder; returns the finished process."""
        return subprocess.run(
            ['sh', str(self.root / 'tools' / script), *args],
            cwd=self.elsewhere,
            env={
                **self.variables,
                **{name: str(value) for name, value in variables.items()},
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )

    def calls(self, part: str = ''):
        """The calls of interpreters since the last time, that hold part."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return [line.split('|') for line in lines if part in line]


@pytest.fixture
def clone(tmp_path):
    """A clone that no one has touched."""
    return Clone(tmp_path)
