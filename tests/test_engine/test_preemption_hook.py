"""Told to end, a run saves, says how to go on, and exits with 0.

At random moments, and one of two processes:
tests/test_tools/test_benchmark_faults.py.
"""

import os
import signal
from types import SimpleNamespace
from typing import List, Tuple

import pytest
import torch

from ovd.engine import stop_signals
from ovd.engine.hooks.preemption_hook import PreemptionHook


@pytest.mark.parametrize(
    ('events', 'ended'),
    [
        pytest.param([(0, 'sent'), (1, 'sent')], True, id='twice'),
        pytest.param([(0, 'sent'), (0.01, 'sent')], False, id='timeout(1)'),
        pytest.param([(0, 'handed on')], False, id='launcher'),
        pytest.param(
            [(0, 'handed on'), (0.01, 'handed on')], True, id='launcher twice'
        ),
        # As schedulers do, in either order, however late the launcher is
        pytest.param([(0, 'sent'), (0.01, 'handed on')], False, id='all'),
        pytest.param([(0, 'sent'), (5, 'handed on')], False, id='all, late'),
        pytest.param([(0, 'handed on'), (5, 'sent')], False, id='all, early'),
        pytest.param(
            [(0, 'sent'), (1, 'handed on'), (2, 'sent')], True, id='all twice'
        ),
        pytest.param(
            [(0, 'sent'), (0.01, 'handed on'), (0.5, 'handed on')],
            True,
            id='all, then the launcher',
        ),
    ],
)
def test_a_second_signal_ends_at_once(
    monkeypatch: pytest.MonkeyPatch,
    events: List[Tuple[float, str]],
    ended: bool,
) -> None:
    """But not the same one, which came from the launcher, too."""
    codes: List[int] = []
    launcher = [7]  # before this process listened
    monkeypatch.setattr(os, '_exit', codes.append)
    monkeypatch.setattr(
        stop_signals, 'count_launcher_signals', lambda: launcher[0]
    )
    hook = PreemptionHook()
    hook.before_train(None)
    try:
        for seconds, how in events:
            assert not codes
            monkeypatch.setattr(
                stop_signals.time,
                'monotonic',
                lambda now=seconds: 1000.0 + now,
            )
            launcher[0] += how == 'handed on'
            signal.raise_signal(signal.SIGINT)
    finally:
        hook.after_train(None)
    assert codes == [128 + signal.SIGINT] * ended


def test_processes_agree_in_batches_that_all_have(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who has one batch more would wait for the others, who compute metrics.

    That a validation ends: test_due_validation_hook.py.
    """
    asked: List[int] = []

    def all_reduce(value: torch.Tensor, op: object, group: object) -> None:
        if op == torch.distributed.ReduceOp.MIN:
            value.fill_(min(int(value), 2))  # what another one has
        else:
            asked.append(int(value))

    monkeypatch.setattr(torch.distributed, 'all_reduce', all_reduce)
    hook = PreemptionHook()
    hook._group = 'all'
    hook.before_val_epoch(SimpleNamespace(val_dataloader=range(3)))
    for batch_idx in range(3):
        hook.after_val_iter(None, batch_idx)
    assert asked == [0, 0]
