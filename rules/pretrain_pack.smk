# pack: the maps of the preprocess stage in one memory-mapped array; take.smk replaces it where the dataset
# has maps or packed arrays of its own.
#
# REQUIRED INPUTS: VBM or quasi-raw maps of results/preprocess, results/measures/measures.tsv
# OUTPUTS:         results/pretrain/arrays/
# STEPS:           pack (once)


rule pack:
    """Pack the cohort's maps into one memory-mapped array."""
    input:
        scans=index_scans,
        measures="results/measures/measures.tsv",
        # Made after the maps of its scans: newer when a map was made again.
        quality=of_chunks("results/preprocess/chunks/{chunk}_qc.tsv"),
    output:
        volumes="results/pretrain/arrays/volumes.npy",
        rows="results/pretrain/arrays/rows.tsv",
        about="results/pretrain/arrays/arrays.json",
        excluded="results/pretrain/arrays/excluded.tsv",
    log:
        "logs/pack.log",
    benchmark:
        "results/benchmarks/pack.tsv"
    conda:
        "../envs/preprocess.yaml"
    threads: 1
    resources:
        mem_mb=grown(4000),
        runtime=grown(240),
    params:
        map=PLAN.config.pretrain.map,
        template=TEMPLATE,
        voxel_mm=PLAN.config.pretrain.voxel_mm,
        crop=PLAN.training.crop_flag(),
        dtype=PLAN.config.pretrain.dtype,
        maps_dir="results/preprocess",
        out_dir=subpath(output.about, parent=True),
        code=code_digest("pretrain", "pack"),
    shell:
        "python -m anatcl pretrain pack"
        " --scans {input.scans:q}"
        " --measures {input.measures:q}"
        " --maps-dir {params.maps_dir:q}"
        " --map {params.map}"
        " --template {params.template:q}"
        " --voxel-mm {params.voxel_mm}"
        " {params.crop:q}"
        " --dtype {params.dtype}"
        " --threads {threads}"
        " --out-dir {params.out_dir:q}"
        " > {log:q} 2>&1"
