"""The benchmark of prompt learning runs and compares."""

import json
import re
import runpy
from pathlib import Path
from typing import Callable

import torch

TOOL = Path(__file__).parents[2] / 'tools/benchmarks/prompt_learning.py'


def test_small(tmp_path: Path, run_tool: Callable) -> None:
    categories = tmp_path / 'categories.json'
    categories.write_text(
        json.dumps(
            [
                dict(name=name, frequency=frequency)
                for name, frequency in (
                    ('bow_(weapon)', 'f'),
                    ('pug-dog', 'r'),
                    ('red_fox', 'c'),
                )
            ]
        )
    )
    done = run_tool(TOOL, '--quick', '--categories', categories)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result['names'] == 2  # a rare one is none
    assert result['speedup'] > 0
    assert 0 < result['max_grad_diff'] < 1e-5


def test_both_ways_are_measured_alike() -> None:
    """Each is run once more than it is timed, and has one gradient."""
    measure = runpy.run_path(str(TOOL))['measure']
    context = torch.nn.Parameter(torch.zeros(1))
    times = []

    def job() -> None:
        times.append(context.grad)  # none of an earlier step
        (context * len(times)).backward()

    seconds, grad = measure(job, context, 3)
    assert times == [None] * 4
    assert seconds > 0 and grad.tolist() == [4]
    text = TOOL.read_text()
    assert text.count('measure(') == 3  # its definition, and both ways
    assert len(re.findall(r'context,\s+args.repeats,?\s*\)', text)) == 2


def test_bad_number(run_tool: Callable) -> None:
    done = run_tool(TOOL, '--names', '0')
    assert done.returncode == 2 and '--names must be positive' in done.stderr
