"""Compare jobs that take turns, so that both meet the same weather."""

import statistics
import time
from typing import Any, Callable, Dict, List, Tuple

import torch

Seconds = List[Tuple[float, float]]  # of the clock, and of the CPU, per round


def take_turns(
    jobs: Dict[str, Callable[[], Any]], repeats: int
) -> List[Seconds]:
    """Run warm jobs in turn, and return the seconds of each one's rounds."""
    seconds: List[Seconds] = [[] for _ in jobs]
    for number in range(repeats):
        # The first of a round is not always the same one.
        for name, rounds in list(zip(jobs, seconds))[:: (-1) ** number]:
            _wait()
            start = time.perf_counter(), time.process_time()
            jobs[name]()
            _wait()
            rounds.append(
                (
                    time.perf_counter() - start[0],
                    time.process_time() - start[1],
                )
            )
    for name, rounds in zip(jobs, seconds):
        whole, cpu = map(statistics.median, zip(*rounds))
        print(
            f'{name:40}{whole:10.3f} s, of the CPU {cpu:10.3f} s', flush=True
        )
    return seconds


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def ratios(name: str, over: Seconds, under: Seconds) -> Dict[str, float]:
    """Return the medians of the rounds' ratios, of the clock and the CPU."""
    pairs = [[a / b for a, b in zip(*both)] for both in zip(over, under)]
    return dict(
        zip((name, f'{name}_of_cpu'), map(statistics.median, zip(*pairs)))
    )
