"""Proposals of an RPN checkpoint of mmdet 2.x, by the command line."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Callable

import numpy as np
import pytest
import torch
from mmcv import imwrite
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import DefaultScope

import ovd.models  # noqa: F401  (registers)
from ovd.artifacts.proposals import load_proposals
from ovd.datasets.gzsl_split import split_file

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / 'configs/miniature/rpn_r18_fpn_miniature_train.py'
OUT = 'data/miniature/proposals/p.pkl'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data tree of three images, and a checkpoint as mmdet 2.x wrote it."""
    annotations = tmp_path / 'data/miniature/annotations'
    annotations.mkdir(parents=True)
    (annotations / 'instances_train.json').write_text(
        json.dumps(
            dict(
                images=[
                    dict(id=i, file_name=f'{i}.png', width=100, height=50)
                    for i in (1, 2, 3)
                ],
                annotations=[
                    dict(
                        id=i,
                        image_id=image,
                        category_id=category,
                        bbox=[5, 5, 40, 40],
                        area=1600,
                        iscrowd=0,
                    )
                    for i, (image, category) in enumerate(
                        [(1, 1), (1, 2), (2, 1), (3, 2)], 1
                    )
                ],
                categories=[dict(id=1, name='cat'), dict(id=2, name='dog')],
            )
        )
    )
    split = annotations / '48_17.json'
    split.write_text(json.dumps(dict(base=['cat'], novel=['dog'])))
    split_file(annotations / 'instances_train.json', str(split), 'train')
    rng = np.random.default_rng(0)
    for i in (1, 2):
        imwrite(
            rng.integers(0, 255, (50, 100, 3), np.uint8),
            str(tmp_path / f'data/miniature/train/{i}.png'),
        )
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(Config.fromfile(CONFIG).model)
    torch.save(
        dict(
            meta=dict(mmdet_version='2.3.0', CLASSES=('cat', 'dog'), epoch=24),
            state_dict={
                key.replace('bbox_head.', 'rpn_head.'): value
                for key, value in model.state_dict().items()
            },
        ),
        tmp_path / 'rpn.pth',
    )
    return tmp_path


def test_checkpoints_of_another_depth_are_refused(
    folder: Path, run_tool: Callable
) -> None:
    done = run_tool(
        'test.py',
        CONFIG,
        'rpn.pth',
        '--out',
        OUT,
        '--cfg-options',
        'model.backbone.depth=34',
        cwd=folder,
    )
    assert done.returncode != 0 and not (folder / OUT).exists()
    assert 'rpn.pth lacks' in done.stderr
    assert '\n  backbone.layer' in done.stderr


def test_public_checkpoints_load_and_are_warned_of(folder: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            str(ROOT / 'tools/test.py'),
            str(CONFIG),
            'rpn.pth',
            '--out',
            OUT,
        ],
        cwd=folder,
        env={**os.environ, 'CUDA_VISIBLE_DEVICES': ''},
        capture_output=True,
        text=True,
    )
    log = done.stdout + done.stderr
    assert done.returncode == 0, log[-3000:]
    assert 'unexpected key' not in log and 'missing keys' not in log
    assert log.count('novel here in its training: dog. It finds') == 1
    assert '| novel ' in log and 'no novel objects' not in log
    found = load_proposals(folder / OUT)
    # The third image has novel objects alone, and is no training image.
    assert list(found) == ['train/1.png', 'train/2.png']
    assert all(0 < len(entry['scores']) <= 20 for entry in found.values())
    assert found.provenance['trained_on'] == ['cat', 'dog']
    assert found.provenance['seen_novel_classes'] == ['dog']
    assert found.provenance['checkpoint']['file'] == 'rpn.pth'
