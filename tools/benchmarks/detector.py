"""Time the parts of a detector that depend on its names, and its training.

All weights are random, as are images and class embeddings. In each of three
parts two jobs take turns, and the median of the rounds' ratios counts (those
that end in `_of_cpu` compare the seconds that the process had of the CPU, in
place of those that passed: where other jobs run, they differ less):

`nms_speedup`: post-processing of 1,000 proposals x 1,203 classes, score
threshold 0, by the host's `multiclass_nms` over ours; detections are the same,
or it raises. `nms_speedup_clustered`: the same where the proposals are those
for 30 objects, overlap and have the same names.
`names_10000_over_80`: a prediction of a ViLD-ensemble Mask R-CNN (ResNet-50
FPN, both branches 4conv1fc) for 1,000 proposals with 10,000 names, over one
with 80. The memory that scoring and NMS of 10,000 names take at most is told
in `score_memory`, as a multiple of what the scores themselves take.
`train_over_host`: a training step of that detector over one of host Mask R-CNN
with a second box head of the same size, run on the same distilled boxes.

The last line is JSON.
"""

import argparse
import copy
import json
import tempfile
from pathlib import Path
from typing import Any, Callable, Dict

import torch
from detector_inputs import (
    EMBED_DIMS,
    draw_boxes,
    draw_clusters,
    draw_scores,
    make_batch,
    save_vocabulary,
    unit_rows,
)
from detector_models import NMS, build_host, build_vild, centred_embeddings
from peak_memory import peak_bytes
from torch import Tensor, nn
from turns import ratios, take_turns

# conv_channels and fc_channels are those of each box head.
SIZES = dict(
    image=(1333, 800),
    proposals=1000,
    clusters=30,
    classes=1203,
    rois=512,
    distilled=300,
    detections=300,
    conv_channels=256,
    fc_channels=1024,
    repeats=3,
)
QUICK = dict(
    image=(96, 64),
    proposals=20,
    clusters=3,
    classes=100,
    rois=16,
    distilled=4,
    detections=5,
    conv_channels=16,
    fc_channels=64,
    repeats=1,
)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog='example: python tools/benchmarks/detector.py --device cuda',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--device', default='cpu', help='cpu (default), cuda')
    parser.add_argument(
        '--quick',
        action='store_true',
        help='try the benchmark at a small size; its ratios say little',
    )
    parser.add_argument(
        '--image',
        type=int,
        nargs=2,
        metavar=('WIDTH', 'HEIGHT'),
        help='of the network input (default: 1333 800)',
    )
    parser.add_argument('--proposals', type=int, help='default: 1000')
    parser.add_argument(
        '--repeats', type=int, help='rounds of each part (default: 3)'
    )
    args = parser.parse_args()
    for name, value in (QUICK if args.quick else SIZES).items():
        if getattr(args, name, None) is None:
            setattr(args, name, value)
    if min(*args.image, args.proposals, args.repeats) < 1:
        parser.error('--image, --proposals and --repeats must be positive')
    return args


def measure_nms(args: argparse.Namespace) -> Dict[str, float]:
    """Compare the host's NMS with ours, on boxes all over and on clusters."""
    boxes = draw_boxes(args.proposals, args.image)
    regions = unit_rows(args.proposals, EMBED_DIMS)
    return dict(
        compare_nms(
            args, 'nms_speedup', boxes, draw_scores(regions, args.classes)
        ),
        **compare_nms(
            args,
            'nms_speedup_clustered',
            *draw_clusters(
                args.proposals, args.image, args.classes, args.clusters
            ),
        ),
    )


def compare_nms(
    args: argparse.Namespace, name: str, bboxes: Tensor, scores: Tensor
) -> Dict[str, float]:
    """Return how much faster than the host's our NMS of these boxes is."""
    from mmdet.models.layers import multiclass_nms

    from ovd.models.task_modules import shared_box_nms

    bboxes, scores = bboxes.to(args.device), scores.to(args.device)
    functions = dict(host=multiclass_nms, ours=shared_box_nms)
    jobs = {
        f'{name}, {whose}': lambda function=function: function(
            bboxes, scores, 0.0, NMS, args.detections
        )
        for whose, function in functions.items()
    }
    expected, found = (job() for job in jobs.values())
    if not all(map(torch.equal, expected, found)):
        raise RuntimeError("our NMS has other detections than the host's")
    return ratios(name, *take_turns(jobs, args.repeats))


def measure_names(args: argparse.Namespace, folder: Path) -> Dict[str, float]:
    """Compare predictions with 10,000 and with 80 names."""
    names = save_vocabulary(folder / 'names.pth', 10_000)
    detector = build_vild(args, folder / 'names.pth').eval()
    batch = make_batch(args)
    detectors = {}
    for number in (80, 10_000):
        detectors[number] = copy.deepcopy(detector)
        head = detectors[number].roi_head.bbox_head
        head.set_vocabulary(names[:number], names[: number // 3])
        with centred_embeddings(head, args.proposals):
            found = detectors[number].test_step(batch)[0].pred_instances
        print(
            f'{number} names: {len(found)} detections, '
            f'{len(found.labels.unique())} of the names',
            flush=True,
        )
    few, many = take_turns(
        {
            f'prediction with {number} names': lambda model=model: (
                model.test_step(batch)
            )
            for number, model in detectors.items()
        },
        args.repeats,
    )
    return dict(
        ratios('names_10000_over_80', many, few),
        score_memory=measure_score_memory(args, head),
    )


def measure_score_memory(args: argparse.Namespace, head: nn.Module) -> float:
    """Return the peak of scoring and NMS in multiples of the scores."""
    from ovd.models.task_modules import shared_box_nms

    bboxes = draw_boxes(args.proposals, args.image).to(args.device)
    text, image = (
        unit_rows(args.proposals, EMBED_DIMS).to(args.device) for _ in range(2)
    )
    columns = head.num_classes + 1
    weight = torch.full((columns - 1,), 2 / 3, device=args.device)

    def score() -> None:
        scores = head.classifier.ensemble(text, image, weight)
        shared_box_nms(bboxes, scores, 0.0, NMS, args.detections)

    return peak_bytes(score, args.device) / (4 * args.proposals * columns)


def measure_training(
    args: argparse.Namespace, folder: Path
) -> Dict[str, float]:
    """Compare training steps of ViLD-ensemble and of the host."""
    from mmengine.optim import OptimWrapper

    names = save_vocabulary(folder / 'classes.pth', args.classes)
    vild = build_vild(args, folder / 'classes.pth')
    # As many novel classes as LVIS has; the image shows others.
    vild.roi_head.bbox_head.set_vocabulary(
        names, names[args.classes * 866 // 1203 :]
    )
    host = build_host(args)
    batch = make_batch(args)

    def job(model: nn.Module) -> Callable[[], Any]:
        # A rate of 0 costs as much, and no weight runs away.
        optimizer = torch.optim.SGD(model.parameters(), lr=0.0, momentum=0.9)
        wrapper = OptimWrapper(optimizer)
        return lambda: model.train().train_step(copy.deepcopy(batch), wrapper)

    jobs = {
        'training step of ViLD-ensemble': job(vild),
        'training step of host, two box heads': job(host),
    }
    for step in jobs.values():
        step()
    return ratios('train_over_host', *take_turns(jobs, args.repeats))


def main() -> None:
    args = parse_args()
    import ovd.models  # noqa: F401  (registers, and gives mmcv its ops)

    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        result = dict(
            measure_nms(args),
            **measure_names(args, Path(folder)),
            **measure_training(args, Path(folder)),
        )
    for name, value in result.items():
        print(f'{name:28}{value:8.3f}')
    print(
        json.dumps({name: round(value, 3) for name, value in result.items()})
    )


if __name__ == '__main__':
    main()
