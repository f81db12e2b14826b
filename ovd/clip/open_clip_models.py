"""CLIPs of the open_clip project, by its optional package.

They are named ``open_clip:NAME/TAG`` or ``open_clip:NAME/FILE``. A tag knows
more than a file: with which activation the weights were trained, and how
images were prepared.
"""

import hashlib
import json
from pathlib import Path
from types import ModuleType
from typing import Dict, Optional, Tuple

from torch import nn

from ovd.artifacts.files import require_file, sha256_file
from ovd.suggest import did_you_mean

PREFIX = 'open_clip:'
FORM = f'{PREFIX}NAME/TAG or {PREFIX}NAME/FILE'
WEIGHTS_FOLDER = Path('pretrained/open_clip')
SUFFIXES = ('.safetensors', '.bin', '.pt')
# What ovd's own image transform does, and what open_clip's tags may ask for.
PREPROCESSING = dict(
    mode='RGB', interpolation='bicubic', resize_mode='shortest'
)
VOCAB_SIZE = 49408  # of the one tokenizer that ovd has


def is_spec(name: str) -> bool:
    """Whether a CLIP's name means one of open_clip's."""
    return str(name).startswith(PREFIX)


def find_weights(spec: str) -> Path:
    """Return the file of the weights.

    That of a tag is looked for as ``pretrained/open_clip/NAME_TAG.*``, then
    in the cache of its host, then downloaded.

    Raises:
        ModuleNotFoundError: If open_clip is not installed.
        FileNotFoundError: If there is no such model, tag or file, or it
            can't be downloaded.
    """
    open_clip = _import_open_clip()
    model, weights, tag = _parse(spec)
    if tag is None:
        return require_file(weights, 'open_clip weights')
    local = [WEIGHTS_FOLDER / f'{model}_{weights}{end}' for end in SUFFIXES]
    for path in local:
        if path.is_file():
            return path
    try:
        return Path(open_clip.download_pretrained(tag))
    # The hub's client and urllib each have errors of their own.
    except Exception as error:
        raise FileNotFoundError(
            f'the weights {weights} of {model} could not be downloaded '
            f'({type(error).__name__}: {error}); get the file elsewhere and '
            f'put it at {local[0]}, or under that name with '
            f'{" or ".join(SUFFIXES[1:])}'
        ) from error


def embed_dims(spec: str) -> int:
    """Return D, the embedding size of a model."""
    model, _, _ = _parse(spec)
    return _import_open_clip().get_model_config(model)['embed_dim']


def preprocessing(spec: str) -> Dict[str, Tuple[float, ...]]:
    """Return ``mean`` and ``std`` of the images that a model takes.

    Raises:
        ValueError: If images are prepared in a way that ovd does not know.
    """
    open_clip = _import_open_clip()
    tag = _parse(spec)[2] or {}
    for key, value in PREPROCESSING.items():
        if tag.get(key, value) != value:
            raise ValueError(
                f'{spec} wants images prepared with {key} {tag[key]!r}; ovd '
                f'knows {value!r} alone'
            )
    return dict(
        mean=tuple(tag.get('mean', open_clip.OPENAI_DATASET_MEAN)),
        std=tuple(tag.get('std', open_clip.OPENAI_DATASET_STD)),
    )


def digest(spec: str) -> str:
    """Return what tells a model apart from all others.

    A file alone does not: the same weights are another CLIP with another
    activation, or for images that are prepared in another way.
    """
    model, _, _ = _parse(spec)
    config = _import_open_clip().get_model_config(model)
    # What shapes of weights don't say; not all, since open_clip may add keys.
    content = dict(
        file=sha256_file(find_weights(spec)),
        quick_gelu=bool(config.get('quick_gelu')),
        text={
            key: config['text_cfg'].get(key)
            for key in ('heads', 'pool_type', 'act_kwargs')
        },
        vision={
            key: config['vision_cfg'].get(key)
            for key in ('head_width', 'pool_type', 'timm_model_name')
        },
        **preprocessing(spec),
    )
    text = json.dumps(content, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def build(spec: str, precision: str) -> nn.Module:
    """Return a model with its weights.

    Args:
        spec (str): ``open_clip:NAME/TAG`` or ``open_clip:NAME/FILE``.
        precision (str): ``'fp32'``, ``'bf16'`` or ``'fp16'``.

    Raises:
        FileNotFoundError: See :func:`find_weights`.
        ValueError: If the file is not of that model, or texts or images are
            prepared in a way that ovd does not know.
    """
    open_clip = _import_open_clip()
    model_name, weights, tag = _parse(spec)
    _check_tokenizer(open_clip, model_name)
    if tag is not None:
        _check_activation(open_clip, model_name, weights, tag)
    path = find_weights(spec)
    try:
        model = open_clip.create_model(
            model_name,
            pretrained=str(path),
            precision=precision,
            pretrained_image=False,
            weights_only=True,
        )
    # Given other weights, open_clip and torch raise nearly anything.
    except Exception as error:
        raise ValueError(
            f"{path} does not hold the weights of open_clip's {model_name} "
            f'({type(error).__name__}: {error})'
        ) from error
    _check_sizes(open_clip, model, path, model_name)
    return model


def _import_open_clip() -> ModuleType:
    try:
        import open_clip
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f'{PREFIX}… needs a package that is not installed ({error}); '
            "install it with: pip install 'open_clip_torch>=3'"
        ) from error
    return open_clip


def _parse(spec: str) -> Tuple[str, str, Optional[dict]]:
    """Split ``open_clip:NAME/REST``.

    Returns:
        tuple: The model's name, the rest, and open_clip's entry of the rest
        if that is a tag of the model.
    """
    open_clip = _import_open_clip()
    model, slash, rest = spec[len(PREFIX) :].partition('/')
    if not slash or not rest:
        raise FileNotFoundError(f'expected {FORM}, got "{spec}"')
    if model not in open_clip.list_models():
        raise FileNotFoundError(
            f'open_clip has no model "{model}"'
            f'{did_you_mean(model, open_clip.list_models())}'
        )
    tag = open_clip.get_pretrained_cfg(model, rest)
    if not tag and not Path(rest).is_file() and not Path(rest).suffix:
        tags = open_clip.list_pretrained_tags_by_model(model)
        raise FileNotFoundError(
            f'"{rest}" is neither a file nor one of the tags of open_clip\'s '
            f'{model}: {", ".join(tags) or "it has none"}'
            f'{did_you_mean(rest, tags)}'
        )
    return model, rest, tag or None


def _check_tokenizer(open_clip: ModuleType, model: str) -> None:
    """Refuse a model whose texts are cut into other tokens than openai's."""
    config = open_clip.get_model_config(model)['text_cfg']
    others = [
        key
        for key in ('hf_tokenizer_name', 'tokenizer_kwargs', 'tokenizer_mode')
        if config.get(key)
    ]
    size = config.get('vocab_size', VOCAB_SIZE)
    if others or size != VOCAB_SIZE:
        raise ValueError(
            f"open_clip's {model} has a tokenizer of its own "
            f'({", ".join(others) or f"{size} tokens"}); ovd has that of '
            'openai-clip alone'
        )


def _check_sizes(
    open_clip: ModuleType, model: nn.Module, path: Path, name: str
) -> None:
    """Refuse weights for another size of images or texts.

    open_clip would interpolate them, and say nothing.
    """
    size = model.visual.image_size
    if not isinstance(size, int) and size[0] != size[1]:
        raise ValueError(
            f"open_clip's {name} takes images of "
            f'{size[0]} x {size[1]}; ovd makes square ones'
        )
    # A text tower of its own module may lie in the file without one.
    expected, found = (
        {key.removeprefix('text.'): value for key, value in weights.items()}
        for weights in (
            model.state_dict(),
            open_clip.factory.load_state_dict(str(path), weights_only=True),
        )
    )
    for key in expected.keys() & found.keys():
        if (
            key.endswith('positional_embedding')
            and found[key].shape != expected[key].shape
        ):
            raise ValueError(
                f"{path} is not of open_clip's {name}: its {key} is "
                f'{tuple(found[key].shape)}, expected '
                f'{tuple(expected[key].shape)}'
            )


def _check_activation(
    open_clip: ModuleType, model: str, weights: str, tag: dict
) -> None:
    """Refuse weights of QuickGELU in a model without it, and vice versa."""
    wanted = bool(tag.get('quick_gelu', False))
    if wanted == bool(open_clip.get_model_config(model).get('quick_gelu')):
        return
    other = f'{model}-quickgelu' if wanted else model.replace('-quickgelu', '')
    raise ValueError(
        f'{weights} was trained {"with" if wanted else "without"} QuickGELU, '
        f'{model} is {"without" if wanted else "with"} it: use '
        f'{PREFIX}{other}/{weights}'
    )
