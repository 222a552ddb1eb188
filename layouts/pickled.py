"""The Python version of CIFAR: pickles, opened only if they are the official files, by a reader that knows only arrays.

A pickle can run code. So a file's MD5 has to be the official one, and the reader knows no class but NumPy's arrays.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from storage.errors import DataError, IntegrityError

MD5 = {  # of the files in https://www.cs.toronto.edu/~kriz/cifar.html, as torchvision states them
    "cifar-100-python/train": "16019d7e3df5f24257cddd939b257f8d",
    "cifar-100-python/test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
    "cifar-100-python/meta": "7973b15100ade9c7d40fb424638fde48",
    "cifar-10-batches-py/data_batch_1": "c99cafc152244af753f735de768cd75f",
    "cifar-10-batches-py/data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "cifar-10-batches-py/data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "cifar-10-batches-py/data_batch_4": "634d18415352ddfa80567beed471001a",
    "cifar-10-batches-py/data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "cifar-10-batches-py/test_batch": "40351d587109b95175f43aff81a1287e",
    "cifar-10-batches-py/batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
}


@lru_cache(maxsize=8)
def read_official(root: Path, path: str) -> dict[str, Any]:
    """A pickled file, once its MD5 is the official one; kept for the next image asked for."""
    if not (root / path).is_file():
        raise DataError(f"{root / path} not found")
    data = (root / path).read_bytes()
    found = hashlib.md5(data, usedforsecurity=False).hexdigest()
    if found != MD5[path]:
        raise IntegrityError(
            f"{root / path} is a pickle, which can run code, and its MD5 {found} is not the official {MD5[path]}: "
            "refused. Unpack the official archive, or use the binary version"
        )
    return unpickle_arrays(data, name=path)


def unpickle_arrays(data: bytes, *, name: str) -> dict[str, Any]:
    """A pickled dictionary of numbers, text, lists and NumPy arrays; raises DataError for any other content."""
    try:
        content = ArraysOnly(io.BytesIO(data), encoding="latin1").load()
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise DataError(f"{name} is no pickle of arrays: {error}") from None
    if not isinstance(content, dict):
        raise DataError(f"{name} holds a {type(content).__name__}, not a dictionary")
    return content


class ArraysOnly(pickle.Unpickler):
    """An unpickler that knows NumPy's arrays and nothing else that is callable."""

    def find_class(self, module: str, name: str, /) -> Any:
        """The few names that a pickled array needs."""
        allowed = {
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
            ("numpy.core.multiarray", "_reconstruct"): reconstruct,
            ("numpy._core.multiarray", "_reconstruct"): reconstruct,
            ("_codecs", "encode"): as_bytes,
        }
        if (module, name) not in allowed:
            raise pickle.UnpicklingError(f"it wants {module}.{name}: refused")
        return allowed[module, name]


def reconstruct(kind: Any, shape: tuple[int, ...], code: bytes | str) -> Any:
    """What pickle asks NumPy for: an empty array, filled afterwards."""
    if kind is not np.ndarray:
        raise pickle.UnpicklingError("it wants an unusual array: refused")
    return np.ndarray(shape, dtype=code if isinstance(code, str) else code.decode("latin1"))


def as_bytes(text: str, encoding: str) -> bytes:
    """Bytes as Python 3 writes them in old pickle protocols."""
    if encoding != "latin1":
        raise pickle.UnpicklingError("it wants an unusual text encoding: refused")
    return text.encode("latin1")
