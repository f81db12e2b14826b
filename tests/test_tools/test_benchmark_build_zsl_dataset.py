"""The benchmark of the splitter runs, compares and cleans up."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Callable

import pytest

TOOL = Path(__file__).parents[2] / 'tools/benchmarks/build_zsl_dataset.py'

pytestmark = pytest.mark.skipif(
    not Path('/proc/self/status').is_file(), reason='memory is read of Linux'
)


def test_small(tmp_path: Path) -> None:
    """Both ways agree (else it raises), the last line is JSON."""
    done = subprocess.run(
        [
            sys.executable,
            str(TOOL),
            '--scale',
            '0.002',
            '--folder',
            str(tmp_path),
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    result = json.loads(done.stdout.splitlines()[-1])
    assert result['speedup'] > 0
    assert result['peak_over_file'] == pytest.approx(
        result['ours_peak_bytes'] / result['file_bytes'], abs=0.001
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('scale', ['0', '2', '-1'])
def test_bad_scale(scale: str, run_tool: Callable) -> None:
    done = run_tool(TOOL, f'--scale={scale}')
    assert done.returncode == 2 and 'must be in (0, 1]' in done.stderr
