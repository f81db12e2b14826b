"""Tests of the class embeddings file."""

import os

import pytest
import torch

from ovd.artifacts.class_embeddings import ClassEmbeddings
from ovd.artifacts.files import sha256_file

CLIP = {'name': 'RN50', 'sha256': 'a' * 64}
GOOD = dict(
    names=['cat', 'dog', 'red fox'],
    embeddings=torch.eye(3, 4),
    clip=CLIP,
    templates='vild',
)


def test_save_and_load(tmp_path):
    path = tmp_path / 'prompt' / 'vild.pth'
    ClassEmbeddings(**GOOD).save(path)
    loaded = ClassEmbeddings.load(path)
    assert (loaded.names, loaded.clip, loaded.templates) == (
        GOOD['names'],
        CLIP,
        'vild',
    )
    assert torch.equal(loaded.embeddings, GOOD['embeddings'])
    # a plain dict, the same bytes each time, nothing left beside it
    assert set(torch.load(path, weights_only=True)) == {*GOOD, 'settings'}
    loaded.save(tmp_path / 'again.pth')
    assert sha256_file(tmp_path / 'again.pth') == sha256_file(path)
    assert os.listdir(path.parent) == ['vild.pth']


def test_learned_ones_keep_their_contexts(tmp_path):
    contexts = torch.rand(5, 8, 16)
    learned = {
        **GOOD,
        'templates': 'learned',
        'settings': {'prompts': [{'file': 'a.pth', 'sha256': 'b'}]},
    }
    ClassEmbeddings(**learned, contexts=contexts).save(tmp_path / 'a.pth')
    loaded = ClassEmbeddings.load(tmp_path / 'a.pth')
    assert torch.equal(loaded.contexts, contexts)
    assert loaded.settings == learned['settings']
    for wrong, message in (
        (dict(learned), "got templates 'learned' without"),
        (dict(GOOD, contexts=contexts), "'vild' with"),
        (
            dict(learned, contexts=contexts[0]),
            r'\(G, L, E\), got torch.float32 \(8, 16\)',
        ),
        (
            dict(learned, contexts=contexts * torch.nan),
            'contexts must be finite',
        ),
    ):
        with pytest.raises(ValueError, match=message):
            ClassEmbeddings(**wrong)


def test_files_without_settings_are_read(tmp_path):
    torch.save(GOOD, tmp_path / 'old.pth')
    loaded = ClassEmbeddings.load(tmp_path / 'old.pth')
    assert loaded.settings == {} and loaded.contexts is None


def test_a_view_is_saved_alone(tmp_path):
    rows = torch.eye(2000)[:3]
    ClassEmbeddings(**{**GOOD, 'embeddings': rows}).save(tmp_path / 'a.pth')
    assert (tmp_path / 'a.pth').stat().st_size < 3 * 2000 * 4 + 5000


def test_select():
    embeddings = ClassEmbeddings(**GOOD)
    assert torch.equal(
        embeddings.select(['red fox', 'cat', 'cat']),
        torch.tensor([[0.0, 0, 1, 0], [1, 0, 0, 0], [1, 0, 0, 0]]),
    )
    assert embeddings.select([]).shape == (0, 4)
    with pytest.raises(
        ValueError,
        match='2 of 3 classes have no embedding among the 3 '
        'there are:\n  "red-fox"; did you mean "red fox"\\?\n  "zebra"$',
    ):
        embeddings.select(['cat', 'red-fox', 'zebra'])
    with pytest.raises(ValueError, match="list, got the string 'cat'"):
        embeddings.select('cat')


@pytest.mark.parametrize('there', ['stero', 'stereo'])
@pytest.mark.parametrize('asked', ['stero', 'stereo'])
def test_select_bridges_the_two_spellings_of_lvis(there, asked):
    names = ['cat', f'speaker_({there}_equipment)', 'red fox']
    embeddings = ClassEmbeddings(**{**GOOD, 'names': names})
    assert torch.equal(
        embeddings.select([f'speaker_({asked}_equipment)']),
        GOOD['embeddings'][1:2],
    )


def test_select_takes_the_exact_spelling_first():
    names = ['speaker_(stereo_equipment)', 'speaker_(stero_equipment)', 'cat']
    embeddings = ClassEmbeddings(**{**GOOD, 'names': names})
    assert torch.equal(embeddings.select(names), GOOD['embeddings'])


def test_no_classes_at_all(tmp_path):
    empty = {**GOOD, 'names': [], 'embeddings': torch.zeros(0, 4)}
    ClassEmbeddings(**empty).save(tmp_path / 'a.pth')
    assert ClassEmbeddings.load(tmp_path / 'a.pth').select([]).shape == (0, 4)


@pytest.mark.parametrize(
    'changes, message',
    [
        (dict(names=('a', 'b', 'c')), 'names must be a list, got tuple'),
        (
            dict(names=['cat', 'dog', 3]),
            r'must be non-empty strings, got \[3\]',
        ),
        (dict(names=['cat', 'dog', ' ']), 'must be non-empty strings'),
        (dict(names=['cat', 'dog', 'cat']), r'must differ.*\[\'cat\'\]'),
        (dict(embeddings=[[1.0]]), 'must be a tensor, got list'),
        (
            dict(embeddings=torch.eye(3).half()),
            'must be float32, got torch.float',
        ),
        (dict(embeddings=torch.eye(4)), r'shape \(3, D\).*got \(4, 4\)'),
        (dict(embeddings=torch.ones(3)), r'shape \(3, D\).*got \(3,\)'),
        (dict(embeddings=torch.eye(3) * torch.nan), 'must be finite'),
        (dict(embeddings=torch.eye(3) * 0.9), 'norms from 0.9000 to 0.9000'),
        (dict(clip={'name': 'RN50'}), 'must have a sha256'),
        (dict(templates=None), 'templates must be a string, got None'),
        (dict(settings=None), 'settings must be a dict, got None'),
    ],
)
def test_wrong_parts(tmp_path, changes, message):
    content = {**GOOD, **changes}
    with pytest.raises(ValueError, match=message):
        ClassEmbeddings(**content)
    torch.save(content, tmp_path / 'bad.pth')
    with pytest.raises(ValueError, match=f'bad.pth: .*{message}'):
        ClassEmbeddings.load(tmp_path / 'bad.pth')


@pytest.mark.parametrize(
    'content, message',
    [
        (
            torch.eye(3),
            'is no class embeddings file of ovd: it holds a Tensor',
        ),
        (
            dict(embeddings=torch.eye(1), names=['cat']),
            'it has no clip, templates, only embeddings, names',
        ),
        (
            dict(names=os.getcwd),
            'is not opened, .* a file of class embeddings',
        ),
    ],
)
def test_foreign_files(tmp_path, content, message):
    torch.save(content, tmp_path / 'foreign.pth')
    with pytest.raises(ValueError, match=f'foreign.pth.*{message}'):
        ClassEmbeddings.load(tmp_path / 'foreign.pth')


def test_missing_and_damaged_files(tmp_path):
    with pytest.raises(FileNotFoundError, match='tools/class_embeddings.py'):
        ClassEmbeddings.load(tmp_path / 'vild.pth')
    ClassEmbeddings(**GOOD).save(tmp_path / 'vild.pth')
    whole = (tmp_path / 'vild.pth').read_bytes()
    (tmp_path / 'half.pth').write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match='half.pth is damaged'):
        ClassEmbeddings.load(tmp_path / 'half.pth')
