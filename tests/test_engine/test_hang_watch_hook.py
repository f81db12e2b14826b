"""A rank that hangs ends the job, and is named."""
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ovd.engine.hooks.hang_watch_hook import EXIT_CODE, where_is_main_thread

JOB = Path(__file__).parents[2] / 'tools/benchmarks/resumable_job.py'


def test_where_the_main_thread_is() -> None:
    found = []
    thread = threading.Thread(
        target=lambda: found.append(where_is_main_thread()))
    thread.start()
    thread.join()
    (place, waits), = found
    assert 'threading.py' in place and not waits


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
    assert ('has not answered' if how == 'freeze_at' else
            'is at ') in run.stderr
    assert 'rank 0' not in run.stderr.split('within 3 s')[1].split('\n')[0]
    assert f'exitcode  : {EXIT_CODE}' in run.stderr
