"""How a job under ``tools/torchrun.py`` ends."""

import os
import runpy
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from torch.distributed.elastic.multiprocessing.errors import (
    ChildFailedError,
    ProcessFailure,
)

from ovd.engine import processes

ROOT = Path(__file__).parents[2]
WAIT = """
import os, signal, sys
{first}
os.write(1, b'ready\\n')  # in one piece
while True:
    signal.pause()
"""
TIMEOUT = 120


@pytest.fixture
def start(tmp_path):
    """Return a function that starts two processes of a script."""
    started = []

    def start(script):
        (tmp_path / 'job.py').write_text(script)
        process = subprocess.Popen(
            [
                sys.executable,
                str(ROOT / 'tools/torchrun.py'),
                '--standalone',
                '--nproc-per-node',
                '2',
                '--',
                str(tmp_path / 'job.py'),
            ],
            env=dict(os.environ, PYTHONPATH=str(ROOT)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()


def test_the_job_fails_as_the_first_process_did(start):
    """The other one is ended; the message is one line, with the rank."""
    job = start(
        WAIT.format(
            first="""
if os.environ['RANK'] == '1':
    os.kill(os.getpid(), signal.SIGKILL)"""
        )
    )
    _, errors = job.communicate(timeout=TIMEOUT)
    assert job.returncode == 128 + signal.SIGKILL
    assert 'error: the process of rank 1 was killed by SIGKILL' in errors
    assert 'Traceback' not in errors and 'orphan' not in errors


def test_exit_code_of_an_error(monkeypatch, capsys):
    """That of wrong arguments, for instance."""

    def fail():
        raise ChildFailedError(
            'train.py',
            {5: ProcessFailure(1, pid=1, exitcode=3, error_file='none')},
        )

    torchrun = runpy.run_path(str(ROOT / 'tools/torchrun.py'))
    monkeypatch.setitem(torchrun['launch'].__globals__, 'main', fail)
    exit_codes = []
    torchrun['launch'](exit_codes)
    assert exit_codes == [3]
    assert 'rank 5 failed with exit code 3' in capsys.readouterr().err


def test_sigterm_is_left_to_the_processes(start):
    """They may save and end well, and so does the job.

    They know how many signals came from the launcher, which hands on each,
    and that a terminal's Ctrl-C comes from there alone.
    """
    job = start(
        WAIT.format(
            first=f"""
import runpy
module = runpy.run_path({str(ROOT / 'ovd/engine/processes.py')!r})
assert os.getsid(0) != os.getsid(os.getppid())
def save(signum, frame):
    number = module['count_launcher_signals']()
    os.write(1, f'{{signal.Signals(signum).name}} {{number}}\\n'.encode())
    if signum == signal.SIGTERM:
        sys.exit()
signal.signal(signal.SIGINT, save)
signal.signal(signal.SIGTERM, save)"""
        )
    )
    assert [job.stdout.readline() for _ in range(2)] == ['ready\n'] * 2
    job.send_signal(signal.SIGINT)
    assert [job.stdout.readline() for _ in range(2)] == ['SIGINT 1\n'] * 2
    job.terminate()
    output, errors = job.communicate(timeout=TIMEOUT)
    assert job.returncode == 0, errors
    assert output == 'SIGTERM 2\n' * 2


def test_processes_end_with_a_launcher_that_was_killed(start):
    """Else they would hold their GPUs, and their workers the memory."""
    job = start(
        WAIT.format(
            first=f"""
import runpy
module = runpy.run_path({str(ROOT / 'ovd/engine/processes.py')!r})
module['end_with_launcher']()
module['end_children_with_process']()
os.fork()"""
        )
    )
    assert [job.stdout.readline() for _ in range(4)] == ['ready\n'] * 4
    job.kill()
    # The end of the output comes when the last process is gone.
    job.communicate(timeout=TIMEOUT)
    assert job.returncode == -signal.SIGKILL


def test_only_our_launcher_takes_its_processes_along(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another one may start them in a thread that ends at once."""
    asked = []
    monkeypatch.setattr(processes, '_end_with_parent', asked.append)
    monkeypatch.delenv('OVD_LAUNCHER_PID', raising=False)
    processes.end_with_launcher()
    assert not asked
    monkeypatch.setenv('OVD_LAUNCHER_PID', str(os.getpid()))
    processes.end_with_launcher()
    assert len(asked) == 1
