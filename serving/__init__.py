"""From a trained classifier to TF Serving: export, server, client."""
