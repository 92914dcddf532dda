"""What is served over HTTP; thin: calls the layers below, decides nothing."""
