"""Whether the files and names of a configuration exist and fit each other; what needs no index of the dataset.

Each check yields the place of a key in the configuration and what is wrong there.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Container, Iterator
from pathlib import Path

from anatcl.base.errors import InputError
from anatcl.base.words import nearest, plural
from anatcl.spec.atlas import check_files, load_atlas_file
from anatcl.spec.check_arrays import check_arrays, unmeasured
from anatcl.spec.check_seen import check_seen
from anatcl.spec.config import Config, FeatureTable, Pretrain
from anatcl.spec.corrections import read_corrections
from anatcl.spec.encoders import check_encoder, class_errors
from anatcl.spec.engines import check_surface_engine
from anatcl.spec.layout import METHOD_PATTERN
from anatcl.spec.measures_engine import asks_for_thickness, measures_engine
from anatcl.spec.methods import declared_methods
from anatcl.spec.names import BASELINES, REGIONAL, RIVALS, TUNED, UNTRAINED, methods
from anatcl.spec.overlaps import overlaps_file
from anatcl.spec.recipe import load_recipe
from anatcl.spec.task import Task, load_task
from anatcl.spec.template import load_spec
from anatcl.spec.thickness import load_options
from anatcl.spec.training import IN_METHODS

Place = tuple[str | int, ...]
Found = Iterator[tuple[Place, InputError]]
JOINED_BY = frozenset({"scan", "participant_id"})  # columns of a table of features


def check_files_and_names(config: Config, environments: bool = False) -> Found:
    """All errors of a configuration that can be found without its dataset.

    Parameters
    ----------
    config : Config
    environments : bool
        Jobs run in environments of their own, so that packages installed here do not matter.
    """
    for check in (
        _imaging,
        _measures,
        _training,
        check_arrays,
        _features,
        _own,
        _encoders,
        check_seen,
        _finetune,
        _held,
        _tasks,
    ):
        yield from check(config)
    if config.pretrain.from_scans and measures_engine(config) == "surface" and not environments:
        yield from _tried(("measures", "engine"), lambda: check_surface_engine(_who_asks(config)))


def _tried(place: Place, call: Callable[[], object]) -> Found:
    try:
        call()
    except InputError as error:
        yield (place, error)


def _imaging(config: Config) -> Found:
    settings = config.preprocess
    yield from _tried(("preprocess", "recipe"), lambda: load_recipe(settings.recipe))
    yield from _tried(("preprocess", "template"), lambda: load_spec(settings.template))
    yield from _tried(("preprocess", "corrections"), lambda: read_corrections(settings.corrections))
    yield from _tried(("preprocess", "skullstrip"), lambda: _second_look(config))
    for scan in sorted({*settings.accept} & {*settings.reject}):
        reason = f"{scan!r} is both accepted and rejected."
        yield (("preprocess", "reject"), InputError(reason, None, "Name it once."))


def _second_look(config: Config) -> None:
    """Raise where deepbet is to judge or mend its own masks; silent where the recipe is wrong in itself."""
    strip = config.preprocess.skullstrip
    try:
        chosen = load_recipe(config.preprocess.recipe, "skullstrip").get("method", "ants")
    except InputError:
        return
    for key, value in (("retry", strip.retry), ("compare", strip.compare)):
        if strip.method == "auto" and value == chosen:
            reason = f"{key} is {value!r}, which by the recipe makes the masks itself."
            raise InputError(reason, None, f"Write {key}: none, or method: ants.")


def _measures(config: Config) -> Found:
    settings = config.measures
    yield from _tried(("measures", "atlas"), lambda: check_files(*load_atlas_file(settings.atlas)))
    yield from _tried(("measures", "atlas"), lambda: _same_space(config))
    yield from _tried(("measures", "atlas"), lambda: _fits_engine(config))
    told = settings.thickness_options
    yield from _tried(("measures", "thickness_options"), lambda: load_options(_thickness(config), told))
    folder = Path(settings.freesurfer)
    if settings.freesurfer and not folder.is_dir():
        error = InputError("the folder of derivatives does not exist.", folder, "Correct its path.")
        yield (("measures", "freesurfer"), error)
    elif settings.freesurfer and next(stats_files(folder), None) is None:
        remedy = "Give the folder that holds the subjects' folders, each with stats/aparc.stats files."
        yield (("measures", "freesurfer"), InputError("it has no stats/*.stats file.", folder, remedy))


def stats_files(root: Path) -> Iterator[Path]:
    """Tables of FreeSurfer or FastSurfer: ``stats/*.stats`` of every subject, at any depth that they use."""
    for depth in ("*", "*/*", "*/*/*"):
        yield from root.glob(f"{depth}/stats/*.stats")


def _same_space(config: Config) -> None:
    """Raise where the atlas cannot be used with the template; silent where one of them is wrong in itself."""
    try:
        atlas, _ = load_atlas_file(config.measures.atlas)
        space = str(load_spec(config.preprocess.template)["space"])
    except InputError:
        return
    atlas.check_space(space)


def _fits_engine(config: Config) -> None:
    """Raise where the engine cannot measure the atlas; silent where the atlas is wrong in itself."""
    try:
        atlas, path = load_atlas_file(config.measures.atlas)
    except InputError:
        return
    engine = measures_engine(config)
    if engine == "volume" and atlas.image is None:
        remedy = "Set measures: engine: surface, or choose an atlas with an image."
        raise InputError(f"atlas {atlas.name} has no image, only labels of fsaverage.", path, remedy)
    if engine == "surface" and atlas.annotation is None:
        remedy = "Name two label files of fsaverage under `annotation`, or set measures: engine: volume."
        raise InputError(f"atlas {atlas.name} has no annotation of fsaverage for surfaces.", path, remedy)
    if engine == "surface" and asks_for_thickness(config):
        remedy = "Remove measures: thickness and thickness_options, or set measures: engine: volume."
        raise InputError("methods of thickness are for the engine volume, not for surfaces.", None, remedy)


def _who_asks(config: Config) -> str:
    """Where it stands that surfaces are to be made."""
    if config.measures.engine == "surface":
        return "the engine surface was asked for"
    return f"the recipe {config.preprocess.recipe} (or the atlas) measures on surfaces"


def _thickness(config: Config) -> str:
    """The thickness method, as far as it is known."""
    if config.measures.thickness != "auto":
        return config.measures.thickness
    try:
        return str(load_recipe(config.preprocess.recipe)["thickness"])
    except InputError:
        return "direct"


def _training(config: Config) -> Found:
    settings = config.pretrain
    processes = settings.nodes * (settings.processes or max(1, settings.gpus // settings.nodes))
    if settings.batch_size % processes:
        reason = f"{plural(settings.batch_size, 'subject')} cannot be shared by {processes} processes."
        remedy = f"Use a multiple of {processes}, or change processes, gpus or nodes."
        yield (("pretrain", "batch_size"), InputError(reason, None, remedy))
    for name, parts in settings.joint.items():
        if not parts:
            reason = f"the joint objective {name!r} has no part."
            yield (("pretrain", "joint", name), InputError(reason, None, "Write for example {y-aware: 1.0}."))
    for option in IN_METHODS:
        named = getattr(settings.options, option)
        for name in named if not isinstance(named, bool) else ():
            if name not in settings.methods:
                error = InputError(f"{name!r} is not among the methods.", None, nearest(name, settings.methods))
                yield (("pretrain", "options", option), error)
    for key, named in (
        ("encoder", settings.encoder),
        *((f"own.{n}.loss", one.loss) for n, one in settings.own.items()),
    ):
        yield from ((("pretrain", *key.split(".")), error) for error in class_errors(named))
    weighed = [name for name in _asked(settings) if "lambda_" in declared_methods()[name].options]
    if weighed and not settings.lambda_ and not settings.alpha_age:
        reason = f"lambda and alpha_age are both 0: {weighed[0]} has nothing left to learn."
        yield (("pretrain", "lambda"), InputError(reason, None, "Raise one of them."))
    if settings.options.chunk and processes > 1:
        reason = f"chunks work in one process, and {processes} are to share each batch."
        yield (("pretrain", "options", "chunk"), InputError(reason, None, "Set chunk: 0, or gpus and processes to 1."))
    if settings.precision == "fp16" and config.device == "cpu":
        reason = "'fp16' needs a GPU, and device is 'cpu'."
        yield (("pretrain", "precision"), InputError(reason, None, "Use auto, fp32 or bf16."))


def _asked(settings: Pretrain) -> list[str]:
    """Declared methods that are trained, alone or as a part of a joint objective."""
    asked = {*settings.methods, *(part for name in settings.methods for part in settings.joint.get(name, {}))}
    return sorted(asked & declared_methods().keys())


def _name(place: Place, name: str, taken: Container[str]) -> Found:
    """What is wrong with the name of a method that a user brings."""
    if name in taken:
        yield (place, InputError(f"{name!r} is another method's name.", None, "Rename it."))
    elif not re.fullmatch(METHOD_PATTERN, name):
        remedy = f"Write {re.sub('[^A-Za-z0-9]+', '-', name).strip('-')!r}."
        yield (place, InputError(f"{name!r} has characters other than letters, digits and -.", None, remedy))


def _encoders(config: Config) -> Found:
    tuned = {f"{name}{TUNED}" for name in config.evaluate.finetune.methods}
    taken = {
        *methods(),
        *config.pretrain.methods,
        *BASELINES,
        *RIVALS,
        *config.evaluate.features,
        *config.evaluate.own,
        *tuned,
    }
    for name, given in config.evaluate.encoders.items():
        place: Place = ("evaluate", "encoders", name)
        yield from _name(place, name, taken)
        for key, error in check_encoder(given):
            yield ((*place, key), error)
    yield from _tried(("evaluate", "known_overlaps"), lambda: overlaps_file(config.evaluate.known_overlaps))


def _held(config: Config) -> Found:
    settings = config.evaluate
    if settings.decode == "measures" and REGIONAL in unmeasured(config):
        remedy = "Give measures (measures: freesurfer), or write decode: none."
        yield (("evaluate", "decode"), InputError("nothing is measured in this run.", None, remedy))
    if settings.perturb and not (config.pretrain.methods or settings.untrained or settings.rivals):
        reason = "there is no encoder and no rival to show changed scans to."
        yield (("evaluate", "perturb"), InputError(reason, None, "Name a method, or write perturb: []."))


def _finetune(config: Config) -> Found:
    ours = [*config.pretrain.methods, *([UNTRAINED] if config.evaluate.untrained else [])]
    brought = config.evaluate.encoders
    for number, name in enumerate(config.evaluate.finetune.methods):
        place: Place = ("evaluate", "finetune", "methods", number)
        if name not in (*ours, *brought):
            yield (place, InputError(f"{name!r} is not a method of this run.", None, nearest(name, [*ours, *brought])))
        elif name in brought and not brought[name].trainable:
            reason = f"{name!r} cannot be fine-tuned: an ONNX model and an adapter have no gradient."
            yield (place, InputError(reason, None, "Give its weights as safetensors, a state dict or TorchScript."))


def _features(config: Config) -> Found:
    taken = {*config.pretrain.methods, *BASELINES, *RIVALS, UNTRAINED}
    for name, given in config.evaluate.features.items():
        place: Place = ("evaluate", "features", name)
        yield from _name(place, name, taken)
        yield from _tried((*place, "table"), lambda path=Path(given.table): _table(path))  # type: ignore[misc]
        yield from _tried((*place, "columns"), lambda given=given: _pattern(given.columns, Path(given.table)))  # type: ignore[misc]


def _own(config: Config) -> Found:
    taken = {*methods(), *config.pretrain.methods, *BASELINES, *RIVALS, *config.evaluate.features, UNTRAINED}
    for name, one in config.evaluate.own.items():
        place: Place = ("evaluate", "own", name)
        yield from _name(place, name, taken)
        yield from (((*place, "baseline"), error) for error in class_errors(one.baseline))
        if one.columns not in ("all", *BASELINES):
            yield from _tried((*place, "columns"), lambda one=one: _expression(one.columns))  # type: ignore[misc]


def _table(path: Path) -> None:
    """Raise unless a table of features has a header by which it can be joined."""
    if not path.is_file():
        raise InputError("the table of features does not exist.", path, "Correct the path.")
    if not JOINED_BY & set(header(path)):
        raise InputError("the table of features has neither `scan` nor `participant_id`.", path, "Add one of them.")


def _pattern(pattern: str, path: Path) -> None:
    """Raise where a regular expression is none, or matches no column."""
    expression = _expression(pattern)
    if header(path) and not any(pattern in ("all", *BASELINES) or expression.fullmatch(c) for c in header(path)):
        raise InputError(f"{pattern!r} matches no column.", path, f"Columns: {', '.join(header(path)[:20])}.")


def _expression(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise InputError(f"{pattern!r} is not a regular expression ({error}).", None, "Write 'f.*', or all.") from None


def can_be_read(given: FeatureTable) -> bool:
    """Whether nothing is wrong with a table of features as far as its header tells."""
    try:
        _table(Path(given.table))
        _pattern(given.columns, Path(given.table))
    except InputError:
        return False
    return True


def header(path: Path) -> list[str]:
    """Names of a table's columns; none where it cannot be read."""
    if not path.is_file():
        return []
    with open(path, encoding="utf-8-sig", errors="replace", newline="") as stream:
        return next(csv.reader(stream, delimiter="," if path.suffix == ".csv" else "\t"), [])


def _tasks(config: Config) -> Found:
    seen: dict[str, int] = {}
    if not config.evaluate.tasks:
        yield (("evaluate", "tasks"), InputError("no task is given.", None, "Name one: age, sex, or your own."))
    for number, told in enumerate(config.evaluate.tasks):
        place: Place = ("evaluate", "tasks", number)
        try:
            task = load_task(told)
        except InputError as error:
            yield (place, error)
            continue
        if task.name in seen:
            reason = f"the task {task.name!r} is listed twice."
            yield (place, InputError(reason, None, "Rename or remove one."))
        seen[task.name] = number


def tasks_of(config: Config) -> list[tuple[Place, Task]]:
    """The tasks that can be read, with their places."""
    found: list[tuple[Place, Task]] = []
    for number, told in enumerate(config.evaluate.tasks):
        try:
            found.append((("evaluate", "tasks", number), load_task(told)))
        except InputError:
            continue
    return found
