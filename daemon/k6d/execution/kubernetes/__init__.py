"""Runs snapshots on a Kubernetes cluster with k6-operator."""
