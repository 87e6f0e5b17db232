"""ANTs programs through stock nipype interfaces, safely.

nipype builds a command line and gives it to a shell without quoting, so no file name of the user's ever gets there:
every call runs in a private folder on files with fixed names (links to the real ones), and the results are moved to
their places afterwards.

Two engines give the same call: ``native`` (ANTs' own programs on the PATH) and ``antspyx`` (the same programs inside
the antspyx wheel).
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from anatcl.base.errors import InputError
from anatcl.base.programs import check
from anatcl.images import Volume, load, save

# nipype asks the network for its newest version otherwise.
os.environ["NIPYPE_NO_ET"] = "1"
os.environ["NO_ET"] = "1"

log = logging.getLogger(__name__)
PROGRAM = Path(__file__).with_name("ants_program.py")


def engine() -> str:
    """Name of the engine in use: ``native`` if ANTs is on the PATH, else ``antspyx``."""
    return "native" if shutil.which("antsRegistration") else "antspyx"


def engine_version() -> str:
    """Version of the engine in use, for sidecars."""
    if engine() == "antspyx":
        return f"antspyx {metadata.version('antspyx')}"
    text = subprocess.run(["antsRegistration", "--version"], capture_output=True, text=True, check=False).stdout
    return next((line.strip() for line in text.splitlines() if "Version" in line), "ANTs, version unknown")


class Workspace:
    """A private folder in which ANTs programs run.

    Parameters
    ----------
    folder : Path
        The folder; :func:`workspace` makes and removes it.
    threads : int
        ITK threads of every call. With one thread two runs give equal bytes.
    seed : int
        Seed of ITK's random sampling.
    """

    def __init__(self, folder: Path, threads: int = 1, seed: int = 0) -> None:
        self.folder = folder
        self.threads = threads
        self.seed = seed
        self.calls: list[dict[str, Any]] = []

    def link(self, name: str, source: str | Path) -> str:
        """Make the file `source` known as `name`; the suffix must tell the format."""
        source = Path(source).resolve()
        if not source.is_file():
            raise InputError("the file does not exist.", source, "Run the step that makes it first.")
        (self.folder / name).symlink_to(source)
        return name

    def put(self, name: str, volume: Volume, dtype: Any = None) -> str:
        """Write a volume as `name` (``.nii`` is fastest)."""
        save(self.folder / name, volume, dtype)
        return name

    def get(self, name: str) -> Volume:
        """Read the volume `name`."""
        return load(self.folder / name)

    def take(self, name: str, target: str | Path) -> None:
        """Move the result `name` to its place, atomically (also across file systems)."""
        from anatcl.base.files import atomic_path

        with atomic_path(target) as temporary:
            shutil.move(self.folder / name, temporary)

    def run(self, interface: str, **inputs: Any) -> None:
        """Run a nipype ANTs interface by its class name with `inputs`; file names are names in this folder.

        Raises
        ------
        Killed
            The program was ended from outside.
        RuntimeError
            The program failed; the message holds its last words.
        """
        start = time.monotonic()

        def ended(status: int) -> None:
            check(interface, status, self._last_words())

        with contextlib.chdir(self.folder):
            node = _node(interface, inputs, self.threads, self.seed, ended)
            command = node.cmdline
            log.info("%s", _readable(command))
            try:
                node.run(cwd=str(self.folder))
            except FileNotFoundError as error:
                raise RuntimeError(f"{interface} wrote no result: {self._last_words()}") from error
        self.calls.append({"interface": interface, "command": _readable(command), "seconds": time.monotonic() - start})

    def _last_words(self, lines: int = 12) -> str:
        """End of what the last program printed."""
        texts = [self.folder / name for name in ("stdout.nipype", "stderr.nipype")]
        words = [
            line for t in texts if t.exists() for line in t.read_text(errors="replace").splitlines() if line.strip()
        ]
        return "\n".join(words[-lines:])

    def apply(self, moving: str, reference: str, transforms: list[str], output: str, **options: Any) -> Volume:
        """Warp `moving` onto the grid of `reference` in one interpolation (default: linear)."""
        options = {"interpolation": "Linear", "invert_transform_flags": [False] * len(transforms)} | options
        self.run(
            "ApplyTransforms",
            dimension=3,
            input_image=moving,
            reference_image=reference,
            transforms=transforms,
            output_image=output,
            float=True,
            **options,
        )
        return self.get(output)


@contextlib.contextmanager
def workspace(threads: int = 1, seed: int = 0) -> Iterator[Workspace]:
    """Give a private folder to run ANTs in; it is removed at the end."""
    with tempfile.TemporaryDirectory(prefix="anatcl-") as folder:
        yield Workspace(Path(folder), threads, seed)


def apply_transforms(
    moving: str | Path,
    reference: str | Path,
    transforms: list[str | Path],
    out: str | Path,
    interpolation: str = "Linear",
    threads: int = 1,
    seed: int = 0,
) -> None:
    """Warp an image file onto the grid of another one in one interpolation.

    Parameters
    ----------
    moving, reference : path
    transforms : list of path
        In antsApplyTransforms' order (the last one is applied first).
    out : path
        Where the result goes.
    interpolation : str
        As antsApplyTransforms names it: ``Linear``, ``NearestNeighbor``, ``GenericLabel`` ...
    """
    with workspace(threads, seed) as room:
        # ITK tells transforms by their suffix; a displacement field ends in two.
        ends = [".nii.gz" if str(t).endswith(".nii.gz") else Path(t).suffix for t in transforms]
        names = [room.link(f"transform-{i}{end}", t) for i, (t, end) in enumerate(zip(transforms, ends, strict=True))]
        room.link("moving.nii.gz", moving)
        room.link("reference.nii.gz", reference)
        room.apply("moving.nii.gz", "reference.nii.gz", names, "out.nii.gz", interpolation=interpolation)
        room.take("out.nii.gz", out)


def _node(interface: str, inputs: dict[str, Any], threads: int, seed: int, ended: Callable[[int], None]) -> Any:
    """Return the nipype interface, its command set to the engine in use; `ended` gets the exit status."""
    base = _interface(interface)
    program = base._cmd
    command = program if engine() == "native" else shlex.join([sys.executable, "-P", str(PROGRAM), program])
    # nipype would run `antsRegistration --version` before every call: `version` is set to spare that process.
    own = {"_cmd": command, "version": None, "_run_interface": _checked(base, ended)}
    node = type(interface, (base,), own)(**inputs)
    node.inputs.num_threads = threads
    # Seed 0 means "take the clock" to ITK.
    node.inputs.environ = dict(node.inputs.environ) | {
        "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": str(threads),
        "NSLOTS": str(threads),
        "ANTS_RANDOM_SEED": str(seed + 1),
    }
    if "random_seed" in node.inputs.copyable_trait_names():
        node.inputs.random_seed = seed + 1
    node.terminal_output = "file_split"
    return node


def _checked(base: Any, ended: Callable[[int], None]) -> Any:
    """How nipype runs the program of an interface, and then `ended`: nipype looks for outputs, not for the status."""

    def run(self: Any, runtime: Any, *further: Any) -> Any:
        done = base._run_interface(self, runtime, *further)
        ended(done.returncode)
        return done

    return run


def _interface(name: str) -> Any:
    """Return nipype's class; a few, such as KellyKapowski, are in the module of segmentation alone."""
    for module in ("nipype.interfaces.ants", "nipype.interfaces.ants.segmentation"):
        found = getattr(importlib.import_module(module), name, None)
        if found is not None:
            return found
    raise ValueError(f"nipype has no ANTs interface {name!r}")


def _readable(command: str) -> str:
    """The command without the interpreter and the path of the wrapper."""
    _, found, rest = command.partition(PROGRAM.name)
    return (rest if found else command).lstrip("' ")
