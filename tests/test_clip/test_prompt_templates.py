"""Tests of the prompt templates and the rules for names."""

import hashlib

import pytest

from ovd.clip.prompt_templates import (
    TEMPLATE_SETS,
    article,
    clean_name,
    fill_templates,
)


@pytest.mark.parametrize(
    'name, count, sha256',
    [
        (
            'vild',
            63,
            '93950afe1b680521d3ec1161d6576ce5288b26acb2263338329674abfb4160a1',
        ),
        (
            'detpro',
            74,
            '327954310ab55c5c8cbd29b60139100178fd3d7564fe8924496b001d99091b1a',
        ),
    ],
)
def test_templates_are_the_published_ones(name, count, sha256):
    templates = TEMPLATE_SETS[name].templates
    assert len(templates) == count
    joined = '\n'.join(templates)
    assert hashlib.sha256(joined.encode()).hexdigest() == sha256


def test_vild_texts():
    texts = fill_templates('aerosol_can')
    assert texts[0] == 'There is an aerosol can in the scene.'
    assert texts[2] == 'This is a photo of an aerosol can in the scene.'
    assert texts[5] == 'itap of an aerosol can.'
    assert texts[-5] == 'This is the cartoon aerosol can.'
    assert texts[-4] == 'This is an embroidered aerosol can.'
    assert sum(text.startswith('This is ') for text in texts) == 58
    assert sum(' an aerosol' in text for text in texts) == 15


@pytest.mark.parametrize(
    'templates, expected',
    [
        ('detpro', 'This is a Ice_cream/gelato'),  # raw, and no article rule
        ('photo', 'a photo of a ice cream or gelato.'),  # capital: "a"
        ('none', 'Ice_cream/gelato'),
    ],
)
def test_other_sets(templates, expected):
    assert fill_templates('Ice_cream/gelato', templates)[0] == expected


@pytest.mark.parametrize(
    'name, expected',
    [
        ('bow_(weapon)', 'bow (weapon)'),  # parentheses stay
        ('Wild Bird', 'wild bird'),
        ('pop/soda', 'pop or soda'),
        ('Street Lights.', 'street lights'),
    ],
)
def test_clean_name(name, expected):
    assert clean_name(name) == expected


@pytest.mark.parametrize(
    'name, expected',
    [
        ('apple', 'an'),
        ('Apple', 'a'),
        ('hour', 'a'),
        ('umbrella', 'an'),
        ('_apple', 'a'),
        ('', 'a'),
    ],
)
def test_article_looks_at_the_raw_name(name, expected):
    assert article(name) == expected


@pytest.mark.parametrize(
    'name, templates, message',
    [
        ('.', 'vild', r"must have letters, got '\.'"),
        (' ', 'none', 'must have letters'),
        ('cat', 'vlid', 'templates must be one of .*did you mean "vild"'),
    ],
)
def test_errors(name, templates, message):
    with pytest.raises(ValueError, match=message):
        fill_templates(name, templates)
