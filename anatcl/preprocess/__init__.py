"""From a raw T1w scan to masks, tissue maps, transforms and image-quality metrics, through nipype and ANTs."""
