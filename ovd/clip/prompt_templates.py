"""Sentences that class names are put into, and how names are cleaned.

Sources, as data: ViLD's published notebook (63 sentences, its rules for
articles and names) and DetPro's ``template_list`` (74 sentences, raw names).
"""

from typing import Dict, List, NamedTuple, Tuple

from ovd.suggest import check_choice

# In the published order.
VILD_TEMPLATES = (
    'There is {article} {} in the scene.',
    'There is the {} in the scene.',
    'a photo of {article} {} in the scene.',
    'a photo of the {} in the scene.',
    'a photo of one {} in the scene.',
    'itap of {article} {}.',
    'itap of my {}.',
    'itap of the {}.',
    'a photo of {article} {}.',
    'a photo of my {}.',
    'a photo of the {}.',
    'a photo of one {}.',
    'a photo of many {}.',
    'a good photo of {article} {}.',
    'a good photo of the {}.',
    'a bad photo of {article} {}.',
    'a bad photo of the {}.',
    'a photo of a nice {}.',
    'a photo of the nice {}.',
    'a photo of a cool {}.',
    'a photo of the cool {}.',
    'a photo of a weird {}.',
    'a photo of the weird {}.',
    'a photo of a small {}.',
    'a photo of the small {}.',
    'a photo of a large {}.',
    'a photo of the large {}.',
    'a photo of a clean {}.',
    'a photo of the clean {}.',
    'a photo of a dirty {}.',
    'a photo of the dirty {}.',
    'a bright photo of {article} {}.',
    'a bright photo of the {}.',
    'a dark photo of {article} {}.',
    'a dark photo of the {}.',
    'a photo of a hard to see {}.',
    'a photo of the hard to see {}.',
    'a low resolution photo of {article} {}.',
    'a low resolution photo of the {}.',
    'a cropped photo of {article} {}.',
    'a cropped photo of the {}.',
    'a close-up photo of {article} {}.',
    'a close-up photo of the {}.',
    'a jpeg corrupted photo of {article} {}.',
    'a jpeg corrupted photo of the {}.',
    'a blurry photo of {article} {}.',
    'a blurry photo of the {}.',
    'a pixelated photo of {article} {}.',
    'a pixelated photo of the {}.',
    'a black and white photo of the {}.',
    'a black and white photo of {article} {}.',
    'a plastic {}.',
    'the plastic {}.',
    'a toy {}.',
    'the toy {}.',
    'a plushie {}.',
    'the plushie {}.',
    'a cartoon {}.',
    'the cartoon {}.',
    'an embroidered {}.',
    'the embroidered {}.',
    'a painting of the {}.',
    'a painting of a {}.',
)

# In the published order; OADP uses the same.
DETPRO_TEMPLATES = (
    'This is a {}',
    'There is a {}',
    'a photo of a {} in the scene',
    'a photo of a small {} in the scene',
    'a photo of a medium {} in the scene',
    'a photo of a large {} in the scene',
    'a photo of a {}',
    'a photo of a small {}',
    'a photo of a medium {}',
    'a photo of a large {}',
    'This is a photo of a {}',
    'This is a photo of a small {}',
    'This is a photo of a medium {}',
    'This is a photo of a large {}',
    'There is a {} in the scene',
    'There is the {} in the scene',
    'There is one {} in the scene',
    'This is a {} in the scene',
    'This is the {} in the scene',
    'This is one {} in the scene',
    'This is one small {} in the scene',
    'This is one medium {} in the scene',
    'This is one large {} in the scene',
    'There is a small {} in the scene',
    'There is a medium {} in the scene',
    'There is a large {} in the scene',
    'There is a {} in the photo',
    'There is the {} in the photo',
    'There is one {} in the photo',
    'There is a small {} in the photo',
    'There is the small {} in the photo',
    'There is one small {} in the photo',
    'There is a medium {} in the photo',
    'There is the medium {} in the photo',
    'There is one medium {} in the photo',
    'There is a large {} in the photo',
    'There is the large {} in the photo',
    'There is one large {} in the photo',
    'There is a {} in the picture',
    'There is the {} in the picture',
    'There is one {} in the picture',
    'There is a small {} in the picture',
    'There is the small {} in the picture',
    'There is one small {} in the picture',
    'There is a medium {} in the picture',
    'There is the medium {} in the picture',
    'There is one medium {} in the picture',
    'There is a large {} in the picture',
    'There is the large {} in the picture',
    'There is one large {} in the picture',
    'This is a {} in the photo',
    'This is the {} in the photo',
    'This is one {} in the photo',
    'This is a small {} in the photo',
    'This is the small {} in the photo',
    'This is one small {} in the photo',
    'This is a medium {} in the photo',
    'This is the medium {} in the photo',
    'This is one medium {} in the photo',
    'This is a large {} in the photo',
    'This is the large {} in the photo',
    'This is one large {} in the photo',
    'This is a {} in the picture',
    'This is the {} in the picture',
    'This is one {} in the picture',
    'This is a small {} in the picture',
    'This is the small {} in the picture',
    'This is one small {} in the picture',
    'This is a medium {} in the picture',
    'This is the medium {} in the picture',
    'This is one medium {} in the picture',
    'This is a large {} in the picture',
    'This is the large {} in the picture',
    'This is one large {} in the picture',
)


class TemplateSet(NamedTuple):
    """Sentences with ``{}`` for the name and ``{article}`` for "a" or "an".

    Args:
        templates (tuple[str]): T sentences.
        clean_names (bool): Whether names go through :func:`clean_name`.
        this_is (bool): Whether "This is " goes before each filled sentence
            that starts with "a" or "the".
    """

    templates: Tuple[str, ...]
    clean_names: bool = False
    this_is: bool = False


TEMPLATE_SETS: Dict[str, TemplateSet] = {
    'vild': TemplateSet(VILD_TEMPLATES, clean_names=True, this_is=True),
    'detpro': TemplateSet(DETPRO_TEMPLATES),
    'photo': TemplateSet(('a photo of {article} {}.',), clean_names=True),
    'none': TemplateSet(('{}',)),
}


def clean_name(name: str) -> str:
    """Return a class name as ViLD puts it into sentences.

    Underscores become spaces, ``/`` becomes " or ", all in lower case, a dot
    at the end is dropped. Parentheses stay.
    """
    return name.replace('_', ' ').replace('/', ' or ').lower().rstrip('.')


def article(name: str) -> str:
    """Return "an" for a **raw** name that starts with one of "aeiou".

    ViLD looks at the name before it is in lower case, so a capital always
    gets "a".
    """
    return 'an' if name[:1] in tuple('aeiou') else 'a'


def fill_templates(name: str, templates: str = 'vild') -> List[str]:
    """Return the T sentences of a class.

    Args:
        name (str): Class name as it stands in the annotation file.
        templates (str): A key of ``TEMPLATE_SETS``. Defaults to ``'vild'``.

    Raises:
        ValueError: If the name is empty or there are no such templates.
    """
    check_choice(templates, TEMPLATE_SETS, 'templates')
    chosen = TEMPLATE_SETS[templates]
    text = clean_name(name) if chosen.clean_names else name
    if not text.strip():
        raise ValueError(f'a class name must have letters, got {name!r}')
    texts = [
        template.format(text, article=article(name))
        for template in chosen.templates
    ]
    if chosen.this_is:
        texts = [
            f'This is {text}' if text.startswith(('a', 'the')) else text
            for text in texts
        ]
    return texts


def fill_placeholder(name: str, length: int) -> str:
    """Return the sentence of a learned prompt: "X X ... X name.".

    The embeddings of the X are replaced by the learned ones. As DetPro does,
    parentheses are deleted and their words kept, underscores become spaces.

    Args:
        name (str): Class name as it stands in the annotation file.
        length (int): L, tokens of the learned prompt.

    Raises:
        ValueError: If the name is empty.
    """
    text = name.replace('(', '').replace(')', '').replace('_', ' ')
    if not text.strip():
        raise ValueError(f'a class name must have letters, got {name!r}')
    return f'{"X " * length}{text}.'
