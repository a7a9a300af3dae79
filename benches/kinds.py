"""Costs of many kinds, on which solvers of assignments are compared: each a function of a random generator and a shape."""
import numpy as np


def euclidean(x, y):
    return np.sqrt(np.maximum((x**2).sum(1)[:, None] + (y**2).sum(1) - 2 * x @ y.T, 0))


def noise(random, n, m):
    """Points without structure in many dimensions."""
    return euclidean(random.standard_normal((n, 64)), random.standard_normal((m, 64)))


def product(random, n, m):
    return np.outer(random.random(n), random.random(m))


def int10(random, n, m):
    """Whole numbers 0..9."""
    return random.integers(0, 10, size=(n, m)).astype(float)


def line(random, n, m):
    return (np.sort(random.random(n))[:, None] - random.random(m)) ** 2


def perm(random, n, m):
    """Every point close to a partner, in another order."""
    x = random.standard_normal((max(n, m), 64))
    return euclidean(x[:n], x[random.permutation(len(x))[:m]] + 0.3 * random.standard_normal((m, 64)))


def uniform(random, n, m):
    return random.random((n, m))


def binary(random, n, m):
    return random.integers(0, 2, size=(n, m)).astype(float)


def rare(random, n, m):
    """Zeros and ones, of which few are zeros: about three in a row."""
    return (random.random((n, m)) > 3 / m).astype(float)


def block(random, n, m):
    """Eight groups of rows and of columns, cheap within a group, and noise."""
    return np.where(np.arange(n)[:, None] * 8 // n == np.arange(m) * 8 // m, 0.0, 1.0) + 0.5 * random.random((n, m))


def plane(random, n, m):
    return euclidean(random.random((n, 2)), random.random((m, 2)))


def space(random, n, m):
    """Squared distances of points in three dimensions."""
    return euclidean(random.random((n, 3)), random.random((m, 3))) ** 2


def total(random, n, m):
    """A number of the row, one of the column, and little noise."""
    return random.random(n)[:, None] + random.random(m) + 1e-3 * random.random((n, m))


def copies(random, n, m):
    """Rows of 32 sorts, nearly equal within each."""
    return random.random((32, m))[random.integers(0, 32, size=n)] + 1e-6 * random.random((n, m))


def constant(random, n, m):
    """Columns with a large constant."""
    return random.random((n, m)) + 1e3 * (random.random(m) < 0.3)


def heavy(random, n, m):
    """A heavy tail."""
    return np.exp(3 * random.standard_normal((n, m)))


def cosine(random, n, m):
    """Cosine distances of sparse rows."""
    x, y = (np.abs(random.standard_normal((k, 64))) * (random.random((k, 64)) < 0.1) for k in (n, m))
    x, y = (z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-12) for z in (x, y))
    return 1 - x @ y.T


def norms(random, n, m):
    """Nearly orthogonal vectors of many lengths, as neurons of trained layers are."""
    x, y = (random.standard_normal((k, 512)) * np.exp(random.standard_normal((k, 1))) for k in (n, m))
    return euclidean(x, y)


def machol(random, n, m):
    """The product of one-based indices, the worst case of many solvers (R. Machol and M. Wien 1976)."""
    return np.outer(np.arange(1.0, n + 1), np.arange(1.0, m + 1))


PUBLISHED = [noise, product, int10, line, perm, uniform]
OTHERS = [binary, rare, block, plane, space, total, copies, constant, heavy, cosine, norms, machol]


def problem(kind, n, m=None, seed=0):
    return kind(np.random.default_rng(seed), n, m or n)
