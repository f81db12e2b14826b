"""Tests of reading learned prompts."""

import pytest
import torch
import torch.nn.functional as F

from ovd.artifacts.class_embeddings import ClassEmbeddings
from ovd.artifacts.prompt_context import (
    is_prompt_context,
    load_prompt_contexts,
)


def test_a_prompt_of_detpro(tmp_path):
    context = torch.randn(8, 512).half()
    torch.save(context, tmp_path / 'a_prompt.pth')
    loaded = load_prompt_contexts(tmp_path / 'a_prompt.pth')
    assert loaded.dtype == torch.float32
    assert torch.equal(loaded, context.float()[None])


def test_the_prompts_of_class_embeddings(tmp_path):
    contexts = torch.randn(5, 8, 16)
    ClassEmbeddings(
        ['cat'],
        torch.ones(1, 1),
        dict(name='RN50', sha256='a' * 64),
        'learned',
        contexts=contexts,
    ).save(tmp_path / 'a.pth')
    assert torch.equal(load_prompt_contexts(tmp_path / 'a.pth'), contexts)


@pytest.mark.parametrize(
    'content, message',
    [
        (
            torch.randn(99, 512),
            r'but a tensor \(99, 512\); class emb.*convert',
        ),
        (torch.randn(1, 8, 512), r'but a tensor \(1, 8, 512\)'),
        (torch.ones(8, 512).long(), 'holds no learned prompt'),
        (dict(ctx=torch.ones(8, 512)), 'but a dict'),
        (torch.full((8, 512), torch.nan), 'contexts must be finite'),
        (dict(contexts=torch.ones(8)), r'shape \(G, L, E\), got .* \(8,\)'),
        (
            F.normalize(torch.randn(20, 512), dim=1),
            'all have norm 1: those are',
        ),
        (
            F.normalize(torch.randn(1, 512), dim=1),
            'all have norm 1: those are',
        ),
        (
            torch.cat(
                [F.normalize(torch.randn(20, 512), dim=1), torch.zeros(1, 512)]
            ),
            'all have norm 1: those are',
        ),
    ],
)
def test_anything_else(tmp_path, content, message):
    torch.save(content, tmp_path / 'a.pth')
    with pytest.raises(ValueError, match=f'a.pth.*{message}'):
        load_prompt_contexts(tmp_path / 'a.pth')


def test_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match='learned prompt .*no.pth'):
        load_prompt_contexts(tmp_path / 'no.pth')


def test_is_prompt_context():
    assert is_prompt_context(torch.zeros(8, 512))
    assert not is_prompt_context(torch.zeros(65, 512))
    assert not is_prompt_context(torch.zeros(0, 512))
    assert not is_prompt_context([1.0])
