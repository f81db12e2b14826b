"""Predictions on disk: order, repeated images, files that are gone."""

import resource
from pathlib import Path

import numpy as np
import pytest

from ovd.evaluation.prediction_spool import (
    PredictionSpool,
    find_places,
    read_spools,
)

RLE = dict(size=[4, 4], counts='04')


def fill(folder: Path, rows: dict, masks: bool = False) -> PredictionSpool:
    """Put image id -> scores into a spool; labels are 0, 1, ..."""
    spool = PredictionSpool(str(folder))
    for image_id, scores in rows.items():
        count = len(scores)
        spool.add(
            image_id,
            np.arange(count),
            np.array(scores, np.float32),
            np.full((count, 4), image_id) + [0, 0, 2, 3],
            [RLE] * count if masks else None,
            f'val/{image_id}.jpg',
        )
    return spool


@pytest.mark.parametrize('masks', [False, True])
def test_blocks_are_sorted_whoever_wrote_them(tmp_path, masks):
    rows = {5: [0.5, 0.25], 1: [], 9: [0.75], 3: [0.125]}
    one = fill(tmp_path, rows, masks)
    two = [
        fill(tmp_path, dict(list(rows.items())[i::2]), masks) for i in (1, 0)
    ]
    alone = list(read_spools([one.finish()], [10, 20], 2))
    both = list(
        read_spools([s.finish(i) for i, s in enumerate(two)], [10, 20], 2)
    )
    assert len(alone) == len(both) == 2
    for a, b in zip(alone, both):
        assert a.to_coco() == b.to_coco()
    assert [b.image_ids.tolist() for b in alone] == [[3], [5, 5, 9]]
    assert alone[1].cat_ids.tolist() == [10, 20, 10]
    assert alone[1].scores.tolist() == [0.5, 0.25, 0.75]
    assert alone[1].bboxes.tolist() == [
        [5, 5, 2, 3],
        [5, 5, 2, 3],
        [9, 9, 2, 3],
    ]
    assert alone[1].masks == ([RLE] * 3 if masks else None)


def test_repeated_images_count_once(tmp_path):
    """Samplers repeat images so that all processes have as many."""
    first, second = fill(tmp_path, {1: [0.5]}), fill(tmp_path, {1: [0.25]})
    first.add(1, np.zeros(1, int), np.ones(1), np.ones((1, 4)))
    found = list(read_spools([first.finish(0), second.finish(1)], [7]))
    assert [block.scores.tolist() for block in found] == [[0.5]]


def test_places_of_images_are_sorted_and_named(tmp_path):
    first, second = (
        fill(tmp_path, {7: [0.5], 3: []}),
        fill(tmp_path, {3: [], 1: [0.5, 0.25]}),
    )
    places = find_places([first.finish(0), second.finish(1)])
    assert [
        (image_id, number, place.count, place.name)
        for image_id, (number, place) in places.items()
    ] == [
        (1, 1, 2, 'val/1.jpg'),
        (3, 0, 0, 'val/3.jpg'),
        (7, 0, 1, 'val/7.jpg'),
    ]


def test_a_file_of_another_machine(tmp_path):
    spool = fill(tmp_path, {1: [0.5]})
    where = spool.finish(3)
    spool.remove()
    assert not list(tmp_path.iterdir())
    with pytest.raises(FileNotFoundError, match='process 3 .*collect_dir'):
        list(read_spools([where], [1]))


def test_the_file_goes_with_the_object(tmp_path):
    spool = fill(tmp_path, {1: [0.5]})
    assert len(list(tmp_path.iterdir())) == 1
    del spool
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_named(tmp_path):
    spool = PredictionSpool(str(tmp_path))
    count = 100_000
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, hard))
    try:
        with pytest.raises(OSError, match=r'set collect_dir .*predictions_'):
            spool.add(
                1, np.zeros(count, int), np.zeros(count), np.zeros((count, 4))
            )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
