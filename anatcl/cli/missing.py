"""Error message for a package that is not installed."""

from __future__ import annotations

from anatcl.base.errors import InputError

# Import names by the extra of this package that brings them; "" for what every installation has.
EXTRAS = {
    "": ("numpy", "pandas", "pydantic", "safetensors", "scipy", "sklearn", "torch", "tqdm", "yaml"),
    "imaging": ("abagen", "ants", "nibabel", "nilearn", "nipype", "skimage"),
    "workflow": (
        "bidsschematools",
        "contourpy",
        "jinja2",
        "markupsafe",
        "matplotlib",
        "packaging",
        "PIL",
        "psutil",
        "snakemake",
    ),
    "crate": ("rocrate",),
    "deepbet": ("cc3d", "deepbet", "fill_voids"),
    "greedy": ("SimpleITK", "picsl_greedy"),
    "surfaces": ("cat_surf",),
    "encoders": ("einops", "onnx", "onnxruntime"),
    "options": ("combatlearn", "monai", "tensorboard"),
}


def sentence(module: str) -> InputError | None:
    """The message for a module that cannot be found; None for one that this package does not know."""
    top = module.partition(".")[0]
    extra = next((extra for extra, names in EXTRAS.items() if top in names), None)
    if extra is None:
        return None
    what = f"'anatcl-workflow[{extra}]'" if extra else "anatcl-workflow"
    remedy = f"pip install {what}; with conda, use the environment of envs/ that has it (docs/containers.md)."
    return InputError(f"the package {top} is not installed.", remedy=remedy)
