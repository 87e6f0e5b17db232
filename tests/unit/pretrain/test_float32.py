"""Float32 is float32 whatever a caller asked of torch, and the caller's wish is put back as it was."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

# Each wish in a process of its own, since torch's two interfaces to it cannot be undone together.
SCRIPT = """if True:
    import os, sys, torch
    from anatcl.pretrain.device import Device, applied
    B = torch.backends
    layers = [B.mkldnn.matmul, B.mkldnn.conv, B.cuda.matmul, B.cudnn.conv, B.cudnn.rnn]
    older = [lambda: B.cuda.matmul.allow_tf32, lambda: B.cudnn.allow_tf32, torch.get_float32_matmul_precision]

    def said(get):
        try:
            return get()
        except RuntimeError:
            return "refused"

    def state():
        return [layer.fp32_precision for layer in layers], [said(get) for get in older]

    with applied(Device(torch.device("cpu"), "fp32", True)):
        pass  # what torch imports on the way it imports once, before the forks
    bad = []
    for wish in sys.argv[1:]:
        if os.fork() == 0:
            exec(wish)
            for kind, n in (("cpu", 2), ("cuda", 5)):
                before = state()
                with applied(Device(torch.device(kind), "fp32", True)):
                    inside = [layer.fp32_precision for layer in layers[:n]]
                if state() != before or {*inside} - {"ieee", "none"}:
                    print(wish, kind, inside, before, state(), flush=True)
                    os._exit(1)
            os._exit(0)
        bad.append(os.wait()[1])
    sys.exit(any(bad))"""
WISHES = [
    "pass",
    "torch.set_float32_matmul_precision('high')",
    "torch.set_float32_matmul_precision('medium')",
    "B.cuda.matmul.allow_tf32 = True",
    "B.cudnn.allow_tf32 = False",
    "B.fp32_precision = 'tf32'",
    "B.cuda.matmul.fp32_precision = 'tf32'",
    "B.cudnn.fp32_precision = 'tf32'",
    "B.mkldnn.matmul.fp32_precision = 'bf16'",
]


@pytest.mark.skipif(not hasattr(torch.backends.cuda.matmul, "fp32_precision"), reason="torch before 2.9")
def test_a_callers_wish_by_either_interface_is_set_aside_and_put_back():
    done = subprocess.run([sys.executable, "-c", SCRIPT, *WISHES], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]


def test_a_training_does_not_hang_on_it(pretrain):
    plain = pretrain("anatcl-z", "plain", epochs=1)
    torch.set_float32_matmul_precision("medium")
    try:
        other = pretrain("anatcl-z", "other", epochs=1)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert (plain / "encoder.safetensors").read_bytes() == (other / "encoder.safetensors").read_bytes()
