"""What is measured of fastai on PyTorch; needs the peers' environment."""
