"""Tests of class embeddings against openai-clip's own text tower."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from ovd.clip import text_encoder
from ovd.clip.loading import load_clip
from ovd.clip.prompt_templates import fill_templates
from ovd.clip.text_encoder import embed_class_names
from ovd.clip.tokenizer import tokenize

NAMES = [
    'cat',
    'traffic_light',
    'speaker_(stero_equipment)',
    'Orange/Soda',
    'apple',
    'an_ox',
]


@pytest.fixture(scope='module')
def clip(tiny_clip_path):
    return load_clip(tiny_clip_path)


def plain(clip, words, templates):
    """Encode as the notebook of ViLD does: (T, D) of each word, averaged."""
    rows = []
    for own in words:
        texts = [t for word in own for t in fill_templates(word, templates)]
        features = clip.model.encode_text(tokenize(texts))
        rows.append(F.normalize(features, dim=-1).mean(dim=0))
    return F.normalize(torch.stack(rows), dim=-1)


@pytest.mark.parametrize('templates', ['vild', 'detpro', 'photo', 'none'])
def test_mean_of_normalised_templates(clip, templates):
    actual = embed_class_names(clip, NAMES, templates, batch_size=50)
    expected = plain(clip, [[name] for name in NAMES], templates)
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5)
    assert actual.dtype == torch.float32 and not actual.requires_grad


def test_synonyms_are_averaged_with_the_name(clip):
    synonyms = [
        ['cat', 'kitty'],
        (),
        ['stereo'],
        ['orange', 'Orange/Soda'],
        (),
        ['bull', 'bull'],
    ]
    actual = embed_class_names(clip, NAMES, 'vild', synonyms)
    expected = plain(
        clip,
        [
            ['cat', 'kitty'],
            ['traffic_light'],
            ['speaker_(stero_equipment)', 'stereo'],
            ['Orange/Soda', 'orange'],
            ['apple'],
            ['an_ox', 'bull'],
        ],
        'vild',
    )
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match='synonyms of 6 classes, got .* 1'):
        embed_class_names(clip, NAMES, 'vild', [['kitty']])


def test_learned_prompts_stand_for_the_words_x(clip):
    contexts = torch.randn(2, 3, 64)
    actual = embed_class_names(clip, NAMES, 'learned', contexts=contexts)
    cleaned = [
        'cat',
        'traffic light',
        'speaker stero equipment',
        'Orange/Soda',
        'apple',
        'an ox',
    ]
    tokens = tokenize([f'X X X {name}.' for name in cleaned])
    model, ends = clip.model, tokens.argmax(dim=-1)
    total = 0
    for context in contexts:
        x = model.token_embedding(tokens)
        x[:, 1:4] = context
        x = (x + model.positional_embedding).transpose(0, 1)
        x = model.ln_final(model.transformer(x).transpose(0, 1))
        x = x[torch.arange(len(x)), ends] @ model.text_projection
        total = total + F.normalize(x, dim=-1)
    torch.testing.assert_close(
        actual, F.normalize(total, dim=-1), rtol=0, atol=1e-5
    )


@pytest.mark.parametrize('batch_size', [1, 3, 7, 1000])
def test_batch_size_changes_nothing(clip, batch_size):
    names = ['cat', 'a rather long name of a class', 'dog']
    torch.testing.assert_close(
        embed_class_names(clip, names, 'photo', batch_size=batch_size),
        embed_class_names(clip, names, 'photo'),
        rtol=0,
        atol=1e-6,
    )


def test_nor_does_the_size_of_the_chunks(clip, monkeypatch):
    expected = embed_class_names(clip, NAMES)
    monkeypatch.setattr(text_encoder, 'CHUNK', 2)
    torch.testing.assert_close(
        embed_class_names(clip, NAMES), expected, rtol=0, atol=1e-6
    )


def test_progress_bar_only_for_several_batches(clip, capsys):
    embed_class_names(clip, ['cat'], 'vild')
    assert capsys.readouterr().err == ''
    embed_class_names(clip, ['cat'], 'vild', batch_size=10)
    assert 'class embeddings: 100%' in capsys.readouterr().err


def test_the_mended_spelling_is_encoded(clip):
    torch.testing.assert_close(
        embed_class_names(clip, ['Campel', 'tissue ']),
        embed_class_names(clip, ['Camel', 'tissue']),
        rtol=0,
        atol=1e-6,
    )


def test_no_names(clip):
    assert embed_class_names(clip, []).shape == (0, 64)


@pytest.mark.parametrize(
    'arguments, message',
    [
        (dict(names='cat'), 'names must be a list, got the string'),
        (dict(templates='vlid'), 'did you mean "vild"'),
        (dict(batch_size=0), 'batch_size must be positive, got 0'),
        (
            dict(names=['cat ' * 80]),
            '^the name "cat cat .*\u2026" is too long for CLIP, .* 77 tokens',
        ),
        (dict(names=['dog', ' ']), "must have letters, got ''"),
        (dict(templates='learned'), "'learned' and contexts go together"),
        (
            dict(contexts=torch.ones(1, 3, 64)),
            "got templates 'vild' and contexts",
        ),
        (
            dict(templates='learned', contexts=torch.ones(1, 3, 512)),
            'have 512 numbers per token, CLIP .* has 64',
        ),
    ],
)
def test_errors(clip, arguments, message):
    with pytest.raises(ValueError, match=message):
        embed_class_names(clip, **{'names': ['cat'], **arguments})


MEMORY = """
import re, sys
from ovd.clip.loading import load_clip
from ovd.clip.text_encoder import embed_class_names
def peak():
    return int(re.search(r'VmHWM:\\s+(\\d+) kB',
                         open('/proc/self/status').read())[1]) * 1024
clip = load_clip(sys.argv[1])
names = [f'thing {i} of {i % 7} kinds' for i in range(50_000)]
embed_class_names(clip, names[:1000], 'photo')
before = peak()
embeddings = embed_class_names(clip, names, 'photo')
print(len(embeddings), peak() - before - embeddings.nbytes)
"""


@pytest.mark.skipif(
    not Path('/proc/self/status').is_file(),
    reason='the peak of memory is read of Linux',
)
def test_memory_does_not_grow_with_the_names(tiny_clip_path):
    """50,000 names may take what the sentences of 4,096 take, and theirs."""
    done = subprocess.run(
        [sys.executable, '-c', MEMORY, tiny_clip_path],
        check=True,
        capture_output=True,
        text=True,
    )
    number, grown = map(int, done.stdout.split())
    assert number == 50_000
    assert grown < 100e6


def test_texts_are_held_in_chunks(clip, monkeypatch):
    seen = []
    monkeypatch.setattr(
        text_encoder,
        'tokenize',
        lambda texts, length: (
            seen.append(len(texts)) or tokenize(texts, length)
        ),
    )
    embed_class_names(clip, [f'{i}' for i in range(10_000)], 'none')
    assert sum(seen) == 10_000 and max(seen) == text_encoder.CHUNK
