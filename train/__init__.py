"""The use: train a PTv3 teacher on LiDAR sweeps and distil it into a student."""
