"""Tests of building and saving CLIPs."""

import os

import clip
import pytest
import torch

from ovd.artifacts.files import sha256_file
from ovd.clip.building import build_clip, save_clip
from ovd.clip.loading import load_clip

TINY = dict(
    embed_dim=64,
    image_resolution=64,
    vision_layers=(1, 1, 1, 1),
    vision_width=16,
    transformer_width=64,
    transformer_layers=2,
)


def test_saved_weights_are_the_halves_of_the_model(tmp_path):
    model = build_clip(**TINY)
    save_clip(model, tmp_path / 'a.pt')
    save_clip(model, tmp_path / 'b.pt')
    assert sha256_file(tmp_path / 'a.pt') == sha256_file(tmp_path / 'b.pt')
    assert model.text_projection.dtype == torch.float32  # left as it was
    loaded = load_clip(str(tmp_path / 'a.pt')).model
    torch.testing.assert_close(
        loaded.text_projection,
        model.text_projection.half().float(),
        rtol=0,
        atol=0,
        check_device=False,
    )
    torch.testing.assert_close(
        loaded.token_embedding.weight,
        model.token_embedding.weight.detach(),
        rtol=0,
        atol=0,
    )
    # clip's own builder takes the same file
    state_dict = torch.load(tmp_path / 'a.pt', weights_only=True)
    assert clip.model.build_model(state_dict).visual.input_resolution == 64


def test_save_clip_refuses_what_half_precision_cannot_hold(tmp_path):
    model = build_clip(**TINY)
    model.text_projection.data[0, 0] = 1e6
    with pytest.raises(ValueError, match='text_projection has values'):
        save_clip(model, tmp_path / 'a.pt')
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    'changes, message',
    [
        (
            dict(transformer_width=96),
            'transformer_width must .* of 64, got 96',
        ),
        (dict(image_resolution=80), 'image_resolution must .* of 32, got 80'),
        (dict(vision_layers=2), 'vision_width must .* of 64, got 16'),
    ],
)
def test_build_clip_refuses_what_would_load_differently(changes, message):
    with pytest.raises(ValueError, match=message):
        build_clip(**{**TINY, **changes})
