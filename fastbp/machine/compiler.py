"""How Numba compiles fastbp: each function is lowered once, and the whole of an entry is optimised once.

Numba by itself optimises and assembles every function with all that it calls, and again as a part of each of its
callers, though Python calls a handful of them. Here a kernel stays as it was lowered until an entry that calls it is
complete; LLVM leaves out what vectors do not need, Numba what kernels never contain (closures, `with`, array
expressions), and the garbage collector rests. Together they halve the time of a first fit.

All this builds on Numba's inner parts. Where they are not as they were, `ENTRY` and `KERNEL` are empty, and Numba
compiles in its own way. This file must not know what a kernel computes, nor where compiled code is kept.
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
    """Code that waits to be linked into an entry, and never runs by itself."""

    def finalize(self) -> None:
        self._raise_if_finalized()
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:  # noqa: ARG002 (Numba's)
        return 0

    @property
    def codegen(self) -> "_KernelLibrary":
        return self

    def set_env(self, name: str, environment: Any) -> None:
        """Do nothing: the entry's module has the place for it."""

    def _optimize_functions(self, module: Any) -> None:
        module.data_layout = self._codegen._data_layout  # and no more: the entry is optimised as a whole

    def own_module(self) -> Any:
        """Return this function's code alone, to be linked."""
        return super()._get_module_for_linking()

    def _get_module_for_linking(self) -> Any:
        """Return this function's code with all that it calls: somebody else's function calls it."""
        module = self.own_module().clone()
        for library in _called_by(self):
            code = library.own_module() if isinstance(library, _KernelLibrary) else library._get_module_for_linking()
            module.link_in(code, preserve=True)
        return module


class _EntryLibrary(JITCodeLibrary):
    """Code that Python calls, with that of all kernels that it calls directly or through others."""

    def finalize(self) -> None:
        libraries = _called_by(self)
        for library in libraries:
            if isinstance(library, _KernelLibrary):
                self._final_module.link_in(library.own_module(), preserve=True)
        self._linking_libraries: list[Any] = [one for one in libraries if not isinstance(one, _KernelLibrary)]
        super().finalize()

    def _optimize_final_module(self) -> None:
        """Optimise once, at LLVM's level 2, and neither unroll nor vectorise: kernels are written in vectors.

        It takes a third of the time of level 3 and makes smaller code, which is as fast for large layers and faster
        for small ones. What is inlined is what level 3 would: below, sums of a tile are handed on through memory.
        """
        if not hasattr(llvm, "create_pipeline_tuning_options"):
            super()._optimize_final_module()  # an older llvmlite
            return
        tuning = llvm.create_pipeline_tuning_options(speed_level=min(2, config.OPT))
        tuning.loop_vectorization = tuning.slp_vectorization = tuning.loop_unrolling = False
        tuning.inlining_threshold = 250
        builder = llvm.create_pass_builder(self._codegen._tm, tuning)
        passes = builder.getModulePassManager()
        passes.add_refprune_pass()
        passes.run(self._final_module, builder)


def _called_by(library: JITCodeLibrary) -> list[JITCodeLibrary]:
    """Return the libraries that a library needs, and those that the kernels among them need, each once."""
    found: dict[Any, None] = {}
    todo = list(library._linking_libraries)
    while todo:
        needed = todo.pop(0)
        if needed not in found:
            found[needed] = None
            todo += needed._linking_libraries if isinstance(needed, _KernelLibrary) else []
    return list(found)


class _Compiler(compiler.CompilerBase):
    """Numba's compiler, but for the passes that no kernel needs and for what becomes of the code."""

    library_class: type[JITCodeLibrary]

    def __init__(self, typing_context: Any, target_context: Any, library: Any, *rest: Any) -> None:
        if library is None:
            library = self.library_class(target_context.codegen(), "fastbp")
            library.enable_object_caching()
        super().__init__(typing_context, target_context, library, *rest)

    def define_pipelines(self) -> list[Any]:
        pipeline = compiler.DefaultPassBuilder.define_nopython_pipeline(self.state)
        pipeline.passes = [step for step in pipeline.passes if step[0].__name__ not in _UNNEEDED]
        pipeline.finalize()
        return [pipeline]


class _KernelCompiler(_Compiler):
    library_class = _KernelLibrary


class _EntryCompiler(_Compiler):
    library_class = _EntryLibrary


_IS_AS_EXPECTED = all(
    hasattr(JITCodeLibrary, name)
    for name in ("_raise_if_finalized", "finalize", "get_pointer_to_function", "enable_object_caching", "codegen")
)
# What `numba.njit` is given for a function that Python calls, and for one that only other kernels call.
ENTRY: dict[str, Any] = {"pipeline_class": _EntryCompiler} if _IS_AS_EXPECTED else {}
KERNEL: dict[str, Any] = {"pipeline_class": _KernelCompiler} if _IS_AS_EXPECTED else {}


@contextlib.contextmanager
def resting_collector() -> Iterator[None]:
    """Let the garbage collector rest: it would search a compiler's many objects again and again for few cycles.

    What is new then counts as old, lest all of it be searched at once as soon as the collector is awake.
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
