"""Told to end, a run saves, says how to go on, and exits with 0."""
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ovd.engine.hooks import preemption_hook
from ovd.engine.hooks.preemption_hook import PreemptionHook

JOB = Path(__file__).parents[2] / 'tools/benchmarks/resumable_job.py'


def test_a_second_signal_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = []
    monkeypatch.setattr(os, '_exit', ended.append)
    hook = PreemptionHook()
    hook._tell(signal.SIGINT, None)
    hook._tell(signal.SIGINT, None)  # the same, from the launcher
    assert not ended
    hook._told_at -= preemption_hook.SAME_SIGNAL_S + 1
    hook._tell(signal.SIGINT, None)
    assert ended == [128 + signal.SIGINT]


def test_two_processes_end_together(tmp_path: Path) -> None:
    """Rank 1 alone is told, at iteration 12; a checkpoint is every fifth."""
    command = [
        sys.executable, '-m', 'torch.distributed.run', '--standalone',
        '--nproc-per-node', '2', str(JOB), str(tmp_path),
        'train_cfg.max_epochs=8'
    ]
    run = subprocess.run([*command, 'custom_hooks.0.tell_at=11'],
                         capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-3000:]
    assert 'go on with:' in run.stderr + run.stdout
    path = Path((tmp_path / 'last_checkpoint').read_text())
    assert path.name == 'iter_12.pth'
    assert torch.load(path, weights_only=True)['meta']['iter'] == 12
    seen = [(tmp_path / f'seen_{rank}.txt').read_text().splitlines()
            for rank in range(2)]
    assert [len(lines) for lines in seen] == [12, 12]
