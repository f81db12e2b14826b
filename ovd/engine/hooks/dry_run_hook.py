"""Stop each loop after two batches, and foretell the whole job."""

import resource
import sys
import time
from datetime import timedelta
from itertools import islice
from typing import Any, Dict, Iterator, Optional

import torch
from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner

NUM_BATCHES = 2


def peak_memory() -> str:
    """Return the most memory that this process used, as text."""
    if torch.cuda.is_available():
        return (
            f'{torch.cuda.max_memory_allocated() / 1e9:.2f} GB of GPU '
            'memory at the peak'
        )
    unit = 1 if sys.platform == 'darwin' else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return f'{peak / 1e9:.2f} GB of memory at the peak'


class _FirstBatches:
    """Stands in for a data loader and gives its first batches alone.

    Args:
        dataloader (DataLoader): Has all else that is asked for.
        world_size (int, optional): Of a loop that tells its metrics how many
            images there are; None for training.
    """

    def __init__(
        self, dataloader: Any, world_size: Optional[int] = None
    ) -> None:
        self.whole = dataloader
        if world_size is not None:
            batches = islice(dataloader.batch_sampler, NUM_BATCHES)
            # Only its length is asked for.
            self.dataset = range(
                min(
                    len(dataloader.dataset),
                    world_size * sum(map(len, batches)),
                )
            )

    def __getattr__(self, name: str) -> Any:
        return getattr(self.whole, name)

    def __len__(self) -> int:
        return len(self.whole)

    def __iter__(self) -> Iterator[Any]:
        return islice(self.whole, NUM_BATCHES)


@HOOKS.register_module()
class DryRunHook(Hook):
    """Stop each loop after two batches; note what the second one took.

    The validation that training has from time to time comes right after its
    two iterations. See :func:`ovd.engine.dry_run.dry_run`.
    """

    priority = 'LOWEST'

    def __init__(self) -> None:
        self.seconds: Dict[str, float] = {}
        self.memory: Dict[str, str] = {}
        self.num_iters = self.num_vals = 0  # of the whole job
        self._since, self._last_iter = 0.0, 0

    def before_train(self, runner: Runner) -> None:
        """Count what the whole job has to do, then have it validate early."""
        loop = runner.train_loop
        self.num_iters = loop.max_iters - loop.iter
        by_epoch = isinstance(loop, EpochBasedTrainLoop)
        first, last = (
            (loop.epoch, loop.max_epochs)
            if by_epoch
            else (loop.iter, loop.max_iters)
        )
        if runner.val_loop is not None:
            self.num_vals = sum(
                step >= loop.val_begin
                and (step % loop.val_interval == 0 or step == last)
                for step in range(first + 1, last + 1)
            )
        loop.val_begin = first + (1 if by_epoch else NUM_BATCHES)
        loop.dynamic_milestones, loop.dynamic_intervals = [0], [1]

    def before_train_epoch(self, runner: Runner) -> None:
        """Give two batches, if the loop asks for those of an epoch."""
        loop = runner.train_loop
        self._last_iter = loop.iter + NUM_BATCHES - 1
        if isinstance(loop, EpochBasedTrainLoop):
            loop.dataloader = _FirstBatches(loop.dataloader)
        self._begin()

    def after_train_iter(
        self, runner: Runner, *args: Any, **kwargs: Any
    ) -> None:
        """Stop after the second one."""
        self._note('train')
        if runner.iter >= self._last_iter:
            runner.train_loop.stop_training = True

    def before_val_epoch(self, runner: Runner) -> None:
        """Give two batches."""
        self._shorten(runner.val_loop, runner)

    def after_val_iter(
        self, runner: Runner, *args: Any, **kwargs: Any
    ) -> None:
        """Note what it took."""
        self._note('val')

    def after_val_epoch(
        self, runner: Runner, *args: Any, **kwargs: Any
    ) -> None:
        """Give all batches back to the other hooks."""
        runner.val_loop.dataloader = runner.val_loop.dataloader.whole

    def before_test_epoch(self, runner: Runner) -> None:
        """Give two batches."""
        self._shorten(runner.test_loop, runner)

    def after_test_iter(
        self, runner: Runner, *args: Any, **kwargs: Any
    ) -> None:
        """Note what it took."""
        self._note('test')

    def after_test_epoch(
        self, runner: Runner, *args: Any, **kwargs: Any
    ) -> None:
        """Give all batches back to the other hooks."""
        runner.test_loop.dataloader = runner.test_loop.dataloader.whole

    def _shorten(self, loop: Any, runner: Runner) -> None:
        loop.dataloader = _FirstBatches(loop.dataloader, runner.world_size)
        self._begin()

    def _begin(self) -> None:
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        self._since = time.perf_counter()

    def _note(self, part: str) -> None:
        """Note the seconds since the last batch, waiting for data included."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        now = time.perf_counter()
        self.seconds[part], self._since = now - self._since, now
        self.memory[part] = peak_memory()

    def report(self, runner: Runner) -> str:
        """Return what each part took, and what the whole job will take."""
        lines = ['dry run: nothing was kept']
        lines += [
            f'  {part:5}  {self.seconds[part]:.3f} s for the second '
            f'batch, {self.memory[part]}'
            for part in self.seconds
        ]
        if 'train' not in self.seconds:
            return '\n'.join([*lines, 'no iteration is left to do'])
        seconds = self.num_iters * self.seconds['train']
        what = f'{self.num_iters:,} iterations'
        if self.num_vals:
            num_batches = len(runner.val_dataloader)
            seconds += self.num_vals * num_batches * self.seconds['val']
            what += (
                f' and {self.num_vals:,} validation'
                f'{"s" if self.num_vals > 1 else ""} of '
                f'{num_batches:,} batches'
            )
        processes = 'process' if runner.world_size == 1 else 'processes'
        lines.append(
            f'the whole job: {what}, about '
            f'{timedelta(seconds=round(seconds))} with '
            f'{runner.world_size} {processes} like this one'
        )
        return '\n'.join(lines)
