"""The front door: `topodistill.X` is `fast.X` for every public X; nothing is computed here.

Beside them `topodistill.plot` draws diagrams, `topodistill.compat` has classes with the faces of
other libraries, `topodistill.transformers` those of scikit-learn, `from_pretrained` is that of
`train.predict` and `save_pretrained` that of `train.networks`; they are no part of a star import.

Names are looked up when they are first used, for two reasons. A console command must get at `train`
before torch is loaded, because `train` sets how OpenMP's threads wait; and `python -m topodistill`
must take the current folder off the path before `fast` is searched for on it.
"""

from typing import TYPE_CHECKING, Any

# Loaded by name: they need [train].
_OF_TRAIN = {"from_pretrained": "train.predict", "save_pretrained": "train.networks"}
_MODULES = ("compat", "plot", "transformers")

if TYPE_CHECKING:
    from fast import *  # noqa: F403
    from topodistill import compat as compat
    from topodistill import plot as plot
    from topodistill import transformers as transformers

    __version__: str
    from_pretrained: Any
    save_pretrained: Any
else:

    def __getattr__(name: str) -> Any:
        """Return a public name of `fast`, or `__version__`, and keep it for the next time."""
        if name == "__version__":
            from importlib.metadata import version

            found: Any = version("topodistill")
        elif name == "__all__":
            found = [*_fast().__all__, "__version__"]
        elif name in _MODULES:
            from importlib import import_module

            found = import_module(f"topodistill.{name}")
        elif name in _OF_TRAIN:
            from importlib import import_module

            from topodistill.shadowing import refuse_shadowed

            refuse_shadowed("train", "fast", "reference")
            found = getattr(import_module(_OF_TRAIN[name]), name)
        elif not name.startswith("_") and name in _fast().__all__:
            found = getattr(_fast(), name)
        else:
            raise AttributeError(f"module 'topodistill' has no attribute {name!r}")
        globals()[name] = found
        return found

    def __dir__() -> list[str]:
        """Return the public names, which tab completion asks for."""
        return sorted([*__getattr__("__all__"), *_OF_TRAIN, *_MODULES])

    def _fast() -> Any:
        """Return our own `fast`, or say which other one is in the way."""
        from topodistill.shadowing import refuse_shadowed

        refuse_shadowed("fast", "reference")
        import fast

        return fast
