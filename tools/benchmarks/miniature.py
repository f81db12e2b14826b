"""Run the demo with several seeds: AP50 of each method, and chance.

Prints a row per seed as it comes, then the mean and the range, then JSON.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Dict, List

ROOT = Path(__file__).resolve().parents[2]
GROUPS = ('base', 'novel', 'novel_attribute', 'novel_combination')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog='example: python tools/benchmarks/miniature.py --seeds 0 1 2',
    )
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument(
        '--short', action='store_true', help='the size that the tests use'
    )
    parser.add_argument(
        '--folder',
        default='work_dirs/benchmarks/miniature',
        help='a folder per seed goes here; finished ones are reused',
    )
    return parser.parse_args()


def run_seed(folder: Path, seed: int, short: bool) -> Dict[str, float]:
    """Go the road with one seed; return AP50 in percent by method/group."""
    from ovd.evaluation.chance import chance_level

    subprocess.run(
        ['sh', str(ROOT / 'tools/demo.sh'), f'--seed={seed}']
        + ['--short'] * short
        + [str(folder)],
        check=True,
        stdout=sys.stderr,
    )
    work = folder / 'work_dirs/miniature'
    results = json.loads((work / 'results.json').read_text())
    chance = chance_level(
        folder / 'data/miniature/annotations/instances_val_48_17_1.json',
        work / 'predictions.json',
    )
    values = {
        f'{method}/{group}': by_type['bbox'][f'AP50_{group}']
        for method, by_type in results.items()
        for group in GROUPS
    }
    values.update(
        (f'chance/{group}', chance[f'bbox_AP50_{group}']) for group in GROUPS
    )
    values['text_over_ensemble'] = (
        values['ViLD-text/novel'] / values['ViLD-ensemble/novel']
    )
    values['ensemble_over_chance'] = (
        values['ViLD-ensemble/novel'] / values['chance/novel']
    )
    return values


def main() -> None:
    args = parse_args()
    rows: List[Dict[str, float]] = []
    for seed in args.seeds:
        name = f'seed_{seed}_short' if args.short else f'seed_{seed}'
        rows.append(run_seed(Path(args.folder) / name, seed, args.short))
        print(seed, json.dumps(rows[-1]), flush=True)
    print(f'{"":36}  mean   from     to   ({len(rows)} seeds)')
    for key in rows[0]:
        values = [row[key] for row in rows]
        print(
            f'{key:36} {sum(values) / len(values):6.2f} {min(values):6.2f} '
            f'{max(values):6.2f}'
        )
    print(json.dumps(dict(zip(map(str, args.seeds), rows))))


if __name__ == '__main__':
    main()
