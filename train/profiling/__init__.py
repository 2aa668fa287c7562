"""What networks cost: parameters, multiply-accumulates, time, memory."""
