"""Weights of other projects become checkpoints that ovd's configs load."""

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ovd.artifacts.checkpoint_configs import name_config
from ovd.artifacts.checkpoint_layouts import (
    find_layout,
    find_missing,
    find_stages,
)
from ovd.artifacts.files import (
    PathLike,
    atomic_write,
    require_file,
    sha256_file,
)
from ovd.artifacts.key_rules import Layout, list_some
from ovd.artifacts.torch_file import read_torch_file
from ovd.clip.weights import identify_clip, is_safetensors

from .describe_weights import is_state_dict


@dataclass
class Conversion:
    """What became of the weights of a file.

    Args:
        state_dict (dict[str, Tensor]): By their keys in ovd.
        kept (int): How many have the key that they had.
        renamed (int): How many have another one.
        dropped (Counter): Reason -> how many are left out for it.
    """

    state_dict: Dict[str, Tensor] = field(default_factory=dict)
    kept: int = 0
    renamed: int = 0
    dropped: Counter = field(default_factory=Counter)


def convert_checkpoint(
    file: PathLike, out: PathLike, form: str = 'auto', overwrite: bool = False
) -> Path:
    """Write a checkpoint of another project as one of ours.

    Every key is taken over, dropped by a rule that says why, or an error;
    see :mod:`ovd.artifacts.checkpoint_layouts`.

    Args:
        file (PathLike): A ``.pth``, ``.pt`` or ``.safetensors``; nothing in
            it is executed.
        out (PathLike): The checkpoint to write.
        form (str): A key of ``LAYOUTS``; ``'auto'`` goes by the keys.
            Defaults to ``'auto'``.
        overwrite (bool): Whether to replace ``out``. Defaults to False.

    Returns:
        Path: The checkpoint that was written.

    Raises:
        FileNotFoundError: If ``file`` does not exist.
        ValueError: If it is damaged, holds more than tensors and plain
            containers, or has keys that are not known, or ``out`` exists.
    """
    path, out = require_file(file, 'checkpoint'), Path(out)
    if out.resolve() == path.resolve():
        raise ValueError(
            f'{out} is the file to convert: give another one to write'
        )
    if out.exists() and not overwrite:
        raise ValueError(
            f'{out} exists: give another file to write, or say --overwrite'
        )
    content = _read(path)
    try:
        weights = _find_weights(content)
        layout = find_layout(weights, form)
        converted = apply_layout(layout, weights)
    except ValueError as error:
        raise ValueError(f'{path}: {error}') from error
    meta = _describe(layout, converted, content, path)
    with atomic_write(out) as target:
        torch.save(dict(meta=meta, state_dict=converted.state_dict), target)
    _report(layout, converted, path, out)
    return out


def _read(path: Path) -> Any:
    """Return what a file holds, on the CPU."""
    if path.suffix != '.safetensors' and not is_safetensors(path):
        return read_torch_file(path, 'weights')
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(
            f'{path} is damaged, or no safetensors file: {error}'
        ) from error


def _find_weights(content: Any) -> Dict[str, Tensor]:
    """Return the state dict in what a file holds."""
    weights = content
    if isinstance(content, dict):
        weights = content.get('state_dict', content)
    if is_state_dict(weights):
        # As a run of several processes saves a wrapped model
        wrapped = all(key.startswith('module.') for key in weights)
        return {
            key.removeprefix('module.') if wrapped else key: tensor
            for key, tensor in weights.items()
        }
    holds = f'a {type(content).__name__}'
    if isinstance(content, dict):
        holds = f'a dict of {list_some(map(str, content)) or "nothing"}'
    raise ValueError(
        f'expected a state dict, or a dict with one as state_dict, got {holds}'
    )


def apply_layout(layout: Layout, weights: Dict[str, Tensor]) -> Conversion:
    """Give weights the keys of ovd.

    Args:
        layout (Layout): How they are named.
        weights (dict[str, Tensor]): By the keys of the other project.

    Raises:
        ValueError: If there is no rule for a key, two would become one, or
            a box head would lack some.
    """
    result, unknown = Conversion(), []
    for key, tensor in weights.items():
        if key in layout.background:
            continue
        rule = layout.find_rule(key, len(tensor) if tensor.dim() else 0)
        if rule is None:
            unknown.append(key)
        elif rule.target is None:
            result.dropped[rule.why] += 1
        else:
            match = re.fullmatch(rule.pattern, key)
            assert match is not None  # by which the rule was found
            target = match.expand(rule.target)
            if target in result.state_dict:
                raise ValueError(
                    f'two of its keys are {target} in ovd, one of them {key}'
                )
            result.state_dict[target] = tensor
            result.kept += target == key
            result.renamed += target != key
    if unknown:
        raise ValueError(
            f'there is no rule of {layout.name} for '
            f'{len(unknown)} of its keys: {list_some(unknown)}'
        )
    if layout.background:
        _add_background(layout, weights, result)
    missing = find_missing(result.state_dict) if layout.clip else []
    if missing:
        raise ValueError(
            f'it is no whole detector of the form {layout.name}: nothing in '
            f'it becomes {list_some(missing)}'
        )
    return result


def _add_background(
    layout: Layout, weights: Dict[str, Tensor], result: Conversion
) -> None:
    """Give every stage the output of the layer that makes the background."""
    parts = [weights[key] for key in layout.background if key in weights]
    if len(parts) < len(layout.background):
        return  # named with all else that is missing
    shapes = [tuple(part.shape) for part in parts]
    if len({part.numel() for part in parts}) > 1:
        raise ValueError(
            'its background must be a layer from 1 number to those of an '
            f'embedding, (512, 1) and (512,), got {shapes}'
        )
    vector = torch.stack([part.reshape(1, -1) for part in parts]).sum(0)
    for stage in find_stages(result.state_dict):
        key = f'roi_head.bbox_head{stage}.classifier.bg_embedding'
        result.state_dict[key] = vector.clone()
    result.renamed += len(parts)


def _describe(
    layout: Layout, converted: Conversion, content: Dict[str, Any], path: Path
) -> Dict[str, Any]:
    """Return the meta of the new checkpoint."""
    old = content.get('meta')
    meta = (
        {key: old[key] for key in layout.keep_meta if key in old}
        if isinstance(old, dict)
        else {}
    )
    meta['converted_from'] = dict(
        file=path.name, sha256=sha256_file(path), form=layout.name
    )
    if layout.clip:
        clip, embed_dims = identify_clip(layout.clip)
        sizes = {
            len(tensor)
            for key, tensor in converted.state_dict.items()
            if key.endswith('.fc_cls.weight')
        }
        if sizes == {embed_dims}:
            meta['clip'] = clip
    return meta


def _report(
    layout: Layout, converted: Conversion, path: Path, out: Path
) -> None:
    """Print what became of the keys."""
    stages = find_stages(converted.state_dict)
    cascade = f', a cascade of {len(stages)} stages' if len(stages) > 1 else ''
    print(f'{path}: {layout.title} ({layout.name}){cascade}')
    print(
        f'{converted.kept + converted.renamed:,} keys mapped, '
        f'{converted.renamed:,} of them to other names'
    )
    for why, number in converted.dropped.items():
        print(f'{number:,} keys dropped: {why}')
    if layout.note:
        print(f'note: {layout.note}')
    print(f'its config: {name_config(layout.name, converted.state_dict)}')
    print(f'{out}: {len(converted.state_dict):,} keys')
