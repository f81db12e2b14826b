"""The dataset takes classes, labels and groups from the split file."""

import json
from pathlib import Path

import pytest
from mmdet.registry import DATASETS

from ovd.datasets.gzsl_coco import GZSLCocoDataset
from ovd.datasets.gzsl_split import split_file

# "kite" is neither base nor novel; ids and order are not those of labels
CATEGORIES = [(7, 'dog'), (3, 'kite'), (9, 'boat'), (2, 'cat')]
CLASSES = ('dog', 'boat', 'cat')


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / 'my.json').write_text(
        json.dumps(
            dict(
                base=['cat', 'dog'],
                novel=['boat'],
                groups=dict(boats=['boat']),
            )
        )
    )
    annotations = [
        dict(
            id=number,
            image_id=image_id,
            category_id=cat_id,
            iscrowd=0,
            area=16,
            bbox=[1, 1, 4, 4],
            segmentation=[[1, 1, 5, 1, 5, 5]],
        )
        for number, (image_id, cat_id) in enumerate(
            [(1, 7), (1, 9), (2, 9), (2, 2), (2, 3), (4, 2)], 1
        )
    ]
    (tmp_path / 'x.json').write_text(
        json.dumps(
            dict(
                images=[
                    dict(id=i, file_name=f'{i}.png', height=20, width=20)
                    for i in (1, 2, 3, 4)
                ],
                annotations=annotations,
                categories=[dict(id=i, name=n) for i, n in CATEGORIES],
            )
        )
    )
    for k, subset in ((0, 'train'), (1, 'val')):
        split_file(tmp_path / 'x.json', str(tmp_path / 'my.json'), subset, k)
    return tmp_path


def build(folder: Path, ann_file: str, **kwargs: object) -> GZSLCocoDataset:
    return DATASETS.build(
        dict(
            type='GZSLCocoDataset',
            data_root=str(folder),
            ann_file=ann_file,
            data_prefix=dict(img='val/'),
            **kwargs,
        )
    )


def labels(dataset: GZSLCocoDataset) -> dict:
    return {
        item['img_id']: [i['bbox_label'] for i in item['instances']]
        for item in map(dataset.get_data_info, range(len(dataset)))
    }


def test_metainfo_and_labels(folder):
    """Labels count base and novel names in the order of the file."""
    dataset = build(folder, 'x_my_1.json', test_mode=True)
    assert dataset.metainfo == dict(
        classes=CLASSES,
        base_classes=('dog', 'cat'),
        novel_classes=('boat',),
        novel_mask=(False, True, False),
        class_groups=dict(boats=('boat',)),
    )
    assert dataset.cat_ids == [7, 9, 2]
    assert labels(dataset) == {1: [0, 1], 2: [1, 2], 4: [2]}
    assert dataset.get_data_info(0)['img_path'] == str(
        folder / 'val' / '1.png'
    )


def test_training_hides_novel_boxes_but_not_their_labels(folder):
    """Label ids are those of the val file; empty images can be filtered."""
    dataset = build(folder, 'x_my_0.json')
    assert dataset.metainfo['classes'] == CLASSES
    assert labels(dataset) == {1: [0], 2: [2], 3: [], 4: [2]}
    dataset = build(
        folder, 'x_my_0.json', filter_cfg=dict(filter_empty_gt=True)
    )
    assert labels(dataset) == {1: [0], 2: [2], 4: [2]}


def test_lazy(folder):
    """Metainfo is there before the annotations are."""
    dataset = build(folder, 'x_my_0.json', lazy_init=True)
    assert dataset.metainfo['novel_classes'] == ('boat',)
    assert not dataset._fully_initialized
    assert len(dataset) == 4


def test_given_classes_must_agree(folder):
    """Names that differ are named, and an order that differs is refused."""
    build(folder, 'x_my_0.json', metainfo=dict(classes=CLASSES))
    with pytest.raises(
        ValueError,
        match='lacks: "boot"; did you mean "boat".*\n.*lacks: "boat"',
    ):
        build(
            folder,
            'x_my_0.json',
            metainfo=dict(classes=('dog', 'boot', 'cat')),
        )
    with pytest.raises(ValueError, match='in another order'):
        build(folder, 'x_my_0.json', metainfo=dict(classes=CLASSES[::-1]))


def test_files_that_are_not_split(folder):
    """Missing and plain files say which command makes a split one."""
    with pytest.raises(FileNotFoundError, match='--split 48_17'):
        build(folder, 'y_48_17_1.json')
    with pytest.raises(ValueError, match='build_zsl_dataset.py'):
        build(folder, 'x.json')


def test_training_on_val_is_refused(folder):
    """Novel boxes in training would be a leak."""
    build(folder, 'x_my_1.json', test_mode=True)
    build(folder, 'x_my_0.json')
    with pytest.raises(ValueError, match='training must not see'):
        build(folder, 'x_my_1.json')


def test_whole_files_are_for_testing_detectors_trained_elsewhere(folder):
    """Then the config says which names are base, and the rest is novel."""
    whole = dict(ann_file='x.json', test_mode=True)
    with pytest.raises(ValueError, match=r'set metainfo=dict\(base_classes='):
        build(folder, **whole)
    meta = build(folder, metainfo=dict(base_classes=()), **whole).metainfo
    assert meta['classes'] == ('dog', 'kite', 'boat', 'cat')
    assert meta['novel_classes'] == meta['classes']
    meta = build(
        folder, metainfo=dict(base_classes=('cat',)), **whole
    ).metainfo
    assert meta['novel_classes'] == ('dog', 'kite', 'boat')
    with pytest.raises(ValueError, match='lacks: "dag"; did you mean "dog"'):
        build(folder, metainfo=dict(base_classes=('dag',)), **whole)
    with pytest.raises(ValueError, match='--split'):
        build(folder, 'x.json', metainfo=dict(base_classes=()))


@pytest.mark.parametrize(
    'metainfo, message',
    [
        (dict(base_classes=('cat',)), 'metainfo lacks: "dog"'),
        (
            dict(novel_classes=('boats',)),
            'lacks: "boats"; did you mean "boat"',
        ),
    ],
)
def test_given_base_and_novel_must_agree(folder, metainfo, message):
    """A split file says it; the config may say the same, in any order."""
    build(folder, 'x_my_0.json', metainfo=dict(base_classes=('cat', 'dog')))
    with pytest.raises(ValueError, match=message):
        build(folder, 'x_my_0.json', metainfo=metainfo)


@pytest.mark.parametrize(
    'old, new, message',
    [
        ('"name":"kite"', '"name":"cat"', 'several categories called "cat"'),
        ('"name":"boat"', '"name":"boats"', '"boat"; did you mean "boats"'),
    ],
)
def test_categories_changed_after_the_split(folder, old, new, message):
    """The names of the block must be those of the categories."""
    path = folder / 'x_my_0.json'
    content = json.loads(path.read_text())
    text = json.dumps(content, separators=(',', ':'))
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(ValueError, match=message):
        build(folder, 'x_my_0.json')
