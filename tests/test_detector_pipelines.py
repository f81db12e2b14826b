"""Training data of the detectors: from files as the data tree has them."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmcv import imwrite
from mmdet import datasets
from mmdet.registry import DATASETS, MODELS
from mmengine.config import Config, ConfigDict
from mmengine.dataset import pseudo_collate
from mmengine.registry import DefaultScope

import ovd.models  # noqa: F401  (registers)
from ovd.artifacts.embedding_store import EmbeddingStoreWriter
from ovd.artifacts.store_plan import StorePlan
from ovd.datasets.gzsl_split import split_file

ROOT = Path(__file__).parents[1]
WIDTH, HEIGHT = 96, 64
IMAGE_ID = 7
NUM_BOXES = 310  # in the store; ViLD takes the best 300, DetPro 1000
LVIS = 'mask-rcnn_r50_fpn_{}_lvis_v1_866_337'
COCO = 'faster-rcnn_r50_fpn_{}_coco_48_17'


def write_annotations(dataset: ConfigDict, split: str) -> None:
    """Write an image and the split file that a config names."""
    root = Path(dataset.data_root)
    names = getattr(datasets, dataset.type.replace('GZSL', '')).METAINFO[
        'classes'
    ]
    name = f'{IMAGE_ID:012d}.png'
    whole = root / dataset.ann_file.replace(f'_{split}_1', '')
    whole.parent.mkdir(parents=True)
    whole.write_text(
        json.dumps(
            dict(
                images=[
                    dict(
                        id=IMAGE_ID,
                        file_name=name,
                        width=WIDTH,
                        height=HEIGHT,
                        coco_url=f'http://images.cocodataset.org/train2017/{name}',
                        neg_category_ids=[],
                        not_exhaustive_category_ids=[],
                    )
                ],
                annotations=[
                    dict(
                        id=1,
                        image_id=IMAGE_ID,
                        category_id=1,
                        iscrowd=0,
                        area=2000,
                        bbox=[10, 8, 50, 40],
                        segmentation=[[10, 8, 60, 8, 60, 48, 10, 48]],
                    )
                ],
                categories=[
                    dict(id=i, name=name, frequency='f' if i <= 866 else 'r')
                    for i, name in enumerate(names, 1)
                ],
            )
        )
    )
    split_file(whole, split, 'train')
    pixels = np.random.default_rng(0).integers(
        0, 256, (HEIGHT, WIDTH, 3), np.uint8
    )
    imwrite(pixels, str(root / 'train2017' / name))


def write_store(folder: str) -> np.ndarray:
    """Write boxes whose embeddings say which they are; return the boxes."""
    plan = StorePlan(
        clip=dict(name='ViT-B/32', sha256='c' * 64),
        proposals=dict(file='p', sha256='p'),
        annotations=dict(file='train.json', sha256='a'),
        settings={},
        images_per_shard=1,
        image_ids=[IMAGE_ID],
        image_keys=[f'train2017/{IMAGE_ID:012d}.png'],
    )
    corners = np.random.default_rng(0).uniform(0, 40, (NUM_BOXES, 2))
    bboxes = np.hstack([corners, corners + 20]).astype(np.float32)
    EmbeddingStoreWriter(folder, plan).write_shard(
        0,
        [
            dict(
                embeddings=np.eye(NUM_BOXES, 512, dtype=np.float16),
                bboxes=bboxes,
                scores=np.linspace(1, 0, NUM_BOXES, dtype=np.float32),
            )
        ],
    )
    return bboxes


@pytest.mark.parametrize(
    'name',
    [
        'vild/vild_' + LVIS.format('lsj-180k'),
        'vild/vild_' + COCO.format('lsj-90k'),
        'vild/vild-text_' + LVIS.format('lsj-180k'),
        'vild/vild-text_' + COCO.format('lsj-90k'),
        'detpro/detpro_' + LVIS.format('soco-20e'),
        'detpro/detpro_' + COCO.format('soco-20e'),
    ],
)
def test_a_sample_reaches_the_network(
    name: str, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    np.random.seed(0)
    cfg = Config.fromfile(ROOT / 'configs' / f'{name}.py')
    dataset = cfg.train_dataloader.dataset
    leaf = dataset.get('dataset', dataset)
    lvis = 'lvis' in name
    write_annotations(leaf, '866_337' if lvis else '48_17')
    before = write_store(f'{leaf.data_root}proposal_embeddings/ViT-B-32')
    with DefaultScope.overwrite_default_scope('mmdet'):
        dataset = DATASETS.build(dataset)
        preprocessor = MODELS.build(cfg.model.data_preprocessor)
    samples = [dataset[0] for _ in range(8)]
    for item in samples:
        check_sample(item, name, before)
    moved = preprocessor(pseudo_collate(samples), training=True)
    height, width = moved['inputs'].shape[2:]
    if 'lsj' in name:
        assert (height, width) == (1024, 1024)
        assert len({item['inputs'].shape for item in samples}) > 3
    else:
        short = {min(item['inputs'].shape[1:]) for item in samples}
        assert short <= {640, 672, 704, 736, 768, 800} and len(short) > 2
    for sample in moved['data_samples']:
        assert ('masks' in sample.gt_instances) == lvis
        if lvis:
            assert sample.gt_instances.masks.masks.shape == (
                len(sample.gt_instances),
                height,
                width,
            )


def check_sample(item: dict, name: str, before: np.ndarray) -> None:
    """Boxes to distil are inside the image, with their own embeddings."""
    sample = item['data_samples']
    if 'vild-text' in name:
        assert 'distill_instances' not in sample
        return
    boxes = sample.distill_instances.bboxes
    embeddings = sample.distill_instances.embeddings
    height, width = item['inputs'].shape[1:]
    assert (
        0
        < len(boxes)
        == len(embeddings)
        <= (300 if 'vild/' in name else NUM_BOXES)
    )
    assert embeddings.dtype == torch.float32 and embeddings.shape[1] == 512
    assert (boxes >= 0).all()
    assert (boxes <= torch.tensor([width, height] * 2)).all()
    if 'detpro' in name:
        rows = embeddings.argmax(dim=1)
        assert rows.tolist() == list(range(NUM_BOXES))
        scale = width / WIDTH
        expected = torch.from_numpy(before) * scale
        if sample.flip:
            expected[:, [2, 0]] = width - expected[:, [0, 2]]
        assert torch.allclose(boxes, expected, atol=1)
