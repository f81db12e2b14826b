"""Class embeddings on disk: found again, never mixed, mended when damaged."""

import shutil
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from ovd.artifacts.class_embeddings import ClassEmbeddings
from ovd.clip import name_embedder
from ovd.clip.class_embedding_recipe import Recipe
from ovd.clip.name_embedder import NameEmbedder
from ovd.clip.text_cache import TextCache, digest_sentences

NAMES = ['red circle', 'blue star']


@pytest.fixture(scope='module')
def trained(tiny_clip_path: str) -> ClassEmbeddings:
    return Recipe(tiny_clip_path, 'photo').make(NAMES)


@pytest.fixture(autouse=True)
def embedded(monkeypatch: pytest.MonkeyPatch) -> list:
    """Names that CLIP was asked for."""
    asked: list = []
    original = name_embedder.embed_class_names

    def embed(clip, names, *args, **kwargs):
        asked.extend(names)
        return original(clip, names, *args, **kwargs)

    monkeypatch.setattr(name_embedder, 'embed_class_names', embed)
    return asked


def files_in(folder: Path) -> list:
    return sorted(folder.rglob('*.safetensors'))


def test_each_name_is_embedded_once(tmp_path, trained, embedded):
    first = NameEmbedder(trained, cache=TextCache(tmp_path)).embed(NAMES)
    assert torch.allclose(first.embeddings, trained.embeddings, atol=1e-6)
    again = NameEmbedder(trained, cache=TextCache(tmp_path))
    assert torch.equal(
        again.embed(NAMES[::-1]).embeddings, first.embeddings.flip(0)
    )
    assert again._clip is None  # no need to load it
    more = again.embed(['ring', ' blue star'])
    assert more.names == ['ring', 'blue star']
    assert embedded == [*NAMES, 'ring']
    assert len(files_in(tmp_path)) == 2


def test_other_sentences_are_other_embeddings(tmp_path, trained, embedded):
    embedder = NameEmbedder(trained, cache=TextCache(tmp_path))
    photo, bare = embedder.embed(NAMES), embedder.embed(NAMES, 'none')
    assert not torch.allclose(photo.embeddings, bare.embeddings, atol=1e-3)
    assert embedded == NAMES * 2
    contexts = torch.ones(1, 2, 4)
    assert (
        len(
            {
                digest_sentences('0', 'vild'),
                digest_sentences('1', 'vild'),
                digest_sentences('0', 'photo'),
                digest_sentences('0', 'learned', contexts),
                digest_sentences('0', 'learned', 2 * contexts),
            }
        )
        == 5
    )


@pytest.mark.parametrize('damage', ['flip', 'cut', 'empty', 'renamed'])
def test_damage_is_mended_with_a_warning(tmp_path, trained, embedded, damage):
    whole = NameEmbedder(trained, cache=TextCache(tmp_path)).embed(NAMES)
    (path,) = files_in(tmp_path)
    content = bytearray(path.read_bytes())
    if damage == 'renamed':
        path.rename(path.with_name('0.safetensors'))
    else:
        content[-1] ^= 1
        path.write_bytes(
            dict(flip=content, cut=content[:-1], empty=b'')[damage]
        )
    with pytest.warns(UserWarning, match='is damaged and made anew'):
        mended = NameEmbedder(trained, cache=TextCache(tmp_path)).embed(NAMES)
    assert torch.equal(mended.embeddings, whole.embeddings)
    assert embedded == NAMES * 2
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        NameEmbedder(trained, cache=TextCache(tmp_path)).embed(NAMES)
    assert embedded == NAMES * 2


def test_two_at_once_share_a_folder(tmp_path, trained):
    """Each with a cache of its own, as two processes have."""

    def embed(number: int) -> torch.Tensor:
        embedder = NameEmbedder(trained, cache=TextCache(tmp_path))
        return embedder.embed([*NAMES, f'thing {number % 2}']).embeddings[:2]

    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(embed, range(8)):
            assert torch.allclose(found, trained.embeddings, atol=1e-6)
    assert not list(tmp_path.rglob('*.tmp'))


def test_a_folder_that_can_not_be_written(tmp_path, trained, embedded):
    """The names are kept in memory."""
    (tmp_path / 'text').write_text('a file where the folder should be')
    embedder = NameEmbedder(trained, cache=TextCache(tmp_path))
    with pytest.warns(UserWarning, match='set OVD_CACHE to another folder'):
        embedder.embed(NAMES)
    embedder.embed(NAMES)
    assert embedded == NAMES


def test_another_clip_is_refused(tmp_path, tiny_vit_path, trained):
    moved = tmp_path / 'clip.pt'
    shutil.copy(tiny_vit_path, moved)
    other = ClassEmbeddings(
        NAMES, trained.embeddings, dict(trained.clip, name=str(moved)), 'photo'
    )
    with pytest.raises(ValueError, match="two CLIPs can't be compared"):
        NameEmbedder(other, cache=TextCache(tmp_path)).embed(NAMES)
    assert not files_in(tmp_path)


@pytest.mark.parametrize(
    'names, templates, message',
    [
        ([], None, 'at least one name'),
        ('ring', None, 'names must be a list'),
        (['a', 'a '], None, 'several times'),
        (['a', ' '], None, 'non-empty'),
        (['\ud800'], None, 'no text in UTF-8'),
        (['a b' * 99], None, 'too long|shorten'),
        (['a'], 'phot', "'phot'|did you mean"),
        (['a'], 'learned', 'learned'),
    ],
)
def test_wrong_words(tmp_path, trained, names, templates, message):
    with pytest.raises(ValueError, match=message):
        NameEmbedder(trained, cache=TextCache(tmp_path)).embed(
            names, templates
        )
