"""Broken images of val and test: named, or counted as missed."""

import json
from pathlib import Path
from typing import Iterator, List

import cv2
import numpy as np
import pytest
import torch
from mmdet.registry import DATASETS, EVALUATOR
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData
from torch.utils.data import Dataset

import ovd.evaluation  # noqa: F401  (registers)
from ovd.datasets.broken_images import BrokenImageError, broken
from ovd.datasets.evaluated_dataset import EvaluatedDataset
from ovd.engine.broken_images import watch_images
from ovd.engine.testing import set_out_file

BOX = [8.0, 8.0, 24.0, 24.0]


@pytest.fixture(autouse=True)
def scope() -> Iterator[None]:
    with DefaultScope.overwrite_default_scope('mmdet'):
        yield


@pytest.fixture
def cfg(tmp_path: Path) -> Config:
    """Two images of one object each, of which the second is cut off."""
    images = [
        dict(id=i, file_name=f'{i}.jpg', height=48, width=32) for i in range(2)
    ]
    annotations = [
        dict(
            id=i + 1,
            image_id=i,
            category_id=1,
            iscrowd=0,
            area=256,
            bbox=[8, 8, 16, 16],
        )
        for i in range(2)
    ]
    (tmp_path / 'ann.json').write_text(
        json.dumps(
            dict(
                images=images,
                annotations=annotations,
                categories=[dict(id=1, name='cat')],
            )
        )
    )
    content = cv2.imencode('.jpg', np.full((48, 32, 3), 99, np.uint8))[
        1
    ].tobytes()
    (tmp_path / '0.jpg').write_bytes(content)
    (tmp_path / '1.jpg').write_bytes(content[:-40] + bytes(40))
    dataset = dict(
        type='CocoDataset',
        data_root=str(tmp_path),
        ann_file='ann.json',
        data_prefix=dict(img=''),
        metainfo=dict(classes=('cat',)),
        test_mode=True,
        pipeline=[dict(type='LoadImageFromFile'), dict(type='PackDetInputs')],
    )
    metric = dict(
        type='CocoMetric', ann_file=str(tmp_path / 'ann.json'), metric='bbox'
    )
    return Config(
        dict(
            work_dir=str(tmp_path / 'run'),
            train_dataloader=None,
            val_dataloader=dict(dataset=dataset),
            val_evaluator=metric,
            test_dataloader=dict(
                dataset=dict(type='RepeatDataset', times=1, dataset=dataset)
            ),
            test_evaluator=[metric],
        )
    )


def test_they_are_named(cfg: Config) -> None:
    watch_images(cfg)
    for loader in (cfg.val_dataloader, cfg.test_dataloader):
        dataset = DATASETS.build(loader.dataset)
        assert dataset[0]['inputs'].shape == (3, 48, 32)
        with pytest.raises(
            BrokenImageError,
            match='1.jpg cannot be used: it'
            ' is cut off, its end is missing\n.*--skip-bro',
        ):
            dataset[1]


def find_everything(samples: List[dict]) -> List:
    """Return samples with the right box in each image."""
    for sample in samples:
        sample['data_samples'].pred_instances = InstanceData(
            bboxes=torch.tensor([BOX]),
            scores=torch.ones(1),
            labels=torch.zeros(1, dtype=torch.long),
        )
    return [sample['data_samples'] for sample in samples]


@pytest.mark.parametrize('part', ['val', 'test'])
def test_their_objects_count_as_missed(cfg: Config, part: str) -> None:
    """Of two objects one is found, whatever is seen in the black image.

    COCO's AP takes the precision at 101 recalls, 51 of which are up to 0.5.
    """
    watch_images(cfg, skip_broken=True)
    dataset = DATASETS.build(cfg[f'{part}_dataloader'].dataset)
    evaluator = EVALUATOR.build(cfg[f'{part}_evaluator'])
    evaluator.dataset_meta = dataset.metainfo
    for _ in range(2):  # epochs
        samples = [dataset[0], dataset[1]]
    assert samples[0]['inputs'].max() > 0 == samples[1]['inputs'].max()
    assert samples[1]['inputs'].shape == (3, 48, 32)
    evaluator.process(find_everything(samples), samples)
    metrics = evaluator.evaluate(len(dataset))
    assert metrics['coco/bbox_mAP'] == pytest.approx(51 / 101, abs=1e-3)
    (line,) = (
        Path(cfg.work_dir, 'broken_images.jsonl').read_text().splitlines()
    )
    assert json.loads(line)['image'].endswith('1.jpg')


class Nowhere(Dataset):
    """A dataset that does not know how large its broken image is."""

    def get_data_info(self, index: int) -> dict:
        return dict(img_path='1.jpg', height=48)

    def __getitem__(self, index: int) -> dict:
        raise broken('1.jpg', 'no reason')


def test_an_image_of_unknown_size_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BrokenImageError, match='1.jpg cannot be used'):
        EvaluatedDataset(Nowhere(), str(tmp_path / 'broken.jsonl'))[0]
    assert not any(tmp_path.iterdir())


def test_metrics_inside_of_an_evaluator_are_found(cfg: Config) -> None:
    cfg.test_evaluator = dict(type='ProposalDump', out_file=None)
    watch_images(cfg, skip_broken=True)
    cfg.load_from = str(
        Path(cfg.val_dataloader.dataset.dataset.data_root, 'weights.pth')
    )
    torch.save(dict(state_dict={}), cfg.load_from)
    set_out_file(cfg, 'proposals.safetensors')
    assert cfg.test_evaluator.metrics.out_file == 'proposals.safetensors'
