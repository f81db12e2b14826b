"""The compiled image tower against the plain one."""

import pytest
import torch
from torch._dynamo.exc import BackendCompilerFailed

from ovd.clip import encoder_speed
from ovd.clip.compiled_tower import CompiledTower
from ovd.clip.encoder_speed import (
    EncoderSpeed,
    compile_encoder,
    try_compiled,
    with_precision,
)
from ovd.clip.loading import load_clip


def _fail(*args, **kwargs):
    raise BackendCompilerFailed('inductor', RuntimeError('no g++'), None)


@pytest.mark.usefixtures('cpp_compiler')
def test_same_features_of_full_batches_and_of_others(tiny_vit_path):
    clip = load_clip(tiny_vit_path)
    compiled = compile_encoder(clip, 4)
    assert compiled.compiled_for == 4 and clip.compiled_for is None
    assert not isinstance(clip.image_tower, CompiledTower)
    images = torch.randn(4, 3, 64, 64)
    found, expected = (c.encode_image(images) for c in (compiled, clip))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert torch.equal(compiled.encode_image(images), found)
    # Others are encoded as if nothing were compiled
    for number in (0, 1, 5):
        some = torch.randn(number, 3, 64, 64)
        assert torch.equal(
            compiled.encode_image(some), clip.encode_image(some)
        )


@pytest.mark.usefixtures('cpp_compiler')
def test_half_precision(tiny_vit_path):
    clip = with_precision(load_clip(tiny_vit_path), 'bf16')
    images = torch.randn(3, 3, 64, 64)
    found = compile_encoder(clip, 3).encode_image(images)
    assert found.dtype == torch.float32
    cosines = torch.cosine_similarity(found, clip.encode_image(images))
    assert cosines.min() > 0.999


def test_other_towers_are_refused(tiny_clip_path):
    clip = load_clip(tiny_clip_path)
    with pytest.raises(ValueError, match='only vision transformers'):
        compile_encoder(clip, 4)
    speed = EncoderSpeed('fp32', 4, 1.0)
    with pytest.warns(UserWarning, match='going on without: only vision'):
        assert try_compiled(clip, speed) == (clip, speed)


def test_no_compiler(tiny_vit_path, monkeypatch):
    monkeypatch.setattr(CompiledTower, 'encode', _fail)
    clip = load_clip(tiny_vit_path)
    with pytest.raises(ValueError, match="can't be compiled: .*it needs a C"):
        compile_encoder(clip, 4)
    speed = EncoderSpeed('fp32', 4, 1.0)
    with pytest.warns(UserWarning, match='going on without'):
        assert try_compiled(clip, speed) == (clip, speed)


@pytest.mark.parametrize('times, taken', [(1.01, False), (1.3, True)])
def test_it_must_pay(tiny_vit_path, monkeypatch, times, taken):
    monkeypatch.setattr(
        encoder_speed,
        '_time',
        lambda clip, images, seconds: (
            100 * times if clip.compiled_for else 100
        ),
    )
    monkeypatch.setattr(
        CompiledTower, 'encode', lambda self, *args: self.tower.encode(*args)
    )
    clip = load_clip(tiny_vit_path)
    found, speed = try_compiled(clip, EncoderSpeed('fp32', 4, 90.0))
    assert speed.compiled == taken == (found.compiled_for == 4)
    assert speed.crops_per_second == (130 if taken else 90)
    assert ('compiled' in str(speed)) == taken


def test_less_exact_code_is_not_taken(tiny_vit_path, monkeypatch):
    monkeypatch.setattr(encoder_speed, '_time', lambda *args: 1.0)
    monkeypatch.setattr(encoder_speed, 'MIN_GAIN', 0)
    monkeypatch.setattr(
        CompiledTower, 'encode', lambda self, *args: -self.tower.encode(*args)
    )
    clip, speed = load_clip(tiny_vit_path), EncoderSpeed('fp32', 4, 1.0)
    assert try_compiled(clip, speed) == (clip, speed)
