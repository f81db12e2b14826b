"""Class names to class embeddings, through sentences and CLIP's text tower.

Shapes: C classes, M names of them with synonyms, T sentences per name, G
learned prompts of L tokens each, E token embedding size, D embedding size.
"""

from itertools import groupby
from typing import Iterator, List, Optional, Sequence, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from ovd.spelling import mended_spelling
from ovd.suggest import check_choice

from .loading import LoadedCLIP
from .prompt_templates import (
    TEMPLATE_SETS,
    article,
    fill_placeholder,
    fill_templates,
)
from .tokenizer import tokenize

LEARNED = 'learned'
# Names whose sentences are held at once: some 30 MB of text
CHUNK = 4096
SHOWN = 60  # letters of a name in messages


@torch.no_grad()
def embed_class_names(
    clip: LoadedCLIP,
    names: Sequence[str],
    templates: str = 'vild',
    synonyms: Optional[Sequence[Sequence[str]]] = None,
    contexts: Optional[Tensor] = None,
    batch_size: int = 256,
) -> Tensor:
    """Return the class embeddings (C, D) of class names.

    Each sentence's embedding is normalised, then their mean is (ViLD, by the
    notebook that the authors published; DetPro ensembles its learned prompts
    in the same way). Shows a progress bar where there is more than one batch.

    Args:
        clip (LoadedCLIP): The CLIP to use.
        names (Sequence[str]): C class names; C may be 0.
        templates (str): A key of ``TEMPLATE_SETS``, or ``'learned'``.
            Defaults to ``'vild'``.
        synonyms (Sequence[Sequence[str]], optional): Other names of each
            class, to be averaged with its own.
        contexts (Tensor, optional): (G, L, E), the prompts of ``'learned'``.
        batch_size (int): Texts at once. Defaults to 256.

    Returns:
        Tensor: (C, D) float32 of unit norm, on the CPU.

    Raises:
        ValueError: If a name is empty or too long for CLIP, there are no
            such templates, or the contexts don't fit this CLIP.
    """
    if isinstance(names, str):
        raise ValueError(f'names must be a list, got the string {names!r}')
    if batch_size < 1:
        raise ValueError(f'batch_size must be positive, got {batch_size}')
    check_choice(templates, [*TEMPLATE_SETS, LEARNED], 'templates')
    _check_contexts(clip, templates, contexts)
    words = _words(names, synonyms)
    per_word = (
        len(TEMPLATE_SETS[templates].templates)
        if contexts is None
        else len(contexts)
    )
    sums = torch.zeros(len(names), clip.embed_dims)
    with tqdm(
        total=len(words) * per_word,
        desc='class embeddings',
        unit='text',
        disable=len(words) * per_word <= batch_size,
    ) as progress:
        for chunk in _chunks(words):
            rows = torch.tensor([row for row, _ in chunk])
            chosen = [word for _, word in chunk]
            for texts, context in _sentences(chosen, templates, contexts):
                features = clip.text_tower.encode(
                    _tokenize(chosen, texts, clip.text_tower.context_length),
                    context,
                    batch_size,
                )
                sums.index_add_(0, rows, F.normalize(features, dim=-1).cpu())
                progress.update(len(texts))
    return F.normalize(sums, dim=-1)  # of the sum, hence of the mean


def _check_contexts(
    clip: LoadedCLIP, templates: str, contexts: Optional[Tensor]
) -> None:
    """Raise unless contexts are there if need be, and of this CLIP's size."""
    if (templates == LEARNED) != (contexts is not None):
        raise ValueError(
            f"templates '{LEARNED}' and contexts go together, got templates "
            f'{templates!r} and {"no " if contexts is None else ""}contexts'
        )
    token_dims = clip.text_tower.token_dims
    if contexts is not None and contexts.shape[-1] != token_dims:
        raise ValueError(
            f'the learned prompts have {contexts.shape[-1]} numbers per '
            f'token, CLIP {clip.name} has {token_dims}: they were learned '
            'with another CLIP'
        )


def _words(
    names: Sequence[str], synonyms: Optional[Sequence[Sequence[str]]]
) -> List[Tuple[int, str]]:
    """Return (class, name) for each name and synonym, none of them twice."""
    if synonyms is not None and len(synonyms) != len(names):
        raise ValueError(
            f'expected the synonyms of {len(names)} classes, got '
            f'those of {len(synonyms)}'
        )
    words = [
        [name, *others]
        for name, others in zip(
            names, synonyms if synonyms is not None else [()] * len(names)
        )
    ]
    return [
        (row, mended_spelling(word))
        for row, own in enumerate(words)
        for word in dict.fromkeys(own)
    ]


def _chunks(words: List[Tuple[int, str]]) -> Iterator[List[Tuple[int, str]]]:
    """Yield lists of words that take the same article.

    Their sentences then start alike, which saves the text tower work.
    """
    ordered = sorted(words, key=lambda word: article(word[1]))
    for _, words_of in groupby(ordered, key=lambda word: article(word[1])):
        group = list(words_of)
        for start in range(0, len(group), CHUNK):
            yield group[start : start + CHUNK]


def _tokenize(
    words: Sequence[str], texts: Sequence[str], context_length: int
) -> Tensor:
    """Return the tokens of sentences; of those too long, name the word."""
    try:
        return tokenize(texts, context_length)
    except ValueError:
        for word, text in zip(words, texts):
            try:
                tokenize([text], context_length)
            except ValueError as error:
                raise ValueError(
                    f'the name "{_beginning(word)}" is too long for CLIP, '
                    f'which reads {context_length} tokens with the sentence '
                    'around it: shorten it'
                ) from error
        raise


def _beginning(word: str) -> str:
    """Return a word, cut if it is very long."""
    return word if len(word) <= SHOWN else f'{word[:SHOWN]}\u2026'


def _sentences(
    words: List[str], templates: str, contexts: Optional[Tensor]
) -> Iterator[Tuple[Sequence[str], Optional[Tensor]]]:
    """Yield one sentence for each word, with the context it stands for."""
    if contexts is None:
        filled = (fill_templates(word, templates) for word in words)
        yield from ((texts, None) for texts in zip(*filled))
        return
    texts = [fill_placeholder(word, contexts.shape[1]) for word in words]
    yield from ((texts, context) for context in contexts)
