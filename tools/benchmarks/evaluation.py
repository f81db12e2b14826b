"""Time the evaluation against lvis and pycocotools, and take its peak memory.

All evaluators start from the same files; times are from opening them to the
last number. Prints a line per comparison, and JSON last: `over_lvis` and
`over_pycocotools` (how many times as fast), `max_abs_diff` (of any AP, in
percent) and `lvis_val_peak_gb` (resident memory of a process that takes and
evaluates predictions for as many images as LVIS v1 val has).
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Callable

import numpy as np
from tqdm import tqdm

LVIS_VAL = dict(num_images=19809, objects=12.4)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog='example: python tools/benchmarks/evaluation.py --metric segm',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--images', type=int, default=1000)
    parser.add_argument(
        '--repeats', type=int, default=3, help='of ours; the median counts'
    )
    parser.add_argument(
        '--peak-images', type=int, default=LVIS_VAL['num_images']
    )
    parser.add_argument(
        '--metric',
        nargs='+',
        default=['bbox'],
        help='bbox, segm or both, for the peak',
    )
    parser.add_argument('--peak-in', metavar='FOLDER', help=argparse.SUPPRESS)
    return parser.parse_args()


def generate_truth(
    num_images: int, num_classes: int, objects: float, seed: int = 0
) -> dict:
    """Return a LVIS annotation file: classes of a long tail, all its lists."""
    rng = np.random.default_rng(seed)
    frequencies = rng.choice(
        ['r', 'c', 'f'], num_classes, p=[0.28, 0.34, 0.38]
    )
    chances = np.array([dict(r=0.02, c=0.3, f=3.0)[f] for f in frequencies])
    chances /= chances.sum()
    images, annotations = [], []
    for i in range(1, num_images + 1):
        count = rng.poisson(objects)
        labels = rng.choice(num_classes, count, p=chances)
        boxes = np.round(
            np.c_[
                rng.uniform(0, 440, (count, 2)),
                rng.uniform(8, 200, (count, 2)),
            ],
            2,
        )
        negative = rng.choice(num_classes, min(8, num_classes), replace=False)
        images.append(
            dict(
                id=i,
                width=640,
                height=640,
                neg_category_ids=(1 + np.setdiff1d(negative, labels)).tolist(),
                not_exhaustive_category_ids=(1 + labels[:1]).tolist(),
            )
        )
        for label, (x, y, w, h) in zip(labels.tolist(), boxes.tolist()):
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=i,
                    category_id=label + 1,
                    bbox=[x, y, w, h],
                    area=0.7 * w * h,
                    iscrowd=0,
                    segmentation=[
                        [x, y, x + w, y + h / 5, x + w, y + h, x, y + h]
                    ],
                )
            )
    categories = [
        dict(id=i, name=f'class {i}', frequency=str(frequency))
        for i, frequency in enumerate(frequencies, 1)
    ]
    names = [c['name'] for c in categories]
    gzsl = dict(
        split='generated',
        base=[n for n, f in zip(names, frequencies) if f != 'r'],
        novel=[n for n, f in zip(names, frequencies) if f == 'r'],
    )
    return dict(
        gzsl=gzsl,
        images=images,
        annotations=annotations,
        categories=categories,
    )


def generate_predictions(
    truth: dict, per_image: int, seed: int = 1
) -> tuple[np.ndarray, ...]:
    """Return moved copies of the objects: misses, duplicates, wrong classes.

    Returns:
        tuple: image ids (N,), category ids (N,), scores (N,) with ties,
        boxes (N, 4) xywh.
    """
    rng = np.random.default_rng(seed)
    num_classes = len(truth['categories'])
    boxes = np.array([a['bbox'] for a in truth['annotations']])
    cat_ids = np.array([a['category_id'] for a in truth['annotations']])
    owners = np.array([a['image_id'] for a in truth['annotations']])
    ids = np.array([image['id'] for image in truth['images']])
    first = np.searchsorted(owners, ids)
    count = np.searchsorted(owners, ids, 'right') - first
    rows = np.repeat(first, per_image) + (
        rng.random(len(ids) * per_image) * np.repeat(count, per_image)
    ).astype(int)
    rows = rows.clip(max=len(boxes) - 1)
    total = len(rows)
    moved = boxes[rows] + rng.normal(0, 8, (total, 4))
    moved[:, 2:] = moved[:, 2:].clip(1)
    wrong = rng.random(total) < 0.5
    found = np.where(
        wrong, rng.integers(1, num_classes + 1, total), cat_ids[rows]
    )
    return (
        np.repeat(ids, per_image),
        found,
        rng.random(total).round(3),
        moved.round(2),
    )


def write_files(
    folder: Path,
    num_images: int,
    num_classes: int,
    objects: float,
    per_image: int,
) -> tuple[Path, Path]:
    """Write annotations and predictions; return their paths."""
    from ovd.evaluation.predictions import Predictions, save_predictions

    truth = generate_truth(num_images, num_classes, objects)
    paths = folder / 'truth.json', folder / 'predictions.json'
    paths[0].write_text(json.dumps(truth))
    ids, cat_ids, scores, boxes = generate_predictions(truth, per_image)
    save_predictions(paths[1], [Predictions(ids, cat_ids, scores, boxes)])
    return paths


def run_ours(paths: tuple[Path, Path], style: str, max_dets: int) -> dict:
    from ovd.evaluation.engines import Protocol, evaluate
    from ovd.evaluation.ground_truth import load_ground_truth
    from ovd.evaluation.predictions import load_predictions
    from ovd.evaluation.summary import class_table, summarise

    truth = load_ground_truth(paths[0])
    curves = evaluate(
        truth,
        load_predictions(paths[1]).in_blocks(),
        Protocol('bbox', style, (max_dets,)),
    )
    return summarise(truth, class_table(curves), 'bbox')


def run_lvis(paths: tuple[Path, Path]) -> dict:
    """Evaluate as the LVIS benchmark does; percent, with our names."""
    from lvis import LVIS, LVISEval, LVISResults

    known = LVIS(str(paths[0]))
    evaluator = LVISEval(known, LVISResults(known, str(paths[1])), 'bbox')
    evaluator.run()
    found = {k: 100 * v for k, v in evaluator.get_results().items()}
    groups = dict(APr='AP_rare', APc='AP_common', APf='AP_frequent')
    return {
        f'bbox_{groups.get(name, f"{name}_all")}': value
        for name, value in found.items()
        if name.startswith('AP')
    }


def run_pycocotools(paths: tuple[Path, Path]) -> dict:
    """Evaluate as the COCO benchmark does; percent, with our names."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    known = COCO(str(paths[0]))
    evaluator = COCOeval(known, known.loadRes(str(paths[1])), 'bbox')
    evaluator.evaluate()
    evaluator.accumulate()
    evaluator.summarize()
    names = ('AP', 'AP50', 'AP75', 'APs', 'APm', 'APl')
    return {
        f'bbox_{name}_all': 100 * value
        for name, value in zip(names, evaluator.stats)
    }


def timed(run: Callable[[], dict], repeats: int = 1) -> tuple[float, dict]:
    """Return the median of the seconds, and the result."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = run()
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds)), result


def compare(
    name: str,
    paths: tuple[Path, Path],
    reference: Callable,
    style: str,
    max_dets: int,
    repeats: int,
) -> tuple[float, float]:
    """Return how many times as fast ours is, and the largest difference."""
    theirs, expected = timed(lambda: reference(paths))
    ours, found = timed(lambda: run_ours(paths, style, max_dets), repeats)
    # The references write -1 where ours writes NaN: nothing to measure.
    one, two = (
        np.array([run[key] for key in expected]) for run in (found, expected)
    )
    if (np.isnan(one) != (two < 0)).any():
        raise SystemExit(f'{name} measures other groups: {found} {expected}')
    difference = float(np.nanmax(np.abs(one - two)))
    print(
        f'{name}: {theirs:.2f} s, ours {ours:.2f} s, {theirs / ours:.1f} '
        f'times as fast; {len(expected)} numbers differ by at most '
        f'{difference:.1e}'
    )
    return theirs / ours, difference


def take_peak(folder: Path, num_images: int, metrics: list[str]) -> None:
    """Feed the metric as a detector does, evaluate, print the peak in GB."""
    import torch

    from ovd.evaluation.metrics import GZSLLVISMetric

    truth = json.loads((folder / 'truth.json').read_text())
    classes = [c['name'] for c in truth['categories']]
    metric = GZSLLVISMetric(folder / 'truth.json', metrics)
    metric.dataset_meta = dict(classes=classes)
    columns = generate_predictions(truth, 300)
    del truth
    rle = dict(size=[640, 640], counts='P]4d0\\c02N2N2N1O2N1O1O1O2N1O1O')
    for row in tqdm(range(0, num_images * 300, 300), 'predictions'):
        ids, cat_ids, scores, boxes = (c[row : row + 300] for c in columns)
        boxes = np.c_[boxes[:, :2], boxes[:, :2] + boxes[:, 2:]]
        found = dict(
            bboxes=torch.from_numpy(boxes),
            scores=torch.from_numpy(scores),
            labels=torch.from_numpy(cat_ids - 1),
            masks=[rle] * 300,
        )
        metric.process({}, [dict(img_id=int(ids[0]), pred_instances=found)])
    start = time.perf_counter()
    metric.evaluate(num_images)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    print(json.dumps(dict(seconds=seconds, peak_gb=peak)))


def main() -> None:
    args = parse_args()
    if args.peak_in:
        take_peak(Path(args.peak_in), args.peak_images, args.metric)
        return
    result = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = write_files(folder, args.images, 1203, 12, 300)
        result['over_lvis'], difference = compare(
            f'lvis, {args.images} images of 300 detections, 1,203 classes',
            paths,
            run_lvis,
            'lvis',
            300,
            args.repeats,
        )
        paths = write_files(folder, args.images, 80, 7, 300)
        result['over_pycocotools'], other = compare(
            f'pycocotools, {args.images} images of 300 detections, 80 classes',
            paths,
            run_pycocotools,
            'coco',
            100,
            args.repeats,
        )
        result['max_abs_diff'] = max(difference, other)
        paths[0].write_text(
            json.dumps(
                generate_truth(args.peak_images, 1203, LVIS_VAL['objects'])
            )
        )
        done = subprocess.run(
            [
                sys.executable,
                __file__,
                '--peak-in',
                name,
                '--peak-images',
                str(args.peak_images),
                '--metric',
                *args.metric,
            ],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    peak = json.loads(done.stdout.splitlines()[-1])
    result['lvis_val_peak_gb'] = peak['peak_gb']
    print(
        f'{args.peak_images} images of 300 detections, {args.metric}: '
        f'evaluated in {peak["seconds"]:.1f} s, '
        f'{peak["peak_gb"]:.2f} GB at the peak'
    )
    print(json.dumps(result))


if __name__ == '__main__':
    main()
