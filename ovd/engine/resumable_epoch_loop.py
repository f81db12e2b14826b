"""The host's loop over epochs, with the first of which it goes on inside."""

from typing import Any, Sequence

from mmdet.registry import LOOPS
from mmengine.runner import EpochBasedTrainLoop


@LOOPS.register_module()
class ResumableEpochLoop(EpochBasedTrainLoop):
    """Number the batches of an epoch on from those that were seen before.

    To the host the first one that is loaded is the first of the epoch. Log
    lines and hooks that do something every few batches would differ from
    those of a run without interruption.

    Args:
        args, kwargs: Of the host's loop. If its data loader has a
            :class:`ResumableBatchSampler`, that knows what was seen.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._num_passed = 0

    def run_epoch(self) -> None:
        """Iterate one epoch, or what is left of it."""
        self._num_passed = getattr(
            self.dataloader.batch_sampler, 'num_to_pass', 0
        )
        super().run_epoch()

    def run_iter(self, idx: int, data_batch: Sequence[dict]) -> None:
        """Iterate one batch, given its number of those that are loaded."""
        super().run_iter(self._num_passed + idx, data_batch)
