"""A detector's CLIP stays frozen, and out of all that is its own."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.model import ExponentialMovingAverage
from mmengine.optim import build_optim_wrapper
from torch import Tensor

from ovd.clip.class_embedding_recipe import Recipe
from ovd.clip.image_encoder import embed_boxes
from ovd.clip.loading import load_clip
from ovd.models import CLIPOnBoxes

CONFIGS = Path(__file__).parents[2] / 'configs/miniature'
NAMES = ['red circle', 'blue star']


def build(tmp_path: Path, clip: str, **kwargs) -> CLIPOnBoxes:
    """Return the detector of the miniature's config, with a random CLIP."""
    cfg = Config.fromfile(
        CONFIGS / 'clip-on-boxes_mask-rcnn_r18_fpn_miniature.py'
    ).model
    path = str(tmp_path / 'vild.pth')
    cfg.roi_head.bbox_head.classifier.class_embeddings = path
    return MODELS.build(
        dict(cfg, teacher=clip, class_embeddings=path, **kwargs)
    )


@pytest.fixture
def detector(tmp_path: Path, tiny_clip_path: str) -> CLIPOnBoxes:
    Recipe(tiny_clip_path).make(NAMES).save(tmp_path / 'vild.pth')
    return build(tmp_path, tiny_clip_path)


def teacher_weights(detector: CLIPOnBoxes) -> list[Tensor]:
    return list(detector.teacher.model.state_dict().values())


def test_it_is_neither_saved_nor_trained(detector: CLIPOnBoxes) -> None:
    cfg = Config.fromfile(
        CONFIGS / 'vild-ensemble_mask-rcnn_r18_fpn_miniature.py'
    )
    plain = MODELS.build(
        dict(
            cfg.model,
            roi_head=dict(
                cfg.model.roi_head,
                bbox_head=dict(
                    cfg.model.roi_head.bbox_head,
                    classifier=dict(
                        cfg.model.roi_head.bbox_head.classifier,
                        class_embeddings=detector.class_embeddings_file,
                    ),
                ),
            ),
        )
    )
    detector.set_vocabulary(NAMES)
    detector.roi_head.bbox_head.set_vocabulary(NAMES)
    assert list(detector.state_dict()) == list(plain.state_dict())
    assert [name for name, _ in detector.named_parameters()] == [
        name for name, _ in plain.named_parameters()
    ]
    own = {id(weight) for weight in detector.parameters()}
    optimizer = build_optim_wrapper(detector, cfg.optim_wrapper).optimizer
    assert {
        id(weight)
        for group in optimizer.param_groups
        for weight in group['params']
    } == own
    assert not own & {id(p) for p in detector.teacher.model.parameters()}


def test_it_stays_in_eval_mode_without_gradients(
    detector: CLIPOnBoxes,
) -> None:
    detector.train().requires_grad_(True)
    assert not any(m.training for m in detector.teacher.model.modules())
    assert not any(
        p.requires_grad for p in detector.teacher.model.parameters()
    )


def test_copies_and_moving_averages(detector: CLIPOnBoxes) -> None:
    twin = copy.deepcopy(detector)
    twin.to('meta')
    assert twin.teacher.device.type == 'meta'
    assert detector.teacher.device.type == 'cpu'
    average = ExponentialMovingAverage(detector)
    average.update_parameters(detector)
    assert {key.removeprefix('module.') for key in average.state_dict()} == {
        *detector.state_dict(),
        'steps',
    }


@pytest.mark.parametrize('precision', ['fp32', 'bf16'])
def test_it_keeps_its_precision(
    detector: CLIPOnBoxes, tmp_path: Path, tiny_clip_path: str, precision: str
) -> None:
    """It follows the model to a device, not to another type of number."""
    detector = build(tmp_path, tiny_clip_path, precision=precision)
    before = [weight.clone() for weight in teacher_weights(detector)]
    detector.half().to(torch.float64).float()
    for old, new in zip(before, teacher_weights(detector)):
        assert old.dtype == new.dtype and torch.equal(old, new)
    image = np.random.default_rng(0).integers(
        0, 256, (40, 60, 3), dtype=np.uint8
    )
    box = np.array([[4.0, 5, 30, 35]])
    own = load_clip(tiny_clip_path, precision=precision)
    assert torch.equal(
        embed_boxes(detector.teacher, image, box), embed_boxes(own, image, box)
    )


def test_unknown_precision(
    detector: CLIPOnBoxes, tmp_path: Path, tiny_clip_path: str
) -> None:
    with pytest.raises(ValueError, match='precision must be one of'):
        build(tmp_path, tiny_clip_path, precision='fp8')
