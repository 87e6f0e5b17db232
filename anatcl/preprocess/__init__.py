"""From a raw T1w scan to masks, tissue maps, transforms and quality numbers, through nipype and ANTs."""
