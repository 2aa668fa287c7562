"""Sets of labeled object clouds: our own folder, the layouts of public sets, and simulated ones."""
