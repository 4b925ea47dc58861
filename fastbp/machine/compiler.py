"""How Numba compiles fastbp: each function is lowered to LLVM code once, and each entry is optimised once, as a whole.

By default, Numba optimises and assembles every function together with all functions that it calls, and again as a part
of each caller, although Python calls only a handful of them. Here a kernel stays unoptimised until an entry that calls
it is complete. LLVM leaves out passes that vectors do not need, and Numba leaves out passes for what kernels never
contain: closures, `with`, array expressions. The garbage collector rests, and Python's frames have room. All of this
halves the time of a first fit.

This file builds on Numba's inner parts. If they have changed, `ENTRY` and `KERNEL` are empty, and Numba compiles in its
own way. This file must not know what a kernel computes, nor where compiled code is kept.
"""

import contextlib
import gc
import types
from collections.abc import Callable, Iterator
from typing import Any

import llvmlite.binding as llvm
from numba.core import compiler, config
from numba.core.codegen import JITCodeLibrary

_UNNEEDED = {
    "DeadBranchPrune",
    "FindLiterallyCalls",
    "InlineClosureLikes",
    "InlineInlinables",
    "InlineOverloads",
    "LiteralPropagationSubPipelinePass",
    "LiteralUnroll",
    "MakeFunctionToJitFunction",
    "NopythonRewrites",
    "RewriteSemanticConstants",
    "WithLifting",
}


class _KernelLibrary(JITCodeLibrary):
    """Code that is linked into entries, and never runs by itself."""

    def finalize(self) -> None:
        self._raise_if_finalized()
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:  # noqa: ARG002 (Numba's)
        return 0

    @property
    def codegen(self) -> "_KernelLibrary":
        return self

    def set_env(self, name: str, environment: Any) -> None:
        """Do nothing: the environment lies in the entry's module."""

    def _optimize_functions(self, module: Any) -> None:
        module.data_layout = self._codegen._data_layout  # nothing else: the entry is optimised as a whole

    def own_module(self) -> Any:
        """Return the code of this function alone."""
        return super()._get_module_for_linking()

    def _get_module_for_linking(self) -> Any:
        """Return the code of this function and of all functions that it calls, for a caller outside fastbp."""
        module = self.own_module().clone()
        for library in _called_by(self):
            code = library.own_module() if isinstance(library, _KernelLibrary) else library._get_module_for_linking()
            module.link_in(code, preserve=True)
        return module


class EntryLibrary(JITCodeLibrary):
    """Code that Python calls, together with the code of all kernels that it calls, directly or through others."""

    is_vectorised = False  # whether LLVM looks for loops to vectorise, and unrolls short loops inside of them

    def finalize(self) -> None:
        """Link the code of all kernels, optimise, and assemble."""
        libraries = _called_by(self)
        for library in libraries:
            if isinstance(library, _KernelLibrary):
                self._final_module.link_in(library.own_module(), preserve=True)
        self._linking_libraries: list[Any] = [one for one in libraries if not isinstance(one, _KernelLibrary)]
        super().finalize()

    def _optimize_final_module(self) -> None:
        """Optimise once, at LLVM's level 2, without unrolling or vectorising: kernels are written in vectors.

        Level 2 takes a third of the time of level 3. Its code is smaller, as fast for large layers, and faster for
        small ones. The threshold of inlining is that of level 3: with a lower one, a tile's sums would pass through
        memory.
        """
        if not hasattr(llvm, "create_pipeline_tuning_options"):
            super()._optimize_final_module()  # an older llvmlite
            return
        tuning = llvm.create_pipeline_tuning_options(speed_level=min(2, config.OPT))
        tuning.loop_vectorization = tuning.loop_unrolling = self.is_vectorised
        tuning.slp_vectorization = False
        tuning.inlining_threshold = 250
        builder = llvm.create_pass_builder(self._codegen._tm, tuning)
        passes = builder.getModulePassManager()
        passes.add_refprune_pass()
        passes.run(self._final_module, builder)


def _called_by(library: JITCodeLibrary) -> list[JITCodeLibrary]:
    """Return the libraries that a library needs, and the libraries that its kernels need, each of them once."""
    found: dict[Any, None] = {}
    todo = list(library._linking_libraries)
    while todo:
        needed = todo.pop(0)
        if needed not in found:
            found[needed] = None
            todo += needed._linking_libraries if isinstance(needed, _KernelLibrary) else []
    return list(found)


class Compiler(compiler.CompilerBase):
    """Numba's compiler, without the passes that no kernel needs, and with another kind of library for the code."""

    library_class: type[JITCodeLibrary]

    def __init__(self, typing_context: Any, target_context: Any, library: Any, *rest: Any) -> None:
        if library is None:
            library = self.library_class(target_context.codegen(), "fastbp")
            library.enable_object_caching()
        super().__init__(typing_context, target_context, library, *rest)

    def define_pipelines(self) -> list[Any]:
        """Return Numba's passes that are needed."""
        pipeline = compiler.DefaultPassBuilder.define_nopython_pipeline(self.state)
        pipeline.passes = [step for step in pipeline.passes if step[0].__name__ not in _UNNEEDED]
        pipeline.finalize()
        return [pipeline]


class _KernelCompiler(Compiler):
    library_class = _KernelLibrary


class _EntryCompiler(Compiler):
    library_class = EntryLibrary


IS_AS_EXPECTED = all(
    hasattr(JITCodeLibrary, name)
    for name in ("_raise_if_finalized", "finalize", "get_pointer_to_function", "enable_object_caching", "codegen")
)
# Options of `numba.njit` for a function that Python calls, and for one that only kernels call.
ENTRY: dict[str, Any] = {"pipeline_class": _EntryCompiler} if IS_AS_EXPECTED else {}
KERNEL: dict[str, Any] = {"pipeline_class": _KernelCompiler} if IS_AS_EXPECTED else {}


@contextlib.contextmanager
def resting_collector() -> Iterator[None]:
    """Stop the garbage collector: it would search a compiler's many objects again and again, and find few cycles.

    Afterwards the new objects count as old ones. Otherwise the collector would search all of them as soon as it runs.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            if gc.get_freeze_count() == 0:
                gc.freeze()
                gc.unfreeze()
            gc.enable()


def _call(function: Callable[[Any], Any], argument: Any) -> Any:
    return function(argument)


# Python keeps the frames of its functions in chunks of 16 KB. A call at the end of a chunk asks the system for another
# chunk and gives it back on return. A compiler makes very many calls, some of them at just such a depth: that took a
# tenth of a cold start. A frame of 512 KB has a chunk of 1 MB, with room for all the frames above it.
call_with_room: Callable[[Callable[[Any], Any], Any], Any] = types.FunctionType(
    _call.__code__.replace(co_stacksize=2**16), globals(), "call_with_room"
)
