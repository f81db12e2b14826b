"""Learned against hand-written prompts on the miniature world, several seeds.

For each seed: the demo (see miniature.py, whose finished folders are reused),
whose detector has ViLD's 63 sentences, prompts learned from its store, and the
same detector with these (DetPro) and, if asked for, with the 74 sentences of
ViLD*. Prints in percent the accuracy of all three on held-out crops and the
AP50 of the detectors: a row per seed, then mean and standard deviation (of the
sample); the last line is JSON.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Dict, List, Sequence

sys.path.insert(0, str(Path(__file__).parent))
from miniature import ROOT, run_seed  # noqa: E402

CONFIGS = ROOT / 'configs/miniature'
PROMPT = CONFIGS / 'prompt_rn_miniature.py'
GROUPS = ('base', 'novel')
# ViLD's 63 sentences, the 74 of ViLD*, DetPro's learned prompts
KINDS = ('vild', 'detpro', 'learned')
DETECTORS = dict(learned='detpro', detpro='vild-star')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog='example: python tools/benchmarks/learned_prompts.py '
        '--seeds 0 1 2',
    )
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument(
        '--short', action='store_true', help='the size that the tests use'
    )
    parser.add_argument(
        '--vild-star',
        action='store_true',
        help='train the detector of the 74 sentences, too',
    )
    parser.add_argument(
        '--folder',
        default='work_dirs/benchmarks/miniature',
        help='a folder per seed is here; the demo is run in those that lack',
    )
    return parser.parse_args()


def run(folder: Path, *command: str) -> None:
    """Run a tool of ovd in the folder of a seed."""
    subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        check=True,
        env=dict(os.environ, PYTHON=sys.executable),
        stdout=sys.stderr,
    )


def compare(
    folder: Path, seed: int, short: bool, kinds: Sequence[str]
) -> Dict[str, float]:
    """Return percent by ``crops|detector/KIND/base|novel``."""
    demo = run_seed(folder, seed, short)
    metrics = Path('work_dirs/miniature/metrics')
    run(
        folder,
        sys.executable,
        ROOT / 'tools/train.py',
        PROMPT,
        '--seed',
        seed,
        '--resume',
    )
    run(
        folder,
        sys.executable,
        ROOT / 'tools/test.py',
        PROMPT,
        'work_dirs/miniature/prompt',
        '--metrics',
        metrics / 'prompt.json',
    )
    crops = json.loads((folder / metrics / 'prompt.json').read_text())
    detectors = {
        'vild': {group: demo[f'ViLD-ensemble/{group}'] for group in GROUPS}
    }
    for kind in kinds:
        detectors[kind] = train_detector(folder, seed, short, DETECTORS[kind])
    values = {
        f'crops/{kind}/{group}': 100 * crops[f'{kind}/{group}']
        for kind in KINDS
        for group in GROUPS
    }
    values.update(
        (f'detector/{kind}/{group}', value)
        for kind, found in detectors.items()
        for group, value in found.items()
    )
    return values


def train_detector(
    folder: Path, seed: int, short: bool, stem: str
) -> Dict[str, float]:
    """Train and test the demo's detector with other class embeddings."""
    config = CONFIGS / f'{stem}_mask-rcnn_r18_fpn_miniature.py'
    work = f'work_dirs/miniature/{stem}'
    options = ['--cfg-options', 'train_dataloader.batch_size=4']
    if short:
        options += [
            'train_cfg.max_iters=200',
            'param_scheduler.1.end=200',
            'param_scheduler.1.T_max=170',
        ]
    run(
        folder,
        'sh',
        ROOT / 'tools/dist_train.sh',
        config,
        '2',
        '--seed',
        seed,
        '--resume',
        *options,
    )
    metrics = Path(f'work_dirs/miniature/metrics/{stem}.json')
    run(
        folder,
        sys.executable,
        ROOT / 'tools/test.py',
        config,
        work,
        '--metrics',
        metrics,
    )
    found = json.loads((folder / metrics).read_text())
    return {group: found[f'bbox_AP50_{group}'] for group in GROUPS}


def summarise(rows: List[Dict[str, float]]) -> Dict[str, Dict[str, float]]:
    """Print and return mean and spread of all kinds and of the gains."""
    summary = {}
    for what in ('crops', 'detector'):
        for group in GROUPS:
            values = {
                kind: [row[f'{what}/{kind}/{group}'] for row in rows]
                for kind in KINDS
                if f'{what}/{kind}/{group}' in rows[0]
            }
            for other in ('detpro', 'vild'):
                if other not in values:
                    continue
                values[f'learned - {other}'] = [
                    a - b for a, b in zip(values['learned'], values[other])
                ]
            found = summary[f'{what}/{group}'] = {
                kind: (
                    statistics.mean(list_),
                    statistics.stdev(list_) if len(rows) > 1 else 0.0,
                )
                for kind, list_ in values.items()
            }
            print(
                f'{what} {group}: '
                + ', '.join(
                    f'{kind} {mean:.2f} ± {std:.2f}'
                    for kind, (mean, std) in found.items()
                )
            )
    return summary


def main() -> None:
    args = parse_args()
    rows = []
    for seed in args.seeds:
        name = f'seed_{seed}_short' if args.short else f'seed_{seed}'
        rows.append(
            compare(
                Path(args.folder).resolve() / name,
                seed,
                args.short,
                list(DETECTORS)[: 2 if args.vild_star else 1],
            )
        )
        print(seed, json.dumps(rows[-1]), flush=True)
    print(json.dumps(summarise(rows)))


if __name__ == '__main__':
    main()
