"""CLIPs of the open_clip project, by its optional package.

They are named ``open_clip:NAME/TAG`` or ``open_clip:NAME/FILE``.
"""
from pathlib import Path
from types import ModuleType
from typing import Optional, Tuple

from torch import nn

from ovd.artifacts.files import require_file
from ovd.suggest import did_you_mean

PREFIX = 'open_clip:'
FORM = f'{PREFIX}NAME/TAG or {PREFIX}NAME/FILE'
# What ovd's own image transform does, and what it can be told.
PREPROCESSING = dict(mode='RGB', interpolation='bicubic',
                     resize_mode='shortest')


def is_spec(name: str) -> bool:
    """Whether a CLIP's name means one of open_clip's."""
    return str(name).startswith(PREFIX)


def find_weights(spec: str) -> Path:
    """Return the file of the weights; download those of a tag if need be.

    Raises:
        ModuleNotFoundError: If open_clip is not installed.
        FileNotFoundError: If there is no such model, tag or file, or it
            can't be downloaded.
    """
    open_clip = _import_open_clip()
    model, weights, tag = _parse(spec)
    if tag is None:
        return require_file(weights, 'open_clip weights')
    try:
        return Path(open_clip.download_pretrained(tag))
    # The hub's client and urllib each have errors of their own.
    except Exception as error:
        raise FileNotFoundError(
            f'the weights {weights} of {model} could not be downloaded '
            f'({type(error).__name__}: {error}); get the file elsewhere and '
            f'name it as {PREFIX}{model}/FILE') from error


def embed_dims(spec: str) -> int:
    """Return D, the embedding size of a model."""
    model, _, _ = _parse(spec)
    return _import_open_clip().get_model_config(model)['embed_dim']


def build(spec: str, precision: str) -> Tuple[nn.Module, dict]:
    """Return the model and its preprocessing: ``mean`` and ``std``.

    Args:
        spec (str): ``open_clip:NAME/TAG`` or ``open_clip:NAME/FILE``.
        precision (str): ``'fp32'``, ``'bf16'`` or ``'fp16'``.

    Raises:
        FileNotFoundError: See :func:`find_weights`.
        ValueError: If the file is not of that model, or images are prepared
            in a way that ovd does not know.
    """
    open_clip = _import_open_clip()
    path = find_weights(spec)
    model_name, weights, tag = _parse(spec)
    if tag is not None:
        _check_activation(open_clip, model_name, weights, tag)
    try:
        model = open_clip.create_model(
            model_name,
            pretrained=str(path),
            precision=precision,
            pretrained_image=False,
            weights_only=True)
    # Given other weights, open_clip and torch raise nearly anything.
    except Exception as error:
        raise ValueError(
            f"{path} does not hold the weights of open_clip's {model_name} "
            f'({type(error).__name__}: {error})') from error
    preprocessing = {**model.visual.preprocess_cfg}
    if tag is not None:
        preprocessing.update(
            {key: tag[key] for key in preprocessing if key in tag})
    for key, value in PREPROCESSING.items():
        if preprocessing.get(key, value) != value:
            raise ValueError(
                f'{spec} wants images prepared with {key} '
                f'{preprocessing[key]!r}; ovd knows {value!r} alone')
    return model, preprocessing


def _import_open_clip() -> ModuleType:
    try:
        import open_clip
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f'{PREFIX}… needs a package that is not installed ({error}); '
            "install it with: pip install 'open_clip_torch>=3'") from error
    return open_clip


def _parse(spec: str) -> Tuple[str, str, Optional[dict]]:
    """Split ``open_clip:NAME/REST``.

    Returns:
        tuple: The model's name, the rest, and open_clip's entry of the rest
        if that is a tag of the model.
    """
    open_clip = _import_open_clip()
    model, slash, rest = spec[len(PREFIX):].partition('/')
    if not slash or not rest:
        raise FileNotFoundError(f'expected {FORM}, got "{spec}"')
    if model not in open_clip.list_models():
        raise FileNotFoundError(
            f'open_clip has no model "{model}"'
            f'{did_you_mean(model, open_clip.list_models())}')
    tag = open_clip.get_pretrained_cfg(model, rest)
    if not tag and not Path(rest).is_file() and not Path(rest).suffix:
        tags = open_clip.list_pretrained_tags_by_model(model)
        raise FileNotFoundError(
            f'"{rest}" is neither a file nor one of the tags of open_clip\'s '
            f'{model}: {", ".join(tags) or "it has none"}'
            f'{did_you_mean(rest, tags)}')
    return model, rest, tag or None


def _check_activation(open_clip: ModuleType, model: str, weights: str,
                      tag: dict) -> None:
    """Refuse weights of QuickGELU in a model without it, and vice versa."""
    wanted = bool(tag.get('quick_gelu', False))
    if wanted == bool(open_clip.get_model_config(model).get('quick_gelu')):
        return
    other = f'{model}-quickgelu' if wanted else model.replace('-quickgelu', '')
    raise ValueError(
        f'{weights} was trained {"with" if wanted else "without"} QuickGELU, '
        f'{model} is {"without" if wanted else "with"} it: use '
        f'{PREFIX}{other}/{weights}')
