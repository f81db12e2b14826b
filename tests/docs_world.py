"""The miniature world with few images, and what its jobs read, in a moment.

Boxes are drawn by lot and CLIP is a random one, so nothing is learned here.
"""

import shutil
from pathlib import Path
from typing import Callable

import numpy as np

from ovd.artifacts.proposals import save_proposals
from ovd.clip.class_embedding_recipe import Recipe
from ovd.datasets.gzsl_split import (
    describe_annotations,
    read_header,
    split_file,
)
from ovd.datasets.miniature import write_world

ROOT = Path(__file__).parents[1]
NUM_TRAIN, NUM_VAL, NUM_PROPOSALS = 4, 2, 6


def write_tiny_world(folder: Path, clip: str, run_tool: Callable) -> None:
    """Fill ``data/miniature`` and ``pretrained/clip`` of a folder.

    Args:
        folder (Path): Gets a link to ``configs``, too.
        clip (str): File of a CLIP with embeddings of the miniature's size.
        run_tool (Callable): The fixture of that name.
    """
    (folder / 'configs').symlink_to(ROOT / 'configs')
    (folder / 'pretrained/clip').mkdir(parents=True)
    shutil.copy(clip, folder / 'pretrained/clip/miniature.pt')
    data = folder / 'data/miniature'
    write_world(
        data,
        seed=0,
        num_train=NUM_TRAIN,
        num_val=NUM_VAL,
        num_crops=2,
        num_heldout_crops=2,
    )
    annotations = data / 'annotations'
    for subset in ('train', 'val'):
        split_file(
            annotations / f'instances_{subset}.json',
            str(annotations / '48_17.json'),
            subset,
        )
    rng = np.random.default_rng(0)
    proposals = {}
    for path in sorted((data / 'train').glob('*.png')):
        corners = rng.uniform(0, 80, (NUM_PROPOSALS, 2))
        sides = rng.uniform(10, 40, (NUM_PROPOSALS, 2))
        proposals[f'train/{path.name}'] = dict(
            bboxes=np.hstack([corners, corners + sides]).astype(np.float32),
            scores=np.linspace(0.9, 0.1, NUM_PROPOSALS, dtype=np.float32),
        )
    train = annotations / 'instances_train_48_17_1.json'
    save_proposals(
        data / 'proposals/rpn_train_48_17.safetensors',
        proposals,
        dict(annotations=describe_annotations(train)),
    )
    _, categories = read_header(annotations / 'instances_val_48_17_1.json')
    Recipe(clip).make([category.name for category in categories]).save(
        data / 'prompt/vild.pth'
    )
    done = run_tool(
        'train.py',
        'configs/miniature/proposal_feature_extractor.py',
        '--cfg-options',
        'train_dataloader.num_workers=0',
        'train_cfg.images_per_shard=2',
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr[-3000:]
