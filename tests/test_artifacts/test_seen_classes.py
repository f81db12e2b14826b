"""What a checkpoint says of the classes that it was trained on."""

from pathlib import Path

import pytest
import torch

from ovd.artifacts.seen_classes import (
    UNKNOWN,
    explain_leak,
    find_seen_novel,
    read_seen_classes,
)


@pytest.mark.parametrize(
    'content, seen',
    [
        # ours
        (
            dict(
                meta=dict(
                    dataset_meta=dict(
                        classes=('a', 'b', 'c'),
                        base_classes=('a', 'c'),
                        novel_classes=('b',),
                    )
                )
            ),
            ['a', 'c'],
        ),
        # mmdet 3.x, its first versions, and 2.x
        (dict(meta=dict(dataset_meta=dict(classes=('a', 'b')))), ['a', 'b']),
        (dict(meta=dict(dataset_meta=dict(CLASSES=['a', 'b']))), ['a', 'b']),
        (dict(meta=dict(mmdet_version='2.3.0', CLASSES=('a',))), ['a']),
        (dict(meta=dict(mmdet_version='2.0.0', epoch=24)), UNKNOWN),
        (dict(meta=dict(CLASSES=None)), UNKNOWN),
        (dict(meta=None), UNKNOWN),
        (dict(weight=torch.zeros(1)), UNKNOWN),
        ([torch.zeros(1)], UNKNOWN),
    ],
    ids=str,
)
def test_read_seen_classes(
    tmp_path: Path, content: object, seen: object
) -> None:
    torch.save(content, tmp_path / 'a.pth')
    assert read_seen_classes(tmp_path / 'a.pth') == seen


def test_nothing_in_a_checkpoint_is_executed(tmp_path: Path) -> None:
    class Runs:
        def __reduce__(self):
            return Path.touch, (tmp_path / 'trace',)

    torch.save(dict(meta=Runs()), tmp_path / 'a.pth')
    with pytest.raises(ValueError, match='is not opened'):
        read_seen_classes(tmp_path / 'a.pth')
    assert not (tmp_path / 'trace').exists()


@pytest.mark.parametrize(
    'seen, novel, found, words',
    [
        (['a', 'b'], ['b', 'c'], ['b'], 'novel here in its training: b. '),
        (['a'], ['b'], [], None),
        (
            UNKNOWN,
            ['b'],
            UNKNOWN,
            'does not say that novel classes were hidden',
        ),
        # names of LVIS that are spelled in two ways
        (
            ['speaker_(stereo_equipment)'],
            ['speaker_(stero_equipment)'],
            ['speaker_(stero_equipment)'],
            'novel here',
        ),
    ],
)
def test_leaks_are_named(
    seen: list, novel: list, found: list, words: str
) -> None:
    assert find_seen_novel(seen, novel) == found
    explained = explain_leak(found)
    assert words in explained if words else explained == ''
