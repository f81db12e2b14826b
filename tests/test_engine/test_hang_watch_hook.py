"""A rank that hangs ends the job, and is named."""
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch.distributed as dist

from ovd.engine.hooks import hang_watch_hook
from ovd.engine.hooks.hang_watch_hook import (
    EXIT_CODE,
    HangWatchHook,
    where_is_main_thread,
)

JOB = Path(__file__).parents[2] / 'tools/benchmarks/resumable_job.py'


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
    store.set('1', json.dumps(dict(
        seconds=0., place='b.py:2', waits=True, time=time.time() - 1)))
    hook._began = time.monotonic()
    with pytest.raises(SystemExit):
        hook._watch(store, 0, 2)
    error = capsys.readouterr().err
    assert ': rank 1 has not answered for 1 s, last at b.py:2\n' in error


@pytest.mark.parametrize('how', ['hang_at', 'freeze_at'])
def test_rank_1_hangs(tmp_path: Path, how: str) -> None:
    """In Python, where it still answers; or stopped, where it does not."""
    run = subprocess.run([
        sys.executable, '-m', 'torch.distributed.run', '--standalone',
        '--nproc-per-node', '2', str(JOB), str(tmp_path),
        f'custom_hooks.0.{how}=7', '+default_hooks.hang_watch.timeout=3'
    ], capture_output=True, text=True)
    assert run.returncode != 0
    assert 'no training iteration ended within 3 s: rank 1 ' in run.stderr
    assert ('answered' if how == 'freeze_at' else
            'is at ') in run.stderr
    assert 'rank 0' not in run.stderr.split('within 3 s')[1].split('\n')[0]
    assert f'exitcode  : {EXIT_CODE}' in run.stderr
