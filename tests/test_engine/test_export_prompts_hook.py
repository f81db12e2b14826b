"""Learning prompts end to end: train, resume, share out, write the file."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MessageHub
from mmengine.runner import Runner

from ovd.apis.class_embeddings import make_class_embeddings
from ovd.artifacts.class_embeddings import ClassEmbeddings
from ovd.artifacts.embedding_store import BOX_KINDS, EmbeddingStoreWriter
from ovd.artifacts.store_plan import StorePlan
from ovd.clip.loading import load_clip
from ovd.datasets.gzsl_split import describe_annotations

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / 'configs/miniature/prompt_rn_miniature.py'
NAMES = ['cat', 'dog', 'red_fox', 'zebra']  # base, novel, base, neither


@pytest.fixture(scope='module')
def world(
    tmp_path_factory: pytest.TempPathFactory, tiny_clip_path: str
) -> Path:
    """Annotations, a store of random embeddings, and crops to predict."""
    tmp_path = tmp_path_factory.mktemp('prompts')
    rng = np.random.default_rng(0)
    boxes = np.array([[0, 0, 20, 20], [30, 10, 20, 20]], np.float32)
    categories = [dict(id=i, name=name) for i, name in enumerate(NAMES, 1)]
    (tmp_path / 'toy.json').write_text(
        json.dumps(
            dict(
                images=[
                    dict(id=i, file_name=f'{i}.png', width=60, height=40)
                    for i in range(1, 9)
                ],
                annotations=[
                    dict(
                        id=2 * i + j,
                        image_id=i,
                        category_id=1 + 2 * j,
                        iscrowd=0,
                        bbox=boxes[j].tolist(),
                        area=400,
                    )
                    for i in range(1, 9)
                    for j in range(2)
                ],
                categories=categories,
                gzsl=dict(
                    split='toy',
                    subset='train',
                    base=['cat', 'red_fox'],
                    novel=['dog'],
                    source=dict(file='all.json', sha256='0' * 64),
                ),
            )
        )
    )
    clip = load_clip(tiny_clip_path)
    writer = EmbeddingStoreWriter(
        tmp_path / 'store',
        StorePlan(
            clip=clip.identity,
            proposals=None,
            annotations=describe_annotations(tmp_path / 'toy.json'),
            settings=dict(ground_truth=True),
            images_per_shard=8,
            image_ids=range(1, 9),
            image_keys=[f'train/{i}.png' for i in range(1, 9)],
        ),
    )
    xyxy = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1)
    # IoU 0.6, and 0.29 for background
    lower = xyxy[:1] * [1, 1, 1, 0.6]
    writer.write_shard(
        0,
        [
            dict(
                embeddings=rng.standard_normal((4, 64)).astype(np.float32),
                bboxes=np.concatenate([lower, lower * 0.7, xyxy]),
                scores=np.ones(4),
                kinds=np.array(
                    [
                        BOX_KINDS.index(kind)
                        for kind in ('proposal', 'ground_truth')
                        for _ in range(2)
                    ]
                ),
            )
            for _ in range(8)
        ],
    )
    (tmp_path / 'split.json').write_text(
        json.dumps(dict(base=['cat', 'red_fox'], novel=['dog']))
    )
    (tmp_path / 'names.json').write_text(json.dumps(['background', *NAMES]))
    np.save(
        tmp_path / 'crops.npy',
        rng.integers(0, 256, (10, 64, 64, 3), dtype=np.uint8),
    )
    np.save(tmp_path / 'crops_labels.npy', np.arange(10) % 5)
    return tmp_path


def make_config(
    world: Path, clip: str, folder: str, max_epochs: int = 2
) -> Config:
    """The shipped config on a small world, with batches of 6."""
    cfg = Config.fromfile(CONFIG)
    cfg.model.update(clip=clip, num_groups=2, context_length=3)
    dataset = cfg.train_dataloader.dataset
    dataset.update(
        store=str(world / 'store'),
        neg_fraction=1.0,
        iou_ranges=[(0.5, 0.7), (0.9, 1.1)],
    )
    dataset.dataset.update(data_root=str(world), ann_file='toy.json')
    cfg.train_dataloader.batch_size = 6
    cfg.val_dataloader.dataset.update(
        data_root=str(world),
        ann_file='names.json',
        crops_file='crops.npy',
        split_file='split.json',
    )
    cfg.test_dataloader = cfg.val_dataloader
    for metric in cfg.val_evaluator:
        metric.split_file = str(world / 'split.json')
    cfg.test_evaluator = cfg.val_evaluator
    cfg.param_scheduler[0].update(T_max=2, end=2)
    cfg.train_cfg.update(max_epochs=max_epochs, val_interval=max_epochs)
    cfg.custom_hooks[0].out_file = str(world / folder / 'learned.pth')
    cfg.work_dir = str(world / folder)
    cfg.update(
        log_level='ERROR',
        launcher='none',
        experiment_name=f'{world.name}_{folder}_{max_epochs}',
    )
    return cfg


def run(cfg: Config, **changes: Any) -> ClassEmbeddings:
    cfg.update(changes)
    Runner.from_cfg(cfg).train()
    return ClassEmbeddings.load(cfg.custom_hooks[0].out_file)


@pytest.fixture(scope='module')
def whole(world: Path, tiny_clip_path: str) -> ClassEmbeddings:
    """What two epochs in one go write."""
    found = run(make_config(world, tiny_clip_path, 'whole'))
    scalars = MessageHub.get_current_instance().log_scalars
    assert {
        f'val/{who}/{part}'
        for who in ('learned', 'vild', 'detpro')
        for part in ('base', 'novel')
    } <= set(scalars)
    return found


def test_what_is_written(
    world: Path, tiny_clip_path: str, whole: ClassEmbeddings
) -> None:
    assert whole.names == NAMES and whole.templates == 'learned'
    assert whole.contexts.shape == (2, 3, 64)
    assert whole.settings['iou_ranges'] == [[0.5, 0.7], [0.9, 1.1]]

    checkpoint = torch.load(world / 'whole/epoch_2.pth', weights_only=True)
    assert list(checkpoint['state_dict']) == ['context']
    assert torch.equal(checkpoint['state_dict']['context'], whole.contexts)
    assert checkpoint['meta']['clip'] == whole.clip
    # The tool makes the same of the contexts in the file.
    again = make_class_embeddings(
        'learned',
        classes=','.join(NAMES),
        pretrained=tiny_clip_path,
        prompts=[world / 'whole/learned.pth'],
        out=world / 'again.pth',
    )
    torch.testing.assert_close(
        ClassEmbeddings.load(again).embeddings, whole.embeddings
    )


def test_resume(
    world: Path, tiny_clip_path: str, whole: ClassEmbeddings
) -> None:
    half = run(make_config(world, tiny_clip_path, 'parts', 1))
    # All of this is beyond rounding, which the others are compared by.
    assert (half.contexts - whole.contexts).abs().max() > 1e-4
    resumed = run(make_config(world, tiny_clip_path, 'parts', 2), resume=True)
    assert torch.equal(resumed.contexts, whole.contexts)


def test_another_seed(
    world: Path, tiny_clip_path: str, whole: ClassEmbeddings
) -> None:
    other = run(
        make_config(world, tiny_clip_path, 'seed', 1), randomness=dict(seed=1)
    )
    assert (other.contexts - whole.contexts).abs().mean() > 0.01


def test_regions_of_another_clip_are_refused(
    world: Path, tiny_vit_path: str
) -> None:
    with pytest.raises(ValueError, match="two CLIPs can't be compared"):
        run(make_config(world, tiny_vit_path, 'other'))


def test_two_processes_learn_the_same(
    world: Path, tiny_clip_path: str, whole: ClassEmbeddings
) -> None:
    """Each has half of every batch; the gradient is that of the whole."""
    cfg = make_config(world, tiny_clip_path, 'two')
    cfg.dump(world / 'two.py')
    subprocess.run(
        ['sh', str(ROOT / 'tools/dist_train.sh'), str(world / 'two.py'), '2'],
        check=True,
        cwd=world,
        capture_output=True,
        env=dict(
            os.environ,
            PYTHON=sys.executable,
            CUDA_VISIBLE_DEVICES='',
            OMP_NUM_THREADS='1',
        ),
    )
    two = ClassEmbeddings.load(world / 'two/learned.pth')
    torch.testing.assert_close(two.contexts, whole.contexts, rtol=0, atol=1e-6)
