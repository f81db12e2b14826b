"""Errors are counted where they are, by hand and as AP has them."""

import json
from pathlib import Path

import numpy as np
import pytest

from ovd.apis.error_pictures import choose_images
from ovd.evaluation import error_analysis
from ovd.evaluation.engines import Protocol, evaluate
from ovd.evaluation.error_analysis import (
    ErrorAnalysis,
    analyse_errors,
    confused_pairs,
    most_confused,
)
from ovd.evaluation.ground_truth import GroundTruth, load_ground_truth
from ovd.evaluation.predictions import Predictions
from ovd.evaluation.summary import class_table

CLASSES = dict(owl=9, cat=2, dog=5)  # neither ids nor names are in order
BOX = [10.0, 10.0, 20.0, 20.0]
OTHER = [60.0, 60.0, 20.0, 20.0]


@pytest.fixture
def truth(tmp_path: Path) -> GroundTruth:
    """Four images, with a cat each and an owl in the last two."""
    path = tmp_path / 'val.json'
    path.write_text(
        json.dumps(
            dict(
                gzsl=dict(base=['cat', 'dog'], novel=['owl'], split='own'),
                images=[
                    dict(
                        id=name,
                        width=99,
                        height=99,
                        not_exhaustive_category_ids=[],
                        neg_category_ids=[],
                    )
                    for name in 'abcd'
                ],
                categories=[
                    dict(id=i, name=name, frequency='f')
                    for name, i in CLASSES.items()
                ],
                annotations=[
                    *(
                        dict(image_id=name, category_id=2, bbox=BOX)
                        for name in 'abcd'
                    ),
                    *(
                        dict(image_id=name, category_id=9, bbox=OTHER)
                        for name in 'cd'
                    ),
                ],
            )
        )
    )
    return load_ground_truth(path)


FOUND = [
    ('a', 'cat', BOX, 0.9),
    ('b', 'dog', BOX, 0.8),  # a cat taken for a dog
    ('c', 'cat', BOX, 0.7),
    ('c', 'cat', BOX, 0.6),  # once more
    ('d', 'owl', [0.0, 0.0, 5.0, 5.0], 0.5),  # where nothing is
    ('d', 'cat', BOX, 0.2),  # below the threshold
]


def predict(rows: list) -> Predictions:
    return Predictions.from_coco(
        [
            dict(
                image_id=image,
                category_id=CLASSES[name],
                bbox=bbox,
                score=score,
            )
            for image, name, bbox, score in rows
        ]
    )


def analyse(truth: GroundTruth, style: str = 'coco') -> ErrorAnalysis:
    max_dets = (100,) if style == 'coco' else (300,)
    return analyse_errors(
        truth, predict(FOUND).in_blocks, Protocol('bbox', style, max_dets), 0.3
    )


def test_by_hand(truth: GroundTruth) -> None:
    found = analyse(truth)
    assert found.names == ['cat', 'dog', 'owl']  # by id
    assert found.confusion.tolist() == [
        [2, 1, 0, 1],  # one cat is taken for a dog, one missed
        [0, 0, 0, 0],
        [0, 0, 0, 2],
        [1, 0, 1, 0],
    ]
    assert found.missed == {
        ('b', 'cat'): 1,
        ('d', 'cat'): 1,
        ('c', 'owl'): 1,
        ('d', 'owl'): 1,
    }
    assert found.wrong == {('b', 'dog'): 1, ('c', 'cat'): 1, ('d', 'owl'): 1}
    assert {kind: number for kind, (_, number) in found.kinds.items()} == dict(
        Cls=1, Loc=0, Both=0, Dupe=1, Bkg=1, Miss=2
    )
    assert confused_pairs(found, 9) == [('cat', 'dog', 1)]
    assert most_confused(found, 2).tolist() == [0, 1]
    assert most_confused(found, 9).tolist() == [0, 1, 2]  # novel ones last
    assert len(found.found) == 5


@pytest.mark.parametrize('style', ['coco', 'lvis'])
def test_kinds_are_parts_of_ap(truth: GroundTruth, style: str) -> None:
    """A gain is that of AP50 with those detections mended."""
    mended = [*FOUND[:3], *FOUND[4:]]  # without the one found twice
    protocol = Protocol('bbox', style, (100,))
    values = [
        np.nanmean(
            class_table(
                evaluate(truth, predict(rows).in_blocks(), protocol)
            ).ap['AP50']
        )
        for rows in (FOUND, mended)
    ]
    assert values[1] > values[0]
    assert analyse(truth, style).kinds['Dupe'][0] == pytest.approx(
        values[1] - values[0], abs=1e-6
    )


def test_of_many_images_evenly_spread_ones(
    truth: GroundTruth, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(error_analysis, 'MOST_IMAGES', 2)
    found = analyse(truth)
    assert found.truth.image_ids.tolist() == ['a', 'c']
    assert found.num_images == 4
    assert found.confusion.sum() == 2 + 1 + 1


def test_no_predictions(truth: GroundTruth) -> None:
    found = analyse_errors(truth, predict([]).in_blocks, Protocol(), 0.3)
    assert found.kinds['Miss'][1] == 6
    assert found.confusion[:, -1].tolist() == [4, 0, 2, 0]


def test_images_of_the_worst_classes(truth: GroundTruth) -> None:
    """One per class, that with the most errors; then further ones."""
    found = analyse(truth)
    assert choose_images(found, ['owl', 'dog', 'cat'], 2) == [
        ('owl', 'd'),
        ('cat', 'c'),
    ]
    assert choose_images(found, ['owl', 'dog', 'cat'], 9) == [
        ('owl', 'd'),
        ('cat', 'c'),
        ('cat', 'b'),
        ('cat', 'a'),
    ]
