"""A rank that hangs ends the job, and is named.

In jobs of two: tests/test_tools/test_benchmark_faults.py.
"""
import json
import os
import re
import threading
import time

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
        target=lambda: found.append(where_is_main_thread()))
    thread.start()
    thread.join()
    (place, waits), = found
    assert 'threading.py' in place and not waits


def test_a_rank_that_was_stopped_while_it_waited(
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture) -> None:
    """When the time is over, its last answer is not old yet."""
    def end(code: int) -> None:
        raise SystemExit(code)

    monkeypatch.setattr(os, '_exit', end)
    monkeypatch.setattr(hang_watch_hook, 'where_is_main_thread',
                        lambda: ('a.py:1', True))
    store, hook = dist.HashStore(), HangWatchHook(timeout=0.01)
    last = dict(number=1, place='b.py:2', waits=True)
    store.set('1', json.dumps(last))
    hook._heard[1] = last, time.monotonic() - 0.5
    hook._began = time.monotonic()
    with pytest.raises(SystemExit) as ended:
        hook._watch(store, 0, 2)
    assert ended.value.code == EXIT_CODE
    error = capsys.readouterr().err
    assert re.search(
        r': rank 1 has not answered for \d+ s, last at b.py:2\n', error)
