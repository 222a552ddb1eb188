"""Machine code for the few loops over pixels that OpenCV has no fast form of: numba, kept on disk once compiled.

A module with kernels imports numba, which commands that make no copies do without: import it where it is first needed.
A kernel computes in whole numbers, or in single operations of IEEE 754 that no compiler fuses, so that it gives the
same bytes on every machine, however wide its vectors. Its arrays must not overlap: LLVM is told so, as it would not
fetch eight table entries at a time otherwise. Compiling all takes seconds, once for each kind of processor; the result
lies in __pycache__ beside the source or, where that cannot be written, in the user's cache folder.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba
from numba.core.compiler import Compiler

Function = TypeVar("Function", bound=Callable[..., Any])


class WithoutOverlap(Compiler):
    """numba's own pipeline, for functions whose arrays share no memory."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)  # type: ignore[no-untyped-call]
        self.state.flags.noalias = True


def compiled(function: Function) -> Function:
    """The function as machine code, compiled at its first call."""
    try:
        kernel: Function = numba.njit(function, cache=True, nogil=True, pipeline_class=WithoutOverlap)
    except RuntimeError:  # neither the source's folder nor the user's can be written: compiled in each process
        kernel = numba.njit(function, nogil=True, pipeline_class=WithoutOverlap)
    return kernel
