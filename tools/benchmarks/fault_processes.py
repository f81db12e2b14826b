"""Processes forked from one that has imported everything, to be struck."""

import ctypes
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Callable, Dict, List, Optional, Sequence

from ovd.engine.processes import PR_SET_PDEATHSIG
from ovd.user_errors import one_line_errors

LIBC = ctypes.CDLL(None)  # not in the child, where it could deadlock
# No process that is well takes so long; nothing but a failure waits for it.
FOR_EVER_S = 120.0
POLL_S = 0.001


class Child:
    """A forked process that runs a function as a tool would.

    Args:
        work (Callable): What it does; its exit code is that of
            :func:`~ovd.user_errors.one_line_errors`.
        log (Path): Gets its output and errors.
        environment (dict[str, str], optional): Variables to add.
    """

    def __init__(
        self,
        work: Callable[[], None],
        log: Path,
        environment: Optional[Dict[str, str]] = None,
    ) -> None:
        self.log = log
        self._code: Optional[int] = None
        log.parent.mkdir(parents=True, exist_ok=True)
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            os.environ.update(environment or {})
            self._run(work)

    def _run(self, work: Callable[[], None]) -> None:
        code = 1
        try:
            LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            file = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(file, 1)
            os.dup2(file, 2)
            with one_line_errors():
                work()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        except BaseException:  # noqa: BLE001  (what Python would print)
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    @property
    def output(self) -> str:
        return self.log.read_text(errors='replace')

    @property
    def code(self) -> Optional[int]:
        """The exit code, minus the signal it died of; None while it runs."""
        if self._code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._code = os.waitstatus_to_exitcode(status)
        return self._code

    def kill(self) -> None:
        if self.code is None:
            os.kill(self.pid, signal.SIGKILL)
            self.wait()

    def wait(self, seconds: float = FOR_EVER_S) -> int:
        """Return its exit code.

        Raises:
            AssertionError: If it does not end within so many seconds.
        """
        wait_for(lambda: self.code is not None, [self], seconds)
        return self.code


def wait_for(
    condition: Callable[[], bool],
    children: Sequence[Child],
    seconds: float = FOR_EVER_S,
) -> None:
    """Wait until something is so.

    Raises:
        AssertionError: If it is not within so many seconds; the children are
            killed then.
    """
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            for child in children:
                os.kill(child.pid, signal.SIGKILL)
            raise AssertionError(
                f'still not over after {seconds:g} s:\n'
                + '\n'.join(child.output for child in children)
            )
        time.sleep(POLL_S)


def wait_for_group(children: List[Child], seconds: float) -> List[int]:
    """Return the exit codes of the ranks of a job.

    As a launcher does, kill the others as soon as one has failed.

    Raises:
        AssertionError: If no rank ends by itself within so many seconds.
    """

    def is_over() -> bool:
        codes = [child.code for child in children]
        return any(codes) or None not in codes

    wait_for(is_over, children, seconds)
    for child in children:
        child.kill()
    return [child.code for child in children]
