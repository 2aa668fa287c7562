"""Object clouds from the simulator: its models sampled on their surfaces, and cut-outs of scans."""
