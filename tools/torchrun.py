"""torchrun that leaves the word to its processes, when and how they end.

Signals are handed on to them, and a job that handles SIGTERM has the time to
save and to exit 0; torchrun itself would kill it after 30 seconds. The exit
code is that of the process that failed first, or 128 and the signal that
killed it.

What a scheduler sends to all processes of a job reaches them twice, once from
here. So that they know, the file that OVD_LAUNCHER_SIGNALS names has one byte
for each signal that came here.
"""

import logging
import os
import signal
import sys
import threading
from functools import partial
from pathlib import Path
from typing import List

from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import main

FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def launch(exit_codes: List[int]) -> None:
    """Run torchrun; append the exit code of the job."""
    try:
        main()
        exit_codes.append(0)
    except SystemExit as end:  # wrong options
        exit_codes.append(end.code)
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        code = failure.exitcode
        how = (
            f'failed with exit code {code}'
            if code > 0
            else f'was killed by {signal.Signals(-code).name}'
        )
        print(
            f'error: the process of rank {rank} {how}; the others were ended',
            file=sys.stderr,
        )
        exit_codes.append(code if code > 0 else 128 - code)


def hand_on(counter: int, signum: int, frame: object) -> None:
    """Send a signal to the processes; without any, end by it."""
    os.write(counter, b'.')  # first: they look when it reaches them
    children = [
        int(pid)
        for path in Path('/proc/self/task').glob('*/children')
        for pid in path.read_text().split()
    ]
    if not children:
        os._exit(128 + signum)
    for pid in children:
        os.kill(pid, signum)


def run() -> int:
    """Return the exit code of the job."""
    os.environ['OVD_LAUNCHER_PID'] = str(os.getpid())
    exit_codes: List[int] = []
    if sys.platform != 'linux':  # children can't be asked for
        launch(exit_codes)
        return exit_codes[0]
    # In memory, so that nothing is left of it, however this process ends.
    counter = os.memfd_create('signals')
    os.environ['OVD_LAUNCHER_SIGNALS'] = f'/proc/{os.getpid()}/fd/{counter}'
    for signum in FORWARDED:
        signal.signal(signum, partial(hand_on, counter))
    # Elsewhere than in the main thread torchrun leaves signals alone. It warns
    # of orphans then, which there are not (ovd.engine.processes), and which
    # process failed is told above.
    logging.getLogger(
        'torch.distributed.elastic.multiprocessing.api'
    ).setLevel(logging.CRITICAL)
    thread = threading.Thread(target=launch, args=(exit_codes,))
    thread.start()
    thread.join()
    return exit_codes[0] if exit_codes else 1


if __name__ == '__main__':
    sys.exit(run())
