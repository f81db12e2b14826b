"""Tests of loading CLIPs of all forms and sizes."""

import copy

import pytest
import torch
from safetensors.torch import save_file

from ovd.artifacts.files import sha256_file
from ovd.clip.building import build_clip, save_clip
from ovd.clip.image_encoder import embed_boxes
from ovd.clip.loading import load_clip
from ovd.clip.text_encoder import embed_class_names
from ovd.clip.tokenizer import tokenize


@pytest.mark.parametrize('fixture', ['tiny_clip_path', 'tiny_vit_path'])
def test_load_clip_gives_a_frozen_float32_model(fixture, request):
    path = request.getfixturevalue(fixture)
    loaded = load_clip(path)
    parameters = list(loaded.model.parameters())
    assert {p.dtype for p in parameters} == {torch.float32}
    assert not any(p.requires_grad for p in parameters)
    assert not loaded.model.training
    assert loaded.identity == {'name': path, 'sha256': sha256_file(path)}
    assert loaded.device == torch.device('cpu')
    assert loaded.model.visual.input_resolution == 64
    assert loaded.model.transformer.resblocks[0].attn.num_heads == 1
    image = torch.rand(2, 3, 64, 64)
    assert loaded.model.encode_image(image).shape == (2, 64)
    assert loaded.model.encode_text(tokenize(['a cat'])).shape == (1, 64)


@pytest.mark.filterwarnings(
    'ignore::torch.jit.TracerWarning', 'ignore:.torch.jit:DeprecationWarning'
)
def test_other_forms_give_the_same_model(tmp_path, tiny_clip_path):
    model = load_clip(tiny_clip_path).model
    image = torch.rand(2, 3, 64, 64)
    expected = model.encode_image(image)
    unrounded = copy.deepcopy(model)
    unrounded.text_projection += 1e-5  # lost in half precision
    save_file(unrounded.state_dict(), str(tmp_path / 'a.safetensors'))
    loaded = load_clip(str(tmp_path / 'a.safetensors')).model
    torch.testing.assert_close(
        loaded.text_projection, unrounded.text_projection, rtol=0, atol=0
    )
    torch.testing.assert_close(loaded.encode_image(image), expected)

    archived = copy.deepcopy(model)
    # Published archives hold such numbers beside the weights.
    archived.register_buffer('input_resolution', torch.tensor(64))
    tokens = tokenize(['a cat'] * 2)
    torch.jit.trace(archived, (image, tokens)).save(str(tmp_path / 'jit.pt'))
    loaded = load_clip(str(tmp_path / 'jit.pt')).model
    torch.testing.assert_close(loaded.encode_image(image), expected)


RESNET = dict(vision_layers=(1, 2, 1, 1), vision_width=32)
VIT = dict(vision_layers=1, vision_width=128, vision_patch_size=14)


@pytest.mark.parametrize(
    'image, resolution',
    [
        (RESNET, 96),
        (dict(RESNET, vision_width=64), 224),
        (VIT, 112),
        (dict(VIT, vision_patch_size=32), 224),
    ],
)
@pytest.mark.parametrize(
    'embed_dim, width', [(64, 64), (512, 128), (640, 192), (1024, 64)]
)
def test_every_architecture(tmp_path, image, resolution, embed_dim, width):
    model = build_clip(
        embed_dim=embed_dim,
        image_resolution=resolution,
        transformer_width=width,
        transformer_layers=1,
        **image,
    ).eval()
    save_clip(model, tmp_path / 'a.pt')
    loaded = load_clip(str(tmp_path / 'a.pt'))
    assert (loaded.embed_dims, loaded.image_size) == (embed_dim, resolution)
    images = torch.rand(1, 3, resolution, resolution)
    with torch.no_grad():
        # rounded to half precision on saving
        assert (
            torch.cosine_similarity(
                loaded.encode_image(images), model.encode_image(images)
            )
            > 0.999
        )


@pytest.mark.parametrize(
    'device',
    [
        'cpu',
        pytest.param(
            'cuda',
            marks=pytest.mark.skipif(
                not torch.cuda.is_available(), reason='there is no GPU'
            ),
        ),
    ],
)
@pytest.mark.parametrize('precision', ['bf16', 'fp16'])
@pytest.mark.parametrize('fixture', ['tiny_clip_path', 'tiny_vit_path'])
def test_half_precision(fixture, precision, device, request):
    path = request.getfixturevalue(fixture)
    exact, half = load_clip(path), load_clip(path, device, precision)
    assert half.precision == precision and half.device.type == device
    names = ['cat', 'traffic light']
    image = torch.randint(255, (50, 60, 3), dtype=torch.uint8).numpy()
    for embed in (
        lambda clip: embed_class_names(clip, names),
        lambda clip: embed_boxes(clip, image, [[5.0, 5, 30, 40]]),
    ):
        one, two = embed(exact), embed(half)
        assert two.dtype == torch.float32 and two.device.type == 'cpu'
        assert (one * two).sum(dim=1).min() > 0.999


def test_unknown_precision(tiny_clip_path):
    with pytest.raises(ValueError, match='precision must be one of fp32, bf'):
        load_clip(tiny_clip_path, precision='half')
