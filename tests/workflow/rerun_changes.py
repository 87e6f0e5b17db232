"""What is changed in the tests of reruns, and which rules run again after it; read by `test_reruns.py`."""

from __future__ import annotations

from dataclasses import dataclass

PROBE = ("audit", "baseline", "interpret", "interpret_measures")
TASK = ("baseline", "confounds", "interpret", "interpret_measures", "probe")
# A change of the configuration -> the first rules that run again.
EXPECTED: dict[str, tuple[dict, tuple[str, ...]]] = {
    "nothing": ({}, ()),
    "participants: include": ({"participants": {"include": ["sub-0[123]"]}}, ("preprocess_chunk",)),
    "participants: exclude": ({"participants": {"exclude": ["sub-04"]}}, ("preprocess_chunk",)),
    "participants: query": ({"participants": {"query": "age > 21"}}, ("preprocess_chunk",)),
    "seed": ({"seed": 1}, ("bias_correct",)),
    "deterministic": ({"deterministic": False}, ("train",)),
    "device": ({"device": "cpu"}, ("train",)),
    "failures: retry": ({"failures": {"retry": True}}, ("methods_text",)),
    "failures: fatal": ({"failures": {"fatal": True}}, ("methods_text",)),
    "bids: runs": ({"bids": {"runs": "first"}}, ("cohort_page", "methods_text")),
    "bids: verify": ({"bids": {"verify": "full"}}, ("cohort_page", "methods_text")),
    "bids: columns": ({"bids": {"columns": {"site": "scanner"}}}, ("measures", "participant_pages")),
    "bids: sex_levels": ({"bids": {"sex_levels": {"M": "F", "F": "M"}}}, ("measures", "participant_pages")),
    "preprocess: recipe": ({"preprocess": {"recipe": "testing"}}, ("bias_correct", "template")),
    "preprocess: template": ({"preprocess": {"template": "MNI152NLin2009aSym"}}, ("template",)),
    "preprocess: corrections": ({"preprocess": {"corrections": ""}}, ("skullstrip",)),
    "preprocess: skullstrip: retry": ({"preprocess": {"skullstrip": {"retry": "deepbet"}}}, ("skullstrip",)),
    "preprocess: skullstrip: compare": ({"preprocess": {"skullstrip": {"compare": "deepbet"}}}, ("skullstrip",)),
    "preprocess: skullstrip: method": ({"preprocess": {"skullstrip": {"method": "none"}}}, ("skullstrip",)),
    "preprocess: deformable": ({"preprocess": {"deformable": "greedy"}}, ("register",)),
    "preprocess: qc": ({"preprocess": {"qc": {"cjv": [None, 1.9]}}}, ("participant_pages", "preprocess")),
    "preprocess: accept": ({"preprocess": {"accept": ["sub-03/anat/sub-03"]}}, ("participant_pages", "preprocess")),
    "preprocess: reject": ({"preprocess": {"reject": ["sub-01/anat/sub-01"]}}, ("participant_pages", "preprocess")),
    "measures: thickness": ({"measures": {"thickness": "distance"}}, ("measure",)),
    "measures: thickness_options": (
        {"measures": {"thickness": "direct", "thickness_options": {"max_mm": 9.0}}},
        ("measure",),
    ),
    "measures: engine": ({"measures": {"engine": "surface", "atlas": "desikan-killiany"}}, ("measure", "surfaces")),
    "measures: longitudinal": ({"measures": {"longitudinal": True}}, ("cohort_page", "methods_text")),
    "measures: surface_mm": ({"measures": {"surface_mm": 1.0}}, ("cohort_page", "methods_text")),
    "measures: surface_qc": ({"measures": {"surface_qc": {"euler": [0, 2]}}}, ("cohort_page", "methods_text")),
    "measures: chunk": ({"measures": {"chunk": 1}}, ("preprocess_chunk",)),
    "pretrain: methods": ({"pretrain": {"methods": ["y-aware"]}}, ("audit", "pretrain")),
    "pretrain: encoder": ({"pretrain": {"encoder": "resnet34"}}, ("train",)),
    "pretrain: final": ({"pretrain": {"final": ["y-aware"]}}, ("methods_text", "train_final")),
    "pretrain: map": ({"pretrain": {"map": "quasi-raw"}}, ("pack",)),
    "pretrain: voxel_mm": ({"pretrain": {"voxel_mm": 3.0}}, ("pack",)),
    "pretrain: crop": ({"pretrain": {"crop": [[0, 9], [0, 9], [0, 9]]}}, ("pack",)),
    "pretrain: dtype": ({"pretrain": {"dtype": "uint8"}}, ("pack",)),
    "pretrain: epochs": ({"pretrain": {"epochs": 7}}, ("train",)),
    "pretrain: folds": ({"pretrain": {"folds": 2}}, ("folds",)),
    "pretrain: group": ({"pretrain": {"group": "scanner"}}, ("folds",)),
    "pretrain: seeds": ({"pretrain": {"seeds": 2}}, ("train",)),
    "pretrain: precision": ({"pretrain": {"precision": "fp32"}}, ("train",)),
    "pretrain: options": ({"pretrain": {"options": {"weight_decay": 0.1}}}, ("train",)),
    "evaluate: tasks": ({"evaluate": {"tasks": ["sex"]}}, ("confounds",)),
    "evaluate: baselines": ({"evaluate": {"baselines": ["majority-median"]}}, ("evaluate",)),
    "evaluate: protocols": ({"evaluate": {"protocols": ["repeated"]}}, ("baseline", "probe")),
    "evaluate: decode": ({"evaluate": {"decode": "measures"}}, ("decode", "methods_text")),
    "evaluate: decode_adjust": ({"evaluate": {"decode_adjust": ["age"]}}, ("methods_text",)),
    "evaluate: perturb": (
        {"evaluate": {"perturb": ["gain"]}},
        ("embed_perturbed", "methods_text", "perturbed", "rival_perturbed"),
    ),
    "evaluate: subgroups": ({"evaluate": {"subgroups": ["sex"]}}, ("evaluate",)),
    "evaluate: site_column": ({"evaluate": {"site_column": "scanner"}}, ("baseline", "confounds", "probe")),
    "evaluate: features": ({"evaluate": {"features": {"other": {"columns": "o.*"}}}}, ("baseline",)),
    "evaluate: own": ({"evaluate": {"own": {"mine": {"columns": "tissue-volumes"}}}}, ("baseline",)),
    "evaluate: untrained": ({"evaluate": {"untrained": False}}, ("audit", "pretrain")),
    "evaluate: rivals": ({"evaluate": {"rivals": []}}, ("audit",)),
    "evaluate: untrained_seeds": ({"evaluate": {"untrained_seeds": 3}}, ("probe",)),
    "evaluate: confounds": ({"evaluate": {"confounds": ["cnr"]}}, ("baseline", "confounds", "probe")),
    "evaluate: shuffles": ({"evaluate": {"shuffles": 3}}, ("baseline", "probe")),
    "evaluate: shuffle_within": ({"evaluate": {"shuffle_within": "sex"}}, ("baseline", "probe")),
    "evaluate: bootstrap": ({"evaluate": {"bootstrap": 100}}, ("baseline", "probe")),
    "evaluate: interpret": ({"evaluate": {"interpret": False}}, ("methods_text", "runtime")),
    "report: title": ({"report": {"title": "x"}}, ("cohort_page", "methods_text")),
    "evaluate: interpret_people": ({"evaluate": {"interpret_people": 2}}, ("interpret", "methods_text")),
    "measures: freesurfer": ({"measures": {"freesurfer": ""}}, ("measures", "participant_pages")),
    "measures: atlas": ({"measures": {"atlas": "desikan-killiany"}}, ("measure",)),
    "pretrain: threads": ({"pretrain": {"threads": 1}}, ("methods_text",)),
}


@dataclass(frozen=True)
class Edit:
    """A change of files, and the first rules that run again after it.

    Attributes
    ----------
    file : str
        Relative to the folder that holds `repository`, `study` and `run`; made when it is not there.
    first : tuple of str
    words : (str, str)
        Text that is replaced, and what by; a line of code is added where there is none.
    """

    file: str
    first: tuple[str, ...]
    words: tuple[str, str] | None = None


CODE, STUDY = "repository/anatcl", "study"
COMMENT = "# a comment\n"
EDITS: dict[str, Edit] = {
    # Code: the steps that reach it by import.
    "one step of preprocess": Edit(f"{CODE}/preprocess/skullstrip.py", ("skullstrip",)),
    "a module of all steps of preprocess": Edit(f"{CODE}/preprocess/ants.py", ("bias_correct",)),
    "a program that is run as a file": Edit(f"{CODE}/preprocess/ants_program.py", ("bias_correct",)),
    "the program of one engine": Edit(f"{CODE}/preprocess/greedy_program.py", ("register",)),
    "image-quality metrics": Edit(f"{CODE}/preprocess/qc.py", ("qc",)),
    "limits of quality": Edit(f"{CODE}/preprocess/gate.py", ("preprocess_chunk",)),
    "a method of thickness": Edit(f"{CODE}/measures/direct.py", ("measure",)),
    "the table of measures": Edit(f"{CODE}/measures/cohort.py", ("measures",)),
    "folds": Edit(f"{CODE}/pretrain/folds.py", ("folds",)),
    "the training loop": Edit(f"{CODE}/pretrain/train.py", ("train",)),
    "a loss of this run": Edit(f"{CODE}/losses/y_aware.py", ("train",)),
    "a loss that this run does not use": Edit(f"{CODE}/losses/expw.py", ()),
    "what all losses share": Edit(f"{CODE}/losses/base.py", ("train",)),
    "the probe": Edit(f"{CODE}/evaluate/probes/probe.py", PROBE),
    "the attribution": Edit(f"{CODE}/evaluate/probes/attribution.py", ("interpret", "interpret_measures")),
    "comparisons of methods": Edit(f"{CODE}/evaluate/statistics/compare.py", ("evaluate",)),
    "published figures": Edit(f"{CODE}/evaluate/statistics/published.yaml", ("evaluate",), ("\n", "\n\n")),
    "benchmark tables": Edit(f"{CODE}/report/tables/build.py", ("methods_text", "participant_pages", "tables")),
    "the page of the cohort": Edit(f"{CODE}/report/page/cohort_page.py", ("cohort_page",)),
    "the page of a participant": Edit(f"{CODE}/report/page/participant.py", ("participant_pages",)),
    "the page": Edit(f"{CODE}/report/page/page.py", ("report",)),
    "a template of the page": Edit(
        f"{CODE}/report/page/templates/base.html", ("participant_pages",), ("<head>", "<head> ")
    ),
    "the index": Edit(f"{CODE}/bids/walk.py", ()),
    "the configuration's keys": Edit(f"{CODE}/spec/layers.py", ()),
    "how failures are recorded": Edit(f"{CODE}/base/failures.py", ()),
    "the function of a step": Edit(
        f"{CODE}/cli/preprocess.py", ("qc",), ("    qc(\n", "    args.seed += 0\n    qc(\n")
    ),
    "a help text": Edit(f"{CODE}/cli/preprocess.py", (), ("bias-corrected scan", "scan without its bias field")),
    "a comment in a module of all steps": Edit(
        f"{CODE}/base/files.py", (), ("import json\n", f"import json\n{COMMENT}")
    ),
    "a docstring": Edit(f"{CODE}/evaluate/probes/probe.py", (), ('"""', '"""Again: ')),
    "a type hint for checkers": Edit(
        f"{CODE}/base/files.py", (), ("import pandas as pd\n\n\n#", "import pandas\n\n\n#")
    ),
    "a new loss": Edit(f"{CODE}/losses/new.py", ()),
    "a new task": Edit(f"{CODE}/spec/tasks/new.yaml", (), ("", "name: new\nkind: regression\ntarget: age\n")),
    "a new atlas": Edit(f"{CODE}/spec/atlases/new.yaml", (), ("", "name: new\n")),
    "a new module": Edit(f"{CODE}/evaluate/probes/new.py", ()),
    # What the user gives by its path, and the shipped files that the configuration names.
    "a step of the recipe": Edit(f"{STUDY}/recipe.json", ("segment",), ('"mrf": 0.', '"mrf": 0.0')),
    "the template's file": Edit(f"{STUDY}/template.yaml", ("template",), ("space: ", "packaged: false\nspace: ")),
    "a comment in the template's file": Edit(f"{STUDY}/template.yaml", (), ("space: ", f"{COMMENT}space: ")),
    "an image of the template": Edit(f"{STUDY}/gm.nii.gz", ("template",)),
    "the atlas's file": Edit(f"{STUDY}/atlas.yaml", ("measure",), ("compatible: [", "compatible: [Mine, ")),
    "a comment in the atlas's file": Edit(f"{STUDY}/atlas.yaml", (), ("space:", f"{COMMENT}space:")),
    "the atlas's table of regions": Edit(f"{STUDY}/regions.tsv", ("measure",), ("bankssts", "sulcus")),
    "an image of the atlas": Edit(f"{STUDY}/labels.nii.gz", ("measure",)),
    "a task's file": Edit(f"{STUDY}/old.yaml", TASK, ("unit: years", "unit: a")),
    "a comment in a task's file": Edit(f"{STUDY}/old.yaml", (), ("unit:", f"{COMMENT}unit:")),
    "a shipped task of this run": Edit(f"{CODE}/spec/tasks/sex.yaml", TASK, ("target: sex", "target: sex\nunit: x")),
    "a shipped task of no run": Edit(f"{CODE}/spec/tasks/site.yaml", (), ("target: site", "target: site\nunit: x")),
    "another tool's features": Edit(f"{STUDY}/features.tsv", ("baseline",), ("0.5", "0.6")),
    "the code of your own baseline": Edit(f"{STUDY}/mine.py", ("baseline",), ("None", "kind")),
    "a decision in the corrections": Edit(
        f"{STUDY}/corrections.tsv", ("participant_pages", "preprocess"), ("accept", "reject")
    ),
    "a note in the corrections": Edit(f"{STUDY}/corrections.tsv", (), ("looks good", "looks very good")),
    "a manually edited mask": Edit(f"{STUDY}/mask.nii.gz", ("skullstrip",)),
    "a table of FreeSurfer": Edit(f"{STUDY}/freesurfer/sub-01/stats/aseg.stats", ("measures",), ("1500000", "1510000")),
    "one image": Edit(f"{STUDY}/bids/sub-01/anat/sub-01_T1w.nii.gz", ("bias_correct",)),
    "one row of participants.tsv": Edit(
        f"{STUDY}/bids/participants.tsv", ("measures", "participant_pages"), ("\t21\t", "\t35\t")
    ),
}
# What is copied elsewhere (`cp -a`) before the run is asked again; the results are in every row.
MOVES: dict[str, tuple[str, ...]] = {
    "the results": (),
    "the results and the dataset": ("study/bids",),
    "the results, the dataset and all that is given": ("study",),
    "everything, the workflow too": ("study", "repository"),
}
MOVES_FIRST: dict[str, tuple[str, ...]] = dict.fromkeys(MOVES, ())
FIRST = (
    {change: first for change, (_, first) in EXPECTED.items()}
    | {change: edit.first for change, edit in EDITS.items()}
    | MOVES_FIRST
)
# The files of the study beside the dataset and the images.
GIVEN = {
    "config.yaml": """bids_dir: bids
preprocess: {recipe: recipe.json, template: template.yaml, corrections: corrections.tsv}
measures: {atlas: atlas.yaml, freesurfer: freesurfer}
pretrain: {folds: 3}
evaluate:
  tasks: [old.yaml, sex]
  features: {other: {table: features.tsv}}
  own: {mine: {baseline: "mine.py:mine"}}
""",
    "mine.py": "def mine(kind):\n    return None\n",
    "template.yaml": "name: Mine\nspace: MNI152NLin2009aSym\n"
    "brain_mask: brain_mask.nii.gz\ngm: gm.nii.gz\nwm: wm.nii.gz\n",
    "atlas.yaml": "name: mine\nspace: MNI152\nimage: labels.nii.gz\nregions: regions.tsv\n"
    "compatible: [MNI152NLin2009aSym]\n",
    "regions.tsv": "index\tname\themisphere\tstructure\n1\tbankssts\tL\tcortex\n2\tinsula\tR\tcortex\n",
    "old.yaml": "name: old\nkind: regression\ntarget: age\nunit: years\n",
    "features.tsv": "participant_id\tone\nsub-01\t0.5\nsub-02\t0.7\nsub-03\t0.1\nsub-04\t0.2\n",
    "corrections.tsv": "scan\tdecision\tmask\tnote\nsub-01/anat/sub-01\taccept\tn/a\tlooks good\n"
    "sub-02/anat/sub-02\tn/a\tmask.nii.gz\tn/a\n",
    "freesurfer/sub-01/stats/aseg.stats": "# Measure EstimatedTotalIntraCranialVol, eTIV, volume, 1500000, mm^3\n",
}
