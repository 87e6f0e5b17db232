"""Wrong values of every section: refused before the first job, by a sentence with key, value and nearest right word."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from anatcl.base.errors import InputError, InputErrors
from anatcl.plan import Plan, open_plan
from anatcl.pretrain.arrays import array_meta, write_arrays
from anatcl.spec.recipe import load_recipe

ROOT = Path(__file__).resolve().parents[2]
CUTS = {"name": "dx", "kind": "binary", "target": "diagnosis", "positives": ["patient"], "negatives": ["HC"]}


def task(**values: object) -> dict:
    """A configuration with one more task."""
    return {"evaluate": {"tasks": ["age", {**CUTS, **values}]}}


def age(**values: object) -> dict:
    """A configuration with one more task that predicts age."""
    return {"evaluate": {"tasks": ["age", {"name": "mine", "kind": "regression", "target": "age", **values}]}}


def protocol(**values: object) -> dict:
    return {"evaluate": {"protocols": ["folds", values]}}


def option(**values: object) -> dict:
    return {"pretrain": {"options": values}}


def section(name: str, **values: object) -> dict:
    return {name: values}


THEIRS = {"weights": "theirs.safetensors", "architecture": "resnet-tiny", "pretrained_on": "unknown"}


def packed(**values: object) -> dict:
    """A configuration of packed arrays without measures."""
    return {"pretrain": {"arrays": "packed", "methods": ["y-aware"], **values}}


# What is written, and what the sentence must say: the key, and the nearest right word or what is right.
WRONG: dict[str, tuple[dict, tuple[str, ...]]] = {
    # names of keys
    "section": ({"pretrian": {}}, ("'pretrian'", "'pretrain'")),
    "key": (section("measures", atlass="x"), ("'measures.atlass'", "'atlas'")),
    "key two levels down": (section("preprocess", skullstrip={"methd": "ants"}), ("skullstrip.methd", "'method'")),
    "key of a table of features": (
        {"evaluate": {"features": {"x": {"table": "feet.csv", "column": "f"}}}},
        ("evaluate.features.x.column", "'columns'"),
    ),
    # whole run
    "device": ({"device": "cud"}, ("device is 'cud'", "'cuda'")),
    "seed": ({"seed": -1}, ("seed is -1",)),
    "deterministic": ({"preprocess": {"threads": 2}}, ("deterministic", "preprocess: threads: 1")),
    "dataset": ({"bids_dir": "nowhere"}, ("bids_dir", "there is no such folder")),
    "means of given masks": (
        {"measures": {"longitudinal": True}, "preprocess": {"skullstrip": {"method": "none"}}},
        ("measures.longitudinal", "method is 'none'", "longitudinal: false"),
    ),
    "longitudinal": (section("measures", longitudinal="maybe"), ("measures.longitudinal is 'maybe'",)),
    # participants and bids
    "participant": (section("participants", include=["sub-03"]), ("participants.include[0]", "'sub-03'", "'sub-003'")),
    "query over participants": (section("participants", query="agee > 3"), ("agee", "'age'")),
    "entity": (section("bids", entities={"sesion": ["1"]}), ("bids.entities", "'session'")),
    "runs": (section("bids", runs="frist"), ("bids.runs is 'frist'", "'first'")),
    "verify": (section("bids", verify="fast"), ("bids.verify is 'fast'", "full, quick")),
    "columns": (section("bids", columns={"age": "agee"}), ("'agee'", "'age'")),
    "sex": (section("bids", sex_levels={"1": "male"}), ("bids.sex_levels", "M, F or n/a")),
    "voxel sides": (section("bids", voxel_mm=[3, 1]), ("bids.voxel_mm", "a smaller and a larger")),
    "layout": (section("bids", layout="openbbh"), ("bids.layout is 'openbbh'", "'openbhb'")),
    "layout of another dataset": (section("bids", layout="openbhb"), ("bids_dir", "{train,val}/{rawdata,derivatives}")),
    # preprocess
    "recipe": (section("preprocess", recipe="fsat"), ("preprocess.recipe", "'fsat'", "'fast'")),
    "template": (
        section("preprocess", template="MNI152NLin2009aSmy"),
        ("preprocess.template", "'MNI152NLin2009aSym'"),
    ),
    "engine": (section("preprocess", deformable="gredy"), ("preprocess.deformable is 'gredy'", "'greedy'")),
    "skull-strip": (section("preprocess", skullstrip={"method": "masks"}), ("skullstrip.method", "'mask'")),
    "masks that do not exist": (
        section("preprocess", skullstrip={"method": "mask", "masks": "no/{scan}.nii.gz"}),
        ("preprocess.skullstrip.masks", "9 of 9 scans"),
    ),
    "quality number": (section("preprocess", qc={"cvj": [None, 2]}), ("preprocess.qc.cvj", "'cjv'")),
    "limits the wrong way round": (section("preprocess", qc={"icv_ml": [24, 7]}), ("preprocess.qc.icv_ml", "below")),
    "one limit": (section("preprocess", qc={"cjv": 2}), ("preprocess.qc.cjv", "[lowest, highest]")),
    "accepted scan": (
        section("preprocess", accept=["sub-003/anat/sub-03"]),
        ("preprocess.accept", "'sub-003/anat/sub-003'"),
    ),
    "rejected scan": (section("preprocess", reject=["sub-99"]), ("preprocess.reject", "'sub-99'")),
    "accepted and rejected": (
        section("preprocess", accept=["sub-003/anat/sub-003"], reject=["sub-003/anat/sub-003"]),
        ("preprocess.reject", "both accepted and rejected"),
    ),
    "corrections": (section("preprocess", corrections="none.tsv"), ("preprocess.corrections", "does not exist")),
    "column of corrections": (section("preprocess", corrections="words.tsv"), ("words.tsv", "'decision'")),
    "decision of corrections": (section("preprocess", corrections="verdicts.tsv"), ("line 2", "'acept'", "'accept'")),
    "key of a recipe": (section("preprocess", recipe="key.json"), ("key.json", "register.shrnk", "'shrink'")),
    "value of a recipe": (section("preprocess", recipe="value.json"), ("value.json", "'CCC'", "'CC'")),
    "levels of a recipe": (section("preprocess", recipe="levels.json"), ("levels.json", "as many levels")),
    "key of a template": (section("preprocess", template="key.yaml"), ("key.yaml", "'brain_mask'")),
    "file of a template": (section("preprocess", template="file.yaml"), ("brain_mask does not exist", "file.yaml")),
    # measures
    "atlas": (section("measures", atlas="desikan-kiliany"), ("measures.atlas", "'desikan-killiany'")),
    "key of an atlas": (section("measures", atlas="atlas.yaml"), ("atlas.yaml", "'regions'")),
    "space of an atlas": (section("measures", atlas="space.yaml"), ("Talairach", "compatible")),
    "thickness": (section("measures", thickness="dirct"), ("measures.thickness is 'dirct'", "'direct'")),
    "option of thickness": (
        section("measures", thickness="direct", thickness_options={"iteration": 3}),
        ("thickness_options", "'iteration'", "'iterations'"),
    ),
    "option of the recipe's thickness": (
        section("measures", thickness_options={"readout": "dept"}),
        ("readout is 'dept'", "'depth'"),
    ),
    "option of a method without options": (
        section("measures", thickness="distance", thickness_options={"max_mm": 3}),
        ("thickness distance", "'max_mm'"),
    ),
    "derivatives": (section("measures", freesurfer="none"), ("measures.freesurfer", "does not exist")),
    # pretrain
    "method": (section("pretrain", methods=["y-awear"]), ("pretrain.methods[0]", "'y-awear'", "'y-aware'")),
    "method twice": (section("pretrain", methods=["simclr", "simclr"]), ("pretrain.methods", "twice")),
    "part of a joint objective": (
        section("pretrain", joint={"both": {"y-awear": 1.0}}),
        ("pretrain.joint.both.y-awear", "'y-aware'"),
    ),
    "empty objective": (section("pretrain", joint={"both": {}}), ("pretrain.joint.both", "has no part")),
    "joint objective": (
        section("pretrain", joint={"both": {"y-aware": 1.0}}, methods=["bth"]),
        ("pretrain.methods[0] is 'bth'", "'both'"),
    ),
    "shared chunks": (
        {"pretrain": {"processes": 2, "options": {"chunk": 8}}},
        ("pretrain.options.chunk", "2 are to share each batch"),
    ),
    "pooling": (option(pooling="gird"), ("pretrain.options.pooling is 'gird'", "'grid'")),
    "encoder": (section("pretrain", encoder="resnet81"), ("pretrain.encoder is 'resnet81'", "'resnet18'")),
    "final encoder of no method": (
        section("pretrain", methods=["simclr", "y-aware"], final=["y-awear"]),
        ("pretrain.final[0]", "'y-awear'", "'y-aware'"),
    ),
    "maps that a BIDS dataset does not bring": (
        section("pretrain", arrays="release"),
        ("pretrain.arrays", "a BIDS dataset has none", "layout: openbhb"),
    ),
    "packed arrays that do not exist": (
        section("pretrain", arrays="relaese"),
        ("pretrain.arrays", "arrays.json is missing", "'release'"),
    ),
    "map of packed arrays": (packed(map="quasi-raw"), ("pretrain.map", "hold vbm maps", "Set map: vbm")),
    "voxels of packed arrays": (packed(voxel_mm=2.0), ("pretrain.voxel_mm", "packed already", "6.0 mm")),
    "crop of packed arrays": (packed(crop=[[0, 4], [0, 5], [0, 5]]), ("pretrain.crop", "packed already")),
    "measures of packed arrays": (
        packed(methods=["y-aware", "anatcl-z"]),
        ("pretrain.methods[1]", "'anatcl-z'", "no measures.tsv"),
    ),
    "scans of packed arrays": (
        packed() | section("preprocess", reject=["sub-1"]),
        ("preprocess.reject", "with pretrain: arrays or maps no scan is preprocessed"),
    ),
    "tables of packed arrays": (packed() | section("bids", runs="first"), ("bids.runs", "rows.tsv")),
    "maps of another program": (section("pretrain", maps="mpas"), ("pretrain.maps", "does not exist")),
    "maps of other people": (
        section("pretrain", maps="theirs", methods=["y-aware"]),
        ("pretrain.maps", "none of its maps belongs to a scan"),
    ),
    "maps and measures": (
        section("pretrain", maps="cat12", methods=["anatcl-z"]),
        ("pretrain.methods[0]", "'anatcl-z'", "measures: freesurfer"),
    ),
    "encoder of another map": (
        packed() | {"evaluate": {"encoders": {"x": {**THEIRS, "input": {"map": "head", "shape": [4, 5, 6]}}}}},
        ("evaluate.encoders.x", "takes the head map", "only vbm"),
    ),
    "map": (section("pretrain", map="vmb"), ("pretrain.map is 'vmb'", "'vbm'")),
    "group": (section("pretrain", group="sit"), ("pretrain.group", "'sit'", "'site'")),
    "folds": (section("pretrain", folds=7), ("pretrain.folds", "6 values of 'participant_id'")),
    "yes for a number": (section("pretrain", epochs=True), ("pretrain.epochs", "not a number")),
    "crop": (section("pretrain", crop=[[9, 3], [0, 5], [0, 5]]), ("pretrain.crop[0]", "below the last")),
    "shared batch": (section("pretrain", batch_size=9, processes=2), ("pretrain.batch_size", "multiple of 2")),
    "half precision": ({"device": "cpu", "pretrain": {"precision": "fp16"}}, ("pretrain.precision", "bf16")),
    "option of training": (option(weight_deca=0.1), ("pretrain.options.weight_deca", "'weight_decay'")),
    "option one level up": (option(temperature=0.2), ("'temperature'", "pretrain: {temperature: ...}")),
    "augmentation": (option(augment={"flipp": {}}), ("pretrain.options.augment", "'flip'")),
    "word for augmentations": (option(augment="atuo"), ("pretrain.options.augment", "'auto'")),
    "parameter of an augmentation": (option(augment={"affine": {"degree": 5}}), ("affine.degree", "'degrees'")),
    "range of an augmentation": (option(augment={"flip": {"p": 1.5}}), ("flip.p is 1.5", "less than or equal to 1")),
    # evaluate
    "shipped task": ({"evaluate": {"tasks": ["agee"]}}, ("evaluate.tasks[0]", "'age'")),
    "task twice": ({"evaluate": {"tasks": ["age", "age"]}}, ("evaluate.tasks[1]", "twice")),
    "key of a task": (task(positivs=["x"]), ("evaluate.tasks[1].positivs", "'positives'")),
    "kind of a task": (task(kind="binry"), ("evaluate.tasks[1].kind is 'binry'", "'binary'")),
    "name of a task": (task(name="a/b"), ("evaluate.tasks[1].name", "that cannot be in a file name")),
    "column of a task": (task(target="diagnosys"), ("evaluate.tasks[1]", "task dx", "'diagnosis'")),
    "class that nobody has": (task(positives=["Patient"]), ("'Patient'", "HC, patient", "'patient'")),
    "both classes at once": (task(negatives=["patient"]), ("evaluate.tasks[1]", "both positive and negative")),
    "covariate": (task(covariates=["agge"]), ("task dx", "'agge'", "'age'")),
    "column kept in harmonising": (task(harmonise="combat", preserve=["sexx"]), ("'sexx'", "'sex'")),
    "harmonisation": (task(harmonise="combta"), ("harmonise is 'combta'", "'combat'")),
    "site of a task": (task(harmonise="combat", site="scaner"), ("task dx", "'scaner'", "'scanner'")),
    "metric of a task": (task(metrics=["roc_acu"]), ("'roc_acu'", "'roc_auc'")),
    "query of a task": (task(query="sitee == 'A'"), ("task dx", "sitee", "'site'")),
    "training query": (task(train_query="diagnosys == 'HC'"), ("task dx", "'diagnosis'")),
    "nobody in a task": (task(query="age > 300"), ("task dx", "no participant takes part")),
    "gap group": (
        task(gap_groups=[{"name": "g", "colum": "sex", "positives": ["M"], "negatives": ["F"]}]),
        ("gap_groups[0].colum", "'column'"),
    ),
    "report table of a task": (task(table="diagnoses"), ("evaluate.tasks[1].table", "'diagnosis'")),
    "key of a task's file": ({"evaluate": {"tasks": ["task.yaml"]}}, ("task.yaml", "'min_per_class'")),
    "baseline": ({"evaluate": {"baselines": ["tissue-volume"]}}, ("evaluate.baselines[0]", "'tissue-volumes'")),
    "features that do not exist": (
        {"evaluate": {"features": {"x": {"table": "fet.csv"}}}},
        ("evaluate.features.x.table", "does not exist"),
    ),
    "features of nobody": ({"evaluate": {"features": {"x": {"table": "nobody.csv"}}}}, ("nobody.csv", "`scan`")),
    "columns of features": (
        {"evaluate": {"features": {"x": {"table": "feet.csv", "columns": "g.*"}}}},
        ("evaluate.features.x.columns", "'g.*'", "f1"),
    ),
    "name of features": ({"evaluate": {"features": {"y-aware": {"table": "feet.csv"}}}}, ("another method's name",))
    ,
    "protocol": ({"evaluate": {"protocols": ["fodls"]}}, ("evaluate.protocols[0]", "'folds'")),
    "key of a protocol": (protocol(kind="few-shot", size=[8]), ("evaluate.protocols[1].size", "'sizes'")),
    "kind of a protocol": (protocol(kind="leave-sight-out"), ("kind is 'leave-sight-out'", "'leave-site-out'")),
    "column of a protocol": (protocol(kind="leave-site-out", column="scaner"), ("protocols[1].column", "'scanner'")),
    "one site to leave out": (protocol(kind="leave-site-out"), ("protocols[1].column", "one value, 'A'")),
    "value of a transfer": (
        protocol(kind="transfer", column="scanner", train=["trio"], test=["Prisma"]),
        ("protocols[1].train", "'trio'", "'Trio'"),
    ),
    "probe of a protocol": (protocol(kind="folds", probe="kn"), ("protocols[1].probe is 'kn'", "'knn'")),
    "subgroup": ({"evaluate": {"subgroups": ["sexx"]}}, ("evaluate.subgroups[0]", "'sexx'", "'sex'")),
    "site column": ({"evaluate": {"site_column": "scaner"}}, ("evaluate.site_column", "'scanner'")),
    "confound": ({"evaluate": {"confounds": ["scaner"]}}, ("evaluate.confounds[0]", "'scanner'")),
    "perturbation": ({"evaluate": {"perturb": ["blurr"]}}, ("evaluate.perturb[0]", "'blur'")),
    "what is decoded": ({"evaluate": {"decode": "measure"}}, ("evaluate.decode is 'measure'", "'measures'")),
    "decoded, nothing measured": (
        {"evaluate": {"decode": "measures", "baselines": ["majority-median"]},
         "pretrain": {"maps": "cat12", "methods": ["y-aware"]}},
        ("evaluate.decode", "nothing is measured", "decode: none"),
    ),
    "adjusted for": (
        {"evaluate": {"decode": "measures", "decode_adjust": ["age", "scaner"]}},
        ("evaluate.decode_adjust[1]", "'scanner'"),
    ),
    "standardised": (
        {"pretrain": {"options": {"standardise": ["y-awar"]}}},
        ("pretrain.options.standardise", "'y-awar'", "'y-aware'"),
    ),
    "shuffles within": ({"evaluate": {"shuffle_within": "scaner"}}, ("evaluate.shuffle_within", "'scanner'")),
    "rival": ({"evaluate": {"rivals": ["voxel-pcs"]}}, ("evaluate.rivals[0]", "'voxel-pca'")),
    "name of a rival": ({"evaluate": {"features": {"voxel-pca": {"table": "feet.csv"}}}}, ("another method's name",)),
    "shuffles": ({"evaluate": {"shuffles": -2}}, ("evaluate.shuffles is -2",)),
    "untrained seeds": ({"evaluate": {"untrained_seeds": 0}}, ("evaluate.untrained_seeds is 0",)),
    "rows that teach covariates": (
        task(covariates=["sex"], covariates_query="diagnosi == 'HC'"),
        ("covariates_query", "diagnosi", "'diagnosis'"),
    ),
    "bootstrap": ({"evaluate": {"bootstrap": -1}}, ("evaluate.bootstrap is -1",)),
    "threshold of another kind": (task(kind="regression", target="age"), ("does not read positives", "binary")),
    "threshold that is not a number": (
        task(positives=[], negatives=[], threshold=float("nan")),
        ("evaluate.tasks[1].threshold: it must be a number or median",),
    ),
    "threshold and classes": (task(threshold=3), ("either a threshold, or positives",)),
    "columns to keep without harmonising": (task(preserve=["sex"]), ("preserve needs harmonise",)),
    "metric that needs the bias correction": (age(metrics=["mae_corrected"]), ("'mae_corrected'", "mae")),
    "metric of a gap group": (age(metrics=["gap_g_x"]), ("'gap_g_x'",)),
    "site that only a count reads": (age(site="scaner"), ("'scaner'", "'scanner'")),
    "group of a gap that nobody has": (
        age(gap_groups=[{"name": "g", "column": "sex", "positives": ["Male"], "negatives": ["F"]}]),
        ("evaluate.tasks[1].gap_groups[0]", "'Male'", "F, M"),
    ),
    "one side of a gap": (
        age(gap_groups=[{"name": "g", "column": "sex", "positives": ["M"], "negatives": []}]),
        ("gap_groups[0]", "needs positives and negatives"),
    ),
    "nobody to train on": (age(min_participants=2, train_query="sex == 'Male'"), ("train_query", "nobody to train")),
    "one class to train on": (
        task(min_per_class=2, train_query="diagnosis == 'HC'"),
        ("train_query", "one class only"),
    ),
    "one site to harmonise": (age(min_participants=2, harmonise="combat"), ("one site", "nothing to harmonise")),
    "query that would run code": (age(query="@__import__('os')"), ("'@'",)),
    "query that is no comparison": (age(query="age + 1"), ("not a comparison", "age >= 18")),
    "query of participants": (section("participants", query="age >>"), ("participants.query:",)),
    "task without a file": ({"evaluate": {"tasks": ["tsk.yaml"]}}, ("evaluate.tasks[0]", "no file of a task")),
    "yes without quotes": (
        task(positives=[True], negatives=["HC"]),
        ("no participant has 'True'", "Put yes, no, true and false in quotes"),
    ),
    "key of another protocol": (protocol(kind="repeated", sizes=[8]), ("does not read sizes", "folds, repeats")),
    "folds of the protocol folds": (
        {"evaluate": {"protocols": [{"kind": "folds", "folds": 3}]}},
        ("does not read folds", "pretrain: folds"),
    ),
    "two protocols of one name": (
        {"evaluate": {"protocols": [{"kind": "few-shot", "sizes": [4]}, {"kind": "few-shot", "sizes": [8, 4]}]}},
        ("evaluate.protocols", "few-shot", "the same name"),
    ),
    "a protocol said twice": ({"evaluate": {"protocols": ["folds", {"kind": "folds"}]}}, ("with the same name",)),
    "transfer as a word": ({"evaluate": {"protocols": ["transfer"]}}, ("protocols[0]", "train: [A], test: [B]")),
    "subgroup twice": ({"evaluate": {"subgroups": ["sex", "sex"]}}, ("evaluate.subgroups", "twice")),
    "features of other people": (
        {"evaluate": {"features": {"x": {"table": "others.csv"}}}},
        ("evaluate.features.x.table", "others.csv", "no scan of the dataset"),
    ),
    "features without numbers": (
        {"evaluate": {"features": {"x": {"table": "text.csv"}}}},
        ("evaluate.features.x.table", "no numeric column"),
    ),
    "features with a row twice": (
        {"evaluate": {"features": {"x": {"table": "twice.csv"}}}},
        ("evaluate.features.x.table", "sub-003", "Keep one row"),
    ),
    "features without anything": ({"evaluate": {"features": {"x": {"table": "empty.tsv"}}}}, ("empty.tsv", "`scan`")),
    "columns of features that are no pattern": (
        {"evaluate": {"features": {"x": {"table": "feet.csv", "columns": "f["}}}},
        ("evaluate.features.x.columns", "not a regular expression"),
    ),
    "name of features with other signs": (
        {"evaluate": {"features": {"my_model": {"table": "feet.csv"}}}},
        ("evaluate.features.my_model", "'my-model'"),
    ),
    # what YAML makes of words
    "number for a key": ({1: 2}, ("no key '1'",)),
    "number for a key two levels down": ({"pretrain": {1: 2}}, ("no key 'pretrain.1'",)),
    "nothing for a value": (section("pretrain", epochs=None), ("pretrain.epochs is empty", "whole number")),
    "date for a number": ({"seed": datetime.date(2024, 1, 1)}, ("seed is 2024-01-01",)),
    "participant without zeros": (section("participants", include=[3]), ("'003' in quotes",)),
    "graphics processor": ({"device": "gpu"}, ("device is 'gpu'", "'cuda'")),
    "infinite voxel": (section("bids", voxel_mm=[0.2, float("inf")]), ("bids.voxel_mm[1] is inf",)),
    "compile": (option(compile=None), ("pretrain.options.compile: it should be auto, true or false",)),
    "unit": (section("bids", units={"age": "monts"}), ("bids.units", "'monts'", "'month'")),
    "unit of no column": (section("bids", units={"aeg": "months"}), ("bids.units", "'aeg'", "'age'")),
    "codes of no column": (section("bids", missing={"agee": [-9]}), ("bids.missing", "'agee'", "'age'")),
    "masks that nothing reads": (
        section("preprocess", skullstrip={"masks": "m/{scan}.nii.gz"}),
        ("preprocess.skullstrip", "method: mask"),
    ),
    "derivatives without tables": (section("measures", freesurfer="bids"), ("measures.freesurfer", "stats/*.stats")),
    "corrections without anything": (section("preprocess", corrections="empty.tsv"), ("the table is empty",)),
    "corrections with commas": (section("preprocess", corrections="feet.csv"), ("separated by commas", "tabs")),
    "image of an atlas": (
        section("measures", atlas="image.yaml"),
        ("no key 'image.pakage'", "'package'"),
    ),
    "column of an atlas": (section("measures", atlas="column.yaml"), ("column.tsv", "'tisue'", "'tissue'")),
    "name of a region": (section("measures", atlas="unnamed.yaml"), ("unnamed.tsv", "1 row", "name")),
    "label of a region": (section("measures", atlas="half.yaml"), ("half.tsv", "whole")),
    "atlas without regions": (section("measures", atlas="bare.yaml"), ("bare.tsv", "no row")),
    # report
    "title of the page": (section("report", title=["a", "b"]), ("report.title", "text")),
    "people of a map": (section("evaluate", interpret_people=0), ("evaluate.interpret_people is 0",)),
}  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, heads: Path) -> Path:
    """A folder with wrong files of every kind beside the configuration, and a dataset with a column of scanners."""
    folder = tmp_path_factory.mktemp("wrong values")
    dataset = folder / "bids"
    dataset.mkdir()
    for entry in heads.iterdir():
        (dataset / entry.name).symlink_to(entry)
    (dataset / "participants.tsv").unlink()
    header, *rows = (heads / "participants.tsv").read_text().splitlines()
    scanners = ("Trio", "Prisma")
    lines = [f"{header}\tscanner", *(f"{row}\t{scanners[n % 2]}" for n, row in enumerate(rows))]
    (dataset / "participants.tsv").write_text("\n".join(lines) + "\n")
    (folder / "words.tsv").write_text("scan\tdecisoin\na\taccept\n")
    (folder / "verdicts.tsv").write_text("scan\tdecision\nsub-003/anat/sub-003\tacept\n")
    (folder / "feet.csv").write_text("scan,f1,f2\nsub-003/anat/sub-003,1,2\n")
    (folder / "others.csv").write_text("participant_id,f1\nzz-1,1\n")
    (folder / "text.csv").write_text("participant_id,f1\nsub-003,a\n")
    (folder / "twice.csv").write_text("participant_id,f1\nsub-003,1\nsub-003,2\n")
    (folder / "empty.tsv").touch()
    (folder / "image.yaml").write_text("name: a\nspace: MNI152\nimage: {pakage: x, file: y}\nregions: regions.tsv\n")
    header = "index\tname\themisphere\tstructure"
    tables = {
        "column": f"{header}\ttisue\n1\tx\tL\tcortex\twm\n",
        "unnamed": f"{header}\n1\t\tL\tcortex\n",
        "half": f"{header}\n1.5\tx\tL\tcortex\n",
        "bare": f"{header}\n",
    }
    for name, content in tables.items():
        (folder / f"{name}.tsv").write_text(content)
        said = f"name: a\nspace: MNI152NLin2009aSym\nimage: task.yaml\nregions: {name}.tsv\n"
        (folder / f"{name}.yaml").write_text(said)
    (folder / "nobody.csv").write_text("who,f1\n")
    (folder / "task.yaml").write_text("name: mine\nkind: regression\ntarget: age\nmin_per_clas: 3\n")
    (folder / "key.yaml").write_text("name: Mine\nspace: Mine\nbrain_msk: a.nii.gz\ngm: b.nii.gz\nwm: c.nii.gz\n")
    (folder / "file.yaml").write_text("name: Mine\nspace: Mine\nbrain_mask: a.nii.gz\ngm: b.nii.gz\nwm: c.nii.gz\n")
    (folder / "atlas.yaml").write_text("name: a\nspace: MNI152\nimage: a.nii.gz\nregion: a.tsv\n")
    (folder / "space.yaml").write_text("name: a\nspace: Talairach\nimage: task.yaml\nregions: regions.tsv\n")
    (folder / "regions.tsv").write_text("index\tname\themisphere\tstructure\n1\tx\tL\tcortex\n")
    people = [f"sub-{n:03d}" for n in range(40)]
    rows = pd.DataFrame({"scan": [f"{p}/anat/{p}" for p in people], "participant_id": people, "session_id": "n/a"})
    rows = rows.assign(age=range(20, 60), sex=["M", "F"] * 20, site="A")
    write_arrays(
        folder / "packed", np.zeros((40, 4, 5, 6)), rows, array_meta((4, 5, 6), np.diag([6, 6, 6, 1]), "vbm", [])
    )
    (folder / "theirs.safetensors").touch()
    for place, name in (("theirs", "sub-99"), ("cat12", "sub-003")):
        (folder / place / "mri").mkdir(parents=True)
        (folder / place / "mri" / f"mwp1{name}_T1w.nii").touch()
    recipe = load_recipe("fast")
    for name, change in (("key", {"shrnk": [1]}), ("value", {"metric": "CCC"}), ("levels", {"shrink": [1]})):
        (folder / f"{name}.json").write_text(json.dumps(recipe | {"register": recipe["register"] | change}))
    return folder


@pytest.fixture
def refused(place: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict], InputErrors]:
    """Write a configuration, plan it, and return what it was refused for."""

    def refuse(values: dict) -> InputErrors:
        monkeypatch.chdir(place)
        (place / "my.yaml").write_text(yaml.safe_dump({"bids_dir": "bids"} | values))
        with pytest.raises(InputError) as caught:
            open_plan([ROOT / "config.yaml", place / "my.yaml"], {}, place, main=True)
        assert isinstance(caught.value, InputErrors)
        return caught.value

    return refuse


def test_there_are_many_over_all_sections():
    sections = {key for values, _ in WRONG.values() for key in values}
    assert len(WRONG) >= 60
    assert sections >= {"bids", "participants", "preprocess", "measures", "pretrain", "evaluate", "report"}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_value_is_one_sentence(case, refused, see_words):
    values, words = WRONG[case]
    error = refused(values)
    assert len(error.errors) == 1, str(error)
    see_words(str(error), words)
    assert "my.yaml" in str(error)  # the file that says it


@pytest.fixture
def see_words() -> Callable[[str, tuple[str, ...]], None]:
    def look(text: str, words: tuple[str, ...]) -> None:
        missing = [word for word in words if word not in text]
        assert not missing, f"{missing} not in: {text}"
        assert "Traceback" not in text and "\n" not in text

    return look


def test_all_that_is_wrong_is_said_at_once(refused):
    values = {
        "device": "tpu",
        "measures": {"atlas": "desikan"},
        "pretrain": {"group": "sit", "options": {"augment": {"flipp": {}}}},
        "preprocess": {"recipe": "quick", "accept": ["sub-99/anat/sub-99"]},
        "evaluate": {
            "tasks": ["age", {"name": "x", "kind": "binry", "target": "sex"}, {**CUTS, "target": "dignosis"}],
            "subgroups": ["sexx"],
        },
    }
    text = str(refused(values))
    keys = ("device", "measures.atlas", "pretrain.group", "pretrain.options.augment", "preprocess.recipe")
    keys += ("preprocess.accept", "evaluate.tasks[1].kind", "evaluate.tasks[2]: task dx", "evaluate.subgroups[0]")
    assert all(key in text for key in keys), text
    assert len(text.splitlines()) == len(keys) + 1 and text.startswith(f"{len(keys)} things are wrong")


def test_of_a_default_in_the_place_of_a_wrong_value_nothing_is_said(refused):
    (error,) = refused({"bids": {"columns": {"sex": "site"}}, "evaluate": {"tasks": 3}}).errors
    assert "evaluate.tasks[0] is 3" in str(error)


def test_the_command_line_is_named(place, monkeypatch):
    monkeypatch.chdir(place)
    with pytest.raises(InputErrors, match=r"^--config: pretrain\.encoder"):
        open_plan([ROOT / "config.yaml"], {"bids_dir": "bids", "pretrain": {"encoder": "resnet"}}, place, main=True)


def test_a_cohort_without_ages_needs_methods_without(refused, place):
    table = place / "bids" / "participants.tsv"
    kept = table.read_text()
    table.write_text("\n".join("\t".join(line.split("\t")[:1]) for line in kept.splitlines()) + "\n")
    try:
        quiet = {
            "evaluate": {"tasks": [{"name": "who", "kind": "multiclass", "target": "session_id", "min_per_class": 1}]}
        }
        text = str(refused({"pretrain": {"methods": ["simclr", "y-aware", "anatcl-z"]}} | quiet))
        assert "pretrain.methods[1]" in text and "pretrain.methods[2]" in text and "pretrain.methods[0]" not in text
        options = {"methods": ["simclr", "anatcl-z"], "alpha_age": 0}
        (place / "my.yaml").write_text(yaml.safe_dump({"bids_dir": "bids", "pretrain": options} | quiet))
        plan = open_plan([ROOT / "config.yaml", place / "my.yaml"], {}, place, main=True)
        assert plan.methods.encoders == ["simclr", "anatcl-z", "untrained"]
    finally:
        table.write_text(kept)


WRITTEN = {
    "a key twice": ("seed: 1\npretrain: {epochs: 3}\nseed: 2\n", ("'seed'", "twice", "line 2")),
    "a key twice, two levels down": ("pretrain: {epochs: 3, folds: 2, epochs: 4}\n", ("'epochs'", "twice")),
    "a tab": ("pretrain:\n\tepochs: 3\n", ("line 3", "spaces instead of tabs")),
    "a bracket that stays open": ("pretrain: {epochs: 3\n", ("not valid YAML (line",)),
    "no mapping": ("- pretrain\n", ("not valid YAML",)),
}


@pytest.mark.parametrize("case", WRITTEN)
def test_a_file_that_cannot_be_read_is_one_line(case, place, monkeypatch, see_words):
    monkeypatch.chdir(place)
    text, words = WRITTEN[case]
    (place / "my.yaml").write_text(f"bids_dir: bids\n{text}")
    with pytest.raises(InputError) as caught:
        open_plan([ROOT / "config.yaml", place / "my.yaml"], {}, place, main=True)
    see_words(str(caught.value), ("my.yaml", *words))


def test_a_key_that_is_a_number_on_the_command_line_is_refused(place, monkeypatch):
    monkeypatch.chdir(place)
    with pytest.raises(InputErrors, match=r"no key 'pretrain\.1'"):
        open_plan([ROOT / "config.yaml"], {"bids_dir": "bids", "pretrain": {1: 2}}, place, main=True)


def test_a_value_of_a_class_that_nobody_has_is_a_warning(place, monkeypatch, caplog):
    monkeypatch.chdir(place)
    (place / "my.yaml").write_text(yaml.safe_dump({"bids_dir": "bids"} | task(positives=["patient", "patinet"])))
    open_plan([ROOT / "config.yaml", place / "my.yaml"], {}, place, main=True)
    # 'Male' is in a shipped list of words.
    assert "positives: no participant has 'patinet'" in caplog.text and "'Male'" not in caplog.text


UNUSUAL = {
    "sections without a line": {"pretrain": None, "evaluate": None, "preprocess": {"qc": None}, "report": None},
    "one thing in the place of a list": {
        "pretrain": {"methods": "simclr"},
        "evaluate": {"tasks": "age", "baselines": "tissue-volumes", "protocols": {"kind": "few-shot", "sizes": 4}},
    },
    "nothing to compare with": {
        "pretrain": {"methods": ["simclr"]},
        "evaluate": {"baselines": [], "subgroups": [], "untrained": False},
    },
    "no pretraining": {"pretrain": {"methods": []}, "evaluate": {"untrained": False}},
    "two folds of scanners": {"pretrain": {"folds": 2, "group": "scanner"}},
    "every protocol": {
        "evaluate": {
            "protocols": [
                "folds",
                {"kind": "folds", "probe": "knn"},
                {"kind": "repeated", "folds": 2, "repeats": 3},
                {"kind": "repeated", "folds": 3},
                {"kind": "leave-site-out", "column": "scanner"},
                {"kind": "transfer", "column": "scanner", "train": "Trio", "test": "Prisma"},
                {"kind": "few-shot", "sizes": [4], "repeats": 2},
                {"kind": "few-shot", "sizes": [4], "probe": "knn"},
            ]
        }
    },
    "numbers as text": {"pretrain": {"learning_rate": "1e-4", "epochs": "20"}},
    "labels as numbers": {"bids": {"entities": {"session": 1, "run": [1, "n/a"]}}},
    "codes as numbers": {"bids": {"sex_levels": {1: "M", 2: "F"}, "missing": {"age": -9, "*": [999]}}},
    "a unit": {"bids": {"units": {"age": "years"}}},
    "transforms without parameters": {"pretrain": {"options": {"augment": {"flip": None, "noise": {}}}}},
    "no limit": {"preprocess": {"qc": {"cjv": [None, None]}}},
    "features of some": {"evaluate": {"features": {"x": {"table": "feet.csv", "columns": "f1"}}}},
    "a whole task": age(
        bias_correction=True,
        covariates="sex",
        metrics=["mae", "mae_corrected", "gap_site_share", "gap_g_sex"],
        gap_groups=[{"name": "sex", "column": "sex", "positives": "M", "negatives": "F"}],
        min_participants=2,
        train_query="diagnosis == 'HC'",
    ),
    "a score cut at its median": {
        "evaluate": {"tasks": [{"name": "old", "kind": "binary", "target": "age", "threshold": "median"}]}
    },
    "packed arrays": packed(final=["y-aware"]),
    "another site": {"evaluate": {"site_column": "scanner"}},
    "one participant by two patterns": {"participants": {"include": ["003", "sub-0*"]}},
}


@pytest.mark.parametrize("case", UNUSUAL)
def test_an_unusual_configuration_is_not_refused(case, place, monkeypatch):
    monkeypatch.chdir(place)
    (place / "my.yaml").write_text(yaml.safe_dump({"bids_dir": "bids"} | UNUSUAL[case]))
    plan = open_plan([ROOT / "config.yaml", place / "my.yaml"], {}, place, main=True)
    assert plan.cohort.scans and plan.tasks.loaded
    assert Plan.of_job().values == plan.values  # what is written out for the jobs can be read


RIGHT = [*(ROOT / "tests" / "configs").glob("*.yaml"), ROOT / "docs" / "results" / "ixi_run.yaml"]


@pytest.mark.parametrize("path", RIGHT, ids=lambda path: path.stem)
def test_right_configurations_are_not_refused(path, place, heads, monkeypatch, tmp_path):
    monkeypatch.chdir(place)
    values = {"bids_dir": str(heads)}
    if path.stem == "given_masks":
        values["preprocess"] = {"skullstrip": {"masks": f"{tmp_path}/{{scan}}.nii.gz"}}
        for scan in heads.rglob("*_T1w.nii.gz"):
            mask = tmp_path / f"{scan.relative_to(heads).as_posix().removesuffix('_T1w.nii.gz')}.nii.gz"
            mask.parent.mkdir(parents=True, exist_ok=True)
            mask.touch()
    assert open_plan([ROOT / "config.yaml", path], values, place, main=True).cohort.scans


REAL = ("method", "column of a task", "key of a recipe", "accepted scan", "parameter of an augmentation")


@pytest.mark.parametrize("module", [("snakemake",), ("anatcl", "run", "--")], ids=["snakemake", "anatcl run"])
def test_a_dry_run_says_the_sentence_and_no_frames(module, place, snakemake, see_words, tmp_path):
    """Several wrong values at once, in a process of its own."""
    values: dict = {"bids_dir": str(place / "bids")}
    for case in REAL:
        for key, said in WRONG[case][0].items():
            values[key] = {**values.get(key, {}), **said} if isinstance(said, dict) else said
    values["preprocess"]["recipe"] = str(place / "key.json")
    (tmp_path / "my.yaml").write_text(yaml.safe_dump(values))
    done = snakemake(tmp_path, "-n", "--configfile", "my.yaml", module=module)
    text = done.stdout + done.stderr
    assert done.returncode == 1 and "Traceback" not in text and 'File "' not in text, text
    assert "5 things are wrong" in text and not (tmp_path / "results" / "preprocess").exists()
    for case in REAL:
        missing = [word for word in WRONG[case][1] if word not in text]
        assert not missing, (missing, text)
