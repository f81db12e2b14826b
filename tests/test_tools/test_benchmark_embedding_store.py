"""The benchmark of the store of embeddings runs, compares and cleans up."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Callable

import pytest

TOOL = Path(__file__).parents[2] / 'tools/benchmarks/embedding_store.py'


def test_small(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            str(TOOL),
            '--shards',
            '2',
            '--images',
            '4',
            '--boxes',
            '50',
            '--reads',
            '8',
            '--many-images',
            '5000',
            '--folder',
            str(tmp_path),
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    result = json.loads(done.stdout.splitlines()[-1])
    assert result.keys() == {
        'read_over_mmap',
        'bytes_over_payload',
        'int8_min_cosine',
        'open_seconds',
        'coverage_seconds',
        'poll_seconds',
    }
    assert result['read_over_mmap'] > 0
    # The manifest weighs more in a small store
    assert 1 < result['bytes_over_payload'] < 1.03
    assert 0.999 < result['int8_min_cosine'] < 1
    assert min(result['open_seconds'], result['coverage_seconds']) > 0
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('option', ['shards', 'many-images'])
def test_bad_number(option: str, run_tool: Callable) -> None:
    done = run_tool(TOOL, f'--{option}', '0')
    assert done.returncode == 2
    assert f'--{option} must be positive' in done.stderr
