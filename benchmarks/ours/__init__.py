"""What is measured of this project; needs its environment."""
