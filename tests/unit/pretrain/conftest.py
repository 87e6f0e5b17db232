"""A small synthetic cohort in the packed form: age thins a region, site shifts another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from anatcl.base.files import write_tsv
from anatcl.pretrain.arrays import array_meta, write_arrays
from anatcl.pretrain.folds import make_folds

SHAPE = (14, 16, 12)
REGIONS = ("lh_bankssts", "lh_insula", "rh_bankssts", "rh_cuneus", "rh_insula")


def make_cohort(folder: Path, people: int = 24, seed: int = 0, sessions: int = 1) -> dict[str, Path]:
    """Write arrays/, measures.tsv and folds.tsv; return their paths."""
    rng = np.random.default_rng(seed)
    rows, volumes, measures = [], [], []
    for i in range(people):
        age, sex, site = rng.uniform(20, 80), "MF"[i % 2], "AB"[i % 3 == 0]
        for session in range(sessions):
            stem = f"sub-{i:03d}" + (f"_ses-{session + 1}" if sessions > 1 else "")
            row = {"scan": f"sub-{i:03d}/anat/{stem}", "participant_id": f"sub-{i:03d}", "age": age}
            rows.append(row | {"sex": sex, "site": site})
            volume = rng.normal(0.5, 0.05, SHAPE)
            volume[2:8, 3:12, 2:9] += 0.6 - age / 100
            volumes.append(volume.clip(0, 2))
            base = rng.normal(1, 0.03, len(REGIONS))
            record = {"scan": row["scan"], "participant_id": row["participant_id"], "tiv_mm3": 1.4e6 * base.mean()}
            for j, region in enumerate(REGIONS):
                thin = 3.0 - 0.01 * age * (j < 2)
                record |= {f"thickness_{region}": thin * base[j], f"volume_{region}": 2000 * (j + 1) * base[j]}
                record[f"area_{region}"] = 700.0 * (j + 1) * base[-1 - j]
            measures.append(record | {"volume_lh_hippocampus": 4000.0})
    table = pd.DataFrame(rows)
    affine = np.diag([4.0, 4.0, 4.0, 1.0])
    write_arrays(folder / "arrays", volumes, table, array_meta(SHAPE, affine, "vbm", [[0, n] for n in SHAPE]))
    write_tsv(folder / "measures.tsv", pd.DataFrame(measures))
    write_tsv(folder / "folds.tsv", make_folds(table, 3))
    return {name: folder / name for name in ("arrays", "measures.tsv", "folds.tsv")}


@pytest.fixture(scope="session")
def cohort_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """24 people, one scan each."""
    return make_cohort(tmp_path_factory.mktemp("cohort"))


@pytest.fixture
def pretrain(cohort_files, tmp_path):
    """Call `train` on the small cohort: ``pretrain("y-aware", out="a", epochs=2) -> folder``."""
    from anatcl.pretrain.train import Inputs, train
    from anatcl.spec.training import Options

    def call(method: str, out: str = "out", fold: int = 0, status: int = 0, files=None, **options) -> Path:
        files = files or cohort_files
        settings = {"encoder": "resnet-tiny", "epochs": 2, "batch_size": 4, "learning_rate": 1e-3} | options
        inputs = Inputs(files["arrays"], files["folds.tsv"], fold, method, tmp_path / out, files["measures.tsv"])
        assert train(inputs, Options.parse(settings), "cpu", threads=1) == status
        return tmp_path / out

    return call


@pytest.fixture(scope="session")
def cohort_maker():
    """The function that writes a synthetic cohort into a folder."""
    return make_cohort
