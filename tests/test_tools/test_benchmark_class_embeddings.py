"""The benchmark of class embeddings runs and compares."""

import json
from pathlib import Path
from typing import Callable

TOOL = Path(__file__).parents[2] / 'tools/benchmarks/class_embeddings.py'


def test_small(run_tool: Callable) -> None:
    done = run_tool(
        TOOL, '--names', '6', '--plain-every', '3', '--layers', '2'
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result['speedup'] > 0 and result['speedup_bf16'] > 0
    assert result['max_abs_diff'] < 1e-5
    assert result['min_cosine_bf16'] > 0.9999


def test_bad_number(run_tool: Callable) -> None:
    done = run_tool(TOOL, '--names', '0')
    assert done.returncode == 2 and '--names must be positive' in done.stderr
