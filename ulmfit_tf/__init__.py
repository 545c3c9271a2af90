"""ULMFiT for TensorFlow and Keras 3."""
