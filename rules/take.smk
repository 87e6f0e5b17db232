# take: maps of the dataset (pretrain: arrays: release), of another program (pretrain: maps), or packed arrays; nothing is
# preprocessed or measured.
#
# REQUIRED INPUTS: results/bids/scans.tsv, the folder of the release, the maps or the packed arrays
# OUTPUTS:         results/measures/{measures.tsv, measures.json, reliability.tsv}, results/preprocess/qc.tsv (names alone),
#                  results/pretrain/arrays/
# STEPS:           take_measures and take_arrays (once); they replace preprocess, measures and pack


rule take_measures:
    """Read the measures of the dataset itself."""
    input:
        scans=index_scans,
        tables=taken_measures,
    output:
        table=report(
            "results/measures/measures.tsv",
            caption="../workflow/report/measures.rst",
            category="Measures",
        ),
        dictionary="results/measures/measures.json",
        reliability="results/measures/reliability.tsv",
        quality="results/preprocess/qc.tsv",
    log:
        "logs/take_measures.log",
    benchmark:
        "results/benchmarks/take_measures.tsv"
    conda:
        "../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=grown(2000),
        runtime=grown(60),
    params:
        source=PLAN.cohort.source,
        root=PLAN.cohort.taken,
        freesurfer=PLAN.imaging.freesurfer_flag(),
        content=freesurfer_tables,
        seed=PLAN.config.seed,
        code=code_digest("measures", "take"),
    shell:
        "python -m anatcl measures take"
        " --scans {input.scans:q}"
        " --root {params.root:q}"
        " --source {params.source}"
        " {params.freesurfer:q}"
        " --seed {params.seed}"
        " --out {output.table:q}"
        " --out-dictionary {output.dictionary:q}"
        " --out-reliability {output.reliability:q}"
        " --out-quality {output.quality:q}"
        " > {log:q} 2>&1"


rule take_arrays:
    """Pack the maps of the dataset itself, or use packed arrays as they are."""
    input:
        scans=index_scans,
        maps=taken_arrays,
    output:
        volumes="results/pretrain/arrays/volumes.npy",
        rows="results/pretrain/arrays/rows.tsv",
        about="results/pretrain/arrays/arrays.json",
        excluded="results/pretrain/arrays/excluded.tsv",
    log:
        "logs/take_arrays.log",
    benchmark:
        "results/benchmarks/take_arrays.tsv"
    conda:
        "../envs/preprocess.yaml"
    threads: 1
    resources:
        mem_mb=grown(4000),
        runtime=grown(480),
    params:
        source=PLAN.cohort.source,
        root=PLAN.cohort.taken,
        map=PLAN.config.pretrain.map,
        voxel_mm=PLAN.config.pretrain.voxel_mm,
        crop=PLAN.training.crop_flag(),
        dtype=PLAN.config.pretrain.dtype,
        out_dir=subpath(output.about, parent=True),
        code=code_digest("pretrain", "take"),
    shell:
        "python -m anatcl pretrain take"
        " --scans {input.scans:q}"
        " --root {params.root:q}"
        " --source {params.source}"
        " --map {params.map}"
        " --voxel-mm {params.voxel_mm}"
        " {params.crop:q}"
        " --dtype {params.dtype}"
        " --threads {threads}"
        " --out-dir {params.out_dir:q}"
        " > {log:q} 2>&1"
