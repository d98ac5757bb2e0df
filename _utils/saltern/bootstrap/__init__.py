"""What makes bare machines hosts of the cloud."""
