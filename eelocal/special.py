"""Special functions of arrays of doubles: those that numpy has not.

Formulas: https://dlmf.nist.gov (5.11 digamma, 6.5 and 8.9 incomplete gamma functions, 7.17 inverse error functions).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
_SHIFT = 12  # from here on the asymptotic series of the digamma functions have all digits
_TERMS = 500  # of the incomplete gamma function, at most
# https://commons.apache.org/proper/commons-math: Gamma.lanczos, g = 607/128
_LANCZOS = (
    0.99999999999999709182, 57.156235665862923517, -59.597960355475491248, 14.136097974741747174,
    -0.49191381609762019978, 0.33994649984811888699e-4, 0.46523628927048575665e-4, -0.98374475304879564677e-4,
    0.15808870322491248884e-3, -0.21026444172410488319e-3, 0.21743961811521264320e-3, -0.16431810653676389022e-3,
    0.84418223983852743293e-4, -0.26190838401581408670e-4, 0.36899182659531622704e-5,
)  # fmt: skip


def _each(function: Callable[[float], float]) -> Callable[[Doubles], Doubles]:
    """A function of the standard library for every element; not a number where it has no value."""

    def one(value: float) -> float:
        try:
            return function(value)
        except OverflowError:
            return math.inf
        except ValueError:
            return math.nan

    vectorized = np.vectorize(one, otypes=[np.float64])

    def run(values: Doubles) -> Doubles:
        return np.asarray(vectorized(values)) if values.size else values.astype(np.float64)

    return run


erf = _each(math.erf)
erfc = _each(math.erfc)
gamma = _each(math.gamma)
_log_gamma = _each(math.lgamma)


def digamma(x: Doubles) -> Doubles:
    """The logarithmic derivative of the gamma function."""
    low = x < 0.5
    y = np.where(low, 1 - x, x)
    total = np.zeros_like(y)
    for _ in range(_SHIFT):
        small = y < _SHIFT
        total -= np.where(small, 1 / y, 0)
        y = np.where(small, y + 1, y)
    r = 1 / (y * y)
    series = np.log(y) - 0.5 / y - r * (1 / 12 - r * (1 / 120 - r * (1 / 252 - r * (1 / 240 - r / 132))))
    return np.where(low, total + series - math.pi / np.tan(math.pi * x), total + series)


def trigamma(x: Doubles) -> Doubles:
    """The derivative of the digamma function."""
    low = x < 0.5
    y = np.where(low, 1 - x, x)
    total = np.zeros_like(y)
    for _ in range(_SHIFT):
        small = y < _SHIFT
        total += np.where(small, 1 / (y * y), 0)
        y = np.where(small, y + 1, y)
    r = 1 / (y * y)
    series = 1 / y + r / 2 + r / y * (1 / 6 - r * (1 / 30 - r * (1 / 42 - r * (1 / 30 - r * 5 / 66))))
    return np.where(low, (math.pi / np.sin(math.pi * x)) ** 2 - total - series, total + series)


def erf_inverse(y: Doubles) -> Doubles:
    """What the error function is y of; infinite at -1 and 1."""
    log = np.log(1 - y * y)
    a = 2 / (math.pi * 0.147) + log / 2
    x = np.sign(y) * np.sqrt(np.sqrt(a * a - log / 0.147) - a)  # Winitzki's approximation, then Newton's method
    for _ in range(4):
        x = x - (erf(x) - y) * math.sqrt(math.pi) / 2 * np.exp(x * x)
    return np.where(np.abs(y) == 1, y * np.inf, x)


def erfc_inverse(y: Doubles) -> Doubles:
    """What the complementary error function is y of."""
    return erf_inverse(1 - y)


def lanczos(x: Doubles) -> Doubles:
    """The Lanczos sum of the gamma function, with g = 607/128."""
    return np.asarray(sum(c / (x + i) for i, c in enumerate(_LANCZOS) if i) + _LANCZOS[0], np.float64)


def gamma_lower(x: Doubles, a: Doubles) -> Doubles:
    """The regularized lower incomplete gamma function P(a, x)."""
    x, a = np.broadcast_arrays(x.astype(np.float64), a.astype(np.float64))
    front = np.exp(a * np.log(x) - x - _log_gamma(a))
    ok = (x >= 0) & (a > 0)
    with np.errstate(all="ignore"):
        found = np.where(x < a + 1, front * _series(x, a), 1 - front * _fraction(x, a))
    return np.where(ok, np.where(x == 0, 0.0, found), np.nan)


def _series(x: Doubles, a: Doubles) -> Doubles:
    term = total = 1 / a
    for n in range(1, _TERMS):
        term = term * x / (a + n)
        total = total + term
        if not (np.abs(term) > 1e-17 * np.abs(total)).any():
            break
    return total


def _fraction(x: Doubles, a: Doubles) -> Doubles:
    """Lentz's method for the continued fraction of the upper function."""
    tiny = 1e-300
    b = x + 1 - a
    c = np.full_like(b, 1 / tiny)
    d = 1 / np.where(b == 0, tiny, b)
    h = d
    for n in range(1, _TERMS):
        factor = -n * (n - a)
        b = b + 2
        d = 1 / (factor * d + b)
        c = b + factor / c
        h = h * d * c
        if not (np.abs(d * c - 1) > 1e-16).any():
            break
    return h


def student_two_sided(t: Doubles, degrees: Doubles) -> Doubles:
    """The probability that Student's t is farther from 0 than this."""
    return _beta_regularized(degrees / (degrees + t * t), degrees / 2, np.full_like(degrees, 0.5))


def _beta_regularized(x: Doubles, a: Doubles, b: Doubles) -> Doubles:
    """The regularized incomplete beta function, https://dlmf.nist.gov/8.17."""
    swap = x > (a + 1) / (a + b + 2)
    x, a, b = np.where(swap, 1 - x, x), np.where(swap, b, a), np.where(swap, a, b)
    front = np.exp(_log_gamma(a + b) - _log_gamma(a) - _log_gamma(b) + a * np.log(x) + b * np.log1p(-x)) / a
    c, d = np.ones_like(x), 1 / (1 - (a + b) * x / (a + 1))
    h = d
    for m in range(1, _TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for factor in (even, odd):
            d = 1 / (1 + factor * d)
            c = 1 + factor / c
            h = h * d * c
        if not (np.abs(d * c - 1) > 1e-15).any():
            break
    found = np.where(x <= 0, 0.0, front * h)
    return np.where(swap, 1 - found, found)
