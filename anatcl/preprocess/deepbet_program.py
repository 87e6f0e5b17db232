"""Run deepbet once, in the folder of its files: ``python deepbet_program.py scan.nii mask.nii.gz cpu 1``.

Words: the scan, the mask to write, the device (``auto``, ``cpu``, ``cuda``) and the number of threads. It prints the
device that was used.

Its weights are TorchScript archives: ``torch.jit.load`` reads them with its own reader, which makes tensors and the
network's operations and calls no Python function, so that nothing in the files is executed as a pickle would be.

This file is run by its path, in a process of its own, so that the network's memory and threads end with it; it imports
nothing from the package.
"""

import sys


def device_of(asked):
    """Whether to keep off the GPU; stops where one was asked for and there is none."""
    import torch

    if asked == "cuda" and not torch.cuda.is_available():
        raise SystemExit("no CUDA device is available")
    return asked == "cpu" or (asked == "auto" and not torch.cuda.is_available())


def main(scan, mask, asked, threads):
    """Find the brain and write its mask on the scan's grid."""
    import torch

    torch.set_num_threads(int(threads))
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False
    from deepbet import BrainExtraction

    no_gpu = device_of(asked)
    BrainExtraction(no_gpu=no_gpu).run(scan, mask_path=mask)
    sys.stdout.write("cpu\n" if no_gpu else "cuda\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
