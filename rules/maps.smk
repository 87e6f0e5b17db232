# maps: the maps and measures, made from scans or given by the dataset (config pretrain: arrays).
#
# REQUIRED INPUTS: results/bids/scans.tsv
# OUTPUTS:         results/preprocess/, results/measures/, results/pretrain/arrays/
# STEPS:           preprocess.smk -> measures.smk -> report_pages.smk, pretrain_pack.smk; or take.smk alone
for part in PLAN.cohort.parts:

    include: f"{part}.smk"
