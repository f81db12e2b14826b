"""Batches that go on where they were left."""

from typing import List, Optional

import pytest
from mmdet.datasets import AspectRatioBatchSampler  # noqa: F401 (registers)
from mmengine.dataset import DefaultSampler, InfiniteSampler
from torch.utils.data import DataLoader

from ovd.datasets import GroupBatchSampler  # noqa: F401 (registers)
from ovd.datasets.resumable_batch_sampler import ResumableBatchSampler


class Shapes(list):
    """Seven samples, wide and high ones."""

    def get_data_info(self, index: int) -> dict:
        return dict(width=1 + index % 2, height=2 - index % 2)


def batches(sampler: ResumableBatchSampler, number: int = 99) -> List[list]:
    return [
        list(map(int, batch)) for batch, _ in zip(iter(sampler), range(number))
    ]


@pytest.fixture
def sampler() -> DefaultSampler:
    return DefaultSampler(Shapes(range(7)), seed=3)


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> List[str]:
    """What was logged, a text for each process."""
    found: List[str] = []
    monkeypatch.setattr(
        'ovd.datasets.resumable_batch_sampler.print_log',
        lambda text, *args: found.append(text),
    )
    return found


@pytest.mark.parametrize('inner', [None, dict(type='AspectRatioBatchSampler')])
def test_the_same_batches_behind_those_that_are_done(
    sampler: DefaultSampler, inner: dict
) -> None:
    whole = ResumableBatchSampler(sampler, 2, inner)
    rest = ResumableBatchSampler(sampler, 2, inner, done=whole.position(2))
    assert batches(rest) == batches(whole)[2:]
    assert batches(rest) == batches(whole)  # the next epoch
    assert len(rest) == len(whole) == 4


def test_positions_go_on_too(sampler: DefaultSampler) -> None:
    rest = ResumableBatchSampler(
        sampler, 2, done=dict(num_batches=2, batch_size=2, world_size=1)
    )
    first = next(iter(rest))
    assert [index.position for index in first] == [(3, 0, 4), (3, 0, 5)]


def test_positions_are_those_of_all_processes_together(
    sampler: DefaultSampler,
) -> None:
    """Whoever loads a sample, its augmentation is the same."""
    one = {
        index: index.position
        for batch in ResumableBatchSampler(sampler, 4)
        for index in batch
    }
    for rank in range(2):
        part = DefaultSampler(Shapes(range(7)), seed=3)
        part.rank, part.world_size = rank, 2
        part.num_samples, part.total_size = 4, 8
        for batch in ResumableBatchSampler(part, 2):
            for index in batch:
                assert index.position in (one[index], (3, 0, 7))


def test_torch_makes_iterators_that_it_does_not_use(
    sampler: DefaultSampler,
) -> None:
    whole = ResumableBatchSampler(sampler, 2)
    rest = ResumableBatchSampler(sampler, 2, done=whole.position(1))
    iter(rest), iter(rest)
    assert batches(rest) == batches(whole)[1:]


def test_other_numbers_of_samples_and_processes(
    sampler: DefaultSampler,
) -> None:
    """Four batches of one sample on two processes are two of four."""
    rest = ResumableBatchSampler(
        sampler, 4, done=dict(num_batches=2, batch_size=1, world_size=2)
    )
    assert batches(rest) == batches(ResumableBatchSampler(sampler, 4))[1:]


def dealt(world_size: int, rank: int, size: int = 12) -> DefaultSampler:
    sampler = DefaultSampler(Shapes(range(size)), seed=3)
    sampler.rank, sampler.world_size = rank, world_size
    sampler.num_samples, sampler.total_size = size // world_size, size
    return sampler


@pytest.mark.parametrize('world_size', [1, 2])
def test_a_first_batch_that_was_seen_in_part_is_cut_short(
    world_size: int, warnings: List[str]
) -> None:
    """Three samples are done, and batches of all processes hold four."""
    done = dict(num_batches=3, batch_size=1, world_size=1)
    parts = [
        ResumableBatchSampler(
            dealt(world_size, rank), 4 // world_size, done=done
        )
        for rank in range(world_size)
    ]
    whole = sum(batches(ResumableBatchSampler(dealt(1, 0), 4)), [])
    found = [batches(part) for part in parts]
    rest = sum((batch for part in found for batch in part), [])
    # One process of two would have had no sample in its first batch.
    again = whole[2:3] if world_size == 2 else []
    assert sorted(rest) == sorted(whole[3:] + again)
    assert [len(part) for part in found] == [3] * world_size
    assert sum(len(batch) for batch in batches(parts[0])) == 12 // world_size
    assert len(warnings) == (2 if world_size == 2 else 0)
    assert all('are seen twice: 1' in text for text in warnings)


def test_batches_of_others_are_seen_as_a_whole(
    sampler: DefaultSampler, warnings: List[str]
) -> None:
    inner = dict(type='AspectRatioBatchSampler')
    rest = ResumableBatchSampler(
        sampler, 3, inner, done=dict(num_batches=5, batch_size=1, world_size=1)
    )
    whole = batches(ResumableBatchSampler(sampler, 3, inner))
    assert batches(rest) == whole[1:]
    assert 'are seen twice: 2' in warnings[0]


def test_a_loop_without_epochs() -> None:
    endless = InfiniteSampler(Shapes(range(7)), seed=3)
    whole = batches(ResumableBatchSampler(endless, 2), 20)
    endless = InfiniteSampler(Shapes(range(7)), seed=3)
    rest = ResumableBatchSampler(
        endless, 2, done=dict(num_batches=15, batch_size=2, world_size=1)
    )
    assert batches(rest, 5) == whole[15:]


def test_epochs_that_a_loop_does_not_count(sampler: DefaultSampler) -> None:
    """Six batches done, of epochs of four: two of the second epoch."""
    rest = ResumableBatchSampler(
        sampler, 2, done=dict(num_batches=6, batch_size=2, world_size=1)
    )
    found = batches(rest)
    assert sampler.epoch == 1
    assert found == batches(ResumableBatchSampler(sampler, 2))[2:]


def test_a_loader_takes_it(sampler: DefaultSampler) -> None:
    loader = DataLoader(
        Shapes(range(7)),
        batch_sampler=ResumableBatchSampler(
            sampler,
            2,
            drop_last=True,
            done=dict(num_batches=1, batch_size=2, world_size=1),
        ),
        collate_fn=list,
    )
    assert len(loader) == 3
    assert len(list(loader)) == 2 and len(list(loader)) == 3


class Groups(list):
    """Forty samples of three groups."""

    group_sizes = [10, 7, 23]
    group_seeds = [[1], [2], [3]]


def grouped(
    world_size: int = 1,
    rank: int = 0,
    batch_size: int = 4,
    done: Optional[dict] = None,
) -> ResumableBatchSampler:
    sampler = DefaultSampler(Groups(range(40)), seed=3)
    sampler.rank, sampler.world_size = rank, world_size
    return ResumableBatchSampler(
        sampler, batch_size, dict(type='GroupBatchSampler'), done=done
    )


@pytest.mark.parametrize('before', [1, 2, 3])
@pytest.mark.parametrize('after', [1, 2, 3])
def test_batches_of_all_processes_with_other_processes(
    before: int, after: int
) -> None:
    """Five are done, however many processes shared each of them."""
    whole = batches(grouped())
    done = grouped(before).position(5)
    parts = [batches(grouped(after, rank, done=done)) for rank in range(after)]
    for batch, *own in zip(whole[5:], *parts, strict=True):
        assert sorted(sum(own, [])) == sorted(batch)


def test_batches_of_all_processes_of_another_size() -> None:
    done = grouped(2).position(6)  # of 4
    assert (
        batches(grouped(batch_size=8, done=done))
        == batches(grouped(batch_size=8))[3:]
    )


@pytest.mark.parametrize('world_size', [2, 3])
def test_positions_in_batches_of_all_processes(world_size: int) -> None:
    one = {index: index.position for batch in grouped() for index in batch}
    assert len({*one.values()}) == len(one) == 40
    for rank in range(world_size):
        for batch in grouped(world_size, rank):
            for index in batch:
                assert index.position == one[index]
