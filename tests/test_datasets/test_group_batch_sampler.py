"""Batches of one group each, shared out among processes."""

from types import SimpleNamespace
from typing import List

import pytest

from ovd.datasets.group_batch_sampler import GroupBatchSampler

SIZES = [10, 7, 23]


def sampler(
    sizes: List[int] = SIZES,
    which: List[int] = (0, 1, 2),
    batch_size: int = 4,
    rank: int = 0,
    world_size: int = 1,
    epoch: int = 0,
    seed: int = 3,
) -> GroupBatchSampler:
    return GroupBatchSampler(
        SimpleNamespace(
            dataset=SimpleNamespace(
                group_sizes=[sizes[i] for i in which],
                group_seeds=[[500 + 100 * i, 600] for i in which],
            ),
            seed=seed,
            epoch=epoch,
            rank=rank,
            world_size=world_size,
        ),
        batch_size,
    )


def group_of(index: int) -> int:
    return (index >= 10) + (index >= 17)


def test_each_sample_once_and_one_group_per_batch() -> None:
    batches = list(sampler())
    assert len(batches) == len(sampler()) == 3 + 2 + 6
    assert sorted(sum(batches, [])) == list(range(40))
    assert all(len({group_of(i) for i in batch}) == 1 for batch in batches)
    assert {len(batch) for batch in batches} == {3, 4}  # divided evenly


def test_order_is_of_seed_and_epoch() -> None:
    assert list(sampler()) == list(sampler())
    assert list(sampler()) != list(sampler(epoch=1))
    assert list(sampler()) != list(sampler(seed=4))
    groups = [group_of(batch[0]) for batch in sampler(sizes=[90, 90, 90])]
    assert groups != sorted(groups)  # they take turns


def test_a_group_has_the_same_batches_alone() -> None:
    together = [batch for batch in sampler() if group_of(batch[0]) == 1]
    alone = list(sampler(which=[1]))
    assert [[i + 10 for i in batch] for batch in alone] == together


@pytest.mark.parametrize('world_size', [2, 3])
def test_processes_share_each_batch(world_size: int) -> None:
    parts = [
        list(sampler(rank=rank, world_size=world_size))
        for rank in range(world_size)
    ]
    for whole, *own in zip(sampler(), *parts, strict=True):
        assert sorted(sum(own, [])) == sorted(whole)
        assert all(own)  # none is idle


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(world_size=5), 'batch_size is that of all processes'),
        (dict(sizes=[10, 1, 3], world_size=2), 'a group has 1 samples'),
    ],
)
def test_too_few_for_the_processes(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sampler(**options)


def test_no_sample_is_left_out() -> None:
    with pytest.raises(ValueError, match='drop_last must be False'):
        GroupBatchSampler(None, 4, drop_last=True)
