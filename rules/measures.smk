# measures: thickness, volume and area per region of the atlas.
#
# REQUIRED INPUTS: tissue maps and transforms of results/preprocess, the atlas of config measures: atlas
# OUTPUTS:         per scan labels, thickness map and table, surfaces with measures: engine: surface;
#                  results/measures/measures.tsv and its exports
# STEPS:           (surfaces and) measure per scan -> measures_chunk -> measures
SURFACES = "results/measures/{scan}"


rule surfaces:
    """Make white, pial and central surface of one scan, and register their spheres to fsaverage."""
    input:
        t1w="results/preprocess/{scan}_desc-preproc_T1w.nii.gz",
        gm="results/preprocess/{scan}_label-GM_probseg.nii.gz",
        wm="results/preprocess/{scan}_label-WM_probseg.nii.gz",
        csf="results/preprocess/{scan}_label-CSF_probseg.nii.gz",
        dseg="results/preprocess/{scan}_dseg.nii.gz",
        icv="results/preprocess/{scan}_desc-icv_mask.nii.gz",
        xfm=f"results/preprocess/{{scan}}_from-{TEMPLATE}_to-T1w_mode-image_xfm.h5",
    output:
        gifti=expand(
            "results/measures/{{scan}}_hemi-{hemisphere}_{ending}.gii",
            hemisphere=["L", "R"],
            ending=layout.SURFACE_FILES,
        ),
        quality=f"results/measures/{{scan}}_{layout.SURFACE_NUMBERS}",
        picture=f"results/measures/{{scan}}_{layout.SURFACE_PICTURE}",
    log:
        "logs/surfaces/{scan}.log",
    benchmark:
        "results/benchmarks/surfaces/{scan}.tsv"
    conda:
        "../envs/preprocess.yaml"
    threads: 1
    resources:
        mem_mb=grown(4000),
        runtime=grown(60),
    params:
        stem=SURFACES,
        space=PLAN.imaging.space,
        voxel_mm=PLAN.config.measures.surface_mm,
        seed=PLAN.config.seed,
        code=code_digest("measures", "surfaces"),
    shell:
        "python -m anatcl measures surfaces"
        " --scan {wildcards.scan:q}"
        " --failures results/failures"
        " --log-path {log:q}"
        " --t1w {input.t1w:q}"
        " --gm {input.gm:q}"
        " --wm {input.wm:q}"
        " --csf {input.csf:q}"
        " --dseg {input.dseg:q}"
        " --icv-mask {input.icv:q}"
        " --xfm {input.xfm:q}"
        " --atlas-space-template {params.space:q}"
        " --voxel-mm {params.voxel_mm}"
        " --threads {threads}"
        " --seed {params.seed}"
        " --stem {params.stem:q}"
        " --out-quality {output.quality:q}"
        " --out-picture {output.picture:q}"
        " > {log:q} 2>&1"


rule measure:
    """Label, measure and tabulate the regions of one scan."""
    input:
        t1w="results/preprocess/{scan}_desc-preproc_T1w.nii.gz",
        gm="results/preprocess/{scan}_label-GM_probseg.nii.gz",
        wm="results/preprocess/{scan}_label-WM_probseg.nii.gz",
        csf="results/preprocess/{scan}_label-CSF_probseg.nii.gz",
        dseg="results/preprocess/{scan}_dseg.nii.gz",
        icv="results/preprocess/{scan}_desc-icv_mask.nii.gz",
        xfm=f"results/preprocess/{{scan}}_from-{TEMPLATE}_to-T1w_mode-image_xfm.h5",
        # None with the engine volume.
        surfaces=PLAN.imaging.surface_files(SURFACES),
    output:
        labels=f"results/measures/{{scan}}_atlas-{ATLAS}_dseg.nii.gz",
        thickness="results/measures/{scan}_desc-thickness_map.nii.gz",
        table=f"results/measures/{{scan}}_atlas-{ATLAS}_measures.tsv",
        vertices=PLAN.imaging.label_files(SURFACES),
    log:
        "logs/measure/{scan}.log",
    benchmark:
        "results/benchmarks/measure/{scan}.tsv"
    conda:
        "../envs/preprocess.yaml"
    threads: PLAN.config.preprocess.threads
    resources:
        mem_mb=sized(4000),
        runtime=sized(120),
    params:
        atlas=PLAN.config.measures.atlas,
        content=atlas_files,
        space=PLAN.imaging.space,
        thickness=PLAN.imaging.thickness,
        options=PLAN.imaging.thickness_options(),
        surfaces=surface_flags,
        seed=PLAN.config.seed,
        code=code_digest("measures", "measure"),
    shell:
        "python -m anatcl measures measure"
        " --scan {wildcards.scan:q}"
        " --failures results/failures"
        " --log-path {log:q}"
        " --t1w {input.t1w:q}"
        " --gm {input.gm:q}"
        " --wm {input.wm:q}"
        " --csf {input.csf:q}"
        " --dseg {input.dseg:q}"
        " --icv-mask {input.icv:q}"
        " --xfm {input.xfm:q}"
        " --atlas {params.atlas:q}"
        " --atlas-space-template {params.space:q}"
        " --thickness {params.thickness:q}"
        " --thickness-options {params.options:q}"
        " {params.surfaces:q}"
        " --threads {threads}"
        " --seed {params.seed}"
        " --out-labels {output.labels:q}"
        " --out-thickness {output.thickness:q}"
        " --out-measures {output.table:q}"
        " > {log:q} 2>&1"


rule participant:
    """All results of single scans: maps, measures, image-quality metrics."""
    input:
        measures=of_scans(f"results/measures/{{scan}}_atlas-{ATLAS}_measures.tsv"),
        maps=of_scans(
            f"results/preprocess/{{scan}}_space-{TEMPLATE}_label-GM_desc-modulated_probseg.nii.gz"
        ),
        quality=of_scans("results/preprocess/{scan}_desc-qc.json"),


rule measures_chunk:
    """Join the tables of one chunk of scans."""
    input:
        tables=of_chunk(f"results/measures/{{scan}}_atlas-{ATLAS}_measures.tsv"),
        # Not read: a batch of measures makes the image-quality metrics of its scans, too.
        quality="results/preprocess/chunks/{chunk}_qc.tsv",
    output:
        table="results/measures/chunks/{chunk}_measures.tsv",
    log:
        "logs/measures_chunk/{chunk}.log",
    benchmark:
        "results/benchmarks/measures_chunk/{chunk}.tsv"
    conda:
        "../envs/preprocess.yaml"
    threads: 1
    resources:
        mem_mb=grown(1000),
        runtime=grown(10),
    params:
        code=code_digest("measures", "chunk"),
    shell:
        "python -m anatcl measures chunk"
        " --inputs {input.tables:q}"
        " --out {output.table:q}"
        " > {log:q} 2>&1"


rule measures:
    """Write the cohort's table of measures and its exports."""
    input:
        chunks=of_chunks("results/measures/chunks/{chunk}_measures.tsv"),
        scans=index_scans,
        qc="results/preprocess/qc.tsv",
    output:
        table=report(
            "results/measures/measures.tsv",
            caption="../workflow/report/measures.rst",
            category="Measures",
        ),
        dictionary="results/measures/measures.json",
        openbhb="results/measures/desikan_roi.csv",
        enigma=directory("results/measures/enigma"),
        reliability="results/measures/reliability.tsv",
        adjusted="results/measures/adjusted.tsv",
        outliers="results/measures/outliers.tsv",
        excluded="results/measures/excluded.tsv",
        description="results/measures/dataset_description.json",
    log:
        "logs/measures.log",
    benchmark:
        "results/benchmarks/measures.tsv"
    conda:
        "../envs/preprocess.yaml"
    threads: 1
    resources:
        mem_mb=grown(2000),
        runtime=grown(20),
    params:
        freesurfer=PLAN.imaging.freesurfer_flag(),
        content=freesurfer_tables,
        seed=PLAN.config.seed,
        code=code_digest("measures", "cohort"),
    shell:
        "python -m anatcl measures cohort"
        " --chunks {input.chunks:q}"
        " --scans {input.scans:q}"
        " --qc {input.qc:q}"
        " --seed {params.seed}"
        " {params.freesurfer:q}"
        " --out {output.table:q}"
        " --out-dictionary {output.dictionary:q}"
        " --out-openbhb {output.openbhb:q}"
        " --out-enigma-dir {output.enigma:q}"
        " --out-reliability {output.reliability:q}"
        " --out-adjusted {output.adjusted:q}"
        " --out-outliers {output.outliers:q}"
        " --out-excluded {output.excluded:q}"
        " --out-description {output.description:q}"
        " > {log:q} 2>&1"
