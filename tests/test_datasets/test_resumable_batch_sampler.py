"""Batches that go on where they were left."""
from typing import List

import pytest
from mmdet.datasets import AspectRatioBatchSampler  # noqa: F401 (registers)
from mmengine.dataset import DefaultSampler, InfiniteSampler
from torch.utils.data import DataLoader

from ovd.datasets.resumable_batch_sampler import ResumableBatchSampler


class Shapes(list):
    """Seven samples, wide and high ones."""

    def get_data_info(self, index: int) -> dict:
        return dict(width=1 + index % 2, height=2 - index % 2)


def batches(sampler: ResumableBatchSampler, number: int = 99) -> List[list]:
    return [list(map(int, batch))
            for batch, _ in zip(iter(sampler), range(number))]


@pytest.fixture
def sampler() -> DefaultSampler:
    return DefaultSampler(Shapes(range(7)), seed=3)


@pytest.mark.parametrize('inner', [
    None, dict(type='AspectRatioBatchSampler')])
def test_the_same_batches_behind_those_that_are_done(
        sampler: DefaultSampler, inner: dict) -> None:
    whole = ResumableBatchSampler(sampler, 2, inner)
    rest = ResumableBatchSampler(sampler, 2, inner, done=whole.position(2))
    assert batches(rest) == batches(whole)[2:]
    assert batches(rest) == batches(whole)  # the next epoch
    assert len(rest) == len(whole) == 4


def test_positions_go_on_too(sampler: DefaultSampler) -> None:
    rest = ResumableBatchSampler(
        sampler, 2, done=dict(num_batches=2, batch_size=2, world_size=1))
    first = next(iter(rest))
    assert [index.position for index in first] == [(3, 0, 4), (3, 0, 5)]


def test_positions_are_those_of_all_processes_together(
        sampler: DefaultSampler) -> None:
    """Whoever loads a sample, its augmentation is the same."""
    one = {index: index.position for batch in ResumableBatchSampler(
        sampler, 4) for index in batch}
    for rank in range(2):
        part = DefaultSampler(Shapes(range(7)), seed=3)
        part.rank, part.world_size = rank, 2
        part.num_samples, part.total_size = 4, 8
        for batch in ResumableBatchSampler(part, 2):
            for index in batch:
                assert index.position in (one[index], (3, 0, 7))


def test_torch_makes_iterators_that_it_does_not_use(
        sampler: DefaultSampler) -> None:
    whole = ResumableBatchSampler(sampler, 2)
    rest = ResumableBatchSampler(sampler, 2, done=whole.position(1))
    iter(rest), iter(rest)
    assert batches(rest) == batches(whole)[1:]


def test_other_numbers_of_samples_and_processes(
        sampler: DefaultSampler) -> None:
    """Four batches of one sample on two processes are two of four."""
    rest = ResumableBatchSampler(
        sampler, 4, done=dict(num_batches=2, batch_size=1, world_size=2))
    assert batches(rest) == batches(ResumableBatchSampler(sampler, 4))[1:]


def test_a_loop_without_epochs() -> None:
    endless = InfiniteSampler(Shapes(range(7)), seed=3)
    whole = batches(ResumableBatchSampler(endless, 2), 20)
    endless = InfiniteSampler(Shapes(range(7)), seed=3)
    rest = ResumableBatchSampler(
        endless, 2, done=dict(num_batches=15, batch_size=2, world_size=1))
    assert batches(rest, 5) == whole[15:]


def test_epochs_that_a_loop_does_not_count(sampler: DefaultSampler) -> None:
    """Six batches done, of epochs of four: two of the second epoch."""
    rest = ResumableBatchSampler(
        sampler, 2, done=dict(num_batches=6, batch_size=2, world_size=1))
    found = batches(rest)
    assert sampler.epoch == 1
    assert found == batches(ResumableBatchSampler(sampler, 2))[2:]


def test_a_loader_takes_it(sampler: DefaultSampler) -> None:
    loader = DataLoader(
        Shapes(range(7)),
        batch_sampler=ResumableBatchSampler(
            sampler, 2, drop_last=True,
            done=dict(num_batches=1, batch_size=2, world_size=1)),
        collate_fn=list)
    assert len(loader) == 3
    assert len(list(loader)) == 2 and len(list(loader)) == 3
