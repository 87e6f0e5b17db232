"""Tables of sessions and the cache."""

import numpy as np

from anatcl.bids.index import refresh
from anatcl.images import Volume, save
from anatcl.spec.bids import Options


def test_session_tables_survive_the_cache(tmp_path):
    """The cache is JSON: a table of sessions is kept in it and read back the second time."""
    image = tmp_path / "bids" / "sub-01" / "ses-1" / "anat" / "sub-01_ses-1_T1w.nii.gz"
    image.parent.mkdir(parents=True)
    save(image, Volume(np.random.default_rng(0).random((7, 8, 9)).astype(np.float32), np.eye(4)))
    (tmp_path / "bids" / "sub-01" / "sub-01_sessions.tsv").write_text("session_id\tage\nses-1\t41\n")
    options = Options(min_extent_mm=0)
    first = refresh(tmp_path / "bids", tmp_path / "out", options)
    again = refresh(tmp_path / "bids", tmp_path / "out", options)
    assert list(first["age"]) == list(again["age"]) == [41]
