# report: tables, methods text and page.
#
# REQUIRED INPUTS: results of all other stages
# OUTPUTS:         results/report/{benchmark.tsv, tables/, runtime.tsv, excluded.tsv, methods.md, index.html}
# STEPS:           tables, runtime, excluded, methods_text -> report


rule tables:
    """Write the benchmark tables as a paper prints them."""
    input:
        scores="results/evaluate/scores.tsv",
        comparisons="results/evaluate/comparisons.tsv",
    output:
        benchmark=report(
            "results/report/benchmark.tsv",
            caption="../workflow/report/benchmark.rst",
            category="Tables",
        ),
        tables=directory("results/report/tables"),
    log:
        "logs/tables.log",
    benchmark:
        "results/benchmarks/tables.tsv"
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=grown(1000),
        runtime=grown(10),
    params:
        words=words_of_methods,
        code=code_digest("report", "tables"),
    shell:
        "python -m anatcl report tables"
        " --scores {input.scores:q}"
        " --comparisons {input.comparisons:q}"
        " --out-benchmark {output.benchmark:q}"
        " --out-dir {output.tables:q}"
        " > {log:q} 2>&1"


rule runtime:
    """Sum up time and memory of every rule."""
    input:
        scores="results/evaluate/scores.tsv",
        maps=PLAN.tasks.maps,
    output:
        table="results/report/runtime.tsv",
    log:
        "logs/runtime.log",
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=grown(1000),
        runtime=grown(10),
    params:
        benchmarks_dir="results/benchmarks",
        code=code_digest("report", "runtime"),
    shell:
        "python -m anatcl report runtime"
        " --benchmarks-dir {params.benchmarks_dir:q}"
        " --out {output.table:q}"
        " > {log:q} 2>&1"


rule excluded:
    """Join the exclusions of all stages, with reasons and remedies."""
    input:
        bids=index_excluded,
        stages=PLAN.cohort.exclusions,
        given=PLAN.methods.left_out,
    output:
        table=report(
            "results/report/excluded.tsv",
            caption="../workflow/report/excluded.rst",
            category="Cohort",
        ),
    log:
        "logs/excluded.log",
    benchmark:
        "results/benchmarks/excluded.tsv"
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=grown(1000),
        runtime=grown(10),
    params:
        failures_dir="results/failures",
        failed=failed_scans,
        code=code_digest("report", "excluded"),
    shell:
        "python -m anatcl report excluded"
        " --tables {input.bids:q} {input.stages:q} {input.given:q}"
        " --failures-dir {params.failures_dir:q}"
        " --out {output.table:q}"
        " > {log:q} 2>&1"


rule methods_text:
    """Write the methods section from the records of the run."""
    input:
        qc="results/preprocess/qc.tsv",
        measures="results/measures/measures.tsv",
        models="results/pretrain/models.tsv",
        scores="results/evaluate/scores.tsv",
        excluded="results/report/excluded.tsv",
        config=resolved_config,
    output:
        text="results/report/methods.md",
    log:
        "logs/methods_text.log",
    benchmark:
        "results/benchmarks/methods_text.tsv"
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=grown(1000),
        runtime=grown(10),
    params:
        preprocess_dir=subpath(input.qc, parent=True),
        measures_dir=subpath(input.measures, parent=True),
        pretrain_dir=subpath(input.models, parent=True),
        evaluate_dir=subpath(input.scores, parent=True),
        words=words_of_methods,
        code=code_digest("report", "methods"),
    shell:
        "python -m anatcl report methods"
        " --preprocess-dir {params.preprocess_dir:q}"
        " --run-records {params.measures_dir:q} {params.pretrain_dir:q} {params.evaluate_dir:q}"
        " --config {input.config:q}"
        " --excluded {input.excluded:q}"
        " --out {output.text:q}"
        " > {log:q} 2>&1"


rule report:
    """Write the report page."""
    input:
        benchmark="results/report/benchmark.tsv",
        tables="results/report/tables",
        scans=index_scans,
        measures="results/measures/measures.tsv",
        reliability="results/measures/reliability.tsv",
        comparisons="results/evaluate/comparisons.tsv",
        qc="results/preprocess/qc.tsv",
        models="results/pretrain/models.tsv",
        excluded="results/report/excluded.tsv",
        notes=index_notes,
        runtime="results/report/runtime.tsv",
        methods="results/report/methods.md",
        maps=PLAN.tasks.maps,
        decoded=PLAN.methods.decoded,
        perturbed=PLAN.tasks.shaken,
        config=resolved_config,
        cohort=PLAN.cohort.page,
    output:
        page="results/report/index.html",
    log:
        "logs/report.log",
    benchmark:
        "results/benchmarks/report.tsv"
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=grown(2000),
        runtime=grown(30),
    params:
        title=PLAN.config.report.title,
        preprocess_dir=subpath(input.qc, parent=True),
        predictions_dir=subpath(input.comparisons, parent=True),
        history_dir=subpath(input.models, parent=True),
        maps_dir=PLAN.tasks.maps_dir(),
        words=words_of_methods,
        code=code_digest("report", "page"),
    shell:
        "python -m anatcl report page"
        " --benchmark {input.benchmark:q}"
        " --tables-dir {input.tables:q}"
        " --scans {input.scans:q}"
        " --measures {input.measures:q}"
        " --reliability {input.reliability:q}"
        " --preprocess-dir {params.preprocess_dir:q}"
        " --predictions-dir {params.predictions_dir:q}"
        " --history-dir {params.history_dir:q}"
        " --excluded {input.excluded:q}"
        " --notes {input.notes:q}"
        " --runtime {input.runtime:q}"
        " --methods {input.methods:q}"
        " {params.maps_dir:q}"
        " --decoded {input.decoded:q}"
        " --perturbed {input.perturbed:q}"
        " --config {input.config:q}"
        " --cohort-page {input.cohort:q}"
        " --title {params.title:q}"
        " --out {output.page:q}"
        " > {log:q} 2>&1"
