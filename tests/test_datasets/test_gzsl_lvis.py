"""LVIS: classes by frequency, images of both COCO folders, odd spellings."""

import json
from pathlib import Path

import pytest
from mmdet.datasets import LVISV1Dataset
from mmdet.registry import DATASETS
from mmengine.dataset import BaseDataset

from ovd.datasets.gzsl_split import split_file

SHARED = Path(__file__).parents[3] / 'shared' / 'data'
V05 = SHARED / 'lvis_v0.5_val_100.json'
V1_CATEGORIES = SHARED / 'lvis_v1_categories.json'
FREQUENCIES = dict(acorn='f', bagel='r', cape='c', dagger='r')


def write(path: Path, categories: list) -> Path:
    """Write a file with two images, each with an object of every class."""
    images = [
        dict(
            id=i,
            height=40,
            width=40,
            coco_url=f'http://images.cocodataset.org/{subset}2017/{i:012}.jpg',
            neg_category_ids=[],
            not_exhaustive_category_ids=[],
        )
        for i, subset in ((7, 'val'), (5, 'train'))
    ]
    pairs = [(i, c) for i in (7, 5) for c in categories]
    annotations = [
        dict(
            id=number,
            image_id=i,
            category_id=category['id'],
            area=16,
            bbox=[1, 1, 4, 4],
            segmentation=[[1, 1, 5, 1, 5, 5]],
        )
        for number, (i, category) in enumerate(pairs, 1)
    ]
    path.write_text(
        json.dumps(
            dict(images=images, annotations=annotations, categories=categories)
        )
    )
    return path


@pytest.fixture
def ann_file(tmp_path: Path) -> Path:
    return write(
        tmp_path / 'lvis.json',
        [
            dict(id=i, name=name, frequency=frequency)
            for i, (name, frequency) in enumerate(FREQUENCIES.items(), 1)
        ],
    )


def build(
    ann_file: Path, version: str = 'V1', folder: str = '', **kwargs
) -> BaseDataset:
    return DATASETS.build(
        dict(
            type=f'GZSLLVIS{version}Dataset',
            data_root='data/lvis/',
            ann_file=str(ann_file),
            data_prefix=dict(img=folder),
            **kwargs,
        )
    )


def labels(dataset: BaseDataset) -> list:
    return [i['bbox_label'] for i in dataset.get_data_info(0)['instances']]


def test_val_is_not_split(ann_file):
    """Rare classes are novel; images are in two folders."""
    dataset = build(ann_file, test_mode=True)
    assert dataset.metainfo == dict(
        classes=tuple(FREQUENCIES),
        base_classes=('acorn', 'cape'),
        novel_classes=('bagel', 'dagger'),
        novel_mask=(False, True, False, True),
        class_groups={},
    )
    assert labels(dataset) == [0, 1, 2, 3]
    assert [dataset.get_data_info(i)['img_path'] for i in (0, 1)] == [
        'data/lvis/val2017/000000000007.jpg',
        'data/lvis/train2017/000000000005.jpg',
    ]


@pytest.mark.parametrize(
    'version, command',
    [
        ('V1', 'configs/_base_/datasets/lvis_v1_detection.py --split 866_337'),
        (
            'V05',
            'configs/_base_/datasets/lvis_v0.5_instance.py --split 776_454',
        ),
    ],
)
def test_training_files_must_be_split(ann_file, version, command):
    """They have boxes of rare classes."""
    with pytest.raises(ValueError, match=command):
        build(ann_file, version)


def test_categories_that_are_neither_have_no_label(ann_file, tmp_path):
    """The host would count them, and shift the labels of others."""
    split = tmp_path / 'my.json'
    names = dict(base=['acorn', 'cape'], novel=['dagger'])
    split.write_text(json.dumps(names))
    split_file(ann_file, str(split), 'train')
    split_file(ann_file, str(split), 'val', min_annotations=0)
    train = build(tmp_path / 'lvis_my_1.json')
    assert train.metainfo['classes'] == ('acorn', 'cape', 'dagger')
    assert train.cat_ids == [1, 3, 4]
    assert labels(train) == [0, 1]
    val = build(tmp_path / 'lvis_my_0.json', test_mode=True)
    assert val.metainfo == train.metainfo
    assert labels(val) == [0, 1, 2]


def test_without_frequency_the_config_says_what_is_base(ann_file):
    """As for any file in COCO format."""
    content = json.loads(ann_file.read_text())
    for category in content['categories']:
        del category['frequency']
    ann_file.write_text(json.dumps(content))
    with pytest.raises(ValueError, match='which classes are base'):
        build(ann_file, test_mode=True)
    dataset = build(
        ann_file, test_mode=True, metainfo=dict(base_classes=('cape',))
    )
    assert dataset.metainfo['novel_mask'] == (True, True, False, True)


@pytest.mark.skipif(
    not V1_CATEGORIES.is_file(), reason='needs the categories of LVIS v1'
)
def test_real_names_of_v1(tmp_path):
    """Train and val mean the same; mmdet's spelling passes as well."""
    categories = json.loads(V1_CATEGORIES.read_text())
    ann_file = write(tmp_path / 'lvis_v1.json', categories)
    split_file(ann_file, '866_337', 'train')
    spelled = dict(classes=LVISV1Dataset.METAINFO['classes'])
    train = build(tmp_path / 'lvis_v1_866_337_1.json', metainfo=spelled)
    val = build(ann_file, test_mode=True)
    assert train.metainfo == val.metainfo
    assert len(train.metainfo['base_classes']) == 866
    assert sum(train.metainfo['novel_mask']) == 337
    assert len(labels(train)) == 866 and len(labels(val)) == 1203
    assert 'speaker_(stero_equipment)' in val.metainfo['classes']
    assert 'speaker_(stereo_equipment)' in spelled['classes']


@pytest.mark.skipif(
    not V05.is_file(), reason='needs a part of LVIS v0.5, not in this package'
)
def test_real_v05():
    """Its images are called as in COCO 2014."""
    dataset = build(V05, 'V05', 'val2017/', test_mode=True)
    assert len(dataset) == 100
    assert (
        dataset.get_data_info(0)['img_path']
        == 'data/lvis/val2017/000000266409.jpg'
    )
    assert len(dataset.metainfo['base_classes']) == 776
    assert len(dataset.metainfo['novel_classes']) == 454
    assert (
        sum(len(dataset.get_data_info(i)['instances']) for i in range(100))
        == 977
    )
