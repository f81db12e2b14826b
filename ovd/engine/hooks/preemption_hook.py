"""Told to end, a run saves where it is and says how to go on."""

import sys
from typing import Optional

import torch
import torch.distributed as dist
from mmdet.registry import HOOKS
from mmengine.hooks import EMAHook, Hook
from mmengine.runner import Runner

from ..command_line import command_to_resume
from ..stop_signals import StopSignals
from .atomic_checkpoint_hook import AtomicCheckpointHook


@HOOKS.register_module()
class PreemptionHook(Hook):
    """End on SIGTERM or SIGINT after the iteration, saved, with exit code 0.

    That is one of training, or of its validation. All processes end after the
    same iteration, whichever was told. A second signal ends a process at
    once: :class:`~ovd.engine.stop_signals.StopSignals`.
    """

    priority = 'LOWEST'  # what other hooks save after an iteration is saved

    def __init__(self) -> None:
        self._signals = StopSignals('iteration')
        self._group: Optional[dist.ProcessGroup] = None
        self._num_val_iters = 0  # that all processes have

    def before_train(self, runner: Runner) -> None:
        """Begin to listen."""
        if dist.is_initialized():
            # Of its own, on the CPU: asking costs no wait for a GPU.
            self._group = dist.new_group(backend='gloo')
        self._signals.listen()

    def after_train(self, runner: Runner) -> None:
        """Leave signals to who had them before."""
        self._signals.leave()

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
        told = self._signals.told
        if self._group is None:
            return told
        anyone = torch.tensor(int(told))
        dist.all_reduce(anyone, dist.ReduceOp.MAX, self._group)
        return bool(anyone)
