"""Speed of one training step of AlexNet on a GPU: Keras on JAX and PyTorch, both in bfloat16, in one run.

    python benchmarks/gpu.py

Both train the network of the paper (227 pixels, 60,965,224 parameters, dropout) by SGD with momentum and weight decay on
one batch of raw images in the GPU's memory. Only the step is timed: there is no input pipeline, no augmentation and no
callback, which `zoo train` adds. Weights and loss are float32, products bfloat16. PyTorch is set up as its performance
guide recommends: channels_last, autocast, torch.compile, fused SGD, cuDNN's autotuning, TF32. It runs twice, with its own
normalization across maps and with a product with a band matrix of ones, as in the zoo; the faster of the two counts. Each
contender runs in its own process; they alternate, some steps each.

The share is the time that the step's multiplications would take at the speed of one large bfloat16 product, timed in the
same process, divided by the time of the step. Without a GPU it runs on the CPU, which only shows that it runs: use --size
67 --batch 8. It needs Keras, JAX and NumPy for one side and PyTorch for the other, and no TensorFlow.
"""

import argparse
import functools
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

RATE, MOMENTUM, DECAY = 0.01, 0.9, 5e-4
SCALE, SHIFT = 1.0, -120.0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, nargs="+", default=[128, 256], help="images per step")
    parser.add_argument("--size", type=int, default=227, help="height and width of the images, in pixels")
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=50, help="steps per round")
    parser.add_argument("--rounds", type=int, default=7, help="measured rounds, after one warm-up round")
    parser.add_argument("--child", choices=CHILDREN, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        serve(CHILDREN[options.child], options)
        return
    for batch in options.batch:
        compare(batch, options)


def compare(batch, options):
    """Run the contenders alternately with one batch size, and print their rates, shares and ratios."""
    children = {name: start(name, batch, options) for name in CHILDREN}
    try:
        about = {name: json.loads(child.stdout.readline()) for name, child in children.items()}
        rates = {name: [] for name in CHILDREN}
        for number in range(options.rounds + 1):
            for name, child in children.items():
                child.stdin.write("round\n")
                child.stdin.flush()
                seconds = float(child.stdout.readline())
                if number:  # the first round includes compilation
                    rates[name].append(batch * options.steps / seconds)
    finally:
        for child in children.values():
            child.stdin.close()
            child.wait()
    device = about["zoo"]["device"]
    print(f"\nbatch {batch}, {options.size} pixels, {options.rounds} rounds of {options.steps} steps, on {device}")
    if not all(each["gpu"] for each in about.values()):
        print("no GPU: this only shows that the benchmark runs")
    print(f"{'':24} {'images/s: min':>14} {'median':>10} {'max':>10} {'peak TFLOP/s':>13} {'share':>7}")
    for name, found in rates.items():
        peak, median = about[name]["peak"], statistics.median(found)
        share = median * about["zoo"]["operations"] / peak
        print(f"{name:24} {min(found):14,.0f} {median:10,.0f} {max(found):10,.0f} {peak / 1e12:13.1f} {share:7.1%}")
    best = max((name for name in rates if name != "zoo"), key=lambda name: statistics.median(rates[name]))
    ratios = [zoo / peer for zoo, peer in zip(rates["zoo"], rates[best], strict=True)]
    print(f"zoo / {best}, per round: {min(ratios):.2f} {statistics.median(ratios):.2f} {max(ratios):.2f}")


def start(name, batch, options):
    root = str(Path(__file__).resolve().parents[1])
    # Both processes share one GPU; by default JAX would reserve three quarters of its memory.
    jax = {"KERAS_BACKEND": "jax", "XLA_CLIENT_MEM_FRACTION": ".4", "PYTHONPATH": root} if name == "zoo" else {}
    sizes = [f"--{key}={getattr(options, key)}" for key in ("size", "classes", "steps")]
    return subprocess.Popen(
        [sys.executable, __file__, "--child", name, f"--batch={batch}", *sizes],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **jax},
        text=True,
    )


def serve(contender, options):
    """Print a description of the contender, and for each line read the seconds of some steps."""
    about, steps = contender(options)
    print(json.dumps(about), flush=True)
    for _ in sys.stdin:
        begin = time.perf_counter()
        steps(options.steps)
        print(time.perf_counter() - begin, flush=True)


def samples(options):
    """Return one batch of random raw images and labels; the time does not depend on their content."""
    generator = np.random.default_rng(0)
    shape = (options.batch[0], options.size, options.size, 3)
    return generator.integers(0, 256, shape, "uint8"), generator.integers(0, options.classes, shape[0]).astype("int32")


def peak(multiply, side, gpu):
    """Return the operations per second of a square product: the best of ten, each long enough to be timed accurately."""
    times = 20 if gpu else 2
    multiply(times)
    seconds = []
    for _ in range(10):
        begin = time.perf_counter()
        multiply(times)
        seconds.append((time.perf_counter() - begin) / times)
    return 2 * side**3 / min(seconds)


def on_jax(options):
    """Return training steps of the zoo's AlexNet, written as Keras compiles them on JAX: with all variables donated."""
    import jax
    import jax.numpy as jnp
    import keras

    from zoo.analysis import arithmetic
    from zoo.models.alexnet import alexnet

    assert "tensorflow" not in sys.modules
    gpu = jax.default_backend() == "gpu"
    keras.config.set_dtype_policy("mixed_bfloat16")
    net = alexnet(options.classes, options.size)
    net.layers[-1].dtype_policy = "float32"  # as in training: scores are not rounded
    optimizer = keras.optimizers.SGD(RATE, momentum=MOMENTUM, weight_decay=DECAY)
    optimizer.build(net.trainable_variables)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    images, labels = map(jax.device_put, samples(options))

    def loss_of(trainable, rest, images, labels):
        pixels = images.astype("float32") * SCALE + SHIFT
        scores, rest = net.stateless_call(trainable, rest, pixels, training=True)
        return loss(labels, scores), rest

    @functools.partial(jax.jit, donate_argnums=0)
    def step(state, images, labels):
        trainable, rest, slots = state
        (value, rest), gradients = jax.value_and_grad(loss_of, has_aux=True)(trainable, rest, images, labels)
        trainable, slots = optimizer.stateless_apply(slots, gradients, trainable)
        return (trainable, rest, slots), value

    groups = net.trainable_variables, net.non_trainable_variables, optimizer.variables
    state = tuple([variable.value for variable in group] for group in groups)

    def steps(number):
        nonlocal state
        for _ in range(number):
            state, value = step(state, images, labels)
        value.block_until_ready()
        assert np.isfinite(value)

    side = 8192 if gpu else 512
    a, b = (jax.random.normal(jax.random.key(i), (side, side), "bfloat16") for i in range(2))
    product = jax.jit(jnp.matmul)

    def multiply(times):
        for _ in range(times):
            c = product(a, b)
        c.block_until_ready()

    rows = arithmetic.table(net)
    macs = 3 * sum(row.macs for row in rows) - next(row.macs for row in rows if row.macs)  # no gradient for the pixels
    about = {"gpu": gpu, "device": jax.devices()[0].device_kind, "operations": 2 * macs}
    return {**about, "peak": peak(multiply, side, gpu)}, steps


def torch_alexnet(options, band):
    """Return AlexNet as PyTorch's users write it; with `band`, normalized by a product with a band matrix of ones."""
    import torch
    from torch import nn

    class Band(nn.Module):
        def __init__(self, maps):
            super().__init__()
            near = (torch.arange(maps)[:, None] - torch.arange(maps)).abs() <= 2
            self.register_buffer("near", near.float()[:, :, None, None])

        def forward(self, x):
            root = (2 + 1e-4 * nn.functional.conv2d(x.square(), self.near)).float().rsqrt()
            return x * (root * root.sqrt())

    def convolution(inputs, maps, window, **named):
        return nn.Conv2d(inputs, maps, window, **named), nn.ReLU()

    def normalization(maps):
        return Band(maps) if band else nn.LocalResponseNorm(5, 5e-4, 0.75, 2.0)

    def pooling():
        return nn.MaxPool2d(3, 2, ceil_mode=True)

    below = nn.Sequential(
        *(*convolution(3, 96, 11, stride=4), normalization(96), pooling()),
        *(*convolution(96, 256, 5, padding=2, groups=2), normalization(256), pooling()),
        *convolution(256, 384, 3, padding=1),
        *convolution(384, 384, 3, padding=1, groups=2),
        *(*convolution(384, 256, 3, padding=1, groups=2), pooling(), nn.Flatten()),
    )
    features = below(torch.zeros(1, 3, options.size, options.size)).shape[1]
    top = (nn.Linear(features, 4096), nn.ReLU(), nn.Dropout(), nn.Linear(4096, 4096), nn.ReLU(), nn.Dropout())
    net = nn.Sequential(*below, *top, nn.Linear(4096, options.classes))
    assert (options.size, options.classes) != (227, 1000) or sum(each.numel() for each in net.parameters()) == 60_965_224
    return net


def on_torch(options, band):
    """Return training steps of AlexNet in PyTorch; see `torch_alexnet` for `band`."""
    import torch
    from torch import nn

    gpu = torch.cuda.is_available()
    device = "cuda" if gpu else "cpu"
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("high")
    net = torch_alexnet(options, band).to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(net.parameters(), RATE, MOMENTUM, weight_decay=DECAY, fused=True)
    criterion = nn.CrossEntropyLoss()
    images, labels = samples(options)
    images = torch.from_numpy(images).to(device).permute(0, 3, 1, 2)  # already channels last in memory
    labels = torch.from_numpy(labels).long().to(device)

    @torch.compile
    def loss_of(images, labels):
        with torch.autocast(device, torch.bfloat16):
            scores = net(images.float() * SCALE + SHIFT)
        return criterion(scores.float(), labels)

    def wait():
        if gpu:
            torch.cuda.synchronize()

    def steps(number):
        for _ in range(number):
            optimizer.zero_grad(set_to_none=True)
            value = loss_of(images, labels)
            value.backward()
            optimizer.step()
        wait()
        assert torch.isfinite(value)

    side = 8192 if gpu else 512
    a, b = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))

    def multiply(times):
        for _ in range(times):
            torch.matmul(a, b)
        wait()

    name = torch.cuda.get_device_name() if gpu else "CPU"
    return {"gpu": gpu, "device": name, "peak": peak(multiply, side, gpu)}, steps


CHILDREN = {
    "zoo": on_jax,
    "PyTorch": functools.partial(on_torch, band=False),
    "PyTorch, band": functools.partial(on_torch, band=True),
}

if __name__ == "__main__":
    main()
