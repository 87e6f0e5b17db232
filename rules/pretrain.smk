# pretrain: one encoder per method and fold, trained without that fold's participants.
#
# REQUIRED INPUTS: results/pretrain/arrays (pretrain_pack.smk, or take.smk), results/measures/measures.tsv
# OUTPUTS:         results/pretrain/{folds.tsv, {method}/[seed-{s}/]fold-{k}/, {method}/final/, models.tsv}
# STEPS:           folds (once) -> train per method, seed and fold, train_final per method -> pretrain


rule folds:
    """Assign participants to folds."""
    input:
        scans=index_scans,
        measures="results/measures/measures.tsv",
    output:
        folds="results/pretrain/folds.tsv",
    log:
        "logs/folds.log",
    benchmark:
        "results/benchmarks/folds.tsv"
    conda:
        "../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=grown(1000),
        runtime=grown(10),
    params:
        folds=PLAN.config.pretrain.folds,
        group=PLAN.config.pretrain.group,
        seed=PLAN.config.seed,
        code=code_digest("pretrain", "folds"),
    shell:
        "python -m anatcl pretrain folds"
        " --scans {input.scans:q}"
        " --measures {input.measures:q}"
        " --folds {params.folds}"
        " --group {params.group:q}"
        " --seed {params.seed}"
        " --out {output.folds:q}"
        " > {log:q} 2>&1"


rule train:
    """Train one method, with one seed, without one fold."""
    input:
        arrays="results/pretrain/arrays/arrays.json",
        volumes="results/pretrain/arrays/volumes.npy",
        rows="results/pretrain/arrays/rows.tsv",
        measures="results/measures/measures.tsv",
        folds="results/pretrain/folds.tsv",
    output:
        encoder="results/pretrain/{trained}/fold-{fold}/encoder.safetensors",
        model="results/pretrain/{trained}/fold-{fold}/model.json",
        history="results/pretrain/{trained}/fold-{fold}/history.tsv",
    log:
        "logs/train/{trained}/fold-{fold}.log",
    benchmark:
        "results/benchmarks/train/{trained}/fold-{fold}.tsv"
    conda:
        TORCH_ENV
    threads: PLAN.config.pretrain.threads
    resources:
        mem_mb=grown(8000),
        runtime=grown(2880),
        gpu=PLAN.config.pretrain.gpus,
        nodes=PLAN.config.pretrain.nodes,
        processes=PLAN.training.processes,
    params:
        launcher=PLAN.training.launcher,
        arrays_dir=subpath(input.arrays, parent=True),
        out_dir=subpath(output.encoder, parent=True),
        method=train_method,
        options=train_options,
        own=train_own,
        precision=PLAN.config.pretrain.precision,
        device=PLAN.config.device,
        deterministic=PLAN.training.deterministic_flag(),
        code=train_code,
    shell:
        "{params.launcher} python -m anatcl pretrain train"
        " --arrays {params.arrays_dir:q}"
        " --measures {input.measures:q}"
        " --folds {input.folds:q}"
        " --fold {wildcards.fold}"
        " --method {params.method}"
        " --options {params.options:q}"
        " --device {params.device}"
        " --precision {params.precision}"
        " {params.deterministic}"
        " --threads {threads}"
        " --processes {resources.processes}"
        " --nodes {resources.nodes}"
        " --out-dir {params.out_dir:q}"
        " > {log:q} 2>&1"


rule train_final:
    """Train one method on all participants, for use elsewhere."""
    input:
        arrays="results/pretrain/arrays/arrays.json",
        volumes="results/pretrain/arrays/volumes.npy",
        rows="results/pretrain/arrays/rows.tsv",
        measures="results/measures/measures.tsv",
        folds="results/pretrain/folds.tsv",
    output:
        encoder="results/pretrain/{trained}/final/encoder.safetensors",
        model="results/pretrain/{trained}/final/model.json",
        history="results/pretrain/{trained}/final/history.tsv",
    log:
        "logs/train/{trained}/final.log",
    benchmark:
        "results/benchmarks/train/{trained}/final.tsv"
    conda:
        TORCH_ENV
    threads: PLAN.config.pretrain.threads
    resources:
        mem_mb=grown(8000),
        runtime=grown(2880),
        gpu=PLAN.config.pretrain.gpus,
        nodes=PLAN.config.pretrain.nodes,
        processes=PLAN.training.processes,
    params:
        launcher=PLAN.training.launcher,
        arrays_dir=subpath(input.arrays, parent=True),
        out_dir=subpath(output.encoder, parent=True),
        method=train_method,
        options=train_options,
        own=train_own,
        precision=PLAN.config.pretrain.precision,
        device=PLAN.config.device,
        deterministic=PLAN.training.deterministic_flag(),
        code=train_code,
    shell:
        "{params.launcher} python -m anatcl pretrain train"
        " --arrays {params.arrays_dir:q}"
        " --measures {input.measures:q}"
        " --folds {input.folds:q}"
        " --fold -1"
        " --method {params.method}"
        " --options {params.options:q}"
        " --device {params.device}"
        " --precision {params.precision}"
        " {params.deterministic}"
        " --threads {threads}"
        " --processes {resources.processes}"
        " --nodes {resources.nodes}"
        " --out-dir {params.out_dir:q}"
        " > {log:q} 2>&1"


rule pretrain:
    """List the trained encoders, with their last loss and hashes."""
    input:
        models=expand(
            "results/pretrain/{trained}/fold-{fold}/model.json",
            trained=PLAN.methods.trainings,
            fold=PLAN.training.folds,
        ),
    output:
        table="results/pretrain/models.tsv",
    log:
        "logs/pretrain.log",
    benchmark:
        "results/benchmarks/pretrain.tsv"
    conda:
        "../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=grown(1000),
        runtime=grown(10),
    params:
        code=code_digest("pretrain", "list"),
    shell:
        "python -m anatcl pretrain list"
        " --models {input.models:q}"
        " --out {output.table:q}"
        " > {log:q} 2>&1"
