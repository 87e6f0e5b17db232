# evaluate: frozen embeddings, leak-free probes, simple baselines, intervals and paired tests.
#
# REQUIRED INPUTS: results/pretrain/{arrays, folds.tsv, {method}/fold-{k}}, results/bids/scans.tsv, measures.tsv
# OUTPUTS:         results/evaluate/{audit,confounds,scores,comparisons,added,skipped,subgroups}.tsv, {method}/{task}_{predictions,scores}.tsv,
#                  results/evaluate/interpretation/{method}_{task}.npz, regional-measures_{task}.tsv
# STEPS:           embed per method and fold, embed_untrained per seed, rival per linear voxel baseline and fold; audit -> probe per method and task; baseline per table of features, confounds -> evaluate;
#                  interpret per method and task, interpret_measures per task


rule embed:
    """Run one frozen encoder over all scans."""
    input:
        arrays="results/pretrain/arrays/arrays.json",
        volumes="results/pretrain/arrays/volumes.npy",
        encoder="results/pretrain/{trained}/fold-{fold}/encoder.safetensors",
        model="results/pretrain/{trained}/fold-{fold}/model.json",
    output:
        embeddings="results/evaluate/{trained}/fold-{fold}/embeddings.npz",
    log:
        "logs/embed/{trained}/fold-{fold}.log",
    benchmark:
        "results/benchmarks/embed/{trained}/fold-{fold}.tsv"
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
        " --device {params.device}"
        " --threads {threads}"
        " --out {output.embeddings:q}"
        " > {log:q} 2>&1"


rule embed_given:
    """Run one outside encoder over the maps of all scans."""
    input:
        scans=index_scans,
        measures="results/measures/measures.tsv",
        # Made after the maps of its scans: newer when a map was made again.
        maps=maps_made,
    output:
        embeddings="results/evaluate/{given}/seed-{member}/embeddings.npz",
        model="results/evaluate/{given}/seed-{member}/model.json",
        excluded="results/evaluate/{given}/seed-{member}/excluded.tsv",
    log:
        "logs/embed_given/{given}/seed-{member}.log",
    benchmark:
        "results/benchmarks/embed_given/{given}/seed-{member}.tsv"
    conda:
        TORCH_ENV
    threads: PLAN.config.pretrain.threads
    resources:
        mem_mb=grown(6000),
        runtime=grown(240),
        gpu=PLAN.config.pretrain.gpus,
    params:
        encoder=given_encoder,
        files=given_files,
        maps=PLAN.methods.maps_flags(TEMPLATE),
        device=PLAN.config.device,
        code=code_digest("evaluate", "embed-given"),
    shell:
        "python -m anatcl evaluate embed-given"
        " --encoder {params.encoder:q}"
        " --member {wildcards.member}"
        " {params.maps:q}"
        " --scans {input.scans:q}"
        " --measures {input.measures:q}"
        " --device {params.device}"
        " --threads {threads}"
        " --out {output.embeddings:q}"
        " > {log:q} 2>&1"


rule embed_untrained:
    """Embed all scans with the untrained encoder of one more seed."""
    input:
        arrays="results/pretrain/arrays/arrays.json",
        volumes="results/pretrain/arrays/volumes.npy",
        model="results/pretrain/untrained/fold-0/model.json",
        encoder="results/pretrain/untrained/fold-0/encoder.safetensors",
    output:
        embeddings="results/evaluate/untrained/seed-{seed}/embeddings.npz",
    log:
        "logs/embed_untrained/seed-{seed}.log",
    benchmark:
        "results/benchmarks/embed_untrained/seed-{seed}.tsv"
    conda:
        TORCH_ENV
    threads: PLAN.config.pretrain.threads
    resources:
        mem_mb=grown(4000),
        runtime=grown(120),
        gpu=PLAN.config.pretrain.gpus,
    params:
        arrays_dir=subpath(input.arrays, parent=True),
        encoder_dir=subpath(input.model, parent=True),
        seed=PLAN.config.seed,
        device=PLAN.config.device,
        code=code_digest("evaluate", "embed"),
    shell:
        "python -m anatcl evaluate embed"
        " --arrays {params.arrays_dir:q}"
        " --encoder {params.encoder_dir:q}"
        " --reinitialise {params.seed} {wildcards.seed}"
        " --device {params.device}"
        " --threads {threads}"
        " --out {output.embeddings:q}"
        " > {log:q} 2>&1"


rule rival:
    """Fit a linear voxel baseline on the encoders' training participants, and embed all scans with it."""
    input:
        arrays="results/pretrain/arrays/arrays.json",
        volumes="results/pretrain/arrays/volumes.npy",
        folds="results/pretrain/folds.tsv",
        measures="results/measures/measures.tsv",
    output:
        embeddings="results/evaluate/{rival}/fold-{fold}/embeddings.npz",
        model="results/evaluate/{rival}/fold-{fold}/model.json",
    log:
        "logs/rival/{rival}/fold-{fold}.log",
    benchmark:
        "results/benchmarks/rival/{rival}/fold-{fold}.tsv"
    conda:
        "../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=grown(4000),
        runtime=grown(60),
    params:
        arrays_dir=subpath(input.arrays, parent=True),
        code=code_digest("evaluate", "rival"),
    shell:
        "python -m anatcl evaluate rival"
        " --kind {wildcards.rival}"
        " --arrays {params.arrays_dir:q}"
        " --folds {input.folds:q}"
        " --fold {wildcards.fold}"
        " --measures {input.measures:q}"
        " --out {output.embeddings:q}"
        " --out-model {output.model:q}"
        " > {log:q} 2>&1"


rule audit:
    """Abort when a tested participant, or the same scan under another name, was in an encoder's training."""
    input:
        arrays="results/pretrain/arrays/arrays.json",
        volumes="results/pretrain/arrays/volumes.npy",
        models=PLAN.methods.audited,
        scans=index_scans,
        folds="results/pretrain/folds.tsv",
    output:
        audit="results/evaluate/audit.tsv",
    log:
        "logs/audit.log",
    benchmark:
        "results/benchmarks/audit.tsv"
    conda:
        "../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=grown(2000),
        runtime=grown(60),
    params:
        pretrained=PLAN.methods.folders,
        known=PLAN.methods.known_flag(),
        known_content=PLAN.methods.known_content,
        arrays_dir=subpath(input.arrays, parent=True),
        code=code_digest("evaluate", "audit"),
    shell:
        "python -m anatcl evaluate audit"
        " --pretrained {params.pretrained:q}"
        " --arrays {params.arrays_dir:q}"
        " --scans {input.scans:q}"
        " --folds {input.folds:q}"
        " {params.known:q}"
        " --out {output.audit:q}"
        " > {log:q} 2>&1"


rule probe:
    """Probe the embeddings of one method on one task."""
    input:
        embeddings=embedding_files,
        audit="results/evaluate/audit.tsv",
        scans=index_scans,
        folds="results/pretrain/folds.tsv",
        measures="results/measures/measures.tsv",
        quality="results/preprocess/qc.tsv",
    output:
        predictions="results/evaluate/{embedded}/{task}_predictions.tsv",
        scores="results/evaluate/{embedded}/{task}_scores.tsv",
    log:
        "logs/probe/{embedded}/{task}.log",
    benchmark:
        "results/benchmarks/probe/{embedded}/{task}.tsv"
    conda:
        "../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=grown(2000),
        runtime=grown(60),
    params:
        task=task_text,
        content=task_content,
        embeddings_dir=subpath(output.scores, parent=True),
        seeds=seed_count,
        pretrained_dir=models_dir,
        protocols=PLAN.tasks.protocols(),
        site_column=PLAN.config.evaluate.site_column,
        confounds=PLAN.config.evaluate.confounds,
        shuffles=PLAN.config.evaluate.shuffles,
        shuffle_within=PLAN.config.evaluate.shuffle_within,
        bootstrap=PLAN.config.evaluate.bootstrap,
        seed=PLAN.config.seed,
        code=code_digest("evaluate", "task"),
    shell:
        "python -m anatcl evaluate task"
        " --task {params.task:q}"
        " --method {wildcards.embedded}"
        " --embeddings-dir {params.embeddings_dir:q}"
        " --seeds {params.seeds}"
        " --pretrained {params.pretrained_dir:q}"
        " --protocol {params.protocols:q}"
        " --scans {input.scans:q}"
        " --folds {input.folds:q}"
        " --measures {input.measures:q}"
        " --quality {input.quality:q}"
        " --confounds {params.confounds:q}"
        " --shuffles {params.shuffles}"
        " --shuffle-within {params.shuffle_within:q}"
        " --site-column {params.site_column:q}"
        " --seed {params.seed}"
        " --bootstrap {params.bootstrap}"
        " --out-predictions {output.predictions:q}"
        " --out-scores {output.scores:q}"
        " > {log:q} 2>&1"


rule finetune:
    """Fine-tune the encoders of one method on one task, and test them as the probe is tested."""
    input:
        embeddings=tuned_embeddings,
        arrays="results/pretrain/arrays/arrays.json",
        audit="results/evaluate/audit.tsv",
        scans=index_scans,
        folds="results/pretrain/folds.tsv",
        measures="results/measures/measures.tsv",
    output:
        predictions="results/evaluate/{tuned}/{task}_predictions.tsv",
        scores="results/evaluate/{tuned}/{task}_scores.tsv",
        networks=directory("results/evaluate/{tuned}/{task}_networks"),
    log:
        "logs/finetune/{tuned}/{task}.log",
    benchmark:
        "results/benchmarks/finetune/{tuned}/{task}.tsv"
    conda:
        TORCH_ENV
    threads: PLAN.config.pretrain.threads
    resources:
        mem_mb=grown(8000),
        runtime=grown(1440),
        gpu=PLAN.config.pretrain.gpus,
    params:
        task=task_text,
        content=task_content,
        source=tuned_source,
        files=tuned_files,
        pretrained_dir=tuned_from,
        epochs=PLAN.config.evaluate.finetune.epochs,
        batch=PLAN.config.evaluate.finetune.batch_size,
        learning_rate=PLAN.config.evaluate.finetune.learning_rate,
        site_column=task_site,
        bootstrap=PLAN.config.evaluate.bootstrap,
        seed=PLAN.config.seed,
        device=PLAN.config.device,
        code=code_digest("evaluate", "finetune"),
    shell:
        "python -m anatcl evaluate finetune"
        " --task {params.task:q}"
        " --method {wildcards.tuned}"
        " {params.source:q}"
        " --pretrained {params.pretrained_dir:q}"
        " --scans {input.scans:q}"
        " --folds {input.folds:q}"
        " --measures {input.measures:q}"
        " --site-column {params.site_column:q}"
        " --epochs {params.epochs}"
        " --batch {params.batch}"
        " --learning-rate {params.learning_rate}"
        " --device {params.device}"
        " --threads {threads}"
        " --seed {params.seed}"
        " --bootstrap {params.bootstrap}"
        " --out-dir {output.networks:q}"
        " --out-predictions {output.predictions:q}"
        " --out-scores {output.scores:q}"
        " > {log:q} 2>&1"


rule baseline:
    """Probe a simple baseline, one of the user's own, or another tool's table of features, on one task."""
    input:
        table=feature_table,
        scans=index_scans,
        folds="results/pretrain/folds.tsv",
        measures="results/measures/measures.tsv",
        quality="results/preprocess/qc.tsv",
    output:
        predictions="results/evaluate/{baseline}/{task}_predictions.tsv",
        scores="results/evaluate/{baseline}/{task}_scores.tsv",
    log:
        "logs/baseline/{baseline}/{task}.log",
    benchmark:
        "results/benchmarks/baseline/{baseline}/{task}.tsv"
    conda:
        "../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=grown(2000),
        runtime=grown(60),
    params:
        task=task_text,
        content=task_content,
        columns=feature_columns,
        features=feature_content,
        own=own_baseline,
        protocols=PLAN.tasks.protocols(),
        site_column=PLAN.config.evaluate.site_column,
        confounds=PLAN.config.evaluate.confounds,
        shuffles=PLAN.config.evaluate.shuffles,
        shuffle_within=PLAN.config.evaluate.shuffle_within,
        bootstrap=PLAN.config.evaluate.bootstrap,
        seed=PLAN.config.seed,
        code=code_digest("evaluate", "task"),
    shell:
        "python -m anatcl evaluate task"
        " --task {params.task:q}"
        " --method {wildcards.baseline}"
        " --features {input.table:q}"
        " --feature-set {params.columns:q}"
        " {params.own:q}"
        " --protocol {params.protocols:q}"
        " --scans {input.scans:q}"
        " --folds {input.folds:q}"
        " --measures {input.measures:q}"
        " --quality {input.quality:q}"
        " --confounds {params.confounds:q}"
        " --shuffles {params.shuffles}"
        " --shuffle-within {params.shuffle_within:q}"
        " --site-column {params.site_column:q}"
        " --seed {params.seed}"
        " --bootstrap {params.bootstrap}"
        " --out-predictions {output.predictions:q}"
        " --out-scores {output.scores:q}"
        " > {log:q} 2>&1"


ruleorder: baseline > probe


rule interpret:
    """Map where the predictions of one encoder come from, on held-out participants."""
    input:
        arrays="results/pretrain/arrays/arrays.json",
        volumes="results/pretrain/arrays/volumes.npy",
        encoder="results/pretrain/{method}/fold-0/encoder.safetensors",
        model="results/pretrain/{method}/fold-0/model.json",
        embeddings="results/evaluate/{method}/fold-0/embeddings.npz",
        scans=index_scans,
        folds="results/pretrain/folds.tsv",
        measures="results/measures/measures.tsv",
    output:
        map="results/evaluate/interpretation/{method}_{task}.npz",
    log:
        "logs/interpret/{method}_{task}.log",
    benchmark:
        "results/benchmarks/interpret/{method}_{task}.tsv"
    conda:
        TORCH_ENV
    threads: PLAN.config.pretrain.threads
    resources:
        mem_mb=grown(4000),
        runtime=grown(120),
        gpu=PLAN.config.pretrain.gpus,
    params:
        task=task_text,
        content=task_content,
        arrays_dir=subpath(input.arrays, parent=True),
        encoder_dir=subpath(input.encoder, parent=True),
        people=PLAN.config.evaluate.interpret_people,
        steps=PLAN.config.evaluate.interpret_steps,
        device=PLAN.config.device,
        site_column=task_site,
        seed=PLAN.config.seed,
        code=code_digest("evaluate", "interpret"),
    shell:
        "python -m anatcl evaluate interpret"
        " --task {params.task:q}"
        " --arrays {params.arrays_dir:q}"
        " --encoder {params.encoder_dir:q}"
        " --embeddings {input.embeddings:q}"
        " --scans {input.scans:q}"
        " --folds {input.folds:q}"
        " --measures {input.measures:q}"
        " --site-column {params.site_column:q}"
        " --people {params.people}"
        " --steps {params.steps}"
        " --device {params.device}"
        " --threads {threads}"
        " --seed {params.seed}"
        " --out {output.map:q}"
        " > {log:q} 2>&1"


rule interpret_measures:
    """Share of each region in the predictions of the measures baseline."""
    input:
        scans=index_scans,
        measures="results/measures/measures.tsv",
        folds="results/pretrain/folds.tsv",
    output:
        table="results/evaluate/interpretation/regional-measures_{task}.tsv",
    log:
        "logs/interpret_measures/{task}.log",
    benchmark:
        "results/benchmarks/interpret_measures/{task}.tsv"
    conda:
        "../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=grown(2000),
        runtime=grown(60),
    params:
        task=task_text,
        content=task_content,
        site_column=task_site,
        seed=PLAN.config.seed,
        code=code_digest("evaluate", "interpret-measures"),
    shell:
        "python -m anatcl evaluate interpret-measures"
        " --task {params.task:q}"
        " --scans {input.scans:q}"
        " --folds {input.folds:q}"
        " --measures {input.measures:q}"
        " --site-column {params.site_column:q}"
        " --seed {params.seed}"
        " --out {output.table:q}"
        " > {log:q} 2>&1"


rule confounds:
    """Test the association of each task's target with site, age, sex, head size and image quality."""
    input:
        scans=index_scans,
        measures="results/measures/measures.tsv",
        quality="results/preprocess/qc.tsv",
    output:
        table="results/evaluate/confounds.tsv",
    log:
        "logs/confounds.log",
    benchmark:
        "results/benchmarks/confounds.tsv"
    conda:
        "../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=grown(2000),
        runtime=grown(60),
    params:
        tasks=all_tasks,
        content=all_task_content,
        confounds=PLAN.config.evaluate.confounds,
        site_column=PLAN.config.evaluate.site_column,
        code=code_digest("evaluate", "confounds"),
    shell:
        "python -m anatcl evaluate confounds"
        " --tasks {params.tasks:q}"
        " --scans {input.scans:q}"
        " --measures {input.measures:q}"
        " --quality {input.quality:q}"
        " --confounds {params.confounds:q}"
        " --site-column {params.site_column:q}"
        " --out {output.table:q}"
        " > {log:q} 2>&1"


rule evaluate:
    """Join all scores; compare the methods in pairs."""
    input:
        scores=expand(
            "results/evaluate/{method}/{task}_scores.tsv",
            method=PLAN.methods.all,
            task=PLAN.tasks.names,
        ),
        predictions=expand(
            "results/evaluate/{method}/{task}_predictions.tsv",
            method=PLAN.methods.all,
            task=PLAN.tasks.names,
        ),
        models="results/pretrain/models.tsv",
        confounds="results/evaluate/confounds.tsv",
        scans=index_scans,
    output:
        scores="results/evaluate/scores.tsv",
        comparisons="results/evaluate/comparisons.tsv",
        skipped="results/evaluate/skipped.tsv",
        subgroups="results/evaluate/subgroups.tsv",
        added="results/evaluate/added.tsv",
    log:
        "logs/evaluate.log",
    benchmark:
        "results/benchmarks/evaluate.tsv"
    conda:
        "../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=grown(2000),
        runtime=grown(60),
    params:
        subgroups=PLAN.config.evaluate.subgroups,
        bootstrap=PLAN.config.evaluate.bootstrap,
        seed=PLAN.config.seed,
        code=code_digest("evaluate", "scores"),
    shell:
        "python -m anatcl evaluate scores"
        " --inputs {input.scores:q}"
        " --predictions {input.predictions:q}"
        " --scans {input.scans:q}"
        " --subgroups {params.subgroups:q}"
        " --seed {params.seed}"
        " --bootstrap {params.bootstrap}"
        " --out {output.scores:q}"
        " --out-comparisons {output.comparisons:q}"
        " --out-skipped {output.skipped:q}"
        " --out-subgroups {output.subgroups:q}"
        " > {log:q} 2>&1"
