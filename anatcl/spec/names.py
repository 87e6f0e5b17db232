"""Words that a user may write, each list once; methods and encoders are found without importing torch."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

REGISTRY = Path(__file__).resolve().parents[1] / "models" / "registry.py"

UNTRAINED = "untrained"
UNKNOWN = "unknown"  # of an encoder, whom it has seen
TUNED = "-finetuned"  # ends the name of a method that is trained on, task by task
# Methods that need no encoder.
REGIONAL, TISSUE, DEMOGRAPHIC, GUESS = "regional-measures", "tissue-volumes", "age-sex-tiv", "majority-median"
# Columns that measures are residual on before they are decoded from an embedding.
ADJUST = ("age", "sex", "tiv_mm3")
# Site, age, sex, head size and image quality: what a method must add to.
CONFOUNDS = "confounds"
BASELINES = (REGIONAL, TISSUE, DEMOGRAPHIC, CONFOUNDS, GUESS)
# Linear rivals of the encoders, fitted on the same participants.
VOXEL_PCA, VOXEL_RIDGE = "voxel-pca", "voxel-ridge"
RIVALS = (VOXEL_PCA, VOXEL_RIDGE)
# Changes of a map that leave the anatomy as it is, see `anatcl.evaluate.data.perturb`.
PERTURBATIONS = ("gain", "blur", "noise", "resample", "contrast")
MAPS = ("vbm", "quasi-raw")
TISSUES = ("gm", "wm", "csf")
# Columns of global volumes that the measures add to the scans table, in mm3.
VOLUMES = ("tiv_mm3", "gm_mm3", "wm_mm3", "csf_mm3")
THICKNESS = ("distance", "direct", "kelly_kapowski")
# Tables of the report that a task may ask for.
TABLES = ("brain_age", "diagnosis", "clinical_scores", "site", "sex")
# Image-quality metrics of one scan, as `preprocess qc` writes them.
QUALITY = (
    "brain_ml",
    "icv_ml",
    "csf_ml",
    "gm_ml",
    "wm_ml",
    "cjv",
    "cnr",
    "cut_cm2",
    "template_correlation",
    "template_dice",
    "jacobian_min",
    "jacobian_max",
    "jacobian_nonpositive_share",
    "modulation_ratio",
    "mask_dice",
)
# Of these, those that tell how good an image is, not how large a brain.
QUALITY_CONFOUNDS = ("cjv", "cnr", "cut_cm2", "template_correlation", "template_dice")
# Surface-quality metrics of the surfaces of a hemisphere, as `measures surfaces` writes them.
SURFACE_QUALITY = ("euler", "intersections", "defects", "contrast", "area_cm2", "thickness_mm")
# Metrics by the kind of a task.
METRICS = {
    "regression": (
        "mae",
        "rmse",
        "r2",
        "pearson_r",
        "bias_slope",
        "bias_mean",
        "mae_corrected",
        "bias_slope_corrected",
        "pearson_r_pooled",
        "pearson_r_within_site",
        "partial_r_age",
    ),
    "binary": (
        "balanced_accuracy",
        "roc_auc",
        "average_precision",
        "brier",
        "calibration_slope",
        "calibration_intercept",
        "sensitivity",
        "specificity",
        "ppv",
        "roc_auc_pooled",
        "roc_auc_within_site",
    ),
    "multiclass": ("balanced_accuracy",),
}


def methods() -> tuple[str, ...]:
    """Names of the pretraining methods: what each file of ``anatcl/losses`` declares as ``METHOD``."""
    from anatcl.spec.methods import declared_methods  # pydantic, which the command line's --help need not import

    return tuple(declared_methods())


def trained_methods() -> tuple[str, ...]:
    """Names of the methods that train with a loss."""
    from anatcl.spec.methods import declared_methods

    return tuple(name for name, declared in declared_methods().items() if declared.loss)


def needs_age(method: str, alpha_age: float) -> bool:
    """Whether a method trains on scans with a known age only.

    Parameters
    ----------
    method : str
        One of `methods`.
    alpha_age : float
        Factor of the age term of the methods that have one beside the anatomical term.
    """
    read = needs(method)
    return "age" in read and not ("features" in read and alpha_age == 0)


@functools.cache
def needs(method: str) -> tuple[str, ...]:
    """Labels that a method's loss reads (``age``, ``features``): the attribute ``needs`` of its class."""
    from anatcl.spec.methods import LOSSES, declared_methods

    declared = declared_methods()[method]
    return _needs(LOSSES / f"{declared.module}.py") if declared.loss else ()


def _needs(path: Path) -> tuple[str, ...]:
    """``needs`` of the last class in a file that says it, or of a class that it inherits from."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    classes = [statement for statement in tree.body if isinstance(statement, ast.ClassDef)]
    said = [value for one in reversed(classes) for value in _assigned(one.body, "needs")]
    if said:
        return tuple(ast.literal_eval(said[0]))
    bases = {base.id for one in classes for base in one.bases if isinstance(base, ast.Name)}
    lines = [line for line in tree.body if isinstance(line, ast.ImportFrom) and bases & {a.name for a in line.names}]
    above = [path.parent / f"{str(line.module).rpartition('.')[2]}.py" for line in lines]
    return _needs(above[0]) if above and above[0].is_file() else ()


def _assigned(body: list[ast.stmt], name: str) -> list[ast.expr]:
    """Values that are given to `name` in some statements."""
    plain = [(s.targets, s.value) for s in body if isinstance(s, ast.Assign)]
    plain += [([s.target], s.value) for s in body if isinstance(s, ast.AnnAssign) and s.value]
    return [value for targets, value in plain for t in targets if isinstance(t, ast.Name) and t.id == name]


@functools.cache
def encoders() -> tuple[str, ...]:
    """Names of the networks: keys of ``ENCODERS`` in their registry, read without importing it."""
    (table,) = _assigned(ast.parse(REGISTRY.read_text(encoding="utf-8")).body, "ENCODERS")
    assert isinstance(table, ast.Dict)
    return tuple(str(ast.literal_eval(key)) for key in table.keys if key is not None)
