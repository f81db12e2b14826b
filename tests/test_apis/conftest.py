"""A folder with a detector that has not learned, as commands expect it."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

ROOT = Path(__file__).parents[2]
CONFIG = 'configs/miniature/vild-ensemble_mask-rcnn_r18_fpn_miniature.py'


@pytest.fixture(scope='session')
def untrained(
    tmp_path_factory: pytest.TempPathFactory, tiny_clip_path: str
) -> Path:
    """Folder with images, class embeddings and a checkpoint of chance."""
    from mmdet.registry import MODELS
    from mmengine.config import Config

    from ovd.clip.class_embedding_recipe import Recipe

    folder = tmp_path_factory.mktemp('untrained')
    (folder / 'configs').symlink_to(ROOT / 'configs')
    rng = np.random.default_rng(0)
    images = folder / 'data/miniature/val'
    images.mkdir(parents=True)
    for number in range(1, 4):
        coarse = rng.integers(0, 256, (10, 10, 3), dtype=np.uint8)
        cv2.imwrite(
            str(images / f'{number:06d}.png'), cv2.resize(coarse, (160, 160))
        )
    Recipe(tiny_clip_path).make(['red circle', 'blue star', 'ring']).save(
        folder / 'data/miniature/prompt/vild.pth'
    )
    run = folder / 'work_dirs/miniature/vild-ensemble'
    run.mkdir(parents=True)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = MODELS.build(Config.fromfile(folder / CONFIG).model)
    torch.save(
        dict(
            state_dict=model.state_dict(),
            meta=dict(dataset_meta=dict(base_classes=('red circle',))),
        ),
        run / 'iter_1.pth',
    )
    (run / 'last_checkpoint').write_text('iter_1.pth')
    return folder


@pytest.fixture
def in_untrained(untrained: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, as the current folder."""
    monkeypatch.chdir(untrained)
    return untrained
