"""A study as work units: run here, on Ray, or as job files of Slurm, Polyaxon, Kubernetes."""
