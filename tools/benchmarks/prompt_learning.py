"""Time a training step of DetPro's prompts against full-length encoding.

Both encode the base classes of LVIS with a learned context by a randomly
initialised text tower of ViT-B/32's size, and take the gradient of the loss of
512 regions to the context. The plain step puts the context into the prompts'
embeddings and runs openai-clip's own modules over all 77 tokens, as CoOp and
DetPro do. Its activations for 866 names would take 30 GB, so it goes through
the names in parts, given what the loss gives to each name's embedding; that
is computed beforehand, untimed, by full-length encoding, too.

Prints a line per way, and JSON last: `speedup` (how many times as fast) and
`max_grad_diff` (largest difference of the two gradients of the context, as a
fraction of its largest entry).
"""

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Callable, List, Optional, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog='example: python tools/benchmarks/prompt_learning.py',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        '--names', type=int, default=866, help='how many, of LVIS'
    )
    parser.add_argument(
        '--categories',
        metavar='FILE',
        help='LVIS annotations or a list of their categories; without it '
        'names are the first ones of mmdet, which does not know the rare ones',
    )
    parser.add_argument(
        '--layers', type=int, default=12, help='of the text tower'
    )
    parser.add_argument(
        '--batch-size', type=int, default=512, help='regions of a step'
    )
    parser.add_argument(
        '--part', type=int, default=50, help='names at once, of the plain way'
    )
    parser.add_argument(
        '--repeats',
        type=int,
        default=3,
        help='of either, after one that warms it up; the median counts',
    )
    parser.add_argument(
        '--quick', action='store_true', help='20 names, 2 layers: for tests'
    )
    args = parser.parse_args()
    if args.quick:
        args.names, args.layers, args.repeats = 20, 2, 1
    for name in ('names', 'layers', 'batch_size', 'part', 'repeats'):
        if getattr(args, name) < 1:
            parser.error(f'--{name.replace("_", "-")} must be positive')
    return args


def encode_plainly(
    model: nn.Module, tokens: Tensor, context: Tensor
) -> Tensor:
    """Return unit embeddings (C, D) of full-length prompts."""
    x = model.token_embedding(tokens)
    size = len(context)
    x = (
        torch.cat(
            [x[:, :1], context.expand(len(x), -1, -1), x[:, 1 + size :]], dim=1
        )
        + model.positional_embedding
    )
    x = model.transformer(x.transpose(0, 1)).transpose(0, 1)
    x = model.ln_final(x)[torch.arange(len(x)), tokens.argmax(dim=-1)]
    return F.normalize(x @ model.text_projection, dim=-1)


def gradient_of_classes(
    loss: Callable[[Tensor], Tensor], classes: Tensor
) -> Tensor:
    """Return what the loss gives to each of the class embeddings (C, D)."""
    classes = classes.detach().requires_grad_()
    loss(classes).backward()
    return classes.grad


def step_plainly(
    model: nn.Module, tokens: Tensor, context: Tensor, grads: Tensor, part: int
) -> None:
    """Forward and backward of all names, some at a time."""
    for some, grad in zip(tokens.split(part), grads.split(part)):
        encode_plainly(model, some, context).backward(grad)


def measure(
    job: Callable[[], None], context: Tensor, repeats: int
) -> Tuple[float, Tensor]:
    """Return the median of the seconds, and the gradient of the context.

    The first step, which warms up, does not count.
    """
    seconds = []
    for _ in range(1 + repeats):
        context.grad = None
        start = time.perf_counter()
        job()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:]), context.grad.clone()


def main() -> None:
    args = parse_args()
    from ovd.clip.building import build_clip
    from ovd.clip.loading import LoadedCLIP
    from ovd.clip.prompt_templates import fill_placeholder
    from ovd.clip.tokenizer import tokenize
    from ovd.models.losses import soft_background_loss

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
    names = base_names(args.categories)[: args.names]
    tokens = tokenize([fill_placeholder(name, 8) for name in names])
    context = nn.Parameter(0.02 * torch.randn(8, 512))
    regions = F.normalize(torch.randn(args.batch_size, 512), dim=-1)
    labels = torch.randint(-1, len(names), (args.batch_size,))
    weights = torch.rand(args.batch_size) + 0.5

    def loss(classes: Tensor) -> Tensor:
        return soft_background_loss(
            regions @ classes.T / 0.01, labels, weights, weights.sum()
        )

    def step() -> None:
        features = clip.text_tower.encode(tokens, context, 1024)
        loss(F.normalize(features, dim=-1)).backward()

    with torch.no_grad():
        classes = torch.cat(
            [
                encode_plainly(model, some, context)
                for some in tokens.split(args.part)
            ]
        )
    grads = gradient_of_classes(loss, classes)
    plain, expected = measure(
        lambda: step_plainly(model, tokens, context, grads, args.part),
        context,
        args.repeats,
    )
    print(
        f'plain step, 77 tokens: {plain:.2f} s for {len(names)} names',
        flush=True,
    )
    ours, found = measure(step, context, args.repeats)
    print(f'ours:                  {ours:.2f} s')
    difference = (found - expected).abs().max() / expected.abs().max()
    print(
        json.dumps(
            dict(
                speedup=round(plain / ours, 2),
                max_grad_diff=difference.item(),
                names=len(names),
            )
        )
    )


def base_names(categories: Optional[str]) -> List[str]:
    """Return LVIS's names that are not rare, or all in mmdet's order."""
    if categories is None:
        from ovd.apis.class_names import dataset_class_names

        return dataset_class_names('lvis_v1')
    found = json.loads(Path(categories).read_text(encoding='utf-8'))
    found = found['categories'] if isinstance(found, dict) else found
    return [item['name'] for item in found if item['frequency'] != 'r']


if __name__ == '__main__':
    main()
