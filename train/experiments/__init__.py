"""Studies that publish results: figures, pages and their runs."""
