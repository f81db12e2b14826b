"""Told to end, a run saves, says how to go on, and exits with 0.

That it does: tests/test_tools/test_benchmark_faults.py.
"""
import os
import signal

import pytest

from ovd.engine.hooks import preemption_hook
from ovd.engine.hooks.preemption_hook import PreemptionHook


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
