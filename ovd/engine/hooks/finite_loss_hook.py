"""A loss that is not finite ends the run before it spoils the weights kept."""

import json
import math
from pathlib import Path
from typing import Any, Dict, List, Optional

import torch
import torch.distributed as dist
from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ovd.artifacts.files import atomic_write


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Stop at a loss that is NaN or infinite, and keep the batch's names.

    With automatic mixed precision in float16 single infinite losses belong
    to the search for the scale; there the run stops only when ``patience``
    iterations in a row have one.

    Args:
        patience (int): Iterations in a row under a loss scaler. Defaults to
            20.
    """

    priority = 'ABOVE_NORMAL'  # before a checkpoint is saved

    def __init__(self, patience: int = 20) -> None:
        self.patience = patience
        self._in_a_row = 0
        self._group: Optional[dist.ProcessGroup] = None

    def before_train(self, runner: Runner) -> None:
        """Make a group to ask the other processes in, on the CPU."""
        if dist.is_initialized():
            self._group = dist.new_group(backend='gloo')

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Optional[Dict[str, Any]] = None,
    ) -> None:
        """Look at the losses.

        Raises:
            ValueError: If one is not finite, with the file that names them
                and the images.
        """
        losses = {
            name: value.detach()
            for name, value in (outputs or {}).items()
            if isinstance(value, torch.Tensor) and value.numel() == 1
        }
        is_bad = (
            bool(losses)
            and not torch.isfinite(
                torch.stack([v.float() for v in losses.values()])
            ).all()
        )
        if not self._is_bad_anywhere(is_bad):
            self._in_a_row = 0
            return
        self._in_a_row += 1
        scaler = getattr(runner.optim_wrapper, 'loss_scaler', None)
        if scaler is not None and self._in_a_row < self.patience:
            return
        if not is_bad:
            raise ValueError(
                f'training stops at iteration {runner.iter + 1}: a loss of '
                'another process is not finite, and its gradients went to all'
            )
        numbers = {name: value.item() for name, value in losses.items()}
        path = Path(
            runner.work_dir,
            f'bad_batch_iter_{runner.iter + 1}_rank_{runner.rank}.json',
        )
        # JSON has no NaN
        content = dict(
            iteration=runner.iter + 1,
            losses={
                name: value if math.isfinite(value) else str(value)
                for name, value in numbers.items()
            },
            images=image_names(data_batch),
        )
        with atomic_write(path, 'w') as file:
            json.dump(content, file, indent=1)
        bad = ', '.join(
            f'{name} is {value}'
            for name, value in numbers.items()
            if not math.isfinite(value)
        )
        raise ValueError(
            f'training stops at iteration {runner.iter + 1}: {bad}\nthe '
            f'images of the batch and all losses are in {path}; checkpoints '
            'are of before. Look at these images, or lower the learning rate '
            'or optim_wrapper.clip_grad, and go on with --resume'
        )

    def _is_bad_anywhere(self, is_bad: bool) -> bool:
        """Ask the others: gradients of all processes are averaged."""
        if self._group is None:
            return is_bad
        anyone = torch.tensor(int(is_bad))
        dist.all_reduce(anyone, dist.ReduceOp.MAX, self._group)
        return bool(anyone)


def image_names(data_batch: Any) -> List[str]:
    """Return the files of a batch of detection samples."""
    samples = (
        data_batch.get('data_samples', [])
        if isinstance(data_batch, dict)
        else []
    )
    if isinstance(samples, dict):  # several branches
        samples = [s for branch in samples.values() for s in branch]
    return [getattr(sample, 'img_path', '?') for sample in samples]
