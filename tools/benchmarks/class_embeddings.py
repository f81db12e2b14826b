"""Time class embeddings of LVIS's names against the plain loop of the peers.

Both turn names into class embeddings with the 63 sentences of ViLD and a
randomly initialised text tower of ViT-B/32's size. The plain loop takes one
sentence of all names at a time and runs openai-clip's `encode_text` over all
77 tokens; it is given every tenth name, and its time scaled. Tokens are made
within the time of both. Prints a line per way, and JSON last: `speedup` and
`speedup_bf16` (how many times as fast), `max_abs_diff` of the class
embeddings in float32, `min_cosine_bf16` between bfloat16 and float32.
"""

import argparse
import json
import statistics
import time
from typing import Callable, List, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog='example: python tools/benchmarks/class_embeddings.py '
        '--templates detpro',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        '--names', type=int, default=1203, help='of LVIS, for ours'
    )
    parser.add_argument(
        '--plain-every',
        type=int,
        default=10,
        help='which of these the plain loop gets (default: every 10th)',
    )
    parser.add_argument('--templates', default='vild', help='or detpro')
    parser.add_argument(
        '--layers', type=int, default=12, help='of the text tower'
    )
    parser.add_argument(
        '--repeats', type=int, default=1, help='of ours; the median counts'
    )
    args = parser.parse_args()
    for name in ('names', 'plain_every', 'layers', 'repeats'):
        if getattr(args, name) < 1:
            parser.error(f'--{name.replace("_", "-")} must be positive')
    return args


@torch.no_grad()
def embed_plainly(
    model: torch.nn.Module, names: List[str], templates: str
) -> Tensor:
    """Return class embeddings (C, D) as published code makes them."""
    from ovd.clip.prompt_templates import fill_templates
    from ovd.clip.tokenizer import tokenize

    total = torch.zeros(len(names), model.text_projection.shape[1])
    for texts in zip(*(fill_templates(name, templates) for name in names)):
        total += F.normalize(model.encode_text(tokenize(texts)), dim=-1)
    return F.normalize(total, dim=-1)


def measure(job: Callable[[], Tensor], repeats: int) -> Tuple[float, Tensor]:
    """Return the median of the seconds, and the result."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = job()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds), result


def main() -> None:
    args = parse_args()
    from ovd.apis.class_names import dataset_class_names
    from ovd.clip.building import build_clip
    from ovd.clip.loading import LoadedCLIP, round_weights
    from ovd.clip.text_encoder import embed_class_names

    names = dataset_class_names('lvis_v1')[: args.names]
    some = names[:: args.plain_every]
    torch.manual_seed(0)
    model = build_clip(
        embed_dim=512,
        image_resolution=32,
        vision_layers=1,
        vision_width=64,
        transformer_width=512,
        transformer_layers=args.layers,
    )
    clip = LoadedCLIP(model.eval().requires_grad_(False), 'random', '0' * 64)
    templates = args.templates

    embed_class_names(clip, names[:1], templates)  # warms up
    plain, expected = measure(lambda: embed_plainly(model, some, templates), 1)
    plain *= len(names) / len(some)
    print(
        f'plain loop, fp32: {plain:.1f} s for {len(names)} names '
        f'(measured on {len(some)})',
        flush=True,
    )
    ours, exact = measure(
        lambda: embed_class_names(clip, names, templates), args.repeats
    )
    print(f'ours, fp32:       {ours:.1f} s', flush=True)
    round_weights(model, torch.bfloat16)
    embed_class_names(clip, names[:1], templates)
    ours_bf16, rounded = measure(
        lambda: embed_class_names(clip, names, templates), args.repeats
    )
    has_bf16 = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    print(
        f'ours, bf16:       {ours_bf16:.1f} s, this CPU '
        f'{"has" if has_bf16 else "has no"} bfloat16 dot products'
    )
    print(
        json.dumps(
            dict(
                speedup=round(plain / ours, 2),
                speedup_bf16=round(plain / ours_bf16, 2),
                max_abs_diff=(exact[:: args.plain_every] - expected)
                .abs()
                .max()
                .item(),
                min_cosine_bf16=(exact * rounded).sum(dim=1).min().item(),
                cpu_has_bf16=has_bf16,
                texts_per_second=round(
                    len(names) * _num_sentences(templates) / ours
                ),
            )
        )
    )


def _num_sentences(templates: str) -> int:
    from ovd.clip.prompt_templates import TEMPLATE_SETS

    return len(TEMPLATE_SETS[templates].templates)


if __name__ == '__main__':
    main()
