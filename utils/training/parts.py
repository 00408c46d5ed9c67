"""Gradients of a large batch, computed in parts that fit the memory."""

import torch


def backward(loss_of, inputs, parts, networks):
    """Add the gradients of loss_of(*inputs), a mean over the rows of the inputs. Returns the loss.

    inputs: tensors with a row for each image. In several parts the result is the same up to rounding, but for
    batch norm, whose statistics are those of a part. networks: whose spectral norms take the power iterations
    of one batch, not of each part.
    """
    if parts == 1:
        loss = loss_of(*inputs)
        loss.backward()
        return loss.detach()
    vectors = [buffer for network in networks for buffer in _spectral_vectors(network)]
    start, total = [vector.clone() for vector in vectors], 0.0
    for part in zip(*(tensor.tensor_split(parts) for tensor in inputs)):
        if not len(part[0]):  # more parts than images
            continue
        if vectors:
            torch._foreach_copy_(vectors, start)
        loss = loss_of(*part) * (len(part[0]) / len(inputs[0]))
        loss.backward()
        total = total + loss.detach()
    return total


def _spectral_vectors(network):
    return [buffer for name, buffer in network.named_buffers() if name.endswith(("._u", "._v"))]
