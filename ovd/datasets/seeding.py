"""One seed for all generators of random numbers."""

import random

import numpy as np
import torch

# First numbers, so that what is drawn for one is unrelated to the other
SAMPLES, ITERATIONS, VALIDATIONS = 1, 2, 3


def seed_all(*numbers: int) -> None:
    """Seed Python, NumPy and torch (GPUs, too) with a mix of numbers.

    Args:
        numbers (int): 0 or more each; other numbers give an unrelated seed.
    """
    (seed,) = np.random.SeedSequence(numbers).generate_state(1)
    random.seed(int(seed))
    np.random.seed(seed)
    torch.manual_seed(int(seed))
