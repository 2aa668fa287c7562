"""Networks for clouds as (B, N, 3): PointNet for matching, and others to evaluate on."""
