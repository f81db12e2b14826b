"""The frozen CLIP of the extractor stays out of its weights."""

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS

from ovd.artifacts.files import sha256_file
from ovd.clip.image_encoder import embed_boxes


def _build(path, **kwargs):
    return MODELS.build(
        dict(type='ProposalFeatureExtractor', clip=path, **kwargs)
    )


def test_no_weights_of_its_own(tiny_clip_path):
    model = _build(tiny_clip_path)
    assert not model.state_dict() and not list(model.parameters())
    assert model.teacher.identity['sha256'] == sha256_file(tiny_clip_path)


def test_clip_follows_the_device(tiny_clip_path):
    model = _build(tiny_clip_path).to('meta')
    assert model.teacher.device == torch.device('meta')


def test_same_as_image_by_image(tiny_clip_path):
    rng = np.random.RandomState(0)
    images = [rng.randint(0, 256, (40, 60, 3), np.uint8) for _ in range(3)]
    bboxes_list = [
        np.array([[0, 0, 20, 20], [10, 5, 60, 40]], np.float32),
        np.zeros((0, 4), np.float32),
        np.array([[3, 4, 9, 30]], np.float32),
    ]
    model = _build(tiny_clip_path, crop_scales=[1.0, 1.5], batch_size=4)
    found = model(iter(images), bboxes_list)
    assert [item.shape for item in found] == [(2, 64), (0, 64), (1, 64)]
    for image, bboxes, item in zip(images, bboxes_list, found):
        torch.testing.assert_close(
            item, embed_boxes(model.teacher, image, bboxes), atol=1e-5, rtol=0
        )


@pytest.mark.parametrize(
    'settings, message',
    [
        (
            dict(precision='fp8'),
            'precision must be one of fp32, bf16, fp16, auto',
        ),
        (dict(crop_mode='fasd'), 'did you mean "fast"'),
        (dict(batch_size=0), 'batch_size must be positive or "auto", got 0'),
        (dict(batch_size='large'), "got 'large'"),
        (dict(crop_scales=(0,)), 'crop_scales must be positive'),
    ],
)
def test_wrong_options(tiny_clip_path, settings, message):
    with pytest.raises(ValueError, match=message):
        _build(tiny_clip_path, **settings)


def test_auto_is_settled_first(tiny_vit_path):
    model = _build(tiny_vit_path, precision='auto', batch_size='auto')
    with pytest.raises(ValueError, match=r'settle\(\) first'):
        model([], [])
    model.settle(dict(precision='bf16', batch_size=7))
    assert model.settings['precision'] == model.teacher.precision == 'bf16'
    assert model.batch_size == 7 and model([], []) == []


def test_what_is_given_is_not_settled(tiny_vit_path):
    model = _build(tiny_vit_path, precision='fp32', batch_size='auto')
    speed = model.settle()
    assert speed.precision == model.precision == 'fp32'
    assert isinstance(model.batch_size, int)
    # A store of an earlier run does not change what the config says
    model.settle(dict(precision='bf16', batch_size=7))
    assert model.precision == 'fp32'
