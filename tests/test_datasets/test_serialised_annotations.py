"""Annotations are kept as bytes that worker processes share."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from mmcv import imwrite
from mmdet.registry import DATASETS
from mmengine.dataset import BaseDataset
from mmengine.registry import DefaultScope
from torch.utils.data import DataLoader

from ovd.datasets.gzsl_split import split_file

NUM_IMAGES = 6


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write a split COCO file and a whole LVIS one, of the same objects."""
    annotations = [
        dict(
            id=i,
            image_id=1 + i % NUM_IMAGES,
            category_id=1 + i % 2,
            iscrowd=0,
            area=16,
            bbox=[i, 1, 4, 4],
            segmentation=[[1, 1, 5, 1, 5, 5.5]],
        )
        for i in range(1, 20)
    ]
    images = [
        dict(
            id=i,
            file_name=f'{i}.png',
            coco_url=f'http://images.cocodataset.org/{i}.png',
            height=32,
            width=32,
            neg_category_ids=[],
            not_exhaustive_category_ids=[],
        )
        for i in range(1, NUM_IMAGES + 1)
    ]
    categories = [
        dict(id=1, name='cat', frequency='f'),
        dict(id=2, name='dog', frequency='r'),
    ]
    (tmp_path / 'x.json').write_text(
        json.dumps(
            dict(images=images, annotations=annotations, categories=categories)
        )
    )
    (tmp_path / 'my.json').write_text(
        json.dumps(dict(base=['cat'], novel=['dog']))
    )
    split_file(tmp_path / 'x.json', str(tmp_path / 'my.json'), 'val')
    for i in range(1, NUM_IMAGES + 1):
        imwrite(np.full((32, 32, 3), i, np.uint8), str(tmp_path / f'{i}.png'))
    return tmp_path


@pytest.fixture(params=['GZSLCocoDataset', 'GZSLLVISV1Dataset'])
def settings(request, folder: Path) -> dict:
    whole = request.param != 'GZSLCocoDataset'
    return dict(
        type=request.param,
        data_root=str(folder),
        ann_file='x.json' if whole else 'x_my_1.json',
        data_prefix=dict(img=''),
        test_mode=True,
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
            dict(type='PackDetInputs'),
        ],
    )


def build(settings: dict) -> BaseDataset:
    with DefaultScope.overwrite_default_scope('mmdet'):
        return DATASETS.build(settings)


def entries(dataset: BaseDataset) -> list:
    return [dataset.get_data_info(i) for i in range(len(dataset))]


@pytest.mark.parametrize('lazy_init', [False, True])
def test_entries_are_one_array_of_bytes(
    settings: dict, lazy_init: bool
) -> None:
    """No Python object is left for each annotation, and nothing is lost."""
    dataset = build(dict(settings, lazy_init=lazy_init))
    assert dataset.serialize_data
    assert dataset._fully_initialized is not lazy_init
    plain = build(dict(settings, serialize_data=False))
    assert entries(dataset) == entries(plain)
    assert plain.data_list and not dataset.data_list
    assert isinstance(dataset.data_bytes, np.ndarray)
    assert dataset.data_bytes.dtype == np.uint8
    assert len(dataset.data_bytes) == dataset.data_address[-1]
    first = pickle.loads(dataset.data_bytes[: dataset.data_address[0]])
    assert first['instances'][0]['mask'] == [[1, 1, 5, 1, 5, 5.5]]
    # What read the file is gone, and what would pin the memory that it took.
    for name in ('coco', 'lvis', 'cat_img_map'):
        assert not hasattr(dataset, name)


def test_spawned_workers_get_the_same(settings: dict) -> None:
    """Where workers don't fork, they get a pickled dataset."""
    dataset = build(settings)
    copied = pickle.loads(pickle.dumps(dataset))
    assert entries(copied) == entries(dataset)
    assert copied.metainfo == dataset.metainfo
    assert copied.cat_ids == dataset.cat_ids


def test_workers_yield_the_same(settings: dict) -> None:
    """Those that fork share the memory of the bytes."""
    dataset = build(settings)
    kwargs = dict(batch_size=None, shuffle=False)
    here = list(DataLoader(dataset, **kwargs))
    there = list(
        DataLoader(
            dataset, num_workers=2, multiprocessing_context='fork', **kwargs
        )
    )
    assert len(here) == len(there) == NUM_IMAGES
    for one, two in zip(here, there):
        assert (one['inputs'] == two['inputs']).all()
        one, two = one['data_samples'], two['data_samples']
        assert one.metainfo == two.metainfo
        boxes = [sample.gt_instances.bboxes.tensor for sample in (one, two)]
        assert (boxes[0] == boxes[1]).all() and len(boxes[0]) >= 3
        assert (one.gt_instances.labels == two.gt_instances.labels).all()
        masks = [
            sample.gt_instances.masks.to_ndarray() for sample in (one, two)
        ]
        assert (masks[0] == masks[1]).all()
