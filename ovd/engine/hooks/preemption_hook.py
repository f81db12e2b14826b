"""Told to end, a run saves where it is and says how to go on."""

import math
import os
import signal
import sys
import threading
import time
from types import FrameType
from typing import Any, Dict, Optional

import torch
import torch.distributed as dist
from mmdet.registry import HOOKS
from mmengine.hooks import EMAHook, Hook
from mmengine.runner import Runner

from ..command_line import command_to_resume
from ..processes import count_launcher_signals
from .atomic_checkpoint_hook import AtomicCheckpointHook

SIGNALS = (signal.SIGTERM, signal.SIGINT)
# Some programs send one signal to the process that they started and then to
# its group, coreutils' timeout for one. Nobody presses a key so fast.
SAME_SIGNAL_S = 0.1


@HOOKS.register_module()
class PreemptionHook(Hook):
    """End on SIGTERM or SIGINT after the iteration, saved, with exit code 0.

    That is one of training, or of its validation. All processes end after the
    same iteration, whichever was told. A second signal ends a process at
    once. What a scheduler sends to all processes of a job comes once more
    from the launcher, which is no second one.
    """

    priority = 'LOWEST'  # what other hooks save after an iteration is saved

    def __init__(self) -> None:
        self._num_told = 0  # signals that this process was sent
        self._told_at = -math.inf
        self._launcher_before = 0  # signals of the launcher, of earlier
        self._before: Dict[int, Any] = {}
        self._group: Optional[dist.ProcessGroup] = None
        self._num_val_iters = 0  # that all processes have

    def before_train(self, runner: Runner) -> None:
        """Begin to listen."""
        if dist.is_initialized():
            # Of its own, on the CPU: asking costs no wait for a GPU.
            self._group = dist.new_group(backend='gloo')
        if threading.current_thread() is not threading.main_thread():
            return  # others can't listen
        self._launcher_before = count_launcher_signals()
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
        if now - self._told_at > SAME_SIGNAL_S:
            self._num_told += 1
            self._told_at = now
            if self._num_told == 1:
                # Not by the log: a signal may come while it is written to.
                os.write(
                    2,
                    b'\nending after this iteration; a second signal '
                    b'ends at once\n',
                )
        # Those of the launcher were handed on, and the others came from who
        # may have sent each to the launcher, too.
        handed_on = count_launcher_signals() - self._launcher_before
        if max(handed_on, self._num_told - handed_on) > 1:
            os._exit(128 + signum)

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: object = None,
        outputs: Optional[dict] = None,
    ) -> None:
        """Save and end, if any process was told to."""
        if self._is_anyone_told():
            self._end(runner, runner.iter + 1)

    def before_val_epoch(self, runner: Runner) -> None:
        """Find out how many batches all processes have."""
        number = torch.tensor(len(runner.val_dataloader))
        if self._group is not None:
            dist.all_reduce(number, dist.ReduceOp.MIN, self._group)
        self._num_val_iters = int(number)

    def after_val_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: object = None,
        outputs: object = None,
    ) -> None:
        """Likewise; the validation is run anew on resuming.

        Metrics are computed to their end. What they have led to, such as a
        best checkpoint, is there when the next iteration has ended.
        """
        if batch_idx >= self._num_val_iters or not self._is_anyone_told():
            return
        for hook in runner.hooks:
            if isinstance(hook, EMAHook):  # the model has its weights now
                hook.after_val_epoch(runner)
        self._end(runner, runner.iter)

    def _end(self, runner: Runner, num_iters: int) -> None:
        """Save what so many iterations have led to, and end."""
        hook = next(
            (h for h in runner.hooks if isinstance(h, AtomicCheckpointHook)),
            None,
        )
        if hook is None:
            runner.logger.warning(
                'ended by a signal; nothing is saved, as '
                'the config has no AtomicCheckpointHook'
            )
        else:
            path = hook.save_now(runner, num_iters)
            runner.logger.warning(
                f'ended by a signal after iteration {num_iters}, saved '
                f'in {path}\ngo on with:\n  {command_to_resume()}'
            )
        if dist.is_initialized():
            dist.barrier(self._group)  # until the file is whole
            dist.destroy_process_group()
        sys.exit(0)

    def _is_anyone_told(self) -> bool:
        told = self._num_told > 0
        if self._group is None:
            return told
        anyone = torch.tensor(int(told))
        dist.all_reduce(anyone, dist.ReduceOp.MAX, self._group)
        return bool(anyone)
