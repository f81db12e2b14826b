"""Tests of the text tower against the plain call of openai-clip."""

import copy

import pytest
import torch
from torch import nn

from ovd.clip.building import build_clip
from ovd.clip.loading import load_clip
from ovd.clip.text_tower import TextTower
from ovd.clip.tokenizer import tokenize

RESNET = dict(vision_layers=(1, 1, 1, 1), vision_width=16)
VIT = dict(vision_layers=1, vision_width=64, vision_patch_size=16)
TEXTS = [
    'a cat',
    'a photo of a very very long striped blue triangle',
    'a',
    'a photo of a dog.',
    'a photo of a cat.',
    'word ' * 75,
]


def build(image, embed_dim, width, layers):
    torch.manual_seed(width)
    model = build_clip(
        embed_dim=embed_dim,
        image_resolution=64,
        transformer_width=width,
        transformer_layers=layers,
        **image,
    )
    return model.eval().requires_grad_(False)


@pytest.mark.parametrize('image', [RESNET, VIT], ids=['resnet', 'vit'])
@pytest.mark.parametrize(
    'embed_dim, width, layers',
    [(64, 64, 2), (48, 128, 3), (512, 256, 1), (1024, 512, 12)],
)
@pytest.mark.parametrize(
    'texts', [TEXTS, TEXTS[3:5], ['a'], ['word ' * 75], ['same'] * 3]
)
def test_equal_to_the_plain_call(image, embed_dim, width, layers, texts):
    model = build(image, embed_dim, width, layers)
    tower = TextTower(model)
    assert (tower.embed_dims, tower.token_dims) == (embed_dim, width)
    tokens = tokenize(texts)
    expected = model.encode_text(tokens)
    for batch_size in (2, 256):
        actual = tower.encode(tokens, batch_size=batch_size)
        torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5)


def test_what_is_common_is_run_once(monkeypatch):
    model = build(RESNET, 64, 64, 2)
    tower, seen = TextTower(model), []
    embed = tower._encode_prefix
    monkeypatch.setattr(
        tower, '_encode_prefix', lambda x: seen.append(x.shape[1]) or embed(x)
    )
    tower.encode(
        tokenize(['a photo of a cat', 'a photo of a dog']), batch_size=1
    )
    assert seen == [5]  # start, a, photo, of, a
    tower.encode(tokenize(['cat', 'dog']))
    assert seen == [5, 1]


def test_gradients_flow_to_contexts():
    model = build(RESNET, 64, 64, 2)
    tokens = tokenize(['X X cat.', 'X X zebra crossing.'])
    context = torch.randn(2, 64, requires_grad=True)
    TextTower(model).encode(tokens, context).square().sum().backward()
    assert context.grad.abs().min() > 0


def encode_as_coop_does(model, tokens, context):
    """Put a context in, and run all tokens through openai-clip's modules."""
    x = model.token_embedding(tokens)
    size = len(context)
    x = (
        torch.cat(
            [x[:, :1], context.expand(len(x), -1, -1), x[:, 1 + size :]], dim=1
        )
        + model.positional_embedding
    )
    x = model.transformer(x.transpose(0, 1)).transpose(0, 1)
    x = model.ln_final(x)[torch.arange(len(x)), tokens.argmax(dim=-1)]
    return x @ model.text_projection


@pytest.mark.parametrize('batch_size', [1, 2, 256])
@pytest.mark.parametrize(
    'texts',
    [
        ['X X X cat.', 'X X X red fox.', 'X X X very long name of a thing.'],
        ['X X X'],
    ],
)
def test_gradients_are_those_of_the_plain_call(texts, batch_size):
    model = build(RESNET, 48, 128, 3)
    tokens = tokenize(texts)
    grads = []
    for tower in (False, True):
        torch.manual_seed(0)
        context = (torch.randn(3, 128) * 0.1).requires_grad_()
        features = (
            TextTower(model).encode(tokens, context, batch_size)
            if tower
            else encode_as_coop_does(model, tokens, context)
        )
        weights = torch.randn(features.shape)
        (
            torch.nn.functional.normalize(features, dim=-1) * weights
        ).sum().backward()
        grads.append(context.grad)
    assert (grads[0] - grads[1]).abs().max() < 1e-5 * grads[0].abs().max()


def test_what_is_padding_is_not_computed(monkeypatch):
    """A batch ends where more padding would be needed than is worth it."""
    tower = TextTower(build(RESNET, 64, 64, 1))
    seen = []
    encode = tower._encode
    monkeypatch.setattr(
        tower,
        '_encode',
        lambda x, *args: seen.append(tuple(x.shape[:2])) or encode(x, *args),
    )
    texts = ['a cat'] * 9 + ['dogs and cats and mice'] * 2 + ['b cat'] * 3
    found = tower.encode(tokenize(texts), batch_size=10)
    assert seen == [(10, 3), (2, 3), (2, 6)]
    seen.clear()
    torch.testing.assert_close(
        tower.encode(tokenize(texts), batch_size=256), found
    )
    assert seen == [(14, 6)]


def test_context_replaces_tokens():
    model = build(RESNET, 64, 64, 2)
    tower = TextTower(model)
    words = tokenize(['red fox cat', 'red fox'])
    embedded = model.token_embedding(words[0, 1:3])
    torch.testing.assert_close(
        tower.encode(tokenize(['X X cat', 'X X']), embedded),
        tower.encode(words),
        rtol=0,
        atol=1e-5,
    )


def test_words_that_a_context_replaces_do_not_matter():
    tower = TextTower(build(RESNET, 64, 64, 2))
    context = torch.randn(3, 64)
    torch.testing.assert_close(
        tower.encode(tokenize(['one two three cat', 'a b c dog']), context),
        tower.encode(tokenize(['X X X cat', 'X X X dog']), context),
        rtol=0,
        atol=1e-5,
    )
    for texts in (['X X'], ['X X X', 'X']):
        with pytest.raises(ValueError, match='of 3 tokens needs texts of'):
            tower.encode(tokenize(texts), context)
    tower.encode(tokenize(['X X X']), context)  # and nothing behind it


def test_no_texts():
    tower = TextTower(build(RESNET, 64, 64, 2))
    assert tower.encode(tokenize([])).shape == (0, 64)


def test_bfloat16_is_close(tmp_path, tiny_clip_path):
    exact = load_clip(tiny_clip_path)
    rounded = load_clip(tiny_clip_path, precision='bf16')
    assert exact.model.text_projection.dtype == torch.float32
    assert rounded.model.text_projection.dtype == torch.bfloat16
    assert rounded.model.ln_final.weight.dtype == torch.float32
    tokens = tokenize(TEXTS)
    one, two = (clip.text_tower.encode(tokens) for clip in (exact, rounded))
    assert two.dtype == torch.float32
    assert torch.cosine_similarity(one, two).min() > 0.9999


def test_other_kinds_are_refused():
    model = copy.copy(build(RESNET, 64, 64, 2))
    model.text_pool_type = 'last'
    with pytest.raises(ValueError, match="got CLIP pooled by 'last'"):
        TextTower(model)
    with pytest.raises(ValueError, match='expected a causal transformer'):
        TextTower(nn.Linear(1, 1))
