"""How fast CLIP encodes crops on this device, measured and not assumed.

Shapes: B crops of a batch, n side of CLIP's input in pixels.
"""

import copy
import time
import warnings
from dataclasses import dataclass, replace
from typing import List, Optional, Sequence, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .crops import normalize_crops
from .loading import PRECISIONS, LoadedCLIP, round_weights

# Embeddings in less precision must be as near as this to those in fp32.
MIN_COSINE = 0.999
SOME = 32  # crops to compare
# Compiled code must be as many times as fast to be worth its time
MIN_GAIN = 1.05
BATCH_SIZES = {'cpu': (32, 64, 128), 'cuda': (128, 256, 512, 1024)}
# Half precision first: where it is fast, fp32 is soon seen to be slower.
CANDIDATES = {'cpu': ('bf16', 'fp32'), 'cuda': ('fp16', 'bf16', 'fp32')}


@dataclass(frozen=True)
class EncoderSpeed:
    """What was measured of one precision and batch size.

    Args:
        precision (str): See :func:`ovd.clip.loading.load_clip`.
        batch_size (int): B.
        crops_per_second (float): Of the image tower alone.
        cosine (float): The least of an embedding to that in fp32.
        compiled (bool): Whether the image tower is compiled.
    """

    precision: str
    batch_size: int
    crops_per_second: float
    cosine: float = 1.0
    compiled: bool = False

    def __str__(self) -> str:
        return (
            f'{self.precision} and batches of {self.batch_size}'
            f'{", compiled" if self.compiled else ""}'
        )


def with_precision(clip: LoadedCLIP, precision: str) -> LoadedCLIP:
    """Return a CLIP in fp32 as a copy with less precision.

    Raises:
        ValueError: If it has less precision already, and another one.
    """
    if clip.precision == precision:
        return clip
    if clip.precision != 'fp32':
        raise ValueError(
            f'{clip.name} is in {clip.precision}, not fp32: load '
            f'it anew to have it in {precision}'
        )
    model = copy.deepcopy(clip.model)
    round_weights(model, PRECISIONS[precision])
    return replace(clip, model=model, precision=precision)


def measure_encoder(
    clip: LoadedCLIP,
    crops: Optional[Tensor] = None,
    precisions: Optional[Sequence[str]] = None,
    batch_sizes: Optional[Sequence[int]] = None,
    seconds: float = 0.5,
) -> List[EncoderSpeed]:
    """Encode crops in every precision and batch size, the fastest first.

    What is less than half as fast as the best, or further than
    ``MIN_COSINE`` from fp32, is not looked into. It takes some seconds.

    Args:
        clip (LoadedCLIP): In fp32, unless its precision is the only one.
        crops (Tensor, optional): uint8 (B, 3, n, n) to measure with; None
            takes noise.
        precisions (Sequence[str], optional): None takes those that its
            device is known for.
        batch_sizes (Sequence[int], optional): Likewise.
        seconds (float): At least, for each measurement. Defaults to 0.5.

    Raises:
        ValueError: If the device has no memory for any of the batches.
    """
    device = clip.device.type
    precisions = precisions or CANDIDATES.get(device, ('fp32',))
    batch_sizes = batch_sizes or BATCH_SIZES.get(device, (64,))
    found: List[EncoderSpeed] = []
    images = _prepare(clip, crops, max(batch_sizes))
    exact = clip.encode_image(images[:SOME])
    for precision in precisions:
        candidate = with_precision(clip, precision)
        rounded = candidate.encode_image(images[:SOME])
        cosine = float(F.cosine_similarity(rounded, exact).min())
        if candidate is not clip and not cosine >= MIN_COSINE:  # NaN too
            continue
        for size in batch_sizes:
            try:
                speed = _time(candidate, images[:size], seconds)
            except torch.OutOfMemoryError:
                torch.cuda.empty_cache()
                break  # larger ones don't fit either
            found.append(EncoderSpeed(precision, size, speed, cosine))
            if speed < max(f.crops_per_second for f in found) / 2:
                break
    if not found:
        raise ValueError(
            f'the memory of {clip.device} is too small for batches of '
            f'{min(batch_sizes)} crops: give a smaller model.batch_size'
        )
    return sorted(found, key=lambda speed: -speed.crops_per_second)


def compile_encoder(clip: LoadedCLIP, batch_size: int) -> LoadedCLIP:
    """Return a CLIP whose image tower is compiled for batches of a size.

    It takes about half a minute.

    Raises:
        ValueError: If it is no vision transformer, there is no C++ compiler,
            or it fails.
    """
    # Late, since the compiler takes seconds to import
    from torch._dynamo.exc import BackendCompilerFailed

    compiled = replace(clip, compiled_for=batch_size)
    try:
        compiled.encode_image(_prepare(clip, None, batch_size))
    except BackendCompilerFailed as error:
        raise ValueError(
            f"the image tower of {clip.name} can't be compiled: "
            f'{str(error).splitlines()[0]}; it needs a C++ compiler such as '
            "g++, Python's headers, and a path to torch without spaces; or "
            'set model.compiled=False'
        ) from error
    return compiled


def try_compiled(
    clip: LoadedCLIP,
    speed: EncoderSpeed,
    crops: Optional[Tensor] = None,
    seconds: float = 0.5,
) -> Tuple[LoadedCLIP, EncoderSpeed]:
    """Return a CLIP compiled, with its speed, if that is faster.

    Args:
        clip (LoadedCLIP): Not compiled, in the precision of ``speed``.
        speed (EncoderSpeed): What was measured of it.
        crops (Tensor, optional): As of :func:`measure_encoder`.
        seconds (float): Likewise.

    Warns:
        UserWarning: If it can't be compiled, with the reason.
    """
    try:
        compiled = compile_encoder(clip, speed.batch_size)
    except ValueError as error:
        warnings.warn(f'going on without: {error}', stacklevel=2)
        return clip, speed
    images = _prepare(clip, crops, speed.batch_size)
    cosine = F.cosine_similarity(
        compiled.encode_image(images), clip.encode_image(images)
    ).min()
    # In turns, as the machine may be busy meanwhile
    turns = [
        [_time(each, images, seconds) for each in (clip, compiled)]
        for _ in range(2)
    ]
    plain, fast = map(max, zip(*turns, strict=True))
    if fast < MIN_GAIN * plain or not cosine >= MIN_COSINE:  # NaN too
        return clip, speed
    return compiled, replace(speed, crops_per_second=fast, compiled=True)


def time_encoder(
    clip: LoadedCLIP,
    batch_size: int,
    crops: Optional[Tensor] = None,
    seconds: float = 0.2,
) -> EncoderSpeed:
    """Measure a CLIP as it is; see :func:`measure_encoder`."""
    speed = _time(clip, _prepare(clip, crops, batch_size), seconds)
    return EncoderSpeed(
        clip.precision,
        batch_size,
        speed,
        compiled=clip.compiled_for == batch_size,
    )


def _prepare(clip: LoadedCLIP, crops: Optional[Tensor], number: int) -> Tensor:
    """Return ``number`` normalised crops, repeated if there are fewer."""
    if crops is None or not len(crops):
        side = clip.image_size
        generator = torch.Generator().manual_seed(0)
        crops = torch.randint(
            0,
            256,
            (min(number, 64), 3, side, side),
            dtype=torch.uint8,
            generator=generator,
        )
    crops = crops[torch.arange(number) % len(crops)]
    return normalize_crops(
        crops.to(clip.device), clip.image_mean, clip.image_std
    )


def _time(clip: LoadedCLIP, images: Tensor, seconds: float) -> float:
    """Return crops per second, by the quickest of several batches."""
    clip.encode_image(images)
    best, start, number = float('inf'), time.perf_counter(), 0
    while number < 2 or time.perf_counter() - start < seconds:
        begin = time.perf_counter()
        clip.encode_image(images)
        if clip.device.type == 'cuda':
            torch.cuda.synchronize(clip.device)
        best = min(best, time.perf_counter() - begin)
        number += 1
    return len(images) / best
