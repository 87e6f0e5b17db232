# preprocess, second part: from masks and transforms to tissue maps and image-quality metrics.
#
# REQUIRED INPUTS: bias-corrected images, masks and transforms (preprocess.smk)
# OUTPUTS:         results/preprocess/: tissue maps, VBM and quasi-raw maps, image-quality metrics and pictures
# STEPS:           segment -> qc per scan, then preprocess_chunk and preprocess for the cohort


rule segment:
    """Classify the tissues of one scan; write its VBM and quasi-raw maps."""
    input:
        image="results/preprocess/{scan}_desc-preproc_T1w.nii.gz",
        brain="results/preprocess/{scan}_desc-brain_mask.nii.gz",
        icv="results/preprocess/{scan}_desc-icv_mask.nii.gz",
        affine=f"results/preprocess/{{scan}}_from-T1w_to-{TEMPLATE}_desc-affine_xfm.mat",
        forward=f"results/preprocess/{{scan}}_from-T1w_to-{TEMPLATE}_mode-image_xfm.h5",
        inverse=f"results/preprocess/{{scan}}_from-{TEMPLATE}_to-T1w_mode-image_xfm.h5",
        template="results/preprocess/template/template.json",
    output:
        dseg="results/preprocess/{scan}_dseg.nii.gz",
        csf="results/preprocess/{scan}_label-CSF_probseg.nii.gz",
        gm="results/preprocess/{scan}_label-GM_probseg.nii.gz",
        wm="results/preprocess/{scan}_label-WM_probseg.nii.gz",
        vbm=f"results/preprocess/{{scan}}_space-{TEMPLATE}_label-GM_desc-modulated_probseg.nii.gz",
        vbm_sidecar=f"results/preprocess/{{scan}}_space-{TEMPLATE}_label-GM_desc-modulated_probseg.json",
        quasi_raw=f"results/preprocess/{{scan}}_space-{TEMPLATE}_desc-affine_T1w.nii.gz",
    log:
        "logs/segment/{scan}.log",
    benchmark:
        "results/benchmarks/segment/{scan}.tsv"
    conda:
        "../envs/preprocess.yaml"
    threads: PLAN.config.preprocess.threads
    resources:
        mem_mb=sized(4000),
        runtime=sized(60),
    params:
        recipe=PLAN.config.preprocess.recipe,
        settings=PLAN.imaging.recipe_part("segment", "bias_correct"),
        template_dir=subpath(input.template, parent=True),
        seed=PLAN.config.seed,
        code=code_digest("preprocess", "segment"),
    shell:
        "python -m anatcl preprocess segment"
        " --scan {wildcards.scan:q}"
        " --failures results/failures"
        " --log-path {log:q}"
        " --recipe {params.recipe:q}"
        " --threads {threads}"
        " --seed {params.seed}"
        " --image {input.image:q}"
        " --brain {input.brain:q}"
        " --icv {input.icv:q}"
        " --affine {input.affine:q}"
        " --forward {input.forward:q}"
        " --inverse {input.inverse:q}"
        " --template-dir {params.template_dir:q}"
        " --out-dseg {output.dseg:q}"
        " --out-csf {output.csf:q}"
        " --out-gm {output.gm:q}"
        " --out-wm {output.wm:q}"
        " --out-vbm {output.vbm:q}"
        " --out-quasi-raw {output.quasi_raw:q}"
        " > {log:q} 2>&1"


rule qc:
    """Compute the image-quality metrics of one scan and draw its picture."""
    input:
        image="results/preprocess/{scan}_desc-preproc_T1w.nii.gz",
        brain="results/preprocess/{scan}_desc-brain_mask.nii.gz",
        icv="results/preprocess/{scan}_desc-icv_mask.nii.gz",
        dseg="results/preprocess/{scan}_dseg.nii.gz",
        forward=f"results/preprocess/{{scan}}_from-T1w_to-{TEMPLATE}_mode-image_xfm.h5",
        vbm=f"results/preprocess/{{scan}}_space-{TEMPLATE}_label-GM_desc-modulated_probseg.nii.gz",
        template="results/preprocess/template/template.json",
    output:
        numbers="results/preprocess/{scan}_desc-qc.json",
        picture=report(
            "results/preprocess/{scan}_desc-qc.png",
            caption="../workflow/report/qc.rst",
            category="Quality",
        ),
    log:
        "logs/qc/{scan}.log",
    benchmark:
        "results/benchmarks/qc/{scan}.tsv"
    conda:
        "../envs/preprocess.yaml"
    threads: PLAN.config.preprocess.threads
    resources:
        mem_mb=sized(3000),
        runtime=sized(15),
    params:
        recipe=PLAN.config.preprocess.recipe,
        template_dir=subpath(input.template, parent=True),
        seed=PLAN.config.seed,
        code=code_digest("preprocess", "qc"),
    shell:
        "python -m anatcl preprocess qc"
        " --scan {wildcards.scan:q}"
        " --failures results/failures"
        " --log-path {log:q}"
        " --recipe {params.recipe:q}"
        " --threads {threads}"
        " --seed {params.seed}"
        " --image {input.image:q}"
        " --brain {input.brain:q}"
        " --icv {input.icv:q}"
        " --dseg {input.dseg:q}"
        " --forward {input.forward:q}"
        " --vbm {input.vbm:q}"
        " --template-dir {params.template_dir:q}"
        " --out-json {output.numbers:q}"
        " --out-png {output.picture:q}"
        " > {log:q} 2>&1"


rule preprocess_chunk:
    """Join the image-quality metrics of one chunk of scans."""
    input:
        numbers=of_chunk("results/preprocess/{scan}_desc-qc.json"),
    output:
        table="results/preprocess/chunks/{chunk}_qc.tsv",
    log:
        "logs/preprocess_chunk/{chunk}.log",
    benchmark:
        "results/benchmarks/preprocess_chunk/{chunk}.tsv"
    conda:
        "../envs/preprocess.yaml"
    threads: 1
    resources:
        mem_mb=grown(1000),
        runtime=grown(10),
    params:
        code=code_digest("preprocess", "chunk"),
    shell:
        "python -m anatcl preprocess chunk"
        " --inputs {input.numbers:q}"
        " --root results/preprocess"
        " --out {output.table:q}"
        " > {log:q} 2>&1"


rule preprocess:
    """Join all image-quality metrics; list the scans beyond a limit."""
    input:
        chunks=of_chunks("results/preprocess/chunks/{chunk}_qc.tsv"),
        template="results/preprocess/template/template.json",
    output:
        table="results/preprocess/qc.tsv",
        excluded="results/preprocess/excluded.tsv",
        description="results/preprocess/dataset_description.json",
    log:
        "logs/preprocess.log",
    benchmark:
        "results/benchmarks/preprocess.tsv"
    conda:
        "../envs/preprocess.yaml"
    threads: 1
    resources:
        mem_mb=grown(1000),
        runtime=grown(10),
    params:
        limits=PLAN.imaging.limits(),
        template_dir=subpath(input.template, parent=True),
        code=code_digest("preprocess", "gate"),
    shell:
        "python -m anatcl preprocess gate"
        " --inputs {input.chunks:q}"
        " --limits {params.limits:q}"
        " --template-dir {params.template_dir:q}"
        " --out {output.table:q}"
        " --out-excluded {output.excluded:q}"
        " --out-description {output.description:q}"
        " > {log:q} 2>&1"
