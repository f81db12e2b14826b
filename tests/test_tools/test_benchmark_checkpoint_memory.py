"""What a checkpoint takes while it is saved."""

import json
import sys
from pathlib import Path
from typing import Callable

import pytest

TOOL = 'benchmarks/checkpoint_memory.py'
sys.path.append(str(Path(__file__).parents[2] / 'tools/benchmarks'))


@pytest.mark.skipif(sys.platform != 'linux', reason='needs /proc')
def test_one_more_copy_at_most(run_tool: Callable) -> None:
    done = run_tool(TOOL, '--megabytes', '60')
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert 59 < result['checkpoint_mb'] < 61
    assert result['device'] == 'cpu'
    # Less where memory that was used before is used again
    assert result['copies'] < 1.1
