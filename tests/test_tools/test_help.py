"""Every tool explains itself."""

import re
from pathlib import Path
from typing import Callable

import pytest

TOOLS = Path(__file__).parents[2] / 'tools'
# Called by torchrun.sh and by benchmarks/faults.py, not by people.
INNER = ['torchrun.py', 'benchmarks/resumable_job.py']
NAMES = sorted(
    str(path.relative_to(TOOLS))
    for path in TOOLS.rglob('*.py')
    if "if __name__ == '__main__':" in path.read_text()
)


@pytest.mark.parametrize('tool', [n for n in NAMES if n not in INNER])
def test_help_has_an_example(tool: str, run_tool: Callable) -> None:
    """-h ends with a command of this tool."""
    done = run_tool(tool, '-h')
    assert done.returncode == 0
    example = re.split('examples?:', done.stdout)[-1]
    assert f'python tools/{tool}' in ' '.join(example.split()), done.stdout


def test_the_inner_ones_are_there() -> None:
    assert set(INNER) < set(NAMES)
