"""The benchmark of prompt learning runs and compares."""
import json
import subprocess
import sys
from pathlib import Path
from typing import Callable

TOOL = Path(__file__).parents[2] / 'tools/benchmarks/prompt_learning.py'


def test_small(tmp_path: Path) -> None:
    categories = tmp_path / 'categories.json'
    categories.write_text(json.dumps([
        dict(name=name, frequency=frequency) for name, frequency in
        (('bow_(weapon)', 'f'), ('pug-dog', 'r'), ('red_fox', 'c'))]))
    done = subprocess.run(
        [sys.executable, str(TOOL), '--quick', '--categories',
         str(categories)], check=True, capture_output=True, text=True)
    result = json.loads(done.stdout.splitlines()[-1])
    assert result['names'] == 2  # a rare one is none
    assert result['speedup'] > 0
    assert 0 < result['max_grad_diff'] < 1e-5


def test_bad_number(run_tool: Callable) -> None:
    done = run_tool(TOOL, '--names', '0')
    assert done.returncode == 2 and '--names must be positive' in done.stderr
