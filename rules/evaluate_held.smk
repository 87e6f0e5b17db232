# evaluate, second part: what the embeddings hold of the measures, and what their scores lose when scans are changed.
#
# REQUIRED INPUTS: results/pretrain/{arrays, folds.tsv, {method}/fold-{k}}, results/evaluate/{method} (evaluate.smk), measures.tsv
# OUTPUTS:         results/evaluate/{method}/{decode,{task}_perturbed}.tsv, results/evaluate/perturbed/{perturbation}/{method}/fold-{k}/
# STEPS:           decode per method; embed_perturbed, rival_perturbed per perturbation, method and fold -> perturbed per method and task


rule embed_perturbed:
    """Run one frozen encoder over the changed scans of the people whom it has not seen."""
    input:
        arrays="results/pretrain/arrays/arrays.json",
        volumes="results/pretrain/arrays/volumes.npy",
        encoder="results/pretrain/{trained}/fold-{fold}/encoder.safetensors",
        model="results/pretrain/{trained}/fold-{fold}/model.json",
        folds="results/pretrain/folds.tsv",
    output:
        embeddings="results/evaluate/perturbed/{perturbation}/{trained}/fold-{fold}/embeddings.npz",
    log:
        "logs/embed_perturbed/{perturbation}/{trained}/fold-{fold}.log",
    benchmark:
        "results/benchmarks/embed_perturbed/{perturbation}/{trained}/fold-{fold}.tsv"
    conda:
        TORCH_ENV
    threads: PLAN.config.pretrain.threads
    resources:
        mem_mb=grown(4000),
        runtime=grown(120),
        gpu=PLAN.config.pretrain.gpus,
    params:
        arrays_dir=subpath(input.arrays, parent=True),
        encoder_dir=subpath(input.encoder, parent=True),
        device=PLAN.config.device,
        code=code_digest("evaluate", "embed"),
    shell:
        "python -m anatcl evaluate embed"
        " --arrays {params.arrays_dir:q}"
        " --encoder {params.encoder_dir:q}"
        " --perturb {wildcards.perturbation}"
        " --folds {input.folds:q}"
        " --fold {wildcards.fold}"
        " --device {params.device}"
        " --threads {threads}"
        " --out {output.embeddings:q}"
        " > {log:q} 2>&1"


rule rival_perturbed:
    """Fit a linear rival as it is, and embed the changed scans of the people whom it has not seen."""
    input:
        arrays="results/pretrain/arrays/arrays.json",
        volumes="results/pretrain/arrays/volumes.npy",
        folds="results/pretrain/folds.tsv",
        measures="results/measures/measures.tsv",
    output:
        embeddings="results/evaluate/perturbed/{perturbation}/{rival}/fold-{fold}/embeddings.npz",
        model="results/evaluate/perturbed/{perturbation}/{rival}/fold-{fold}/model.json",
    log:
        "logs/rival_perturbed/{perturbation}/{rival}/fold-{fold}.log",
    benchmark:
        "results/benchmarks/rival_perturbed/{perturbation}/{rival}/fold-{fold}.tsv"
    conda:
        "../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=grown(6000),
        runtime=grown(60),
    params:
        arrays_dir=subpath(input.arrays, parent=True),
        code=code_digest("evaluate", "rival"),
    shell:
        "python -m anatcl evaluate rival"
        " --kind {wildcards.rival}"
        " --perturb {wildcards.perturbation}"
        " --arrays {params.arrays_dir:q}"
        " --folds {input.folds:q}"
        " --fold {wildcards.fold}"
        " --measures {input.measures:q}"
        " --out {output.embeddings:q}"
        " --out-model {output.model:q}"
        " > {log:q} 2>&1"


rule perturbed:
    """Score one method on one task when the tested scans are changed, with the probe of clean scans."""
    input:
        clean=embedding_files,
        changed=changed_files,
        audit="results/evaluate/audit.tsv",
        scans=index_scans,
        folds="results/pretrain/folds.tsv",
        measures="results/measures/measures.tsv",
    output:
        table="results/evaluate/{embedded}/{task}_perturbed.tsv",
    log:
        "logs/perturbed/{embedded}/{task}.log",
    benchmark:
        "results/benchmarks/perturbed/{embedded}/{task}.tsv"
    conda:
        "../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=grown(2000),
        runtime=grown(60),
    params:
        task=task_text,
        content=task_content,
        clean_dir=subpath(output.table, parent=True),
        perturbed_dir="results/evaluate/perturbed",
        perturb=PLAN.config.evaluate.perturb,
        seeds=shaken_seeds,
        site_column=task_site,
        bootstrap=PLAN.config.evaluate.bootstrap,
        seed=PLAN.config.seed,
        code=code_digest("evaluate", "perturbed"),
    shell:
        "python -m anatcl evaluate perturbed"
        " --task {params.task:q}"
        " --method {wildcards.embedded}"
        " --clean-dir {params.clean_dir:q}"
        " --perturbed-dir {params.perturbed_dir:q}"
        " --perturb {params.perturb:q}"
        " --seeds {params.seeds}"
        " --scans {input.scans:q}"
        " --folds {input.folds:q}"
        " --measures {input.measures:q}"
        " --site-column {params.site_column:q}"
        " --seed {params.seed}"
        " --bootstrap {params.bootstrap}"
        " --out {output.table:q}"
        " > {log:q} 2>&1"


rule decode:
    """Tell how much of each regional measure the embeddings of one method hold."""
    input:
        embeddings=embedding_files,
        audit="results/evaluate/audit.tsv",
        scans=index_scans,
        folds="results/pretrain/folds.tsv",
        measures="results/measures/measures.tsv",
    output:
        table="results/evaluate/{embedded}/decode.tsv",
    log:
        "logs/decode/{embedded}.log",
    benchmark:
        "results/benchmarks/decode/{embedded}.tsv"
    conda:
        "../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=grown(2000),
        runtime=grown(60),
    params:
        embeddings_dir=subpath(output.table, parent=True),
        seeds=seed_count,
        adjust=PLAN.config.evaluate.decode_adjust,
        bootstrap=PLAN.config.evaluate.bootstrap,
        seed=PLAN.config.seed,
        code=code_digest("evaluate", "decode"),
    shell:
        "python -m anatcl evaluate decode"
        " --method {wildcards.embedded}"
        " --embeddings-dir {params.embeddings_dir:q}"
        " --seeds {params.seeds}"
        " --adjust {params.adjust:q}"
        " --scans {input.scans:q}"
        " --folds {input.folds:q}"
        " --measures {input.measures:q}"
        " --seed {params.seed}"
        " --bootstrap {params.bootstrap}"
        " --out {output.table:q}"
        " > {log:q} 2>&1"
