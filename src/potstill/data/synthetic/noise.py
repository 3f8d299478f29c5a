"""Noise with a given spectrum, and slow levels: the stochastic components of synthetic series, all of unit scale."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from potstill.data.rng import Rng


@lru_cache(maxsize=64)
def fast_length(n: int) -> int:
    """The smallest even 5-smooth number that is at least ``2 n``: for a fast FFT without wrap-around."""
    size = 2 * n + (2 * n) % 2
    while True:
        rest = size
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return size
        size += 2


@lru_cache(maxsize=64)
def frequencies(n: int) -> tuple[np.ndarray, np.ndarray]:
    """``[fast_length(n) / 2 + 1]``: cycles per step, and the cosine of the angular frequency."""
    cycles = np.fft.rfftfreq(fast_length(n))
    return cycles, np.cos(2 * np.pi * cycles)


def coloured(rng: Rng, n: int, power: np.ndarray) -> np.ndarray:
    """``[n]`` Gaussian noise of unit variance whose spectrum is ``power`` (circulant embedding)."""
    size = fast_length(n)
    noise = rng.normals(2 * len(power)).view(np.complex128)
    gain = np.sqrt(power)
    total = 2 * float(np.add.reduce(power)) - float(power[0]) - float(power[-1])
    return np.fft.irfft(noise * gain, size)[:n] * (size / np.sqrt(2 * max(total, 1e-30)))


def autoregressive(rng: Rng, n: int, coefficient: float) -> np.ndarray:
    """First-order autoregression of unit variance."""
    cosine = frequencies(n)[1]
    return coloured(rng, n, 1 / (1 + coefficient**2 - 2 * coefficient * cosine))


def cycle(rng: Rng, n: int, period: float, damping: float) -> np.ndarray:
    """Stochastic cycle: AR(2) with complex roots of modulus ``damping`` and this period in steps."""
    a = 2 * damping * np.cos(2 * np.pi / period)
    b = -(damping**2)
    cosine = frequencies(n)[1]
    power = 1 + a * a + b * b - 2 * a * (1 - b) * cosine - 2 * b * (2 * cosine * cosine - 1)
    return coloured(rng, n, 1 / np.maximum(power, 1e-9))


def fractal(rng: Rng, n: int, exponent: float) -> np.ndarray:
    """Power-law noise 1 / f^exponent (1: flicker, 2: like a random walk), flat below one cycle in ``2 n`` steps."""
    cycles = frequencies(n)[0]
    return coloured(rng, n, (cycles + 0.5 / n) ** -exponent)


def random_walk(rng: Rng, n: int) -> np.ndarray:
    """Random walk, sometimes with heavy-tailed steps, scaled to unit spread."""
    steps = rng.normals(n)
    if rng.chance(0.25):
        steps = steps * np.abs(rng.normals(n)) ** rng.between(0.5, 2.0)
    return unit(np.cumsum(steps))


def unit(x: np.ndarray) -> np.ndarray:
    """``x`` shifted and scaled to mean 0 and standard deviation 1 (deviation 0 if it is constant)."""
    x = x - np.add.reduce(x) / len(x)
    return x / max(float(np.sqrt(x @ x / len(x))), 1e-9)


def irregular(rng: Rng, n: int) -> np.ndarray:
    """``[n]`` noise of one of several kinds, about unit variance: the residual without trend and season."""
    kind = rng.uniform()
    if kind < 0.3:
        x = rng.normals(n)
    elif kind < 0.58:
        x = autoregressive(rng, n, 1 - rng.log_between(0.01, 0.9))
    elif kind < 0.76:
        x = fractal(rng, n, rng.between(0.4, 1.8))
    elif kind < 0.86:
        x = rng.generator.standard_t(rng.between(2.2, 6), n) * 0.7
    elif kind < 0.91:
        x = cycle(rng, n, rng.log_between(3, 120), rng.between(0.8, 0.99))
    else:
        calm = rng.between(0.2, 0.8)
        volatility = np.exp(calm * autoregressive(rng, n, 1 - rng.log_between(0.005, 0.2)) - calm**2)
        x = rng.normals(n) * volatility
    if rng.chance(0.3):
        share = rng.between(0.1, 0.5)
        x = np.sqrt(1 - share) * x + np.sqrt(share) * rng.normals(n)
    return x


def steps(rng: Rng, n: int) -> np.ndarray:
    """Piecewise constant or piecewise linear path with a few breaks, unit spread."""
    breaks = rng.integer(1, 6)
    places = np.sort(rng.generator.integers(0, n, breaks))
    jumps = rng.normals(breaks)
    if rng.chance(0.5):
        path = np.zeros(n)
        np.add.at(path, places, jumps)
        return unit(np.cumsum(path))
    slopes = np.zeros(n)
    np.add.at(slopes, places, jumps)
    return unit(np.cumsum(np.cumsum(slopes) + rng.between(-1, 1)))


def level(rng: Rng, n: int) -> np.ndarray:
    """``[n]`` slow level or trend, unit spread."""
    kind = rng.uniform()
    time = np.linspace(-1, 1, n)
    if kind < 0.2:
        return rng.sign() * 1.7 * time
    if kind < 0.3:
        return unit(time**2 + rng.between(-2, 2) * time) * rng.sign()
    if kind < 0.38:
        return unit(np.exp(rng.between(0.5, 3) * time)) * rng.sign()
    if kind < 0.44:
        return unit(1 / (1 + np.exp(-(time - rng.between(-1, 1)) * rng.log_between(2, 30)))) * rng.sign()
    if kind < 0.62:
        return random_walk(rng, n)
    if kind < 0.88:
        return fractal(rng, n, rng.between(1.5, 3.0))
    return steps(rng, n)
