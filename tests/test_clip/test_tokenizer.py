"""Tests of CLIP's tokens."""

import pytest

from ovd.clip.tokenizer import tokenize


def test_tokenize():
    tokens = tokenize(['cat', 'a photo of a cat'], context_length=20)
    assert tokens.shape == (2, 20)
    assert tokens[0].tolist()[:4] == [49406, 2368, 49407, 0]
    assert tokenize([]).shape == (0, 77)
    with pytest.raises(ValueError, match='Input cat cat .* length 4 tokens'):
        tokenize(['cat', 'cat cat cat'], context_length=4)
