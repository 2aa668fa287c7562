"""What camera images bring on simulated scenes: methods, placebos and plain baselines, by seed."""
