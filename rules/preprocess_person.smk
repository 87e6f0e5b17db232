# preprocess, longitudinal part: the mean scan of a participant who has several (config measures: longitudinal).
#
# REQUIRED INPUTS: bias-corrected scans (preprocess.smk)
# OUTPUTS:         results/preprocess/: the mean with the name of a scan, rec-person; the rigid transform of each scan to it
# STEPS:           person_template per participant; then skullstrip and register of the mean; person_align per scan


rule person_template:
    """Average the scans of a participant halfway between them."""
    input:
        images=of_person("results/preprocess/{scan}_desc-preproc_T1w.nii.gz"),
        template="results/preprocess/template/template.json",
    output:
        image="results/preprocess/{scan}_desc-preproc_T1w.nii.gz",
        sidecar="results/preprocess/{scan}_desc-preproc_T1w.json",
    log:
        "logs/person_template/{scan}.log",
    benchmark:
        "results/benchmarks/person_template/{scan}.tsv"
    wildcard_constraints:
        scan=layout.PERSON_PATTERN,
    conda:
        "../envs/preprocess.yaml"
    threads: PLAN.config.preprocess.threads
    resources:
        mem_mb=sized(4000),
        runtime=sized(60),
    params:
        recipe=PLAN.config.preprocess.recipe,
        settings=PLAN.imaging.recipe_part("register"),
        template_dir=subpath(input.template, parent=True),
        seed=PLAN.config.seed,
        code=code_digest("preprocess", "person_template"),
    shell:
        "python -m anatcl preprocess person_template"
        " --scan {wildcards.scan:q}"
        " --failures results/failures"
        " --log-path {log:q}"
        " --recipe {params.recipe:q}"
        " --threads {threads}"
        " --seed {params.seed}"
        " --images {input.images:q}"
        " --template-dir {params.template_dir:q}"
        " --out {output.image:q}"
        " > {log:q} 2>&1"


rule person_align:
    """Align a scan rigidly to the mean of its participant, by the brain alone."""
    input:
        image="results/preprocess/{scan}_desc-preproc_T1w.nii.gz",
        mean=mean_file("desc-preproc_T1w.nii.gz"),
        about=mean_file("desc-preproc_T1w.json"),
        brain=mean_file("desc-brain_mask.nii.gz"),
    output:
        align="results/preprocess/{scan}_from-person_to-T1w_xfm.txt",
        sidecar="results/preprocess/{scan}_from-person_to-T1w_xfm.json",
    log:
        "logs/person_align/{scan}.log",
    benchmark:
        "results/benchmarks/person_align/{scan}.tsv"
    conda:
        "../envs/preprocess.yaml"
    threads: PLAN.config.preprocess.threads
    resources:
        mem_mb=sized(3000),
        runtime=sized(30),
    params:
        recipe=PLAN.config.preprocess.recipe,
        settings=PLAN.imaging.recipe_part("register"),
        seed=PLAN.config.seed,
        code=code_digest("preprocess", "person_align"),
    shell:
        "python -m anatcl preprocess person_align"
        " --scan {wildcards.scan:q}"
        " --failures results/failures"
        " --log-path {log:q}"
        " --recipe {params.recipe:q}"
        " --threads {threads}"
        " --seed {params.seed}"
        " --image {input.image:q}"
        " --mean {input.mean:q}"
        " --brain {input.brain:q}"
        " --about {input.about:q}"
        " --out {output.align:q}"
        " > {log:q} 2>&1"
