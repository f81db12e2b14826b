"""Tests of text embeddings against openai-clip's own text tower."""
import pytest
import torch
import torch.nn.functional as F

from ovd.clip.loading import load_clip, tokenize
from ovd.clip.prompt_templates import fill_templates
from ovd.clip.text_encoder import embed_class_names, encode_tokens

NAMES = ['cat', 'traffic_light', 'speaker_(stero_equipment)', 'Orange/Soda']


@pytest.fixture(scope='module')
def clip(tiny_clip_path):
    return load_clip(tiny_clip_path)


@pytest.mark.parametrize('texts', [
    ['a'],
    ['a cat', 'a photo of a very very long striped blue triangle indeed'],
    ['word ' * 75],  # fills the context
])
def test_cut_context_is_exact(clip, texts):
    tokens = tokenize(texts)
    actual = encode_tokens(clip.model, tokens)
    expected = clip.model.encode_text(tokens)
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5)
    assert clip.model.positional_embedding.shape == (77, 64)  # untouched


@pytest.mark.parametrize('templates', ['vild', 'detpro', 'photo', 'none'])
def test_mean_of_normalised_templates(clip, templates):
    actual = embed_class_names(clip, NAMES, templates, batch_size=50)
    rows = []
    for name in NAMES:
        tokens = tokenize(fill_templates(name, templates))
        features = clip.model.encode_text(tokens)
        rows.append(F.normalize(features, dim=-1).mean(dim=0))
    expected = F.normalize(torch.stack(rows), dim=-1)
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5)
    assert actual.dtype == torch.float32 and not actual.requires_grad


@pytest.mark.parametrize('batch_size', [1, 3, 7, 1000])
def test_batch_size_changes_nothing(clip, batch_size):
    names = ['cat', 'a rather long name of a class', 'dog']
    torch.testing.assert_close(
        embed_class_names(clip, names, 'photo', batch_size),
        embed_class_names(clip, names, 'photo'), rtol=0, atol=1e-6)


def test_progress_bar_only_for_several_batches(clip, capsys):
    embed_class_names(clip, ['cat'], 'vild')
    assert capsys.readouterr().err == ''
    embed_class_names(clip, ['cat'], 'vild', batch_size=10)
    assert 'class embeddings: 100%' in capsys.readouterr().err


def test_no_names(clip):
    assert embed_class_names(clip, []).shape == (0, 64)
    assert encode_tokens(clip.model, tokenize([])).shape == (0, 64)


@pytest.mark.parametrize('arguments, message', [
    (('cat', ), 'names must be a list, got the string'),
    ((['cat'], 'vlid'), 'did you mean "vild"'),
    ((['cat'], 'vild', 0), 'batch_size must be positive, got 0'),
    ((['cat ' * 80], ), 'Input .*cat cat.* is too long for context length 77'),
])
def test_errors(clip, arguments, message):
    with pytest.raises(ValueError, match=message):
        embed_class_names(clip, *arguments)
