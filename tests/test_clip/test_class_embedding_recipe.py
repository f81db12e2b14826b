"""Tests of what class embeddings are made with, and of knowing it again."""

import shutil
from dataclasses import replace

import pytest
import torch

from ovd.artifacts.class_embeddings import ClassEmbeddings
from ovd.clip.class_embedding_recipe import Recipe
from ovd.clip.loading import load_clip
from ovd.clip.text_encoder import embed_class_names

NAMES = ['ox', 'fox']


def test_make(tiny_clip_path):
    made = Recipe(tiny_clip_path, 'photo').make(NAMES)
    clip = load_clip(tiny_clip_path)
    assert (made.names, made.clip, made.templates, made.contexts) == (
        NAMES,
        clip.identity,
        'photo',
        None,
    )
    assert made.settings == dict(precision='fp32', synonyms=None)
    torch.testing.assert_close(
        made.embeddings, embed_class_names(clip, NAMES, 'photo')
    )


@pytest.mark.parametrize(
    'other, differences',
    [
        (dict(), []),
        (dict(templates='none'), ['templates']),
        (dict(precision='bf16'), ['precision']),
        (dict(templates='none', precision='bf16'), ['templates', 'precision']),
    ],
)
def test_differences(tiny_clip_path, other, differences):
    recipe = Recipe(tiny_clip_path, 'photo')
    made = recipe.make(NAMES)
    assert replace(recipe, **other).differences(made) == differences
    # files without settings are in float32 and without synonyms
    bare = ClassEmbeddings(NAMES, made.embeddings, made.clip, 'photo')
    assert recipe.differences(bare) == []


def test_other_synonyms_are_another_thing(tiny_clip_path):
    recipe = Recipe(tiny_clip_path, 'none')
    made = recipe.make(NAMES, [['bull'], []])
    assert recipe.differences(made, [['bull'], []]) == []
    for others in ([['cow'], []], [[], ['bull']], None):
        assert recipe.differences(made, others) == ['synonyms']


def test_prompts_are_known_by_content(tmp_path, tiny_clip_path):
    paths = [str(tmp_path / f'{i}.pth') for i in range(2)]
    for path in paths:
        torch.save(torch.randn(4, 64), path)
    recipe = Recipe(tiny_clip_path, 'learned', paths)
    made = recipe.make(NAMES)
    assert torch.equal(made.contexts, recipe.contexts)
    moved = str(tmp_path / 'moved.pth')
    shutil.copy(paths[0], moved)
    assert replace(recipe, prompts=[paths[1], moved]).differences(made) == []
    assert replace(recipe, prompts=[moved]).differences(made) == ['prompts']
    # what was made has the prompts, too
    made.save(tmp_path / 'made.pth')
    again = replace(recipe, prompts=[str(tmp_path / 'made.pth')]).make(['ox'])
    torch.testing.assert_close(again.embeddings, made.embeddings[:1])


@pytest.mark.parametrize(
    'wrong, message',
    [
        (dict(templates='vidl'), 'did you mean "vild"'),
        (dict(precision='fp8'), 'precision must be one of'),
        (dict(templates='learned'), "got 'learned' and 0 learned prompts"),
        (
            dict(templates='learned', prompts='a.pth'),
            "list of files, got 'a.pth'",
        ),
    ],
)
def test_wrong_arguments(wrong, message):
    with pytest.raises(ValueError, match=message):
        Recipe('RN50', **wrong)


def test_prompts_of_one_shape(tmp_path):
    paths = [tmp_path / 'a.pth', tmp_path / 'b.pth']
    for path, length in zip(paths, (4, 8)):
        torch.save(torch.randn(length, 64), path)
    with pytest.raises(ValueError, match=r'\(4, 64\) in .*a.pth, \(8, 64\) '):
        Recipe('RN50', 'learned', paths)
