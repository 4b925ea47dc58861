"""The slow, obvious twin of each kernel, in NumPy and float64, under the kernel's own name.

Matrices are plain (rows, columns) arrays here; weights are Ω, (D_{i+1}, D_i), as in the slides.
"""

import numpy as np


def linear_forward(h, weights, biases):
    return h @ weights.T + biases


def linear_relu_forward(h, weights, biases):
    return np.maximum(linear_forward(h, weights, biases), 0)


def backward_linear_input(g, weights):
    return g @ weights


def backward_input(g, weights, h):
    return (h > 0) * (g @ weights)


def backward_parameters(g, h):
    return g.T @ h, g.sum(0)


def sgd_update(g, h, learning_rate, weight_decay, weights, biases):
    weights_gradient, biases_gradient = backward_parameters(g, h)
    return (
        weights - learning_rate * (weights_gradient + weight_decay * weights),
        biases - learning_rate * (biases_gradient + weight_decay * biases),
    )


def forward(weights, biases, x):
    """Return [f_0, …, f_K] and [h_0, …, h_K]."""
    f, h = [], [np.asarray(x, np.float64)]
    for i, (Ω, β) in enumerate(zip(weights, biases, strict=True)):
        f.append(linear_forward(h[-1], Ω, β))
        if i < len(weights) - 1:
            h.append(np.maximum(f[-1], 0))
    return f, h


def backward(weights, h, output_gradient):
    """Return [∂L/∂Ω_i], [∂L/∂β_i] and [∂L/∂x, ∂L/∂f_0, …, ∂L/∂f_K]."""
    g = [output_gradient]
    for Ω, h_i in zip(weights[:0:-1], h[:0:-1], strict=True):
        g.insert(0, backward_input(g[0], Ω, h_i))
    pairs = [backward_parameters(g_i, h_i) for g_i, h_i in zip(g, h, strict=True)]
    return [w for w, _ in pairs], [b for _, b in pairs], [backward_linear_input(g[0], weights[0]), *g]


def softplus(f):
    return np.logaddexp(0, f)


def sigmoid(f):
    return np.exp(-np.logaddexp(0, -f))


def log_softmax(f):
    f = f - f.max(1, keepdims=True)
    return f - np.logaddexp.reduce(f, axis=1, keepdims=True)


def losses(name, f, y, parameter=0.0):
    """Return each sample's loss, (n,), and its derivative with respect to ŷ, (n, C)."""
    r = f - y
    if name == "squared_error":
        value, derivative = r**2 / 2, r
    elif name == "binary_cross_entropy":
        value, derivative = softplus(f) - y * f, sigmoid(f) - y
    elif name == "cross_entropy":
        value, derivative = -y * log_softmax(f), np.exp(log_softmax(f)) * y.sum(1, keepdims=True) - y
    elif name == "poisson":
        value, derivative = np.exp(f) - y * f, np.exp(f) - y
    elif name == "huber":
        near = np.abs(r) <= parameter
        value = np.where(near, r**2 / 2, parameter * (np.abs(r) - parameter / 2))
        derivative = np.where(near, r, parameter * np.sign(r))
    elif name == "absolute_error":
        value, derivative = np.abs(r), np.sign(r)
    elif name == "quantile":
        value = np.where(r > 0, (1 - parameter) * r, -parameter * r)
        derivative = np.select([r > 0, r < 0], [1 - parameter, -parameter], 0)
    else:
        raise ValueError(f"there is no loss {name!r}")
    return value.sum(1), derivative


def loss_and_gradient(name, f, y, sample_weights, parameter=0.0):
    """Return Σ w ℓ, Σ w and ∂L/∂ŷ of the weighted mean L."""
    value, derivative = losses(name, f, y, parameter)
    total = sample_weights.sum()
    return sample_weights @ value, total, derivative * (sample_weights / total)[:, None]


def momentum_step(φ, gradient, velocity, learning_rate, momentum, nesterov, weight_decay):
    g = gradient + weight_decay * φ
    velocity = momentum * velocity + g
    return φ - learning_rate * (g + momentum * velocity if nesterov else velocity), velocity


def adam_step(φ, gradient, mean, square, learning_rate, beta_1, beta_2, epsilon, weight_decay, step):
    mean = beta_1 * mean + (1 - beta_1) * gradient
    square = beta_2 * square + (1 - beta_2) * gradient**2
    m_hat, v_hat = mean / (1 - beta_1**step), square / (1 - beta_2**step)
    return φ - learning_rate * (weight_decay * φ + m_hat / (np.sqrt(v_hat) + epsilon)), mean, square


def rmsprop_step(φ, gradient, velocity, square, learning_rate, alpha, epsilon, momentum, weight_decay):
    g = gradient + weight_decay * φ
    square = alpha * square + (1 - alpha) * g**2
    velocity = momentum * velocity + g / (np.sqrt(square) + epsilon)
    return φ - learning_rate * velocity, velocity, square


def adagrad_step(φ, gradient, square, learning_rate, epsilon, weight_decay):
    g = gradient + weight_decay * φ
    square = square + g**2
    return φ - learning_rate * g / (np.sqrt(square) + epsilon), square


def lion_step(φ, gradient, mean, learning_rate, beta_1, beta_2, weight_decay):
    direction = np.sign(beta_1 * mean + (1 - beta_1) * gradient)
    return φ - learning_rate * (weight_decay * φ + direction), beta_2 * mean + (1 - beta_2) * gradient


def clipped(gradients, most):
    """Return gradients whose common norm is at most about `most`; None is no limit."""
    if most is None:
        return gradients
    norm = np.sqrt(sum((g**2).sum() for g in gradients))
    return [g * min(1, most / (norm + 1e-6)) for g in gradients]


def step_of(optimizer, φ, gradient, mean, square, step, is_bias=False):
    """Return an array after the step of an optimizer, and its two moments."""
    o, η = optimizer, optimizer.learning_rate
    λ = 0.0 if is_bias and not o.decay_biases else o.weight_decay
    match type(o).__name__:
        case "SGD":
            return *momentum_step(φ, gradient, mean, η, o.momentum, o.nesterov, λ), square
        case "Adam" | "AdamW":
            return adam_step(φ, gradient, mean, square, η, o.beta_1, o.beta_2, o.epsilon, λ, step)
        case "RMSprop":
            φ, velocity, square = rmsprop_step(φ, gradient, mean, square, η, o.alpha, o.epsilon, o.momentum, λ)
            return φ, velocity if o.momentum > 0 else mean, square
        case "Adagrad":
            φ, square = adagrad_step(φ, gradient, square, η, o.epsilon, λ)
            return φ, mean, square
        case "Lion":
            return *lion_step(φ, gradient, mean, η, o.beta_1, o.beta_2, λ), square
    raise ValueError(f"there is no twin of {o}")
