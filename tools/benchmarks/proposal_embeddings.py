"""Measure the extraction of proposal embeddings, end to end, on real images.

A randomly initialised CLIP of ViT-B/32's size embeds boxes near the annotated
ones of some images, through the runner and loop of the configs in
configs/feature_extractor, in the precision and batch size that a short
measurement finds fastest, and in fp32. In turns with it, so that a noisy
machine is noisy for all: the encoder alone, fed from memory; the largest
matrix products per second; and, in a process of its own, the peers' way, which
per image crops each box at both scales with PIL, runs CLIP's own transform and
one fp32 `encode_image`. Each ratio is the median of those of all rounds.

Prints a table, and JSON last: `of_encoder` (end to end over the encoder
alone), `over_peer_way`, `of_peak` (the encoder's matrix products per second
over the largest), each of the chosen precision, and with `_fp32` of that;
`cosine_*` (of embeddings to those of openai-clip's pixels in fp32),
`write_share` (of the run, in writing); and from embedding_store.py
`bytes_over_payload` and `read_over_mmap`.
"""

import argparse
import contextlib
import io
import json
import statistics
import tempfile
import time
from functools import partial
from multiprocessing import get_context
from multiprocessing.pool import Pool
from pathlib import Path
from typing import Any, Callable, Dict, List

import numpy as np
import torch
from embedding_store import measure_bytes, measure_reading
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

SCALES = (1.0, 1.5)
NUM_KEPT = 64  # crops in memory for the encoder alone


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog='example: python tools/benchmarks/proposal_embeddings.py '
        '--ann-file data/coco/annotations/instances_val2017.json '
        '--image-folder data/coco/val2017',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--ann-file', required=True, help='COCO format')
    parser.add_argument('--image-folder', required=True)
    parser.add_argument('--images', type=int, default=12, help='how many')
    parser.add_argument('--boxes', type=int, default=100, help='per image')
    parser.add_argument(
        '--peer-images', type=int, default=1, help='per round, of the peers'
    )
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument(
        '--layers', type=int, default=12, help='of the image tower'
    )
    parser.add_argument(
        '--seconds', type=float, default=2, help='of a measurement'
    )
    parser.add_argument(
        '--workers', type=int, help='of the loader (default: its own)'
    )
    parser.add_argument(
        '--compiled',
        action=argparse.BooleanOptionalAction,
        default=True,
        help='compile the image tower where that is faster, as runs of more '
        'than ten minutes do; the half minute that it takes is not counted',
    )
    args = parser.parse_args()
    for name in ('images', 'boxes', 'peer_images', 'rounds', 'layers'):
        if getattr(args, name) < 1:
            parser.error(f'--{name.replace("_", "-")} must be positive')
    return args


def prepare(args: argparse.Namespace, folder: Path) -> Dict[str, np.ndarray]:
    """Write a CLIP, an annotation file of few images, and boxes of them.

    Returns:
        dict: File name -> boxes (P, 4) xyxy.
    """
    from ovd.artifacts.proposals import save_proposals
    from ovd.clip.building import build_clip, save_clip

    torch.manual_seed(0)
    save_clip(
        build_clip(512, 224, args.layers, 768, 512, 1), folder / 'clip.pt'
    )
    content = json.loads(Path(args.ann_file).read_text(encoding='utf-8'))
    by_image: Dict[int, List[List[float]]] = {}
    for annotation in content['annotations']:
        by_image.setdefault(annotation['image_id'], []).append(
            annotation['bbox']
        )
    images = [image for image in content['images'] if image['id'] in by_image][
        : args.images
    ]
    rng = np.random.default_rng(0)
    boxes = {
        Path(image['file_name']).name: _near(
            rng,
            np.array(by_image[image['id']], float),
            args.boxes,
            (image['width'], image['height']),
        )
        for image in images
    }
    (folder / 'images.json').write_text(
        json.dumps(
            dict(
                images=images, annotations=[], categories=content['categories']
            )
        )
    )
    name = Path(args.image_folder).name
    save_proposals(
        folder / 'boxes.safetensors',
        {
            f'{name}/{key}': dict(
                bboxes=value.astype(np.float32),
                scores=np.linspace(1, 0, len(value), dtype=np.float32),
            )
            for key, value in boxes.items()
        },
        {},
    )
    return boxes


def _near(
    rng: np.random.Generator,
    annotated: np.ndarray,
    number: int,
    size_wh: tuple,
) -> np.ndarray:
    """Return boxes (number, 4) xyxy near some of (G, 4) xywh."""
    chosen = annotated[rng.integers(0, len(annotated), number)]
    sides = (chosen[:, 2:] * rng.uniform(0.5, 1.5, (number, 2))).clip(4)
    centres = chosen[:, :2] + chosen[:, 2:] * rng.uniform(
        0.2, 0.8, (number, 2)
    )
    corners = np.stack([centres - sides / 2, centres + sides / 2], 1)
    corners = corners.clip(0, size_wh).reshape(number, 4)
    flat = (corners[:, 2:] - corners[:, :2] < 1).any(1)
    corners[flat] = [0, 0, *size_wh]
    return corners


def build(
    args: argparse.Namespace, folder: Path, store: str, **model: Any
) -> Any:
    """Return the runner of configs/feature_extractor on these files."""
    from mmengine.config import Config

    from ovd.engine.launch import build_runner

    root = Path(__file__).parents[2]
    cfg = Config.fromfile(
        root / 'configs/feature_extractor/proposal_feature_extractor.py'
    )
    cfg.model.update(clip=str(folder / 'clip.pt'), **model)
    cfg.train_dataloader.num_workers = args.workers
    cfg.train_dataloader.dataset.update(
        type='CocoDataset',
        data_root='',
        ann_file=str(folder / 'images.json'),
        metainfo=dict(classes=()),
        data_prefix=dict(img=args.image_folder),
    )
    cfg.train_cfg.update(
        proposals=str(folder / 'boxes.safetensors'), store=str(folder / store)
    )
    cfg.update(
        launcher='none', log_level='WARNING', work_dir=str(folder / 'work')
    )
    with contextlib.redirect_stdout(io.StringIO()):
        return build_runner(cfg)


def run_end_to_end(runner: Any, num_crops: int) -> Dict[str, float]:
    """Return crops per second, and the share of writing, of a whole run."""
    with (
        contextlib.redirect_stderr(io.StringIO()),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        runner.train()
    loop = runner.train_loop
    return dict(
        crops=num_crops / loop.seconds,
        write_share=loop.seconds_writing / loop.seconds,
    )


def rate(job: Callable[[], Any], amount: float, seconds: float) -> float:
    """Return ``amount`` per second of a job that is run again and again."""
    job()
    _wait()
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        job()
        count += 1
        _wait()
    return amount * count / (time.perf_counter() - start)


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def measure_products(
    dtype: torch.dtype, device: torch.device, rows: int, seconds: float
) -> List[float]:
    """Return floating-point operations per second of matrix products.

    Squares and the shapes of the encoder, by torch's own product and by
    oneDNN: the largest is the peak.
    """
    from ovd.clip.linear import linear

    found = []
    for m, k, n in (
        (1024, 1024, 1024),
        (2048, 2048, 2048),
        (rows, 768, 3072),
        (rows, 3072, 768),
    ):
        a = torch.randn(m, k, device=device, dtype=dtype)
        b = torch.randn(n, k, device=device, dtype=dtype)
        for job in (partial(torch.mm, a, b.t()), partial(linear, a, b)):
            found.append(rate(job, 2.0 * m * k * n, seconds))
    return found


def count_linear(x: torch.Size, weight: torch.Size, *_: Any, **__: Any) -> int:
    """Return the floating-point operations of a linear layer."""
    return 2 * x.numel() * weight[0]


def embed_peers_way(
    model: torch.nn.Module, path: Path, boxes: np.ndarray
) -> Tensor:
    """Embed the boxes (P, 4) of an image as published code does: (P, D)."""
    from clip.clip import _transform
    from PIL import Image

    from ovd.clip.crops import crop_windows

    device = model.logit_scale.device
    preprocess = _transform(model.visual.input_resolution)
    with Image.open(path) as file, torch.no_grad():
        image = file.convert('RGB')
        crops = [
            preprocess(image.crop(window))
            for scale in SCALES
            for window in crop_windows(boxes, scale).tolist()
        ]
        features = model.encode_image(torch.stack(crops).to(device))
    features = features.view(len(SCALES), len(boxes), -1).sum(0)
    return torch.nn.functional.normalize(features, dim=-1).cpu()


def time_peers_way(clip: str, boxes: Dict[Path, np.ndarray]) -> float:
    """Return crops per second of the peers' way; runs in its own process."""
    from mmengine.device import get_device

    from ovd.clip.loading import load_clip

    model = load_clip(clip, get_device()).model
    warm = next(iter(boxes.items()))
    embed_peers_way(model, warm[0], warm[1][:4])
    start = time.perf_counter()
    for path, some in boxes.items():
        embed_peers_way(model, path, some)
    seconds = time.perf_counter() - start
    return len(SCALES) * sum(map(len, boxes.values())) / seconds


def choose(clip: Any, speed: Any, compiled: bool) -> Dict[str, Any]:
    """Return the options of the model that are fastest in a precision."""
    from ovd.clip.encoder_speed import try_compiled, with_precision

    if compiled:
        candidate = with_precision(clip, speed.precision)
        speed = try_compiled(candidate, speed)[1]
    return dict(
        precision=speed.precision,
        batch_size=speed.batch_size,
        compiled=speed.compiled,
    )


def measure_round(
    args: argparse.Namespace,
    folder: Path,
    boxes: Dict[str, np.ndarray],
    settings: Dict[str, Any],
    number: int,
    peers_process: Pool,
) -> Dict[str, float]:
    """Return what one round gives for one precision."""
    from ovd.clip.crops import normalize_crops
    from ovd.clip.loading import PRECISIONS

    precision, batch = settings['precision'], settings['batch_size']
    runner = build(args, folder, f'{precision}_{number}', **settings)
    runner.model.use(**settings)
    clip = runner.model.teacher
    dtype = PRECISIONS[precision]
    crops = torch.randint(0, 256, (batch, 3, 224, 224), dtype=torch.uint8)
    images = normalize_crops(crops.to(clip.device)).to(dtype)
    with FlopCounterMode(
        display=False,
        custom_mapping={torch.ops.mkldnn._linear_pointwise: count_linear},
    ) as counter:
        clip.encode_image(images[:1])  # no full batch, so not compiled
    flops = counter.get_total_flops()

    def measure_both() -> List[float]:
        return [
            rate(lambda: clip.encode_image(images), batch, args.seconds),
            *measure_products(
                dtype, clip.device, 50 * batch, args.seconds / 6
            ),
        ]

    # Before and after the run, for what the machine does meanwhile
    before = measure_both()
    found = run_end_to_end(runner, len(SCALES) * sum(map(len, boxes.values())))
    encoder, *products = map(
        statistics.mean, zip(before, measure_both(), strict=True)
    )
    peak = max(products)
    some = [*boxes][number % len(boxes) :][: args.peer_images]
    peers = peers_process.apply(
        time_peers_way,
        (
            str(folder / 'clip.pt'),
            {Path(args.image_folder) / name: boxes[name] for name in some},
        ),
    )
    how = f'{precision}, batches of {batch}'
    if settings['compiled']:
        how += ', compiled'
    print(
        f'{how}: end to end {found["crops"]:.1f} '
        f"crops/s, encoder alone {encoder:.1f}, peers' way {peers:.1f}; "
        f'encoder {encoder * flops / 1e9:.0f} of {peak / 1e9:.0f} GFLOP/s',
        flush=True,
    )
    return dict(
        of_encoder=found['crops'] / encoder,
        over_peer_way=found['crops'] / peers,
        of_peak=encoder * flops / peak,
        write_share=found['write_share'],
        crops_per_second=found['crops'],
    )


def compare(
    args: argparse.Namespace,
    folder: Path,
    boxes: Dict[str, np.ndarray],
    store: str,
    plain: torch.nn.Module,
) -> Dict[str, float]:
    """Return how near a store is to openai-clip's own preprocessing."""
    from ovd.artifacts.embedding_store import EmbeddingStore

    found = EmbeddingStore(folder / store)
    name = [*boxes][0]
    ids = dict(
        zip(
            (Path(key).name for key in found.manifest.image_keys),
            found.manifest.image_ids,
        )
    )
    item = found.get(ids[name])
    exact = embed_peers_way(
        plain, Path(args.image_folder) / name, item['bboxes']
    )
    cosines = torch.cosine_similarity(
        torch.from_numpy(item['embeddings'].astype(np.float32)), exact
    )
    return dict(mean=float(cosines.mean()), worst=float(cosines.min()))


def main() -> None:
    args = parse_args()
    from mmengine.device import get_device

    from ovd.clip.allocator import keep_freed_memory
    from ovd.clip.encoder_speed import EncoderSpeed, measure_encoder
    from ovd.clip.loading import load_clip

    keep_freed_memory()  # as the loop does
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        boxes = prepare(args, folder)
        clip = load_clip(str(folder / 'clip.pt'), get_device())
        plain = clip.model
        speeds = measure_encoder(clip)
        for speed in speeds:
            print(
                f'{speed.precision}, batches of {speed.batch_size}: '
                f'{speed.crops_per_second:.1f} crops/s, cosine to fp32 '
                f'{speed.cosine:.5f}',
                flush=True,
            )
        jobs = {'': choose(clip, speeds[0], args.compiled)}
        if speeds[0].precision != 'fp32':
            fp32 = next((s for s in speeds if s.precision == 'fp32'), None)
            jobs['_fp32'] = choose(
                clip, fp32 or EncoderSpeed('fp32', 32, 0.0), args.compiled
            )
        result: Dict[str, Any] = {}
        for suffix, settings in jobs.items():
            with get_context('spawn').Pool(1) as peers_process:
                rounds = [
                    measure_round(
                        args, folder, boxes, settings, number, peers_process
                    )
                    for number in range(args.rounds)
                ]
            for key in rounds[0]:
                result[key + suffix] = round(
                    statistics.median(item[key] for item in rounds), 4
                )
            cosines = compare(
                args, folder, boxes, f'{settings["precision"]}_0', plain
            )
            for key, value in cosines.items():
                result[f'cosine_{key}{suffix}'] = round(value, 5)
        result.update(
            jobs[''],
            cosine_to_fp32=round(speeds[0].cosine, 5),
            bytes_over_payload=round(measure_bytes(folder), 4),
            read_over_mmap=round(measure_reading(folder), 2),
        )
    print(json.dumps(result))


if __name__ == '__main__':
    main()
