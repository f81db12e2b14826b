"""What files of weights say of themselves: CLIPs and checkpoints."""

from collections import Counter
from typing import Any, Dict

import torch
from torch import Tensor, nn

from ovd.artifacts.files import PathLike

from .artifact_description import Description, list_names


def describe_clip(path: PathLike) -> Description:
    """Describe a CLIP, which is loaded for it.

    Raises:
        ValueError: If it does not load, or a number is not finite.
    """
    from ovd.clip.loading import load_clip
    from ovd.clip.openai import OPENAI_URLS
    from ovd.clip.weights import published_digest

    clip = load_clip(str(path))
    model = clip.model
    for key, value in model.state_dict().items():
        _check_finite(path, key, value)
    published = [
        name for name in OPENAI_URLS if published_digest(name) == clip.sha256
    ]
    side = clip.image_size
    numbers = sum(parameter.numel() for parameter in model.parameters())
    return Description(
        'CLIP weights',
        {
            'image tower': f'{_image_tower(model.visual)}, {side} x {side} '
            'pixels',
            'text tower': f'{model.transformer.layers} layers of width '
            f'{model.transformer.width}, {model.context_length} tokens',
            'size': clip.embed_dims,
            'parameters': f'{numbers:,}',
            'sha256': clip.sha256,
            'published': f'as {published[0]}'
            if published
            else 'no, none of the published CLIPs has this digest',
        },
    )


def _image_tower(visual: nn.Module) -> str:
    if hasattr(visual, 'layer1'):
        blocks = tuple(len(getattr(visual, f'layer{i}')) for i in range(1, 5))
        return (
            f'ResNet of {blocks} blocks, width {visual.conv1.out_channels * 2}'
        )
    transformer = visual.transformer
    return (
        f'ViT of {transformer.layers} layers, width {transformer.width}, '
        f'patches of {visual.conv1.kernel_size[0]}'
    )


def describe_checkpoint(
    path: PathLike, content: Dict[str, Any]
) -> Description:
    """Describe what a training run wrote, or the weights of a backbone.

    Args:
        path (PathLike): The file, for messages.
        content (dict): What it holds: a state dict, or a dict with one.

    Raises:
        ValueError: If a number in it is not finite.
    """
    state_dict: Dict[str, Tensor] = content.get('state_dict', content)
    parts: Counter = Counter()
    for key, value in state_dict.items():
        _check_finite(path, key, value)
        parts[key.partition('.')[0]] += value.numel()
    details: Dict[str, Any] = dict(
        numbers=f'{sum(parts.values()):,} in {len(state_dict):,} entries'
    )
    if 'state_dict' not in content:
        return Description('weights', details)
    details['parts'] = list_names(
        [f'{part} {number:,}' for part, number in parts.items()]
    )
    details.update(_describe_run(content.get('meta')))
    details['resumable'] = (
        'yes, it has the optimizer'
        if 'optimizer' in content
        else 'no, weights alone'
    )
    # mmdet's RPN calls its own head `bbox_head`.
    is_rpn = any('rpn_conv' in key for key in state_dict)
    kind = (
        'a detector'
        if 'roi_head' in parts
        else 'an RPN'
        if is_rpn
        else 'another model'
    )
    return Description(f'checkpoint of {kind}', details)


def _check_finite(path: PathLike, key: str, value: Tensor) -> None:
    if not torch.isfinite(value).all():
        raise ValueError(f'{path}: {key} has numbers that are NaN or infinite')


def _describe_run(meta: Any) -> Dict[str, Any]:
    """Return what mmengine notes of a run; others note other things."""
    if not isinstance(meta, dict):
        return {}
    details = {
        key: meta[key]
        for key in (
            'epoch',
            'iter',
            'experiment_name',
            'time',
            'mmengine_version',
        )
        if key in meta
    }
    dataset_meta = meta.get('dataset_meta')
    classes = (
        dataset_meta.get('classes') if isinstance(dataset_meta, dict) else None
    )
    if isinstance(classes, (list, tuple)):
        details['classes'] = list_names([*map(str, classes)])
    return details


def is_state_dict(content: Any) -> bool:
    """Whether this is a non-empty dict of tensors with names."""
    return (
        isinstance(content, dict)
        and bool(content)
        and all(
            isinstance(key, str) and isinstance(value, Tensor)
            for key, value in content.items()
        )
    )


def is_checkpoint(content: Any) -> bool:
    """Whether this is a state dict, or has one as mmengine's files have."""
    return isinstance(content, dict) and (
        is_state_dict(content) or is_state_dict(content.get('state_dict'))
    )
