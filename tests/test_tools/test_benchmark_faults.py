"""The benchmark of faults finds none, and would find them."""

import json
import subprocess
import sys
from pathlib import Path
from typing import List

import pytest

FOLDER = Path(__file__).parents[2] / 'tools/benchmarks'
# Those that break without the parts that are taken out below
ALONE = [
    'in a checkpoint',
    'SIGINT',
    'disk',
    'checkpoint',
    'shard',
    'image',
    'loss',
    'pickle',
]
# Run once as it is, and once with what most kinds of faults are about broken
TWICE = """
import sys
import faults
import torch
from pathlib import Path
import ovd.apis.run_embedding_store as stores
from ovd.engine.atomic_local_backend import AtomicLocalBackend
from ovd.engine.hooks.preemption_hook import PreemptionHook
from ovd.engine.hooks.finite_loss_hook import FiniteLossHook
from ovd.engine.hooks.exact_resume_hook import ExactResumeHook

def run():
    try:
        faults.main()
    except SystemExit as end:
        print('exit code', end.code)

run()
AtomicLocalBackend.put = lambda self, obj, path: Path(path).write_bytes(obj)
stores.verify_store = lambda *args: True
load = torch.load
torch.load = lambda *args, **kwargs: load(
    *args, **dict(kwargs, weights_only=False))
PreemptionHook.before_train = lambda self, runner: None
FiniteLossHook.after_train_iter = lambda self, *args, **kwargs: None
ExactResumeHook.before_save_checkpoint = lambda self, *args, **kwargs: None
sys.argv += ['--kinds', *ALONE]
run()
"""
BROKEN = [
    'SIGKILL in a checkpoint',
    'SIGTERM or SIGINT',
    'full disk',
    'checkpoint cut off',
    'damaged shard',
    'NaN or infinite loss',
    'malicious pickle',
]


@pytest.fixture(scope='module')
def lines() -> List[str]:
    """What both runs print."""
    done = subprocess.run(
        [
            sys.executable,
            '-c',
            f'import sys; sys.path[0] = {str(FOLDER)!r}\n'
            f'ALONE = {ALONE}\n' + TWICE,
            '--scale',
            '0.01',
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def test_one_of_each_kind(lines: List[str]) -> None:
    end = lines.index('exit code False')
    *table, last = lines[:end]
    result = json.loads(last)
    assert result['failed'] == 0
    assert result['tried'] == sum(
        kind['tried'] for kind in result['kinds'].values()
    )
    assert len(result['kinds']) == 14
    for name, kind in result['kinds'].items():
        assert kind['tried'] >= 1 and kind['failed'] == 0
        assert any(line.startswith(name) for line in table)


def test_what_is_broken_fails(lines: List[str]) -> None:
    end = lines.index('exit code True')
    result = json.loads(lines[end - 1])
    for name in BROKEN:
        assert result['kinds'][name] == dict(tried=1, failed=1), name
        assert any(line.startswith(f'FAILED {name}, 0: ') for line in lines)
    assert result['kinds']['corrupt image of a store']['failed'] == 0
