"""Each configuration in tests/configs is planned; the counts of jobs say that it was understood."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

CONFIGS = Path(__file__).resolve().parents[1] / "configs"

# Jobs that a configuration must plan on the dataset of nine scans and six people.
EXPECTED = {
    "tiny": {
        "bias_correct": 9,
        "measure": 9,
        "train": 4,
        "embed": 4,
        "embed_untrained": 4,
        "rival": 4,
        "probe": 8,
        "audit": 1,
        "baseline": 10,
        "confounds": 1,
        "interpret": 4,
        "interpret_measures": 2,
    },
    "sessions": {"bias_correct": 3, "qc": 3, "train": 12},
    "given_masks": {"skullstrip": 9},
    "two_methods": {
        "train": 6,
        "embed": 6,
        "rival": 6,
        "probe": 8,
        "baseline": 2,
        "interpret": 4,
        "interpret_measures": 0,
    },
    "joint": {"train": 4, "embed": 4},
    "seeds": {"train": 8, "embed": 8, "embed_untrained": 4, "rival": 0, "pretrain": 1, "audit": 1, "probe": 2},
    "precise": {"register": 9, "measure": 9},
}


def jobs(text: str) -> dict[str, int]:
    """The table of job counts that a dry run prints."""
    return {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", text, re.MULTILINE)}


def test_every_configuration_is_tested():
    assert set(EXPECTED) == {path.stem for path in CONFIGS.glob("*.yaml")}


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_dry_run(name, snakemake, heads, tmp_path):
    if name == "given_masks":
        for scan in heads.rglob("*_T1w.nii.gz"):
            stem = scan.relative_to(heads).as_posix().removesuffix("_T1w.nii.gz")
            mask = tmp_path / "masks" / f"{stem}_desc-brain_mask.nii.gz"
            mask.parent.mkdir(parents=True, exist_ok=True)
            mask.touch()
    config = tmp_path / f"{name}.yaml"
    text = (CONFIGS / f"{name}.yaml").read_text()
    config.write_text(text.replace("tiny.json", str(CONFIGS / "tiny.json")))
    done = snakemake(tmp_path, "-n", "--quiet", "rules", "--configfile", str(config), "--config", f"bids_dir={heads}")
    assert done.returncode == 0, done.stderr[-3000:]
    found = jobs(done.stdout + done.stderr)
    assert {rule: found.get(rule, 0) for rule in EXPECTED[name]} == EXPECTED[name]


def test_the_claim_has_every_twin_beside_its_method(snakemake, heads, tmp_path):
    """What a lab runs on its own data: 15 methods with three seeds, changed scans, and what embeddings hold."""
    config = CONFIGS.parents[1] / "workflow" / "claim.yaml"
    said = (f"bids_dir={heads}", "pretrain={folds: 2}", "evaluate={interpret: false}")
    done = snakemake(tmp_path, "-n", "--quiet", "rules", "--configfile", str(config), "--config", *said)
    assert done.returncode == 0, done.stderr[-3000:]
    found = jobs(done.stdout + done.stderr)
    trained = 15 * 3 * 2 + 2  # methods, seeds, folds; the untrained encoder once in each fold
    assert found["train"] == found["embed"] == trained
    assert found["embed_perturbed"] == 5 * trained and found["rival_perturbed"] == 5 * 2 * 2
    assert found["decode"] == 15 + 1 + 2 and found["perturbed"] == 2 * found["decode"]


def test_maps_of_another_program_need_no_step_of_a_scan(snakemake, heads, tmp_path):
    for scan in heads.rglob("*_T1w.nii.gz"):
        place = tmp_path / "cat12" / scan.relative_to(heads).parent / "mri"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"mwp1{scan.name.removesuffix('.gz')}").touch()
    said = ("pretrain={maps: cat12, methods: [y-aware], final: [y-aware], folds: 2}",)
    done = snakemake(tmp_path, "-n", "-p", "--config", f"bids_dir={heads}", *said)
    text = done.stdout + done.stderr
    assert done.returncode == 0, text[-3000:]
    found = jobs(text)
    assert found["take_arrays"] == found["train_final"] == 1 and found["train"] == 4
    assert not {"bias_correct", "template", "measure", "pack"} & set(found)
    assert "methods are left out: regional-measures, tissue-volumes, voxel-ridge" in text
    assert found["rival"] == 2 and "--method regional-measures" not in text  # voxel-pca alone
    assert "--root results/given/maps --source maps" in text and "mwp1sub-003_T1w.nii" in text


def test_until_a_stage_stops_there(snakemake, heads, tmp_path):
    done = snakemake(tmp_path, "-n", "--quiet", "rules", "--until", "measures", "--config", f"bids_dir={heads}")
    found = jobs(done.stdout + done.stderr)
    assert found["measures"] == 1 and found["measure"] == 9
    assert not {"pack", "train", "evaluate", "report"} & set(found)


def test_pages_of_scans_come_before_training_and_wait_for_their_own_scans(snakemake, heads, tmp_path):
    page = "results/report/participants/chunks/sub-001.tsv"
    done = snakemake(tmp_path, "-n", "-p", page, "--config", f"bids_dir={heads}")
    text = done.stdout + done.stderr
    assert jobs(text)["measure"] == 2 and jobs(text)["participant_pages"] == 1  # two sessions
    command = next(line for line in text.splitlines() if "report participants" in line)
    assert '"age":30' in command and "sub-002" not in command
    done = snakemake(tmp_path, "-n", "-p", "results/report/cohort.html", "--config", f"bids_dir={heads}")
    text = done.stdout + done.stderr
    assert jobs(text)["participant_pages"] == 6 and not {"train", "pack", "report"} & set(jobs(text))
    assert "--pages results/report/participants/chunks/sub-001.tsv" in text


def test_numbers_and_null_on_the_command_line_are_what_they_are_in_a_file(snakemake, heads, tmp_path):
    said = 'preprocess={"qc":{"cjv":[null,1.9]}}'
    done = snakemake(tmp_path, "-n", "-p", "results/preprocess/qc.tsv", "--config", f"bids_dir={heads}", said)
    assert done.returncode == 0, done.stderr[-3000:]
    assert '"cjv": [null, 1.9]' in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("pretrain={temprature: 0.2}", "did you mean 'temperature'?"),
        ("bid_dir=x", "did you mean 'bids_dir'?"),
        ("pretrain={folds: many}", "pretrain.folds"),
        ("preprocess={threads: 4}", "deterministic"),
        ("preprocess={recipe: quick}", "there is no recipe 'quick'"),
        ("preprocess={template: Colin27}", "there is no template 'Colin27'"),
    ],
)
def test_a_wrong_value_is_named(override, sentence, snakemake, heads, tmp_path):
    done = snakemake(tmp_path, "-n", "--config", f"bids_dir={heads}", override)
    assert done.returncode != 0
    assert sentence in done.stderr + done.stdout


@pytest.mark.parametrize("present", [True, False])
def test_a_table_of_features_is_probed_and_never_trained(present, snakemake, heads, tmp_path):
    table = tmp_path / "tables" / "foreign.csv"
    (tmp_path / "my.yaml").write_text(f"bids_dir: {heads}\nevaluate: {{features: {{foreign: {{table: {table}}}}}}}\n")
    if present:
        table.parent.mkdir()
        rows = [f"{person.name},{number}\n" for number, person in enumerate(sorted(heads.glob("sub-*")))]
        table.write_text("participant_id,f1\n" + "".join(rows))
    done = snakemake(tmp_path, "-n", "-p", "--configfile", "my.yaml")
    text = done.stdout + done.stderr
    assert "results/pretrain/foreign" not in text
    if present:
        assert done.returncode == 0 and "--method foreign --features" in re.sub(r"\s+", " ", text)
    else:
        assert done.returncode != 0
        assert "foreign.csv" in text and "does not exist" in text and "Correct the path" in text


@pytest.mark.parametrize("name", ["tissue-volumes", "no-such-method"])
def test_what_has_no_encoder_is_never_trained(name, snakemake, heads, tmp_path):
    done = snakemake(tmp_path, "-n", f"results/pretrain/{name}/fold-0/model.json", "--config", f"bids_dir={heads}")
    assert done.returncode != 0
    assert "MissingRuleException" in done.stdout + done.stderr


def test_scans_that_the_pack_drops_are_excluded(snakemake, heads, tmp_path):
    done = snakemake(tmp_path, "-n", "-p", "results/report/excluded.tsv", "--config", f"bids_dir={heads}")
    command = next(line for line in done.stdout.splitlines() + done.stderr.splitlines() if "report excluded" in line)
    stages = ("bids", "preprocess", "measures", "pretrain/arrays")
    assert all(f" results/{stage}/excluded.tsv" in command for stage in stages)


def test_a_dataset_that_does_not_exist_is_a_sentence(snakemake, tmp_path):
    done = snakemake(tmp_path, "-n", "--config", "bids_dir=nowhere")
    assert done.returncode != 0
    assert "nowhere" in done.stderr + done.stdout


def test_relative_paths_are_relative_to_the_file_that_names_them(snakemake, heads, tmp_path):
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "my.yaml").write_text("bids_dir: data/bids\n")
    (tmp_path / "study" / "data").mkdir()
    (tmp_path / "study" / "data" / "bids").symlink_to(heads)
    (tmp_path / "run").mkdir()
    done = snakemake(
        tmp_path,
        "-n",
        "--quiet",
        "rules",
        "--directory",
        "run",
        "--configfile",
        "study/my.yaml",
        "--until",
        "bias_correct",
    )
    assert jobs(done.stdout + done.stderr).get("bias_correct") == 9, done.stderr[-2000:]


def test_lint_and_list_need_no_data(snakemake, tmp_path):
    for option in ("--lint", "--list"):
        done = snakemake(tmp_path, option)
        assert done.returncode == 0, done.stderr[-2000:]
    assert not (tmp_path / "results").exists()


def test_a_failed_scan_is_left_out_of_the_next_pass(snakemake, heads, tmp_path):
    marker = tmp_path / "results" / "failures" / "sub-003" / "anat" / "sub-003.json"
    marker.parent.mkdir(parents=True)
    marker.write_text('{"scan": "sub-003/anat/sub-003", "stage": "preprocess register", "reason": "x", "log": "y"}')
    options = ("-n", "--quiet", "rules", "--config", f"bids_dir={heads}")
    done = snakemake(tmp_path, *options)
    assert jobs(done.stdout + done.stderr)["bias_correct"] == 8
    done = snakemake(tmp_path, *options, "failures={retry: true}")
    assert jobs(done.stdout + done.stderr)["bias_correct"] == 9
    done = snakemake(tmp_path, *options, "failures={fatal: true}")
    assert done.returncode != 0 and "fatal" in done.stderr + done.stdout


def test_a_persons_word_reaches_its_scan_alone(snakemake, heads, tmp_path):
    """A mended mask goes to the skull-strip of its scan, a decision to the gate, the engine to every registration."""
    mended, rejected = "sub-003/anat/sub-003", "sub-001/ses-1/anat/sub-001_ses-1"
    (tmp_path / "it's mended.nii.gz").touch()
    table = tmp_path / "words.tsv"
    table.write_text(f"scan\tdecision\tmask\n{mended}\tn/a\tit's mended.nii.gz\n{rejected}\treject\tn/a\n")
    config = tmp_path / "config.yaml"
    config.write_text(f"bids_dir: {heads}\npreprocess: {{corrections: words.tsv, deformable: greedy}}\n")
    done = snakemake(tmp_path, "-n", "-p", "--until", "preprocess", "--configfile", str(config))
    assert done.returncode == 0, done.stderr[-3000:]
    commands = re.findall(r"python -m anatcl preprocess (\w+) (.*)", done.stdout + done.stderr)
    strips = [command for step, command in commands if step == "skullstrip"]
    given = [command for command in strips if "--method mask" in command]
    assert len(strips) == 9 and len(given) == 1
    assert f"--scan {mended}" in given[0] and "mended.nii.gz" in given[0]
    gate = next(command for step, command in commands if step == "gate")
    assert f'"reject": ["{rejected}"]' in gate
    assert all("--engine greedy" in command for step, command in commands if step == "register")


def test_several_scans_of_a_person_share_masks_and_registration(snakemake, heads, tmp_path):
    """One mean for each who has several scans; a scan of somebody who has one goes its own way."""
    options = ("-n", "-p", "--until", "measures", "--config", f"bids_dir={heads}")
    done = snakemake(tmp_path, *options, "measures={longitudinal: true}")
    assert done.returncode == 0, done.stderr[-3000:]
    planned = jobs(done.stdout + done.stderr)
    assert (planned["person_template"], planned["person_align"]) == (3, 6)
    assert planned["bias_correct"] == 9 and planned["register"] == planned["skullstrip"] == 12
    commands = re.findall(r"python -m anatcl preprocess (\w+) (.*)", done.stdout + done.stderr)
    for step in ("skullstrip", "register"):
        shared = {re.search(r"--scan (\S+)", c)[1] for s, c in commands if s == step and "from-person_to-T1w" in c}
        assert len(shared) == 6 and not any("rec-person" in scan for scan in shared)
        alone = next(c for s, c in commands if s == step and "--scan sub-003/anat/sub-003 " in c)
        assert "person_to" not in alone
    assert "InputFunctionException" not in done.stderr
    broken = tmp_path / "results" / "failures" / "sub-001" / "anat" / "sub-001_rec-person.json"
    broken.parent.mkdir(parents=True)
    row = {
        "scan": "sub-001/anat/sub-001_rec-person",
        "stage": "preprocess skullstrip",
        "reason": "no brain.",
        "file": "",
    }
    broken.write_text(json.dumps(row | {"log": "", "remedy": ""}))
    done = snakemake(tmp_path, *options, "measures={longitudinal: true}")
    planned = jobs(done.stdout + done.stderr)
    assert (planned["person_template"], planned["person_align"], planned["measure"]) == (2, 4, 9)


def test_the_engine_surface_makes_surfaces_first(snakemake, heads, tmp_path):
    """`measure` gets the surfaces of its scan and their limits; the recipe says whether there are any."""
    pytest.importorskip("cat_surf", reason="the optional engine surface is not installed")
    options = (
        "-n",
        "-p",
        "--until",
        "measures",
        "--config",
        f"bids_dir={heads}",
        "preprocess={accept: [sub-003/anat/sub-003]}",
    )
    done = snakemake(tmp_path, *options)
    assert jobs(done.stdout + done.stderr)["surfaces"] == 9
    done = snakemake(tmp_path, *options, "measures={engine: volume}")
    assert "surfaces" not in jobs(done.stdout + done.stderr)
    done = snakemake(tmp_path, *options, "measures={engine: surface, surface_mm: 0.8, surface_qc: {euler: [1, 3]}}")
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    text = done.stdout + done.stderr
    assert jobs(text)["surfaces"] == jobs(text)["measure"] == 9
    commands = dict(
        re.findall(r"python -m anatcl measures (surfaces|measure) --scan (?:sub-003/anat/sub-003) (.*)", text)
    )
    assert "--voxel-mm 0.8" in commands["surfaces"]
    assert "--stem results/measures/sub-003/anat/sub-003 " in commands["surfaces"]
    assert "--surfaces results/measures/sub-003/anat/sub-003 " in commands["measure"]
    assert '"euler": [1.0, 3.0]' in commands["measure"] and '"accept": ["sub-003/anat/sub-003"]' in commands["measure"]


def test_a_label_with_a_plus_is_a_scan_like_any_other(snakemake, heads, tmp_path):
    """BIDS allows ``+`` in labels."""
    stem = "bids/sub-a+b/anat/sub-a+b"
    (tmp_path / stem).parent.mkdir(parents=True)
    (tmp_path / f"{stem}_T1w.nii.gz").write_bytes((heads / "sub-003/anat/sub-003_T1w.nii.gz").read_bytes())
    quiet = "evaluate={tasks: [{name: who, kind: multiclass, target: participant_id}]}"
    options = ("--until", "bias_correct", "--config", "bids_dir=bids", quiet, "pretrain={methods: [simclr], folds: 2}")
    done = snakemake(tmp_path, "-n", "--quiet", "rules", *options)
    assert "pretrain.folds: 1 value of" in done.stderr and "MissingInput" not in done.stderr  # one person is too few
    other = tmp_path / "bids/sub-c/anat/sub-c_T1w.nii.gz"
    other.parent.mkdir(parents=True)
    other.write_bytes((heads / "sub-003/anat/sub-003_T1w.nii.gz").read_bytes())
    done = snakemake(tmp_path, "-n", "--quiet", "rules", *options)
    assert done.returncode == 0, done.stderr[-2000:]
    assert jobs(done.stdout + done.stderr)["bias_correct"] == 2
