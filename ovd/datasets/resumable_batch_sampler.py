"""Batches that can be taken up in the middle, with a seed per sample.

Shapes: B samples of a batch: of one process, or of all together where the
batch sampler inside says so.
"""

import logging
from typing import Dict, Iterator, List, Optional, Tuple

from mmdet.registry import DATA_SAMPLERS
from mmengine.dataset import DefaultSampler
from mmengine.logging import print_log
from torch.utils.data import BatchSampler


class SeededIndex(int):
    """An index of a dataset that knows where in the training it stands.

    Args:
        index (int): Place in the dataset.
        position (tuple[int]): Seed, epoch, and place among the samples of
            the epoch in the order of all processes together: all that the
            randomness of the sample is made from.
    """

    position: Tuple[int, ...]

    def __new__(cls, index: int, position: Tuple[int, ...]) -> 'SeededIndex':
        self = super().__new__(cls, index)
        self.position = position
        return self

    def __getnewargs__(self) -> tuple:  # for workers that are spawned
        return int(self), self.position


@DATA_SAMPLERS.register_module()
class ResumableBatchSampler(BatchSampler):
    """Number the batches of another batch sampler, and pass over the first.

    A run that is resumed goes on with the batch that would have come next:
    what was seen before is passed over without loading it.

    Args:
        sampler (DefaultSampler): The host's; its ``seed``, ``epoch``,
            ``rank`` and ``world_size`` are read.
        batch_size (int): B.
        batch_sampler (dict, optional): Config of the batch sampler that
            makes the batches. One whose ``is_of_all_processes`` is true gives
            each process its share of a batch of B. Defaults to torch's.
        drop_last (bool): Leave out a last batch of fewer samples, if
            ``batch_sampler`` is None. Defaults to False.
        done (dict, optional): What is passed over, as :meth:`position` gave
            it. If it ends inside of a batch, since batches are of another
            size now, that one is cut short, or, where ``batch_sampler`` makes
            them, seen as a whole, with a warning. Defaults to nothing.
    """

    sampler: DefaultSampler

    def __init__(
        self,
        sampler: DefaultSampler,
        batch_size: int,
        batch_sampler: Optional[dict] = None,
        drop_last: bool = False,
        done: Optional[Dict[str, int]] = None,
    ) -> None:
        super().__init__(sampler, batch_size, drop_last)
        self.inner = (
            BatchSampler(sampler, batch_size, drop_last)
            if batch_sampler is None
            else DATA_SAMPLERS.build(
                batch_sampler,
                default_args=dict(sampler=sampler, batch_size=batch_size),
            )
        )
        self.num_done = self.num_to_pass = 0
        self._num_seen = 0  # of the first batch of all processes that is next
        if done is not None:
            # With other numbers of processes or samples, all batches
            # together have seen the same share of the epoch's order.
            samples = done['num_batches'] * self._of_all(
                done['batch_size'], done['world_size']
            )
            self.num_done, self._num_seen = divmod(
                samples, self._of_all(batch_size, self._world_size)
            )
            self.num_to_pass = self.num_done
            self._warn_of_repeated()

    @property
    def _world_size(self) -> int:
        return getattr(self.sampler, 'world_size', 1)

    def _of_all(self, batch_size: int, world_size: int) -> int:
        """Return the number of samples of a batch of all processes."""
        if getattr(self.inner, 'is_of_all_processes', False):
            return batch_size
        return batch_size * world_size

    def _warn_of_repeated(self) -> None:
        """Tell how many samples of the first batch are seen again."""
        # Each process keeps one sample: it can't do without a batch.
        most = (
            (self.batch_size - 1) * self._world_size
            if self._makes_plain_batches
            else 0
        )
        if self._num_seen > most:
            print_log(
                'batches have another size than before, and the run was '
                'ended inside of one: number of samples of this epoch that '
                f'are seen twice: {self._num_seen - most}',
                'current',
                logging.WARNING,
            )

    @property
    def _makes_plain_batches(self) -> bool:
        """Return if batches hold samples in the order of the epoch."""
        return type(self.inner) is BatchSampler

    def position(self, num_batches: int) -> Dict[str, int]:
        """Describe where a run stands, for its checkpoint.

        Args:
            num_batches (int): Batches of this process that the epoch's
                training has seen.
        """
        return dict(
            num_batches=num_batches,
            batch_size=self.batch_size,
            world_size=self._world_size,
        )

    def __len__(self) -> int:
        """Return the number of batches of a whole epoch."""
        return len(self.inner)

    def __iter__(self) -> Iterator[List[int]]:
        """Yield B :class:`SeededIndex` after B, each with its position."""
        # Nothing is done before the first batch is asked for: torch makes
        # iterators that it does not use.
        batches, first = iter(self.inner), 0
        while first < self.num_to_pass:
            if next(batches, None) is not None:
                first += 1
            else:  # a loop that counts no epochs has gone through several
                self.num_to_pass -= first
                self.sampler.set_epoch(self.sampler.epoch + 1)
                batches, first = iter(self.inner), 0
        num_seen, self.num_to_pass, self._num_seen = self._num_seen, 0, 0
        seed, epoch, rank = (
            getattr(self.sampler, name, 0)
            for name in ('seed', 'epoch', 'rank')
        )
        for number, batch in enumerate(batches, first):
            # The host's samplers deal samples out to processes in turn.
            start = (
                number * self._of_all(self.batch_size, self._world_size) + rank
            )
            samples = [
                SeededIndex(
                    index, (seed, epoch, start + place * self._world_size)
                )
                for place, index in enumerate(batch)
            ]
            if num_seen and self._makes_plain_batches:
                seen = start - rank + num_seen
                samples = [
                    sample for sample in samples if sample.position[2] >= seen
                ] or samples[-1:]
            num_seen = 0
            yield [*samples]
