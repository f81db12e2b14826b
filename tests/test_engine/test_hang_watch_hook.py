"""A rank that hangs ends the job, and is named.

In jobs of two: tests/test_tools/test_benchmark_faults.py.
"""

import json
import os
import re
import threading
import time
from types import SimpleNamespace
from typing import Dict, List

import pytest
import torch.distributed as dist

from ovd.engine.hooks import hang_watch_hook
from ovd.engine.hooks.hang_watch_hook import (
    EXIT_CODE,
    HangWatchHook,
    where_is_main_thread,
)


def test_where_the_main_thread_is() -> None:
    found = []
    thread = threading.Thread(
        target=lambda: found.append(where_is_main_thread())
    )
    thread.start()
    thread.join()
    ((place, waits),) = found
    assert 'threading.py' in place and not waits


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> HangWatchHook:
    """One whose process waits for others, and whose end can be caught."""

    def end(code: int) -> None:
        raise SystemExit(code)

    monkeypatch.setattr(os, '_exit', end)
    monkeypatch.setattr(
        hang_watch_hook, 'where_is_main_thread', lambda: ('a.py:1', True)
    )
    return HangWatchHook(timeout=0.01)


def watch(
    hook: HangWatchHook,
    capsys: pytest.CaptureFixture,
    others: Dict[int, dict],
    age: float = 0.0,
) -> str:
    """Return what it ends with, told this by others so many seconds ago."""
    store = dist.HashStore()
    for rank, report in others.items():
        report = dict(dict(number=1, waits=True, seconds=None), **report)
        store.set(str(rank), json.dumps(report))
        hook._heard[rank] = report, time.monotonic() - age
    with pytest.raises(SystemExit) as ended:
        hook._watch(store, 0, len(others) + 1)
    assert ended.value.code == EXIT_CODE
    return capsys.readouterr().err


def test_a_rank_that_was_stopped_while_it_waited(
    quick: HangWatchHook, capsys: pytest.CaptureFixture
) -> None:
    """When the time is over, its last answer is not old yet."""
    quick._began = time.monotonic()
    error = watch(quick, capsys, {1: dict(place='b.py:2')}, age=0.5)
    assert re.search(
        r': rank 1 has not answered for \d+ s, last at b.py:2\n', error
    )


def test_a_rank_that_was_stopped_while_metrics_are_computed(
    quick: HangWatchHook, capsys: pytest.CaptureFixture
) -> None:
    """Nobody is in an iteration, but no news come from one."""
    assert quick._began is None
    quick.timeout = 0.3
    error = watch(quick, capsys, {1: dict(place='b.py:2')}, age=0.25)
    assert 'within 0.3 s: rank 1 has not answered for 0 s, last at b' in error


def test_a_store_that_does_not_answer(
    quick: HangWatchHook,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its calls wait for ever where rank 0 has it and was stopped."""
    monkeypatch.setattr(hang_watch_hook, 'OTHERS_S', 0.05)
    asked, answers = threading.Event(), threading.Event()

    class Stopped(dist.HashStore):
        def set(self, key: str, value: str) -> None:
            asked.set()
            answers.wait()

    watching = threading.Thread(
        target=quick._watch, args=(Stopped(), 1, 2), daemon=True
    )
    watching.start()
    assert asked.wait(10)
    with pytest.raises(SystemExit) as ended:
        quick._watch_store()
    assert ended.value.code == EXIT_CODE
    assert 'has not answered for 0.06 s: rank 0' in capsys.readouterr().err
    quick._ended.set()
    answers.set()
    watching.join()
    quick._watch_store()  # ends with the run


def test_others_of_an_evaluation_are_not_named(
    quick: HangWatchHook, capsys: pytest.CaptureFixture
) -> None:
    """They don't wait, but their iterations end, or are over."""
    quick._began = time.monotonic()
    error = watch(
        quick,
        capsys,
        {
            1: dict(place='b.py:2', waits=False, seconds=0.001),
            2: dict(place='c.py:3', waits=False, seconds=9.0),
            3: dict(place='d.py:4', waits=True),
        },
    )
    assert 'within 0.01 s: rank 2 is at c.py:3\n' in error


def test_it_speaks_before_nccl() -> None:
    """Which names no rank; those that wait for who tells do so, too."""
    assert (
        HangWatchHook().timeout + hang_watch_hook.OTHERS_S
        < dist.constants.default_pg_nccl_timeout.total_seconds()
    )


@pytest.mark.parametrize('mode', ['val', 'test'])
def test_iterations_of_an_evaluation_are_watched(mode: str) -> None:
    """But not what comes before the first and behind the last one."""
    hook = HangWatchHook()
    runner = SimpleNamespace(**{f'{mode}_dataloader': range(2)})
    seen: List[bool] = []
    for event in [
        f'before_{mode}_epoch',
        f'before_{mode}_iter',
        f'after_{mode}_iter',
        f'before_{mode}_iter',
        f'after_{mode}_iter',
        f'after_{mode}_epoch',
    ]:
        options = {}
        if 'iter' in event:
            options['batch_idx'] = int(len(seen) > 2)
        getattr(hook, event)(runner, **options)
        seen.append(hook._began is not None)
    assert seen == [False, True, True, True, False, False]


def test_training_is_watched_between_its_iterations() -> None:
    hook = HangWatchHook()
    hook.before_train_epoch(None)
    assert hook._began is None
    hook.before_train_iter(None, 0)
    hook.after_train_iter(None, 0)
    hook.after_train_epoch(None)
    hook.before_train_epoch(None)
    assert hook._began is not None
    hook.after_train(None)
    assert hook._began is None


def test_it_watches_any_job_of_several_processes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Tests and validations, too."""
    store = dist.HashStore()
    monkeypatch.setattr(dist, 'is_initialized', lambda: True)
    monkeypatch.setattr(
        dist.distributed_c10d, '_get_default_store', lambda: store
    )
    hook, watched = HangWatchHook(), threading.Event()
    monkeypatch.setattr(
        hook,
        '_watch',
        lambda store, rank, world_size: (
            (rank, world_size) == (1, 2) and watched.set()
        ),
    )
    hook.before_run(SimpleNamespace(world_size=1, rank=0))
    assert not watched.is_set()
    hook.before_run(SimpleNamespace(world_size=2, rank=1))
    assert watched.wait(10)
    hook.after_run(None)
    assert hook._ended.is_set()
