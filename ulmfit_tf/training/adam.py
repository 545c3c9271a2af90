"""Adam whose step is one pass over memory on TensorFlow."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="ulmfit_tf")
class Adam(keras.optimizers.Adam):
    """`keras.optimizers.Adam`, with TensorFlow's fused step where there is one.

    Keras writes a step as ten operations, each of which reads or writes a
    matrix of the variable's size. Outside of TensorFlow and under a
    distribution strategy it is Keras' own step. The arguments, the variables
    and, up to rounding, the results are the same.
    """

    def update_step(self, gradient, variable, learning_rate):
        if self.amsgrad or not _has_fused_step():
            super().update_step(gradient, variable, learning_rate)
            return
        import tensorflow as tf

        index = self._get_variable_index(variable)
        # Keras hands over its own variable or the one beneath it.
        is_keras = isinstance(variable, keras.Variable)
        resource = variable.value if is_keras else variable
        step = ops.cast(self.iterations + 1, variable.dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=resource.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=ops.power(ops.cast(self.beta_1, step.dtype), step),
            beta2_power=ops.power(ops.cast(self.beta_2, step.dtype), step),
            lr=ops.cast(learning_rate, variable.dtype),
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=ops.cast(ops.convert_to_tensor(gradient), variable.dtype),
        )


def _has_fused_step():
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return not tf.distribute.has_strategy()
