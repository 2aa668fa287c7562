"""TopKD (Kim et al., ICML 2024): persistence images of embeddings, predicted by a small network."""
