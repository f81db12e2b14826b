"""SIGTERM and SIGINT, heard by long work that ends where it can go on."""

import math
import os
import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any, Dict, Optional, Type

from .processes import count_launcher_signals

SIGNALS = (signal.SIGTERM, signal.SIGINT)
# Some programs send one signal to the process that they started and then to
# its group, coreutils' timeout for one. Nobody presses a key so fast.
SAME_SIGNAL_S = 0.1


class StopSignals:
    """Notes a first signal in ``told``; a second one ends the process at once.

    What a scheduler sends to all processes of a job comes once more from the
    launcher, which is no second one.

    Args:
        what (str): What is ended first, such as an iteration.
    """

    def __init__(self, what: str) -> None:
        self.what = what
        self._num_told = 0  # signals that this process was sent
        self._told_at = -math.inf
        self._launcher_before = 0  # signals of the launcher, of earlier
        self._before: Dict[int, Any] = {}

    @property
    def told(self) -> bool:
        """Whether this process was told to end."""
        return self._num_told > 0

    def __enter__(self) -> 'StopSignals':
        self.listen()
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.leave()

    def listen(self) -> None:
        """Begin to listen, in the main thread; others can't."""
        if threading.current_thread() is not threading.main_thread():
            return
        self._launcher_before = count_launcher_signals()
        for signum in SIGNALS:
            if signal.getsignal(signum) is not signal.SIG_IGN:
                self._before[signum] = signal.signal(signum, self._tell)

    def leave(self) -> None:
        """Leave signals to who had them before."""
        for signum, handler in self._before.items():
            signal.signal(signum, handler)
        self._before.clear()

    def _tell(self, signum: int, frame: Optional[FrameType]) -> None:
        now = time.monotonic()
        if now - self._told_at > SAME_SIGNAL_S:
            self._num_told += 1
            self._told_at = now
            if self._num_told == 1:
                # Not by the log: a signal may come while it is written to.
                os.write(
                    2,
                    f'\nending after this {self.what}; a second signal '
                    'ends at once\n'.encode(),
                )
        # Those of the launcher were handed on, and the others came from who
        # may have sent each to the launcher, too.
        handed_on = count_launcher_signals() - self._launcher_before
        if max(handed_on, self._num_told - handed_on) > 1:
            os._exit(128 + signum)
