"""TopKD on images: a small convolutional pair on scikit-learn's digits, variants paired by seed."""
