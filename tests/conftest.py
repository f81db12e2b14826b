"""Fixtures shared by the tests: CLIP files with small random weights."""
import functools
from pathlib import Path
from typing import Iterator

import mmengine.config.config
import mmengine.config.utils
import pytest
import torch

# Before any test imports mmdet, which needs mmcv's ops in place.
import ovd  # noqa: F401


@pytest.fixture(scope='session', autouse=True)
def quick_configs() -> Iterator[None]:
    """Spare each config of a test what takes the host seconds.

    It reads all metafiles of mmdet for each base, and formats the text of a
    config several times for each runner.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mmengine.config.utils, 'load',
                      functools.cache(mmengine.config.utils.load))
        patch.setattr(mmengine.config.config, 'FormatCode',
                      lambda text, **kwargs: (text, True))
        yield


def _save_tiny_clip(folder: Path, name: str, **kwargs) -> str:
    from ovd.clip.building import build_clip, save_clip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_clip(
            embed_dim=64,
            image_resolution=64,
            transformer_width=64,
            transformer_layers=2,
            **kwargs)
    path = folder / f'{name}.pt'
    save_clip(model, path)
    return str(path)


@pytest.fixture(scope='session')
def tiny_clip_path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """File of a random CLIP with the dimensions of the miniature's."""
    return _save_tiny_clip(
        tmp_path_factory.mktemp('clip'),
        'tiny',
        vision_layers=(1, 1, 1, 1),
        vision_width=16)


@pytest.fixture(scope='session')
def tiny_vit_path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """File of a random CLIP whose image tower is a vision transformer."""
    return _save_tiny_clip(
        tmp_path_factory.mktemp('clip'),
        'tiny_vit',
        vision_layers=2,
        vision_width=64,
        vision_patch_size=16)
