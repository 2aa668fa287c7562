"""TopKD on images: a small convolutional pair on scikit-learn's digits, arms paired by seed."""
