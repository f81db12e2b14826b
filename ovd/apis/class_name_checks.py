"""Whether CLIP can tell class names apart, and has something to go by."""

import re
from typing import Dict, Iterator, List, Sequence, Tuple

from ovd.artifacts.class_embeddings import check_class_names
from ovd.clip.prompt_templates import clean_name, fill_templates
from ovd.clip.tokenizer import tokenize
from ovd.datasets.gzsl_classes import listed
from ovd.spelling import mended_spelling

CONTEXT_LENGTH = 77
# More than any template adds to a name; those that may be too long are tried
TEMPLATE_TOKENS = 25
PLACEHOLDER = re.compile(
    r'(class|category|cat|label|object|obj|item|type|id)?[\s_-]*\d+', re.I
)


def check_names_for_clip(names: Sequence[str], where: str) -> List[str]:
    """Return warnings about names of classes.

    Args:
        names (Sequence[str]): C class names.
        where (str): What has them, for messages.

    Raises:
        ValueError: If a name is empty or too long for a sentence of CLIP, or
            CLIP reads two names alike.
    """
    try:
        check_class_names(names)
    except ValueError as error:
        raise ValueError(f'categories of {where}: {error}') from error
    seen: Dict[Tuple[int, ...], str] = {}
    for name in names:
        tokens = _tokens(name, where)
        other = seen.setdefault(tokens, name)
        if other != name:
            raise ValueError(
                f'CLIP reads the categories "{other}" and "{name}" of '
                f'{where} alike, so no detector could tell them apart: '
                'rename one, or make them one category'
            )
    return list(_warnings(names))


def _tokens(name: str, where: str) -> Tuple[int, ...]:
    """Return the tokens of a name, which must fit into all sentences."""
    try:
        row = tokenize([clean_name(mended_spelling(name))])[0]
        tokens = tuple(row[row != 0].tolist())
        if len(tokens) + TEMPLATE_TOKENS > CONTEXT_LENGTH:
            tokenize(fill_templates(mended_spelling(name)))
    except ValueError as error:
        raise ValueError(
            f'the category "{name}" of {where} does not fit into CLIP, which '
            f'reads {CONTEXT_LENGTH} tokens: {error}'
        ) from error
    return tokens


def _warnings(names: Sequence[str]) -> Iterator[str]:
    """Yield what is odd about names; they still work."""
    for odd, why in (
        (
            [
                n
                for n in names
                if not any(map(str.isalpha, n))
                or PLACEHOLDER.fullmatch(n.strip())
            ],
            'say nothing that CLIP could know, novel ones will not be found',
        ),
        (
            [n for n in names if any(map(str.isalpha, n)) and not n.isascii()],
            'are not plain ASCII: published CLIPs know English best',
        ),
        (
            [n for n in names if n != ' '.join(n.split())],
            'have spaces at the ends or in a row, which CLIP does not see',
        ),
    ):
        if odd:
            yield f'{len(odd)} class names {why}: {listed(odd, ())}'
