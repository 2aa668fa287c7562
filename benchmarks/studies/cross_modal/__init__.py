"""What camera images bring on simulated streets: methods, placebos and plain baselines, by seed."""
