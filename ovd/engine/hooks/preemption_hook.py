"""Told to end, a run saves where it is and says how to go on."""
import os
import signal
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Dict, Optional

import torch
import torch.distributed as dist
from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ..command_line import command_to_resume
from .atomic_checkpoint_hook import AtomicCheckpointHook

SIGNALS = (signal.SIGTERM, signal.SIGINT)
# Ctrl-C reaches a process twice, from the terminal and from its launcher.
SAME_SIGNAL_S = 2.0


@HOOKS.register_module()
class PreemptionHook(Hook):
    """End on SIGTERM or SIGINT after the iteration, saved, with exit code 0.

    All processes end after the same iteration, whichever was told. A second
    signal ends a process at once.
    """

    priority = 'LOWEST'  # what other hooks save after an iteration is saved

    def __init__(self) -> None:
        self._signal: Optional[int] = None
        self._told_at = 0.0
        self._before: Dict[int, object] = {}
        self._group = None

    def before_train(self, runner: Runner) -> None:
        """Begin to listen."""
        if dist.is_initialized():
            # Of its own, on the CPU: asking costs no wait for a GPU.
            self._group = dist.new_group(backend='gloo')
        if threading.current_thread() is not threading.main_thread():
            return  # others can't listen
        for signum in SIGNALS:
            if signal.getsignal(signum) is not signal.SIG_IGN:
                self._before[signum] = signal.signal(signum, self._tell)

    def after_train(self, runner: Runner) -> None:
        """Leave signals to who had them before."""
        for signum, handler in self._before.items():
            signal.signal(signum, handler)
        self._before.clear()

    def _tell(self, signum: int, frame: Optional[FrameType]) -> None:
        now = time.monotonic()
        if self._signal is None:
            self._signal, self._told_at = signum, now
            # Not by the log: a signal may come while it is written to.
            os.write(2, b'\nending after this iteration; a second signal '
                     b'ends at once\n')
        elif now - self._told_at > SAME_SIGNAL_S:
            os._exit(128 + signum)

    def after_train_iter(self,
                         runner: Runner,
                         batch_idx: int,
                         data_batch: object = None,
                         outputs: Optional[dict] = None) -> None:
        """Save and end, if any process was told to."""
        if not self._is_anyone_told():
            return
        hook = next((h for h in runner.hooks
                     if isinstance(h, AtomicCheckpointHook)), None)
        if hook is None:
            runner.logger.warning('ended by a signal; nothing is saved, as '
                                  'the config has no AtomicCheckpointHook')
        else:
            path = Path(hook.last_ckpt or '')
            if path.name != f'iter_{runner.iter + 1}.pth':
                path = Path(hook.save_now(runner))
            runner.logger.warning(
                f'ended by a signal after iteration {runner.iter + 1}, saved '
                f'in {path}\ngo on with:\n  {command_to_resume()}')
        if dist.is_initialized():
            dist.barrier(self._group)  # until the file is whole
            dist.destroy_process_group()
        sys.exit(0)

    def _is_anyone_told(self) -> bool:
        told = self._signal is not None
        if self._group is None:
            return told
        anyone = torch.tensor(int(told))
        dist.all_reduce(anyone, dist.ReduceOp.MAX, self._group)
        return bool(anyone)
