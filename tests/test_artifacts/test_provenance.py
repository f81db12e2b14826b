"""Tests of the check that two artefacts come from one CLIP."""

import pytest

from ovd.artifacts.provenance import check_clip_identity, check_same_clip

A = {'name': 'RN50', 'sha256': 'a' * 64}
B = {'name': 'ViT-B/32', 'sha256': 'b' * 64}


def test_the_digest_decides_not_the_name():
    check_same_clip(A, {**A, 'name': 'elsewhere/RN50.pt'}, 'one', 'other')
    with pytest.raises(
        ValueError,
        match=r'the words was made by CLIP RN50 \(sha256 aaaaaaaaaaaa\), '
        r'the store by CLIP ViT-B/32 .*make one of them anew',
    ):
        check_same_clip(A, B, 'the words', 'the store')


@pytest.mark.parametrize(
    'identity, message',
    [
        (None, 'must be a dict'),
        ({'sha256': 'a' * 64}, 'must have a name'),
        ({'name': 'RN50'}, 'must have a sha256 of 64'),
        ({'name': 'RN50', 'sha256': 'a' * 63}, 'must have a sha256 of 64'),
        ({'name': 'RN50', 'sha256': 'g' * 64}, 'must have a sha256 of 64'),
    ],
)
def test_check_clip_identity(identity, message):
    check_clip_identity(A)
    with pytest.raises(ValueError, match=message):
        check_clip_identity(identity)
