"""Tell how fast a training is, and how long it waits for its data."""

import time
from collections import deque
from typing import Any, Deque, Dict, Iterator, List, Optional

from mmdet.models.roi_heads.base_roi_head import BaseRoIHead
from mmdet.registry import HOOKS
from mmengine.hooks import Hook, IterTimerHook
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle


@HOOKS.register_module()
class ThroughputHook(Hook):
    """Log what a training gets through, beside the host's ``time``.

    Over as many iterations as the log line takes the mean ``time`` of:

    * ``images_per_s``, of all processes, where batches have ``inputs``;
    * ``rois_per_s``, of all processes, where there is a RoI head: RoIs that
      were sampled and classified, in each stage of a cascade; not the boxes
      that are distilled;
    * ``data_wait_share``, ``data_time`` as a part of ``time``. As the host
      measures it, so that what is saved between two iterations counts as
      waiting, too. An evaluation does not: neither as ``data_time`` nor as
      ``time``.

    Other processes are taken to do as much as this one, so that nothing is
    communicated. Checkpoints do not keep these numbers.
    """

    # After the timer, which has the same, and before the logger.
    priority = 'NORMAL'

    def __init__(self) -> None:
        self._num_rois = 0
        self._handles: List[RemovableHandle] = []
        self._window: Deque[Dict[str, float]] = deque()

    def before_train(self, runner: Runner) -> None:
        """Begin to count the RoIs of all box heads."""
        self._window = deque(maxlen=runner.log_processor.window_size)
        self._handles = [
            head.register_forward_pre_hook(self._count_rois)
            for head in _box_heads(runner.model)
        ]

    def _count_rois(self, head: nn.Module, inputs: tuple) -> None:
        """Count the pooled features (R, ...) that a box head is given."""
        bbox_feats: Tensor = inputs[0]
        self._num_rois += len(bbox_feats)

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None
    ) -> None:
        """Forget RoIs of a validation."""
        self._num_rois = 0

    def after_val(self, runner: Runner) -> None:
        """Have the host begin to wait for data now.

        Its own time goes on from the last batch that was evaluated, so that
        to it computing metrics is waiting.
        """
        for hook in runner.hooks:
            if isinstance(hook, IterTimerHook):
                hook.t = time.time()

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Optional[dict] = None,
    ) -> None:
        """Log the throughput of the last iterations."""
        hub = runner.message_hub
        if 'train/time' not in hub.log_scalars:  # a config without timer
            return
        done = dict(seconds=hub.get_scalar('train/time').current())
        if isinstance(data_batch, dict) and 'inputs' in data_batch:
            done['images_per_s'] = (
                len(data_batch['inputs']) * runner.world_size
            )
        if self._handles:
            done['rois_per_s'] = self._num_rois * runner.world_size
        done['data_wait_share'] = hub.get_scalar('train/data_time').current()
        self._window.append(done)
        totals = {
            name: sum(item.get(name, 0) for item in self._window)
            for name in done
        }
        seconds = max(totals.pop('seconds'), 1e-9)
        # Not of the history that checkpoints keep: a resumed run may be on
        # another machine.
        hub.update_scalars(
            {
                f'train/{name}': total / seconds
                for name, total in totals.items()
            },
            resumed=False,
        )

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Leave out the names of what is not kept.

        On resuming, the host would warn of each that it is missing.
        """
        hub = checkpoint['message_hub']
        kept = {key: True for key, kept in hub['resumed_keys'].items() if kept}
        checkpoint['message_hub'] = dict(hub, resumed_keys=kept)

    def after_train(self, runner: Runner) -> None:
        """Leave the model as it was."""
        for handle in self._handles:
            handle.remove()
        self._handles = []


def _box_heads(model: nn.Module) -> Iterator[nn.Module]:
    """Yield the box heads of RoI heads, one for each stage of a cascade."""
    for module in model.modules():
        if isinstance(module, BaseRoIHead) and module.with_bbox:
            heads = module.bbox_head
            yield from heads if isinstance(heads, nn.ModuleList) else [heads]
