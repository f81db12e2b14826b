"""Annotation files that an evaluation can't trust."""

import json
from pathlib import Path

import pytest

from ovd.evaluation.ground_truth import load_ground_truth

GZSL = dict(base=['speaker_(stereo_equipment)'], novel=['cat'])


def write(folder: Path, **change) -> Path:
    content = dict(
        images=[dict(id=1, width=9, height=9), dict(id=2, width=9, height=9)],
        annotations=[
            dict(image_id=1, category_id=1, bbox=[0, 0, 5, 5], iscrowd=False)
        ],
        categories=[
            dict(id=1, name='speaker_(stereo_equipment)'),
            dict(id=2, name='cat'),
        ],
    )
    path = folder / 'x.json'
    path.write_text(json.dumps({**content, **change}))
    return path


def test_both_spellings_are_one_name(tmp_path):
    truth = load_ground_truth(write(tmp_path), GZSL)
    assert truth.cat_ids == {'speaker_(stero_equipment)': 1, 'cat': 2}
    assert truth.groups['base'] == ['speaker_(stero_equipment)']
    assert truth.count() == {'speaker_(stero_equipment)': 1, 'cat': 0}


BOX = dict(image_id=1, category_id=1, bbox=[0, 0, 5, 5])
IMAGE = dict(width=9, height=9)


@pytest.mark.parametrize(
    'change, message',
    [
        (dict(images=[dict(IMAGE, id=1)] * 2), 'the image id 1 twice'),
        (dict(images=[dict(IMAGE, id=1), dict(IMAGE, id='2')]), 'of one kind'),
        (
            dict(categories=[dict(id=1, name='cat'), dict(id=2, name='cat')]),
            'the category name cat twice',
        ),
        (
            dict(categories=[dict(id=1, name='cat'), dict(id=1, name='dog')]),
            'the category id 1 twice',
        ),
        (dict(annotations=[dict(BOX, category_id=99)]), 'of category 99'),
        (dict(annotations=[dict(BOX, image_id=99)]), 'of image 99'),
        (
            dict(annotations=[dict(BOX, bbox=[0, 0, 5])]),
            'not a COCO annotation',
        ),
        (dict(categories=[dict(id=1, name='dog')]), 'lacks the classes cat'),
    ],
)
def test_malformed_files(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        load_ground_truth(write(tmp_path, **change), GZSL)
