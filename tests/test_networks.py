"""What holds for all networks: sizes, seeds, precision, copies, determinism on GPUs."""

import numpy as np
import pytest
import tensorflow as tf
from network_parts import CONVOLUTIONS, NORMS, draw_noise, select

from synthmed_tf.networks import dcgan, flow, painter, pix2pix, resize_dcgan, unet, vess2ret, vgg16

NETWORKS = (pix2pix, vess2ret, painter)
NOT_ON_GPUS = {  # operations that TensorFlow 2.15 refuses there under determinism, by its own messages
    "ResizeNearestNeighborGrad", "AdjustContrastv2", "SparseTensorDenseMatMul", "Dilation2DBackpropInput",
    "Dilation2DBackpropFilter", "MaxPoolGradWithArgmax", "Bincount", "DenseBincount", "CropAndResizeGradImage",
    "CropAndResizeGradBoxes",
}  # fmt: skip


@pytest.mark.parametrize("size", [(60, 64), (64, 48), (100, 100), (0, 0)])
@pytest.mark.parametrize(
    "network", [dcgan.build_generator, dcgan.build_discriminator, pix2pix.build_generator, pix2pix.build_discriminator]
)
def test_impossible_sizes_are_refused(network, size):
    with pytest.raises(ValueError, match="multiples of 16, 64 or more"):
        network(size)


def test_seed_fixes_the_weights_and_no_two_layers_start_alike():
    models = []
    for _ in range(2):
        tf.keras.utils.set_random_seed(7)
        models.append(pix2pix.build_discriminator((64, 64)))
    for first, second in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_array_equal(first, second)
    starts = [layer.kernel.numpy().ravel()[:8].tobytes() for layer in select(models[0], CONVOLUTIONS)]
    assert len(set(starts)) == len(starts)


def test_mixed_precision_keeps_norms_and_outputs_in_float32():
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        models = [dcgan.build_generator((64, 64)), dcgan.build_discriminator((64, 64)), unet.build_unet(width=4)]
        models += [network.build_generator((64, 64)) for network in (vess2ret, painter)]
        models += [network.build_discriminator((64, 64)) for network in (pix2pix, painter)]
        models += [
            resize_dcgan.build_generator((64, 64)),
            resize_dcgan.build_discriminator((64, 64)),
            flow.build_denoiser((32, 32)),
        ]
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    for model in models:
        assert model.output.dtype == tf.float32
        assert all(layer.compute_dtype == "float32" for layer in select(model, NORMS))
        assert all(weight.dtype == tf.float32 for weight in model.weights)
        convolutions = [module for module in model.submodules if isinstance(module, CONVOLUTIONS)]
        assert any(layer.compute_dtype == "bfloat16" for layer in convolutions)


def test_networks_can_be_copied():
    pair, masks, seed = draw_noise(1, 64, 64, 4), draw_noise(1, 64, 64, 1), tf.constant([[1, 2]])
    models = [(pix2pix.build_discriminator((64, 64)), pair), (vess2ret.build_generator((64, 64)), [masks, seed])]
    for model, inputs in [*models, (unet.build_unet(width=4), draw_noise(1, 16, 16, 3))]:
        copy = tf.keras.models.clone_model(model)
        copy.set_weights(model.get_weights())
        np.testing.assert_allclose(copy(inputs, training=True), model(inputs, training=True), atol=1e-5)


@pytest.mark.parametrize(
    "make",
    [
        lambda: flow.build_denoiser((64, 64), 2),
        lambda: resize_dcgan.build_generator((64, 64), width=0.25),
        lambda: resize_dcgan.build_discriminator((64, 64), width=0.25),
        lambda: dcgan.build_generator((64, 64), width=0.25),
        lambda: dcgan.build_discriminator((64, 64), width=0.25),
        lambda: unet.build_unet(),
        lambda: vgg16.build_vgg16((32, 32, 1), 2, [0.0], [1.0]),
        *(lambda network=network: network.build_generator((64, 64)) for network in NETWORKS),
        *(lambda network=network: network.build_discriminator((64, 64)) for network in NETWORKS),
    ],
)
def test_gradients_can_be_computed_deterministically_on_gpus(make):
    model = make()

    @tf.function
    def gradients(*inputs):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(model(inputs if len(inputs) > 1 else inputs[0], training=True))
        return tape.gradient(loss, model.trainable_variables)

    shapes = [tf.TensorSpec([2, *(side or 64 for side in each.shape[1:])], each.dtype) for each in model.inputs]
    graph = gradients.get_concrete_function(*shapes).graph.as_graph_def()
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    assert {"ReluGrad", "LeakyReluGrad", "Conv2DBackpropFilter"} & {node.op for node in nodes}
    assert not NOT_ON_GPUS & {node.op for node in nodes}
    assert all(node.attr["is_training"].b for node in nodes if node.op.startswith("FusedBatchNormGrad"))
