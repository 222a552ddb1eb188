"""The same picture twice: exactly, nearly, turned by quarters or mirrored; within one table or across two.

Candidates come from perceptual hashes in sorted buckets (never from a quadratic table) and count only once their
pixels agree. The hashes of turned and mirrored versions follow from the stored ones (storage/hashes.py), so that only
the candidates are ever decoded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from storage.hashes import eight_forms, hash_bits

Rows = NDArray[np.int64]
Hashes = NDArray[np.uint64]
Thumbnail = Callable[[Rows], NDArray[np.uint8]]
Texts = Sequence[str] | pd.Series  # a column holds millions in a fraction of a list's memory

VARIANTS = (
    "as it is", "mirrored left-right", "mirrored top-bottom", "turned by 180°",
    "transposed", "turned by 90° counterclockwise", "turned by 90° clockwise", "transposed over the other diagonal",
)  # fmt: skip
EXACT = -1  # the variant number of pairs whose pixels are equal byte by byte
BLOCKS = 5  # a hash is cut into five; any two of them are a bucket: all pairs within 3 bits share one
WINDOW = 24  # in a crowded bucket, each image meets this many neighbours in order of their hash
PATIENCE, CLOSE = 3, 2  # after so many vain looks an image and variant, only pairs within so many bits are looked at


@dataclass(frozen=True)
class Duplicates:
    """Verified pairs and what they add up to; rows are numbers into the table(s) that were searched."""

    pairs: Rows  # (n_pairs, 2)
    variants: NDArray[np.int64]  # (n_pairs,) how the second must be turned to be the first: EXACT or index of VARIANTS
    correlations: NDArray[np.float32]  # (n_pairs,)
    components: NDArray[np.int64]  # (n_rows,) equal number = same picture, directly or through others


def all_hashes(texts: Texts, *, chunk: int = 50_000) -> Hashes:
    """The hashes of `turn(picture, variant)` for all variants, from the hashes of the pictures: (8, n_images)."""
    column, parts = pd.Series(texts, dtype="str"), []
    for start in range(0, len(column), chunk):
        forms = eight_forms(hash_bits(column.iloc[start : start + chunk].tolist()))  # (n, 8, 8, 8)
        packed = np.packbits(forms.reshape(len(forms), 8, 64), axis=2)
        parts.append(packed.view(">u8")[:, :, 0].T.astype(np.uint64))
    return np.concatenate(parts, axis=1) if parts else np.empty((8, 0), np.uint64)


def turn(pictures: NDArray[np.uint8], variant: int) -> NDArray[np.uint8]:
    """The eight symmetries of a square for (..., size, size): transpose first, then mirror."""
    if variant & 4:
        pictures = np.swapaxes(pictures, -1, -2)
    if variant & 1:
        pictures = pictures[..., ::-1]
    return pictures[..., ::-1, :] if variant & 2 else pictures


def correlate(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.float32]:
    """How far pictures agree, in -1..1: the smaller of the correlations of pixels and of fine detail.

    Shape (n, size, size) each. Detail is the picture less its blurred self: two forms of one kind or two strokes of
    one digit agree in the large and differ there. Two pictures without any contrast agree if their grey values do.
    """
    one, other = first.astype(np.float32), second.astype(np.float32)
    agreement = _correlation(one, other)
    close = agreement > 0.5  # the rest differ already
    agreement[close] = np.minimum(agreement[close], _correlation(_detail(one[close]), _detail(other[close])))
    return agreement


def _detail(pictures: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each pixel less the mean of the nine around it."""
    padded = np.pad(pictures, ((0, 0), (1, 1), (1, 1)), mode="edge")
    rows = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    return np.asarray(pictures - (rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]) / 9, np.float32)


def _correlation(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
    n_pixels = first.shape[1] * first.shape[2]
    first, second = first.reshape(-1, n_pixels), second.reshape(-1, n_pixels)
    gap = np.abs(first.mean(axis=1) - second.mean(axis=1))
    first, second = first - first.mean(axis=1, keepdims=True), second - second.mean(axis=1, keepdims=True)
    powers = np.stack([np.einsum("ij,ij->i", one, one) for one in (first, second)])  # (2, n)
    flat = powers < 1e-3
    product = np.einsum("ij,ij->i", first, second) / np.sqrt(np.where(flat, 1, powers).prod(axis=0))
    return np.asarray(np.where(flat.any(axis=0), flat.all(axis=0) & (gap < 1), product), np.float32)


def find_duplicates(
    hashes: Hashes,
    thumbnails: Thumbnail,
    *,
    exact: Texts,
    joined: NDArray[np.int64] | None = None,
    variants: Sequence[int] = range(8),
    max_distance: int = 8,
    correlation: float = 0.95,
) -> Duplicates:
    """All exact duplicates, and the near ones within `max_distance` bits whose pixels correlate.

    `hashes` are those of all versions, (8, n_rows); `exact` holds a digest of each row's pixels. `joined` numbers rows
    that already belong together (groups): pairs inside one number are not looked for. Pairs within 3 bits are met,
    those up to `max_distance` mostly (less where hundreds of thousands of pictures are alike: see PATIENCE); of many
    equal pictures each is tied to some, not to all. Time is O(n log n), memory some hundred bytes a row.
    """
    n_rows = hashes.shape[1]
    found = [_exact_pairs(exact)]
    components = merge(n_rows, found[0], None if joined is None else np.unique(joined, return_inverse=True)[1])
    kinds, scores = [np.full(len(found[0]), EXACT)], [np.ones(len(found[0]), np.float32)]
    for variant in variants:
        seen, patience = np.empty(0, np.int64), PATIENCE * n_rows
        for pairs in _candidates(hashes, variant, max_distance):
            codes = pairs[:, 0] * n_rows + pairs[:, 1]
            fresh = (components[pairs[:, 0]] != components[pairs[:, 1]]) & ~_contains(seen, codes)
            if len(seen) > patience:
                fresh &= np.bitwise_count(hashes[0, pairs[:, 0]] ^ hashes[variant, pairs[:, 1]]) <= CLOSE
            if not fresh.any():
                continue
            seen = np.insert(seen, np.searchsorted(seen, new := np.unique(codes[fresh])), new)
            agreement = _verify(pairs[fresh], variant, thumbnails)
            good = agreement >= correlation
            if good.any():
                found.append(pairs[fresh][good])
                kinds.append(np.full(int(good.sum()), variant))
                scores.append(agreement[good])
                components = merge(n_rows, found[-1], components)
    return Duplicates(np.concatenate(found), np.concatenate(kinds), np.concatenate(scores), components)


def _contains(ordered: NDArray[np.int64], values: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether each value is in the ordered array."""
    if len(ordered) == 0:
        return np.zeros(len(values), bool)
    places = np.minimum(np.searchsorted(ordered, values), len(ordered) - 1)
    return np.asarray(ordered[places] == values)


def merge(n_rows: int, pairs: Rows, joined: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
    """Union-find: rows tied by any pair, or by an equal number (0, 1, ...) in `joined`, get one number.  # (n_rows,)"""
    joined = np.arange(n_rows) if joined is None else joined
    size = int(joined.max(initial=-1)) + 1
    ties = joined[pairs]
    graph = coo_array((np.ones(len(ties), np.int8), (ties[:, 0], ties[:, 1])), shape=(size, size))
    return np.asarray(connected_components(graph, directed=False)[1][joined], np.int64)


def _exact_pairs(digests: Texts) -> Rows:
    """Each row with the first row of the same digest: (n_pairs, 2)."""
    codes = pd.factorize(pd.Series(digests, dtype="str"))[0]
    rows = np.arange(len(codes))
    first = np.unique(codes, return_index=True)[1][codes] if len(codes) else rows
    later = first != rows
    return np.column_stack([first[later], rows[later]]).astype(np.int64)


def _candidates(hashes: Hashes, variant: int, max_distance: int) -> Iterator[Rows]:
    """Batches of at most one pair a row: pairs[:, 1] turned by `variant` looks like pairs[:, 0]."""
    cuts = np.linspace(0, 64, BLOCKS + 1).astype(int)
    blocks = [_ones(int(b - a)) << int(a) for a, b in pairwise(cuts)]
    rows = np.arange(hashes.shape[1])
    values = hashes[0] if variant == 0 else np.concatenate([hashes[0], hashes[variant]])
    owner = rows if variant == 0 else np.concatenate([rows, rows])
    other = np.arange(len(values)) >= len(rows)
    by_hash = np.argsort(values, kind="stable")
    for first, second in combinations(blocks, 2):
        keys = values & np.uint64(first | second)
        order = by_hash[np.argsort(keys[by_hash], kind="stable")]
        yield from _neighbours(keys, values, owner=owner, other=other, order=order, max_distance=max_distance)


def _neighbours(
    keys: Hashes, values: Hashes, *, owner: Rows, other: NDArray[np.bool_], order: Rows, max_distance: int
) -> Iterator[Rows]:
    """Pairs of equal keys that stand 1, 2, ... WINDOW places apart in `order`."""
    two_sided = bool(other.any())
    for step in range(1, WINDOW + 1):
        left, right = order[:-step], order[step:]
        same = keys[left] == keys[right]
        if not same.any():
            return
        left, right = left[same], right[same]
        near = np.bitwise_count(values[left] ^ values[right]) <= max_distance
        near &= owner[left] != owner[right]
        if two_sided:
            near &= other[left] != other[right]
        left, right = left[near], right[near]
        if len(left) == 0:
            continue
        swap = other[left]
        pairs = np.column_stack([owner[np.where(swap, right, left)], owner[np.where(swap, left, right)]])
        if two_sided:  # a mirrored pair meets twice: each as the mirror of the other
            low, high = pairs.min(axis=1), pairs.max(axis=1)
            pairs = pairs[np.unique(low * len(keys) + high, return_index=True)[1]]
        yield pairs


def _verify(pairs: Rows, variant: int, thumbnails: Thumbnail, *, batch: int = 4_000) -> NDArray[np.float32]:
    """Agreement of the pixels of each pair, the second turned by `variant`."""
    scores = []
    for start in range(0, len(pairs), batch):
        part = pairs[start : start + batch]
        unique, places = np.unique(part, return_inverse=True)
        pictures = thumbnails(unique)
        places = places.reshape(part.shape)
        scores.append(correlate(pictures[places[:, 0]], turn(pictures[places[:, 1]], variant)))
    return np.concatenate(scores)


def _ones(count: int) -> int:
    return (1 << count) - 1
