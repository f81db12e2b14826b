"""What a process of a distributed job is told, and when it has to end."""

import ctypes
import os
import re
import signal
import sys
from functools import lru_cache

PR_SET_PDEATHSIG = 1  # of linux/prctl.h


def take_slurm_variables() -> None:
    """Give the variables of a task that ``srun`` started torchrun's names.

    ``MASTER_ADDR`` and ``MASTER_PORT`` are kept where they are set. Else the
    first node of the step is asked, on a port that steps on one node are
    unlikely to share.

    Raises:
        ValueError: If this is no such task.
    """
    environ = os.environ
    missing = [
        name
        for name in (
            'SLURM_PROCID',
            'SLURM_NTASKS',
            'SLURM_LOCALID',
            'SLURM_NODELIST',
        )
        if name not in environ
    ]
    if missing:
        raise ValueError(
            '--launcher slurm is for tasks that srun starts, as '
            f'tools/slurm_train.sh has it do; not set: {", ".join(missing)}'
        )
    environ['RANK'] = environ['SLURM_PROCID']
    environ['WORLD_SIZE'] = environ['SLURM_NTASKS']
    environ['LOCAL_RANK'] = environ['SLURM_LOCALID']
    environ.setdefault(
        'MASTER_ADDR',
        _first_node(
            environ.get('SLURM_STEP_NODELIST') or environ['SLURM_NODELIST']
        ),
    )
    step = int(environ.get('SLURM_JOB_ID', 0)) + int(
        environ.get('SLURM_STEP_ID', 0)
    )
    environ.setdefault('MASTER_PORT', str(20000 + step % 10000))


def _first_node(nodes: str) -> str:
    """Return ``rack1-node03`` of ``rack[1-2]-node[03-04,7],login``."""
    return re.sub(r'\[([^],-]+)[^]]*\]', r'\1', nodes).split(',')[0]


def end_with_launcher() -> None:
    """Have Linux kill this process as soon as the one that started it dies.

    Else processes of a torchrun that was killed go on, and wait for each
    other with the memory of their GPUs. Under tools/torchrun.py alone: for
    Linux a parent dies with the thread that started the process, which others
    may end at any time.
    """
    launcher = os.environ.get('OVD_LAUNCHER_PID')  # set by tools/torchrun.py
    if sys.platform != 'linux' or not launcher:
        return
    _end_with_parent(ctypes.CDLL(None))
    if not os.path.exists(f'/proc/{launcher}'):
        sys.exit('the launcher of this process is gone')


def count_launcher_signals() -> int:
    """Return how many signals the launcher of this process was sent.

    0 where it doesn't say, or is gone. A signal handler may call it.
    """
    counter = os.environ.get('OVD_LAUNCHER_SIGNALS')  # of tools/torchrun.py
    try:
        return os.stat(counter).st_size if counter else 0
    except OSError:
        return 0


@lru_cache(maxsize=None)  # hooks can't be taken back: only once
def end_children_with_process() -> None:
    """Have Linux kill the workers that are forked from now on with this one.

    A data loader's worker notices that its process was killed only between
    two batches, and not at all while it waits for its queue to be emptied.
    """
    if sys.platform == 'linux':
        libc = ctypes.CDLL(None)  # not in the child, where it could deadlock
        os.register_at_fork(after_in_child=lambda: _end_with_parent(libc))


def _end_with_parent(libc: ctypes.CDLL) -> None:
    """Ask for SIGKILL as soon as the thread ends that started this process."""
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
