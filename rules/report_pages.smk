# report, first part: pages of participants and of the cohort, before anything is trained.
#
# REQUIRED INPUTS: measures, image-quality metrics and pictures of results/preprocess and results/measures
# OUTPUTS:         results/report/participants/{participant}.html and results/report/cohort.html
# STEPS:           participant_pages when a participant's scans are measured; cohort_page after measures


rule participant_pages:
    """Write the page of each participant of a group, once all their scans are measured."""
    input:
        tables=of_group(f"results/measures/{{scan}}_atlas-{ATLAS}_measures.tsv"),
        quality=of_group(
            "results/preprocess/{scan}_desc-qc.json",
            "results/preprocess/{scan}_desc-qc.png",
            *PLAN.imaging.surface_pictures("results/measures/{scan}"),
        ),
    output:
        list="results/report/participants/chunks/{group}.tsv",
    log:
        "logs/participant_pages/{group}.log",
    benchmark:
        "results/benchmarks/participant_pages/{group}.tsv"
    # Before scans that have not begun: pages appear as soon as there is something to see.
    priority: 10
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=grown(1000),
        runtime=grown(20),
    params:
        people=group_people,
        limits=PLAN.imaging.limits(),
        freesurfer=PLAN.imaging.freesurfer_flag(),
        code=code_digest("report", "participants"),
    shell:
        "python -m anatcl report participants"
        " --tables {input.tables:q}"
        " --preprocess-dir results/preprocess"
        " --measures-dir results/measures"
        " --people {params.people:q}"
        " --limits {params.limits:q}"
        " {params.freesurfer:q}"
        " --out-dir results/report/participants"
        " --out {output.list:q}"
        " > {log:q} 2>&1"


rule cohort_page:
    """Write the cohort's page: participants, measures, quality, exclusions."""
    input:
        scans=index_scans,
        notes=index_notes,
        measures="results/measures/measures.tsv",
        reliability="results/measures/reliability.tsv",
        qc="results/preprocess/qc.tsv",
        bids=index_excluded,
        preprocess="results/preprocess/excluded.tsv",
        measured="results/measures/excluded.tsv",
        pages=group_lists,
    output:
        page="results/report/cohort.html",
    log:
        "logs/cohort_page.log",
    benchmark:
        "results/benchmarks/cohort_page.tsv"
    priority: 10
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=grown(2000),
        runtime=grown(60),
    params:
        title=PLAN.config.report.title,
        preprocess_dir=subpath(input.qc, parent=True),
        measures_dir=subpath(input.measures, parent=True),
        options=options_of_scans,
        failures_dir="results/failures",
        failed=failed_scans,
        code=code_digest("report", "cohort"),
    shell:
        "python -m anatcl report cohort"
        " --scans {input.scans:q}"
        " --notes {input.notes:q}"
        " --measures {input.measures:q}"
        " --reliability {input.reliability:q}"
        " --preprocess-dir {params.preprocess_dir:q}"
        " --measures-dir {params.measures_dir:q}"
        " --excluded {input.bids:q} {input.preprocess:q} {input.measured:q}"
        " --failures-dir {params.failures_dir:q}"
        " --pages {input.pages:q}"
        " --pages-dir results/report/participants"
        " --options {params.options:q}"
        " --title {params.title:q}"
        " --out {output.page:q}"
        " > {log:q} 2>&1"
