"""Workers that leave it to their main process when to end."""

import os
import signal
import threading
from types import FrameType
from typing import Optional

from mmengine.registry import FUNCTIONS

PATIENCE_S = 60.0


@FUNCTIONS.register_module()
def patient_worker(worker_id: int) -> None:
    """Have a data loader's worker go on when the job is told to end.

    Ctrl-C and schedulers tell all processes of a job. A worker that died of
    it would take the batch along that its main process waits for, to finish
    the iteration and to save. Its main process ends it, or has done so by
    dying; a worker that hangs ends itself a minute after it was told.

    Args:
        worker_id (int): Given by torch.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end_later)


def _end_later(signum: int, frame: Optional[FrameType]) -> None:
    timer = threading.Timer(PATIENCE_S, os._exit, (128 + signum,))
    timer.daemon = True
    timer.start()
