"""What a deployment is made of: units, containers, manifests, alerts, the dashboard."""
