"""Jobs on images for the benchmark of faults: training, and extraction."""

import json
from pathlib import Path
from typing import Any, Dict, Optional

import cv2
import numpy as np
import torch
from fault_processes import Child
from mmcv.transforms import BaseTransform
from mmdet.registry import MODELS, TRANSFORMS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from resumable_job import NoisyModel

from ovd.artifacts.proposals import save_proposals
from ovd.clip.building import build_clip, save_clip
from ovd.engine.launch import build_runner
from ovd.engine.resuming import prepare_training

NUM_IMAGES = 40
NUM_EMBEDDED = 8
BOXES = 3


@TRANSFORMS.register_module(name='_PackMean')
class PackMean(BaseTransform):
    """Turn an image into what the model of the toy job takes."""

    def __init__(self, bad: int = -1, value: str = 'nan') -> None:
        self.bad, self.value = bad, float(value)

    def transform(self, results: Dict[str, Any]) -> Dict[str, Any]:
        inputs = torch.from_numpy(results['img']).float().mean((0, 1)) / 255
        inputs = torch.cat([inputs, torch.rand(1)])
        if results['img_id'] == self.bad:
            inputs[0] = self.value
        return dict(
            inputs=inputs,
            index=results['img_id'],
            data_samples=DetDataSample(
                metainfo=dict(img_path=results['img_path'])
            ),
        )


@MODELS.register_module(name='_ImageModel')
class ImageModel(NoisyModel):
    def __init__(self, backbone: Optional[dict] = None) -> None:
        super().__init__()
        self.backbone = backbone and MODELS.build(backbone)

    def forward(self, inputs, index, data_samples, mode='tensor'):
        return super().forward(inputs, index, mode)


def build_files(folder: Path) -> None:
    """Write the images, annotations, proposals and the CLIP of the jobs."""
    rng = np.random.default_rng(0)
    (folder / 'images').mkdir()
    for i in range(NUM_IMAGES):
        cv2.imwrite(
            str(folder / f'images/{i}.png'),
            rng.integers(0, 256, (32, 48, 3), np.uint8),
        )
    for name, number in (('train', NUM_IMAGES), ('embed', NUM_EMBEDDED)):
        (folder / f'{name}.json').write_text(
            json.dumps(
                dict(
                    images=[
                        dict(id=i, file_name=f'{i}.png', width=48, height=32)
                        for i in range(number)
                    ],
                    annotations=[
                        dict(
                            id=i,
                            image_id=i,
                            category_id=0,
                            iscrowd=0,
                            bbox=[1, 1, 40, 30],
                            area=1200,
                        )
                        for i in range(number)
                    ],
                    categories=[dict(id=0, name='red circle')],
                )
            )
        )
    corners = rng.uniform(0, 1, (NUM_EMBEDDED, BOXES, 2, 2)) * (48, 32)
    corners.sort(axis=2)
    save_proposals(
        folder / 'p.safetensors',
        {
            f'images/{i}.png': dict(
                bboxes=corners[i].reshape(BOXES, 4).astype(np.float32),
                scores=rng.uniform(size=BOXES).astype(np.float32),
            )
            for i in range(NUM_EMBEDDED)
        },
        {},
    )
    torch.manual_seed(0)
    save_clip(
        build_clip(
            embed_dim=32,
            image_resolution=32,
            vision_layers=1,
            vision_width=64,
            vision_patch_size=16,
            transformer_width=64,
            transformer_layers=1,
        ),
        folder / 'clip.pt',
    )


def _dataset(
    images: Path, ann_file: Path, *pipeline: dict, **kwargs: Any
) -> dict:
    return dict(
        type='CocoDataset',
        ann_file=str(ann_file),
        metainfo=dict(classes=('red circle',)),
        data_prefix=dict(img=str(images)),
        pipeline=[dict(type='LoadImageFromFile'), *pipeline],
        **kwargs,
    )


def images_job(
    files: Path, images: Path, bad: int = -1, value: str = 'nan'
) -> dict:
    """Return what makes the toy job train on images.

    Args:
        files (Path): Folder of the annotations.
        images (Path): That of the images.
        bad (int): The image that becomes ``value``.
        value (str): ``'nan'`` or ``'inf'``.
    """
    return dict(
        model=dict(type='_ImageModel'),
        train_dataloader=dict(
            dataset=_dataset(
                images,
                files / 'train.json',
                dict(type='_PackMean', bad=bad, value=value),
            )
        ),
    )


def extraction_config(
    files: Path, store: Path, work_dir: Path, images: Optional[Path] = None
) -> Config:
    """Return a job that extracts embeddings from the first images."""
    return Config(
        dict(
            runner_type='ExtractionRunner',
            default_scope='mmdet',
            launcher='none',
            log_level='WARNING',
            work_dir=str(work_dir),
            model=dict(
                type='ProposalFeatureExtractor',
                batch_size=16,
                precision='fp32',
                clip=str(files / 'clip.pt'),
            ),
            train_dataloader=dict(
                num_workers=0,
                dataset=_dataset(
                    images or files / 'images',
                    files / 'embed.json',
                    test_mode=True,
                ),
            ),
            train_cfg=dict(
                type='ExtractionLoop',
                proposals=str(files / 'p.safetensors'),
                store=str(store),
                images_per_shard=2,
            ),
        )
    )


def start_extraction(
    files: Path,
    store: Path,
    work_dir: Path,
    images: Optional[Path] = None,
    skip_broken: bool = False,
) -> Child:
    """Start to extract embeddings from the first images."""

    def work() -> None:
        cfg = extraction_config(files, store, work_dir, images)
        prepare_training(cfg, skip_broken=skip_broken)
        build_runner(cfg).train()

    return Child(work, work_dir / f'log_{store.name}.txt')
