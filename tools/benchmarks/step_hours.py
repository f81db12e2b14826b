"""Hours of each step on COCO and LVIS, computed from given rates.

Nothing is run: the work of a step comes from its config and the numbers of
images and boxes of the data sets; how much a GPU does in a second is what you
say. --dry-run of tools/train.py measures it. Several GPUs are taken to be as
many times as fast.
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Sequence

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / 'configs'
MODEL_ZOO = 'the model zoo of maskrcnn-benchmark, 8 V100'


@dataclass(frozen=True)
class Rate:
    """What one GPU does in a second, and how that is known.

    Args:
        value (float): Per second.
        unit (str): ``'images'`` or ``'crops'``.
        source (str): Where the default comes from.
    """

    value: float
    unit: str
    source: str


# No GPU was at hand: all of these are assumptions. Measured are 110 crops/s of
# ViT-B/32 on two CPU cores (docs/figures.md).
RATES = {
    'rpn-train': Rate(
        3.5,
        'images',
        'assumed: Mask R-CNN R101-FPN, 16 images in 0.567 s, ' + MODEL_ZOO,
    ),
    'rpn-test': Rate(
        5.3,
        'images',
        'assumed: Mask R-CNN R101-FPN, an image in 0.188 s, ' + MODEL_ZOO,
    ),
    'crops': Rate(
        1000, 'crops', 'assumed; 110 were measured on two CPU cores'
    ),
    'train': Rate(
        4.4,
        'images',
        'assumed: Mask R-CNN R50-FPN, 16 images in 0.454 s, ' + MODEL_ZOO,
    ),
    'test': Rate(
        6.1,
        'images',
        'assumed: Mask R-CNN R50-FPN, an image in 0.164 s, ' + MODEL_ZOO,
    ),
}


@dataclass(frozen=True)
class Data:
    """What there is of a data set.

    Args:
        name (str): For the table.
        key (str): In the names of configs.
        train (int): Training images.
        boxes (int): Annotated boxes of base classes in them.
        val (int): Images to test on.
        extraction (str): Config that embeds proposals.
        detectors (tuple[str]): Configs of what is trained.
    """

    name: str
    key: str
    train: int
    boxes: int
    val: int
    extraction: str
    detectors: Sequence[str]


# data/README.md; LVIS's training images are at most so many.
DATA = (
    Data(
        'COCO 48/17',
        'coco_48_17',
        107_761,
        665_387,
        4_836,
        'proposal_feature_extractor',
        (
            'vild/vild_faster-rcnn_r50_fpn_lsj-90k',
            'detpro/vild-star_faster-rcnn_r50_fpn_soco-20e',
            'detpro/detpro_faster-rcnn_r50_fpn_soco-20e',
        ),
    ),
    Data(
        'LVIS 866/337',
        'lvis_v1_866_337',
        100_170,
        1_264_884,
        19_809,
        'proposal_feature_extractor_lvis_v1',
        (
            'vild/vild_mask-rcnn_r50_fpn_lsj-180k',
            'vild/vild-ensemble_mask-rcnn_r50_fpn_lsj-180k',
            'detpro/vild-star_mask-rcnn_r50_fpn_soco-20e',
            'detpro/detpro_mask-rcnn_r50_fpn_soco-20e',
        ),
    ),
)


@dataclass(frozen=True)
class Step:
    """A step of the road.

    Args:
        data (str): Name of the data set.
        name (str): What is done.
        work (int): How many of its rate's unit.
        rate (str): A key of `RATES`.
    """

    data: str
    name: str
    work: int
    rate: str

    def hours(self, rates: Dict[str, float], gpus: int) -> float:
        return self.work / rates[self.rate] / gpus / 3600


def count_images(config: str, num_images: int) -> int:
    """Return how many images a training with this config goes through."""
    from ovd.engine.config_origins import read_config

    cfg = read_config(str(CONFIGS / f'{config}.py'))
    if cfg.train_cfg.get('max_epochs'):
        return cfg.train_cfg.max_epochs * num_images
    return cfg.train_cfg.max_iters * cfg.auto_scale_lr.base_batch_size


def count_crops(config: str, data: Data, num_max: int) -> int:
    """Return how many crops an extraction cuts, at most."""
    from ovd.engine.config_origins import read_config

    cfg = read_config(str(CONFIGS / 'feature_extractor' / f'{config}.py'))
    boxes = (
        data.train * num_max + data.boxes * cfg.train_cfg.boxes.ground_truth
    )
    return boxes * len(cfg.model.crop_scales)


def list_steps() -> List[Step]:
    """Return all steps that take hours, in order."""
    steps = []
    for data in DATA:
        rpn = f'rpn/rpn_r101_fpn_1x_{data.key}'
        steps += [
            Step(data.name, 'RPN', count_images(rpn, data.train), 'rpn-train'),
            Step(data.name, 'proposals', data.train, 'rpn-test'),
        ]
        steps += [
            Step(
                data.name,
                f'embeddings of {number:,} proposals',
                count_crops(data.extraction, data, number),
                'crops',
            )
            for number in (300, 1000)
        ]
        for detector in data.detectors:
            method = Path(detector).name.split('_')[0]
            work = count_images(f'{detector}_{data.key}', data.train)
            steps.append(Step(data.name, f'training {method}', work, 'train'))
        steps.append(Step(data.name, 'a test', data.val, 'test'))
    return steps


def as_text(hours: float) -> str:
    """Return hours with one digit behind the point."""
    return f'{hours:,.1f} h' if hours >= 0.05 else '< 0.1 h'


def to_markdown(
    steps: Sequence[Step], rates: Dict[str, float], gpus: Sequence[int]
) -> str:
    """Return the table of the steps, and that of the rates."""
    machines = [f'{n} GPU{"s" if n > 1 else ""}' for n in gpus]
    lines = [
        f'| data | step | work | {" | ".join(machines)} |',
        '|---' * (3 + len(gpus)) + '|',
    ]
    for step in steps:
        hours = [as_text(step.hours(rates, n)) for n in gpus]
        lines.append(
            f'| {step.data} | {step.name} | {step.work:,} '
            f'{RATES[step.rate].unit} | {" | ".join(hours)} |'
        )
    lines += ['', '| rate | per second and GPU | source |', '|---|---|---|']
    for name, rate in RATES.items():
        source = rate.source if rates[name] == rate.value else 'given'
        lines.append(
            f'| `--{name}` | {rates[name]:,g} {rate.unit} | {source} |'
        )
    return '\n'.join(lines)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog='example: python tools/benchmarks/step_hours.py --crops 2500 '
        '--train 12.5 --gpus 1 8 64',
    )
    for name, rate in RATES.items():
        parser.add_argument(
            f'--{name}',
            type=float,
            default=rate.value,
            metavar='RATE',
            help=f'{rate.unit} per second and GPU (default: {rate.value:g}, '
            f'{rate.source})',
        )
    parser.add_argument('--gpus', type=int, nargs='+', default=[1, 8])
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    rates = {name: getattr(args, name.replace('-', '_')) for name in RATES}
    for name, value in (*rates.items(), ('gpus', min(args.gpus))):
        if not 0 < value < float('inf'):
            print(
                f'error: --{name} must be positive, got {value:g}',
                file=sys.stderr,
            )
            sys.exit(2)
    print(to_markdown(list_steps(), rates, args.gpus))


if __name__ == '__main__':
    main()
