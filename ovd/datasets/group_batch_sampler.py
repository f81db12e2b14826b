"""Batches that are each of one group of a dataset.

Shapes: B samples of a batch, N of a group, G groups.
"""

from typing import Iterator, List

import numpy as np
from mmdet.registry import DATA_SAMPLERS
from mmengine.dataset import DefaultSampler
from torch.utils.data import BatchSampler


@DATA_SAMPLERS.register_module()
class GroupBatchSampler(BatchSampler):
    """Go through all groups in one epoch, a group at a time per batch.

    Groups take turns by chance. A group's N samples are shuffled and divided
    evenly among ceil(N / B) batches, so none is much smaller than the others.
    What a group's batches are and in which order depends on the seed, the
    epoch and that group alone: the same in a run without the other groups,
    and with any number of processes, each of which gets its share of every
    batch.

    Args:
        sampler (DefaultSampler): The host's, asked for seed, epoch, rank and
            dataset: one with ``group_sizes`` and ``group_seeds``, whose
            indices count through the groups.
        batch_size (int): B, **of all processes together**.
        drop_last (bool): Must be False: no sample is left out.

    Raises:
        ValueError: If a group has fewer samples than there are processes, or
            an option is out of its range.
    """

    is_of_all_processes = True  # read by ResumableBatchSampler
    sampler: DefaultSampler

    def __init__(
        self, sampler: DefaultSampler, batch_size: int, drop_last: bool = False
    ) -> None:
        if drop_last:
            raise ValueError(
                'drop_last must be False: samples are divided '
                'evenly among the batches'
            )
        super().__init__(sampler, batch_size, drop_last)
        if batch_size < sampler.world_size:
            raise ValueError(
                f'batch_size is that of all processes together: expected '
                f'{sampler.world_size} at least, got {batch_size}'
            )
        smallest = min(sampler.dataset.group_sizes)
        if smallest < sampler.world_size:
            raise ValueError(
                f'a group has {smallest} samples, fewer than the '
                f'{sampler.world_size} processes'
            )

    def _num_batches(self) -> List[int]:
        """Return the number of batches of each group."""
        return [
            -(-size // self.batch_size)
            for size in self.sampler.dataset.group_sizes
        ]

    def __len__(self) -> int:
        """Return the number of batches of an epoch."""
        return sum(self._num_batches())

    def __iter__(self) -> Iterator[List[int]]:
        """Yield this process's share of each batch."""
        dataset, counts = self.sampler.dataset, self._num_batches()
        seeds = [self.sampler.seed, self.sampler.epoch]
        parts, start = [], 0
        for size, own, count in zip(
            dataset.group_sizes, dataset.group_seeds, counts
        ):
            order = np.random.default_rng([*seeds, *own]).permutation(size)
            parts.append(iter(np.array_split(start + order, count)))
            start += size
        turns = np.random.default_rng(seeds).permutation(
            np.repeat(np.arange(len(counts)), counts)
        )
        for group in turns.tolist():
            batch = next(parts[group])
            yield batch[self.sampler.rank :: self.sampler.world_size].tolist()
