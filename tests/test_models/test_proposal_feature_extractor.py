"""The frozen CLIP of the extractor stays out of its weights."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS

from ovd.artifacts.files import sha256_file
from ovd.clip.encoder_speed import EncoderSpeed
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


@pytest.fixture()
def pretend(monkeypatch):
    """Compile nothing, and find that it is twice as fast."""
    module = 'ovd.models.proposal_feature_extractor.'
    compiled = []

    def compile_encoder(clip, batch_size):
        compiled.append(batch_size)
        return replace(clip, compiled_for=batch_size)

    monkeypatch.setattr(module + 'compile_encoder', compile_encoder)
    monkeypatch.setattr(
        module + 'try_compiled',
        lambda clip, speed, crops: (
            compile_encoder(clip, speed.batch_size),
            replace(speed, compiled=True),
        ),
    )
    monkeypatch.setattr(
        module + 'time_encoder',
        lambda clip, size, crops: EncoderSpeed(
            clip.precision, size, 100.0, 1.0, clip.compiled_for == size
        ),
    )
    return compiled


@pytest.mark.parametrize('minutes, expected', [(5, False), (60, True)])
def test_compiled_where_it_pays(tiny_vit_path, pretend, minutes, expected):
    model = _build(tiny_vit_path, batch_size=8, compiled='auto')
    assert model([], []) == []
    speed = model.settle(num_crops=100.0 * 60 * minutes)
    assert speed.compiled == model.compiled == expected
    assert model.settings.get('compiled', False) == expected
    assert pretend == [8] * expected
    assert model.teacher.compiled_for == (8 if expected else None)


@pytest.mark.parametrize('recorded', [False, True])
def test_what_a_store_was_begun_with_stays(tiny_vit_path, pretend, recorded):
    model = _build(tiny_vit_path, batch_size=8, compiled='auto')
    settings = dict(precision='fp32', batch_size=8)
    if recorded:
        settings['compiled'] = True
    speed = model.settle(settings, num_crops=1e9)
    assert speed.compiled == model.compiled == recorded
    assert pretend == [8] * recorded


def test_compiled_as_told(tiny_vit_path, pretend):
    model = _build(tiny_vit_path, batch_size=8, compiled=True)
    assert model.settle(num_crops=1).compiled and pretend == [8]
    model.use('fp32', 8, True)
    assert pretend == [8]  # not once more
    with pytest.raises(ValueError, match="True, False or .*, got 'yes'"):
        _build(tiny_vit_path, compiled='yes')
