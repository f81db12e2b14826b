"""Samples that hang on their place alone; images that can't be read."""

import json
import pickle
import random
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from ovd.datasets.resumable_batch_sampler import SeededIndex
from ovd.datasets.seeded_dataset import MAX_BROKEN_IN_A_ROW, SeededDataset


class Drawn(Dataset):
    """Three samples of random numbers; those of ``broken`` can't be read."""

    metainfo = dict(classes=('cat',))

    def __init__(self, *broken: int) -> None:
        self.broken = broken

    def __len__(self) -> int:
        return 3

    def get_data_info(self, index: int) -> dict:
        return dict(img_path=f'{index}.jpg')

    def __getitem__(self, index: int) -> tuple:
        if index in self.broken:
            raise OSError('not a JPEG')
        return (
            index,
            random.random(),
            np.random.rand(),
            torch.rand(()).item(),
        )


def test_a_sample_hangs_on_its_position() -> None:
    dataset = SeededDataset(Drawn())
    first = dataset[SeededIndex(1, (0, 2, 0, 5, 3))]
    dataset[SeededIndex(2, (0, 2, 0, 5, 4))]
    assert dataset[SeededIndex(1, (0, 2, 0, 5, 3))] == first
    for position in (
        (1, 2, 0, 5, 3),
        (0, 3, 0, 5, 3),
        (0, 2, 1, 5, 3),
        (0, 2, 0, 6, 3),
        (0, 2, 0, 5, 4),
    ):
        other = dataset[SeededIndex(1, position)]
        assert all(a != b for a, b in zip(first[1:], other[1:]))


def test_positions_travel_to_other_processes() -> None:
    index = pickle.loads(pickle.dumps(SeededIndex(7, (1, 2))))
    assert index == 7 and index.position == (1, 2)
    dataset = pickle.loads(pickle.dumps(SeededDataset(Drawn(1))))
    assert len(dataset) == 3 and dataset.broken == (1,)


def test_all_else_is_of_the_dataset_inside() -> None:
    dataset = SeededDataset(Drawn())
    assert dataset.metainfo == Drawn.metainfo
    assert dataset.get_data_info(2) == dict(img_path='2.jpg')
    assert not hasattr(dataset, 'pipeline')
    dataset.pipeline = ['flip']  # as the host's PipelineSwitchHook does
    assert dataset.dataset.pipeline == dataset.pipeline == ['flip']
    with pytest.raises(AttributeError, match='nonsense'):
        dataset.nonsense()


def test_an_image_that_cannot_be_read_is_named() -> None:
    dataset = SeededDataset(Drawn(1))
    with pytest.raises(
        ValueError, match='1.jpg cannot be used: not a JPEG\n.*--skip-broken'
    ):
        dataset[1]


def test_an_error_that_is_not_the_images_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It keeps its type and traceback, --skip-broken or not."""
    monkeypatch.chdir(tmp_path)
    cv2.imwrite('1.jpg', np.zeros((4, 4, 3), np.uint8))
    for broken_file in (None, 'broken.jsonl'):
        with pytest.raises(OSError, match='^not a JPEG$'):
            SeededDataset(Drawn(1), broken_file)[1]
    Path('1.jpg').write_bytes(b'no image')
    assert SeededDataset(Drawn(1), 'broken.jsonl')[1][0] == 2


def test_it_is_noted_and_passed_over(tmp_path: Path) -> None:
    notes = tmp_path / 'run' / 'broken.jsonl'
    dataset = SeededDataset(Drawn(1), broken_file=str(notes))
    assert dataset[SeededIndex(1, (0,))][0] == 2
    assert dataset[0][0] == 0
    (line,) = notes.read_text().splitlines()
    assert json.loads(line) == dict(image='1.jpg', reason='not a JPEG')


def test_nothing_but_broken_images(tmp_path: Path) -> None:
    dataset = SeededDataset(Drawn(0, 1, 2), str(tmp_path / 'broken.jsonl'))
    with pytest.raises(
        ValueError, match=f'{MAX_BROKEN_IN_A_ROW} images in a row'
    ):
        dataset[0]
