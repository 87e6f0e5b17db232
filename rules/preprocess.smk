# preprocess: from a raw scan to masks, transforms and tissue maps, by ANTs through nipype.
#
# REQUIRED INPUTS: raw T1w scans (results/bids/scans.tsv), the template of config preprocess: template
# OUTPUTS:         results/preprocess/, a BIDS-Derivatives dataset
# STEPS:           template (once), then bias_correct -> skullstrip -> register per scan; preprocess_maps.smk continues
#                  with segment -> qc per scan, then preprocess (one table of image-quality metrics and exclusions)


rule template:
    """Write the template's volumes for all scans, once."""
    output:
        about="results/preprocess/template/template.json",
    log:
        "logs/template.log",
    benchmark:
        "results/benchmarks/template.tsv"
    conda:
        "../envs/preprocess.yaml"
    threads: 1
    resources:
        mem_mb=grown(4000),
        runtime=grown(15),
    params:
        template=PLAN.config.preprocess.template,
        content=template_files,
        recipe=PLAN.config.preprocess.recipe,
        settings=PLAN.imaging.recipe_part("template_mm"),
        out_dir=subpath(output.about, parent=True),
        code=code_digest("preprocess", "template"),
    shell:
        "python -m anatcl preprocess template"
        " --template {params.template:q}"
        " --recipe {params.recipe:q}"
        " --out-dir {params.out_dir:q}"
        " > {log:q} 2>&1"


rule bias_correct:
    """Check one scan and remove its bias field."""
    input:
        image=raw_image,
    output:
        image="results/preprocess/{scan}_desc-preproc_T1w.nii.gz",
        sidecar="results/preprocess/{scan}_desc-preproc_T1w.json",
    log:
        "logs/bias_correct/{scan}.log",
    benchmark:
        "results/benchmarks/bias_correct/{scan}.tsv"
    wildcard_constraints:
        scan=layout.RAW_PATTERN,
    conda:
        "../envs/preprocess.yaml"
    threads: PLAN.config.preprocess.threads
    resources:
        mem_mb=sized(3000),
        runtime=sized(30),
    params:
        recipe=PLAN.config.preprocess.recipe,
        settings=PLAN.imaging.recipe_part("bias_correct"),
        seed=PLAN.config.seed,
        code=code_digest("preprocess", "bias_correct"),
    shell:
        "python -m anatcl preprocess bias_correct"
        " --scan {wildcards.scan:q}"
        " --failures results/failures"
        " --log-path {log:q}"
        " --recipe {params.recipe:q}"
        " --threads {threads}"
        " --seed {params.seed}"
        " --image {input.image:q}"
        " --out {output.image:q}"
        " > {log:q} 2>&1"


rule skullstrip:
    """Find the brain mask and the intracranial mask of one scan."""
    input:
        image="results/preprocess/{scan}_desc-preproc_T1w.nii.gz",
        template="results/preprocess/template/template.json",
        mask=given_mask,
        # Empty unless the scan has a mean of its participant: rigid transform to it, and the mean's masks and affine.
        person=masks_of_person,
    output:
        brain="results/preprocess/{scan}_desc-brain_mask.nii.gz",
        icv="results/preprocess/{scan}_desc-icv_mask.nii.gz",
        affine=f"results/preprocess/{{scan}}_from-{TEMPLATE}_to-T1w_desc-head_xfm.txt",
    log:
        "logs/skullstrip/{scan}.log",
    benchmark:
        "results/benchmarks/skullstrip/{scan}.tsv"
    conda:
        "../envs/preprocess.yaml"
    threads: PLAN.config.preprocess.threads
    resources:
        mem_mb=sized(3000),
        runtime=sized(60),
    params:
        recipe=PLAN.config.preprocess.recipe,
        settings=PLAN.imaging.recipe_part("skullstrip"),
        masks=mask_flags,
        limits=PLAN.imaging.mask_limits(),
        template_dir=subpath(input.template, parent=True),
        seed=PLAN.config.seed,
        code=code_digest("preprocess", "skullstrip"),
    shell:
        "python -m anatcl preprocess skullstrip"
        " --scan {wildcards.scan:q}"
        " --failures results/failures"
        " --log-path {log:q}"
        " --recipe {params.recipe:q}"
        " --threads {threads}"
        " --seed {params.seed}"
        " --mask {input.mask:q}"
        " --person {input.person:q}"
        " --limits {params.limits:q}"
        " {params.masks:q}"
        " --image {input.image:q}"
        " --template-dir {params.template_dir:q}"
        " --out-brain {output.brain:q}"
        " --out-icv {output.icv:q}"
        " --out-affine {output.affine:q}"
        " > {log:q} 2>&1"


rule register:
    """Register one brain to the template: affine, then SyN."""
    input:
        image="results/preprocess/{scan}_desc-preproc_T1w.nii.gz",
        mask="results/preprocess/{scan}_desc-brain_mask.nii.gz",
        start=f"results/preprocess/{{scan}}_from-{TEMPLATE}_to-T1w_desc-head_xfm.txt",
        template="results/preprocess/template/template.json",
        person=transforms_of_person,
    output:
        affine=f"results/preprocess/{{scan}}_from-T1w_to-{TEMPLATE}_desc-affine_xfm.mat",
        forward=f"results/preprocess/{{scan}}_from-T1w_to-{TEMPLATE}_mode-image_xfm.h5",
        inverse=f"results/preprocess/{{scan}}_from-{TEMPLATE}_to-T1w_mode-image_xfm.h5",
    log:
        "logs/register/{scan}.log",
    benchmark:
        "results/benchmarks/register/{scan}.tsv"
    conda:
        "../envs/preprocess.yaml"
    threads: PLAN.config.preprocess.threads
    resources:
        mem_mb=sized(4000),
        runtime=sized(240),
    params:
        recipe=PLAN.config.preprocess.recipe,
        settings=PLAN.imaging.recipe_part("register"),
        engine=PLAN.config.preprocess.deformable,
        template_dir=subpath(input.template, parent=True),
        seed=PLAN.config.seed,
        code=code_digest("preprocess", "register"),
    shell:
        "python -m anatcl preprocess register"
        " --scan {wildcards.scan:q}"
        " --failures results/failures"
        " --log-path {log:q}"
        " --recipe {params.recipe:q}"
        " --threads {threads}"
        " --seed {params.seed}"
        " --image {input.image:q}"
        " --mask {input.mask:q}"
        " --start {input.start:q}"
        " --engine {params.engine}"
        " --person {input.person:q}"
        " --template-dir {params.template_dir:q}"
        " --out-affine {output.affine:q}"
        " --out-forward {output.forward:q}"
        " --out-inverse {output.inverse:q}"
        " > {log:q} 2>&1"


include: "preprocess_person.smk"
include: "preprocess_maps.smk"
