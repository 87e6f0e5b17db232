"""Outside encoders: where the weights are, what network they belong to, and what it takes as input."""

from __future__ import annotations

import ast
import importlib.util
import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from anatcl.base.errors import InputError
from anatcl.base.named import NAMED, named
from anatcl.base.words import hint, nearest
from anatcl.spec.names import encoders
from anatcl.spec.section import Count, NotNegative, Positive, Real, Section, Texts, shown
from anatcl.spec.shipped import shipped_names
from anatcl.spec.yaml_file import read_yaml

TORCHSCRIPT = (".ts", ".torchscript")
ONNX = ".onnx"
TENSORS = (".safetensors", ".pt", ".pth", ".ckpt", ".bin", ".tar")
WEIGHTS = (*TENSORS, *TORCHSCRIPT, ONNX)
BUNDLE = "model.json"
OURS = ("average", "grid")
KNOWN = Path(__file__).resolve().parent / "known"
# The authors' published weights: five folds of their OpenBHB, not of ours, so five encoders of one method.
PUBLISHED = re.compile(r"anatcl-g3(-old)?/(global|local)/fold-[0-4]")
OFFICIAL = {
    f"official-anatcl-{kind}{old}": [f"anatcl-g3{old}/{kind}/fold-{fold}" for fold in range(5)]
    for kind in ("global", "local")
    for old in ("", "-old")
}


def _axes(text: str) -> str:
    """Three letters that say where each axis of the volume leads, one of each pair."""
    pairs = ("LR", "PA", "IS")
    if len(text) != 3 or any(sum(letter in pair for letter in text) != 1 for pair in pairs):
        raise ValueError(f"it must be three letters such as RAS or LPI, one each of L/R, P/A, I/S, not {shown(text)}")
    return text


def _percentiles(span: tuple[float, float]) -> tuple[float, float]:
    if not 0 <= span[0] < span[1] <= 100:
        raise ValueError(f"it must be [lowest, highest] between 0 and 100, not {list(span)}")
    return span


class Input(Section):
    """Input of a network: the map of a scan, its grid and its intensity scale."""

    map: Literal["vbm", "quasi-raw", "stripped", "head"] = Field(
        "vbm",
        description="vbm (modulated grey matter in template space), quasi-raw (brain, affine to the template), "
        "stripped (brain in the scan's own space, bias-corrected), head (the whole head, bias-corrected)",
    )
    shape: tuple[Count, Count, Count] | None = Field(
        None, description="voxels of the volume that the network takes; an adapter takes the map as it is"
    )
    voxel_mm: NotNegative = Field(0.0, description="voxel size in mm; 0: that of the map")
    axes: Annotated[str, AfterValidator(_axes)] = Field("RAS", description="directions of the axes: RAS, LAS, LPI, ...")
    fit: Literal["pad", "resize"] = Field(
        "pad", description="pad: crop or pad about the centre; resize: the whole map is resized to the shape"
    )
    intensity: Literal["none", "brain-mean", "mean", "z-score", "standardise", "percentiles"] = Field(
        "none",
        description="none; brain-mean (divided by the mean of voxels above 0); mean (of all voxels); z-score (of "
        "voxels that are not 0, the others stay 0); standardise (z-score of all voxels); percentiles (two "
        "percentiles of voxels that are not 0 become 0 and 1, clipped)",
    )
    percentiles: Annotated[tuple[Real, Real], AfterValidator(_percentiles)] = Field(
        (1.0, 99.0), description="for intensity: percentiles"
    )
    channels: Count = Field(1, description="number of channels; all hold the same volume")


class Encoder(Section):
    """An outside encoder."""

    like: str = Field(
        "",
        description="a known encoder, which sets the keys that you do not write: "
        f"{', '.join(shipped_names(KNOWN, '.yaml'))}",
    )
    weights: Texts = Field(
        (),
        description="file (.safetensors; .pt, .pth, .ckpt with a state dict or TorchScript; .onnx), a folder that this "
        "project wrote (model.json), or a list of them: encoders of one method, whose scores are averaged. "
        "official-anatcl-global and official-anatcl-local are the authors' five folds, fetched when first used",
    )
    sha256: Texts = Field((), description="digests that the files must have, in the same order")
    architecture: str = Field(
        "",
        description="network of a state dict: one of this package, or module:Class (or file.py:Class) with arguments",
    )
    arguments: dict[str, Any] = Field({}, description="keyword arguments of that class, or of the adapter")
    prefix: str = Field("", description="prefix that the weights' names have and the network's do not, e.g. backbone.")
    may_lack: str = Field(
        "", description="regular expression: parameters of the network that may be missing from the file"
    )
    adapter: Annotated[str, AfterValidator(named)] = Field(
        "", description="module:Class (or file.py:Class) with transform and forward_embeddings, as in brainmarks-smri"
    )
    input: Input | None = Field(
        None, description="input of the network, see below; not needed for a folder that this project wrote"
    )
    pooling: Literal["", "average", "grid", "mean", "tokens", "first"] = Field(
        "",
        description="for networks of this package: average or grid; for the output of others: mean (over voxels), "
        "tokens (mean over tokens), first (the first token); empty: the output is one vector already",
    )
    pretrained_on: Texts = Field(
        (),
        description="pretraining cohorts of the encoder, or unknown; required except for a folder that this "
        "project wrote",
    )
    participants: str = Field(
        "", description="text file of its training participants, one name or SHA-256 of a name per line, for the audit"
    )

    @model_validator(mode="before")
    @classmethod
    def _like(cls, values: Any) -> Any:
        """The keys of a known encoder, under those that the user writes."""
        word = values.get("like") if isinstance(values, dict) else None
        if not word:
            return values
        if word not in shipped_names(KNOWN, ".yaml"):
            raise ValueError(f"like is {word!r}, which is unknown ({hint(word, shipped_names(KNOWN, '.yaml'))})")
        return {**read_yaml(KNOWN / f"{word}.yaml", "known encoder"), **values}

    @model_validator(mode="before")
    @classmethod
    def _official(cls, values: Any) -> Any:
        """A word for all folds of the authors' weights."""
        word = values.get("weights") if isinstance(values, dict) else None
        if isinstance(word, str) and word.startswith("official-") and word not in OFFICIAL:
            raise ValueError(f"weights is {word!r}, which is unknown ({hint(word, OFFICIAL)})")
        return {**values, "weights": OFFICIAL[word]} if isinstance(word, str) and word in OFFICIAL else values

    @model_validator(mode="after")
    def _whole(self) -> Self:
        for reason in _lacking(self):
            raise ValueError(reason)
        return self

    @property
    def members(self) -> int:
        """How many encoders it is."""
        return max(1, len(self.weights))

    @property
    def trainable(self) -> bool:
        """Whether gradients reach its weights."""
        return bool(self.weights) and kind(self.weights[0]) != "onnx"

    def member(self, number: int) -> Encoder:
        """One encoder of several."""
        chosen = {
            name: values[number : number + 1] for name in ("weights", "sha256") if (values := getattr(self, name))
        }
        return self.model_copy(update=chosen)

    def as_text(self) -> str:
        """JSON text of the given options, as the step ``evaluate embed-given`` takes it."""
        return json.dumps(self.model_dump(mode="json", exclude_defaults=True), sort_keys=True)


class FineTuning(Section):
    """Encoders to fine-tune, task by task; each becomes a method of its own, named ``<method>-finetuned``."""

    methods: Texts = Field(
        (), description="pretrained methods and encoders to fine-tune on every task; one training per task and fold"
    )
    epochs: Count = Field(10, description="passes over the training rows")
    batch_size: Count = Field(8, description="volumes per step")
    learning_rate: Positive = Field(
        1e-4, description="learning rate of the encoder; that of the new output layer is ten times as large"
    )


def _lacking(one: Encoder) -> Iterator[str]:
    """What does not fit together, in sentences that say what to write."""
    if bool(one.weights) == bool(one.adapter):
        both = "weights and adapter exclude each other" if one.weights else "no encoder is given"
        yield f"{both}: give weights (a file), or adapter (module:Class)"
    if one.sha256 and len(one.sha256) != len(one.weights):
        yield f"sha256 must have one digest per file, {len(one.weights)}, not {len(one.sha256)}"
    kinds = {kind(path) for path in one.weights}
    if len(kinds) > 1:
        yield "the files of one encoder must be of one kind"
    needs_network = kinds == {"tensors"}
    if one.weights and needs_network and not one.architecture and not _may_be_script(one):
        yield f"architecture is missing: name one of {', '.join(encoders())}, or module:Class"
    if one.architecture and one.architecture not in encoders() and not NAMED.fullmatch(one.architecture):
        yield f"architecture is {one.architecture!r}, which is unknown ({nearest(one.architecture, encoders())})"
    if one.pooling in OURS and one.architecture not in encoders():
        yield f"pooling: {one.pooling} is for networks of this package; for others it is mean, tokens or first"
    if kinds == {"official"}:
        return
    if one.input is None and one.weights and kinds != {"bundle"}:
        yield "input is missing: describe what the network takes, e.g. input: {map: vbm, shape: [121, 128, 121]}"
    elif one.weights and one.input is not None and one.input.shape is None:
        yield "input.shape is missing: the voxels of the volume that the network takes, e.g. [121, 128, 121]"
    if not one.pretrained_on and not one.participants and kinds != {"bundle"}:
        yield "pretrained_on is missing: name the cohorts that it was pretrained on, or write unknown"


def kind(path: str) -> str:
    """``onnx``, ``torchscript``, ``tensors``, ``bundle`` for a folder, or ``official``: by the name."""
    if PUBLISHED.fullmatch(path):
        return "official"
    suffix = Path(path).suffix.lower()
    if suffix == ONNX:
        return "onnx"
    if suffix in TORCHSCRIPT:
        return "torchscript"
    return "tensors" if suffix in TENSORS else "bundle"


def _may_be_script(one: Encoder) -> bool:
    """Whether a ``.pt`` may hold TorchScript, which brings its network along; the file says so when it is there."""
    return all(is_script(Path(path)) for path in one.weights)


def is_script(path: Path) -> bool:
    """Whether a file is TorchScript: a zip with code in it."""
    import zipfile

    if not path.is_file() or not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as file:
        return any(name.endswith("/constants.pkl") for name in file.namelist())


def check_encoder(one: Encoder) -> Iterator[tuple[str, InputError]]:
    """What is wrong with the files and classes of an encoder, by key; nothing of them is run."""
    from anatcl.base.files import sha256

    for path, digest in itertools.zip_longest(one.weights, one.sha256):
        yield from (("weights", error) for error in _file(Path(path)))
        if digest and Path(path).is_file() and sha256(path) != str(digest).lower():
            reason = f"the file's SHA-256 is {sha256(path)}, not {digest}."
            yield ("sha256", InputError(reason, path, "Correct the digest, or fetch the file again."))
    if one.participants and not Path(one.participants).is_file():
        yield ("participants", InputError("the list does not exist.", one.participants, "Correct its path."))
    for key in ("architecture", "adapter"):
        if ":" in getattr(one, key):
            yield from ((key, error) for error in class_errors(getattr(one, key)))
    if any(kind(path) == "onnx" for path in one.weights) and importlib.util.find_spec("onnxruntime") is None:
        remedy = "pip install 'anatcl-workflow[encoders]'"
        yield ("weights", InputError("an ONNX model needs the package onnxruntime.", None, remedy))


def _file(path: Path) -> Iterator[InputError]:
    if PUBLISHED.fullmatch(path.as_posix()):
        return
    if path.is_dir() and not (path / BUNDLE).is_file():
        yield InputError(
            f"the folder has no {BUNDLE}.", path, "Give a folder that `pretrain import` or training wrote."
        )
    elif not path.exists():
        yield InputError("the weights do not exist.", path, "Correct the path.")
    elif path.is_file() and path.suffix.lower() not in WEIGHTS:
        yield InputError(f"{path.suffix!r} is not a known kind of weights.", path, f"Known: {', '.join(WEIGHTS)}.")


def class_errors(text: str) -> Iterator[InputError]:
    """What is wrong with ``module:Class``, without importing the module."""
    match = NAMED.fullmatch(text)
    if match is None:
        return
    module, name = match["module"], match["name"]
    if module.endswith(".py"):
        file: Path | None = Path(module)
        if not Path(module).is_file():
            yield InputError("the file does not exist.", module, "Correct its path.")
            return
    else:
        try:
            found = importlib.util.find_spec(module.partition(".")[0])
        except (ImportError, ValueError):
            found = None
        if found is None:
            remedy = "Install the package that holds it, or give the path of a file: my_model.py:Class."
            yield InputError(f"there is no module {module!r}.", None, remedy)
            return
        file = None
    if file is not None and name not in (known := _defined(file)):
        yield InputError(f"it defines no {name!r}.", file, nearest(name, known))


def _defined(file: Path) -> list[str]:
    """Classes and functions, and what is imported or assigned, at the top of a file."""
    try:
        body = ast.parse(file.read_text(encoding="utf-8"), str(file)).body
    except SyntaxError:
        return []
    names = [n.name for n in body if isinstance(n, ast.ClassDef | ast.FunctionDef)]
    names += [a.asname or a.name for n in body if isinstance(n, ast.ImportFrom) for a in n.names]
    return names + [t.id for n in body if isinstance(n, ast.Assign) for t in n.targets if isinstance(t, ast.Name)]
