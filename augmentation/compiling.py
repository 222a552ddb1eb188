"""Machine code for the few loops over pixels that OpenCV has no fast form of: numba, kept on disk once compiled.

A module with kernels imports numba, which commands that make no copies do without: import it where it is first needed.
A kernel computes in whole numbers, or in single operations of IEEE 754 that no compiler fuses, so that it gives the
same bytes on every machine, however wide its vectors. Its arrays must not overlap: LLVM is told so, as it would not
fetch eight table entries at a time otherwise. It calls kernels of its own file alone: editing another file would not
have it compiled anew. Compiling all takes seconds, once for each kind of processor; the result lies in __pycache__
beside the source or, where that cannot be written, in the user's cache folder.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import llvmlite.binding
import numba
from numba.core.compiler import Compiler

Function = TypeVar("Function", bound=Callable[..., Any])


class WithoutOverlap(Compiler):
    """numba's own pipeline, for functions whose arrays share no memory."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)  # type: ignore[no-untyped-call]
        self.state.flags.noalias = True


@cache
def use_whole_vectors() -> None:
    """Have LLVM use all 512 bits where they do not slow the processor down: Intel since Ice Lake, AMD since Zen 4.

    It takes half of them by default. Has no effect once numba has compiled anything in this process.
    """
    features, config = llvmlite.binding.get_host_cpu_features(), vars(numba.config)
    if features.get("avx512vbmi2") and not config["CPU_FEATURES"]:
        config |= {
            "CPU_NAME": llvmlite.binding.get_host_cpu_name(),
            "CPU_FEATURES": features.flatten() + ",-prefer-256-bit",
        }


def compiled(function: Function) -> Function:
    """The function as machine code, compiled at its first call; by zero it divides as IEEE 754 says, without a test."""
    use_whole_vectors()
    try:
        kernel: Function = numba.njit(
            function, cache=True, nogil=True, error_model="numpy", pipeline_class=WithoutOverlap
        )
    except RuntimeError:  # neither the source's folder nor the user's can be written: compiled in each process
        kernel = numba.njit(function, nogil=True, error_model="numpy", pipeline_class=WithoutOverlap)
    return kernel


def announce() -> None:
    """Tell who waits why: nothing has been compiled here yet."""
    if not any(Path(__file__).parent.glob("__pycache__/*.nbi")):
        print("compiling the loops over pixels: some seconds, once on this machine", flush=True)
