"""Every optimizer over ten steps, averages of the weights, clipping by global norm, and the learning rate of transformers' schedules at every step."""

import base64

import bitsandbytes
import torch
import transformers
from lion_pytorch import Lion
from schedulefree import AdamWScheduleFree

from fixture import number, numbers, summary, write_fixture

STEPS = 10
SCHEDULE_STEPS = 50
ADAMW_CASES = {
    "defaults": dict(learningRate=1e-3, weightDecay=0.0, beta1=0.9, beta2=0.999, epsilon=1e-8),
    "decay": dict(learningRate=1e-2, weightDecay=0.1, beta1=0.9, beta2=0.95, epsilon=1e-6),
    "falling-rate": dict(learningRate=[1e-2 * (1 - step / STEPS) for step in range(STEPS)], weightDecay=0.01, beta1=0.8, beta2=0.99, epsilon=1e-8),
}
# name: (function of transformers.optimization, its options)
SCHEDULES = {
    "constant": ("get_constant_schedule", {}),
    "constant-warmup": ("get_constant_schedule_with_warmup", dict(num_warmup_steps=5)),
    "linear": ("get_linear_schedule_with_warmup", dict(num_warmup_steps=0, num_training_steps=50)),
    "linear-warmup": ("get_linear_schedule_with_warmup", dict(num_warmup_steps=5, num_training_steps=50)),
    "cosine": ("get_cosine_schedule_with_warmup", dict(num_warmup_steps=0, num_training_steps=50)),
    "cosine-warmup": ("get_cosine_schedule_with_warmup", dict(num_warmup_steps=5, num_training_steps=50)),
    "cosine-short": ("get_cosine_schedule_with_warmup", dict(num_warmup_steps=5, num_training_steps=30)),
    "cosine-min-lr": ("get_cosine_with_min_lr_schedule_with_warmup", dict(num_warmup_steps=5, num_training_steps=50, min_lr_rate=0.1)),
    "cosine-min-lr-more": ("get_cosine_with_min_lr_schedule_with_warmup", dict(num_warmup_steps=0, num_training_steps=50, min_lr_rate=0.3)),
    "cosine-restarts": ("get_cosine_with_hard_restarts_schedule_with_warmup", dict(num_warmup_steps=5, num_training_steps=50, num_cycles=3)),
    "cosine-restarts-short": ("get_cosine_with_hard_restarts_schedule_with_warmup", dict(num_warmup_steps=0, num_training_steps=30, num_cycles=2)),
    "polynomial": ("get_polynomial_decay_schedule_with_warmup", dict(num_warmup_steps=5, num_training_steps=50, lr_end=0.0, power=2.0)),
    "polynomial-end": ("get_polynomial_decay_schedule_with_warmup", dict(num_warmup_steps=0, num_training_steps=50, lr_end=0.1, power=1.0)),
    "inverse-sqrt": ("get_inverse_sqrt_schedule", dict(num_warmup_steps=5)),
    "inverse-sqrt-timescale": ("get_inverse_sqrt_schedule", dict(num_warmup_steps=5, timescale=20)),
    "wsd-linear": ("get_wsd_schedule", dict(num_warmup_steps=5, num_training_steps=50, num_decay_steps=10, decay_type="linear")),
    "wsd-cosine": ("get_wsd_schedule", dict(num_warmup_steps=5, num_training_steps=50, num_decay_steps=10, decay_type="cosine")),
    "wsd-1-sqrt": ("get_wsd_schedule", dict(num_warmup_steps=5, num_training_steps=50, num_decay_steps=10, decay_type="1-sqrt")),
    "wsd-min-lr": ("get_wsd_schedule", dict(num_warmup_steps=0, num_training_steps=50, num_decay_steps=20, decay_type="linear", min_lr_ratio=0.1)),
}


def run_adamw(options, initial, gradients):
    """The tensors after each step, and the two moments after the last."""
    rates = options["learningRate"] if isinstance(options["learningRate"], list) else [options["learningRate"]] * STEPS
    parameters = {name: torch.nn.Parameter(tensor.clone()) for name, tensor in initial.items()}
    betas = (options["beta1"], options["beta2"])
    optimizer = torch.optim.AdamW(parameters.values(), betas=betas, eps=options["epsilon"], weight_decay=options["weightDecay"])
    history = []
    for rate, step_gradients in zip(rates, gradients):
        optimizer.param_groups[0]["lr"] = rate
        for name, parameter in parameters.items():
            parameter.grad = step_gradients[name].clone()
        optimizer.step()
        history.append({name: numbers(p) for name, p in parameters.items()})
    states = {name: optimizer.state[p] for name, p in parameters.items()}
    return {
        "options": options,
        "afterStep": history,
        "firstMoment": {name: numbers(state["exp_avg"]) for name, state in states.items()},
        "secondMoment": {name: numbers(state["exp_avg_sq"]) for name, state in states.items()},
    }


def rounded(tensors):
    """Float32 tensors that are exactly what the fixture shows, so that both sides start from the same digits."""
    return {name: torch.tensor(numbers(tensor, 4)) for name, tensor in tensors.items()}


def write_adamw():
    generator = torch.Generator().manual_seed(300)
    shapes = {"matrix": (3, 4), "bias": (5,)}
    draw = lambda scale: rounded({name: scale * torch.randn(shape, generator=generator) for name, shape in shapes.items()})
    initial = draw(1.0)
    gradients = [draw(10.0 ** (step % 4 - 2)) for step in range(STEPS)]  # scales from 0.01 to 10
    content = {
        "initial": {name: numbers(t) for name, t in initial.items()},
        "gradients": [{name: numbers(t) for name, t in step.items()} for step in gradients],
        "cases": {name: run_adamw(options, initial, gradients) for name, options in ADAMW_CASES.items()},
    }
    recipe = "torch.optim.AdamW, float32, decay on every tensor; gradients[i] drives step i+1; a list as learningRate gives the rate of each step"
    write_fixture("optimizers/adamw.json", recipe, content)


def adafactor(parameters, o):
    steps = dict(lr=None if o["relativeStep"] else o["learningRate"], relative_step=o["relativeStep"], warmup_init=o.get("warmupInit", False))
    return transformers.Adafactor(
        parameters, **steps, scale_parameter=o["scaleParameter"], beta1=o.get("beta1"), weight_decay=o["weightDecay"], clip_threshold=o.get("clipThreshold", 1.0)
    )


def lion(parameters, o):
    return Lion(parameters, lr=o["learningRate"], betas=(o["beta1"], o["beta2"]), weight_decay=o["weightDecay"])


def sgd(parameters, o):
    return torch.optim.SGD(
        parameters, lr=o["learningRate"], momentum=o["momentum"], dampening=o["dampening"], nesterov=o["nesterov"], weight_decay=o["weightDecay"]
    )


def schedule_free(parameters, o):
    betas = (o["beta1"], o["beta2"])
    return AdamWScheduleFree(parameters, lr=o["learningRate"], betas=betas, weight_decay=o["weightDecay"], warmup_steps=o["warmupSteps"], r=o["r"])


def muon(parameters, o):
    return torch.optim.Muon(
        parameters, lr=o["learningRate"], weight_decay=o["weightDecay"], momentum=o["momentum"], nesterov=o["nesterov"], adjust_lr_fn=o["adjustLrFn"]
    )


# name of the optimizer: (how the reference is made, the cases)
OPTIMIZERS = {
    "adafactor": (
        adafactor,
        {
            "trainer": dict(learningRate=1e-2, relativeStep=False, scaleParameter=False, weightDecay=0.0),
            "relative-step": dict(learningRate=1e-3, relativeStep=True, scaleParameter=True, weightDecay=0.0),
            "warmup-init": dict(learningRate=1e-3, relativeStep=True, scaleParameter=True, warmupInit=True, weightDecay=0.0),
            "momentum-decay": dict(learningRate=1e-2, relativeStep=False, scaleParameter=True, beta1=0.9, weightDecay=0.1, clipThreshold=0.5),
        },
    ),
    "lion": (
        lion,
        {
            "defaults": dict(learningRate=1e-2, beta1=0.9, beta2=0.99, weightDecay=0.0),
            "decay": dict(learningRate=1e-3, beta1=0.95, beta2=0.98, weightDecay=0.5),
        },
    ),
    "sgd": (
        sgd,
        {
            "plain": dict(learningRate=1e-2, momentum=0.0, dampening=0.0, nesterov=False, weightDecay=0.0),
            "momentum": dict(learningRate=1e-2, momentum=0.9, dampening=0.0, nesterov=False, weightDecay=0.1),
            "dampening": dict(learningRate=1e-2, momentum=0.8, dampening=0.3, nesterov=False, weightDecay=0.0),
            "nesterov": dict(learningRate=1e-2, momentum=0.9, dampening=0.0, nesterov=True, weightDecay=0.01),
        },
    ),
    "schedule-free-adamw": (
        schedule_free,
        {
            "defaults": dict(learningRate=1e-2, beta1=0.9, beta2=0.999, weightDecay=0.0, warmupSteps=0, r=0.0),
            "warmup-decay": dict(learningRate=1e-2, beta1=0.8, beta2=0.99, weightDecay=0.1, warmupSteps=4, r=0.5),
        },
    ),
    "muon": (
        muon,
        {
            "match-rms-adamw": dict(learningRate=1e-2, momentum=0.95, nesterov=True, weightDecay=0.1, adjustLrFn="match_rms_adamw"),
            "original": dict(learningRate=1e-2, momentum=0.9, nesterov=False, weightDecay=0.0, adjustLrFn="original"),
        },
    ),
}


def run_optimizer(make, options, initial, gradients):
    """The tensors after each step; of an optimizer with an evaluation mode, those of that mode too."""
    parameters = {name: torch.nn.Parameter(tensor.clone()) for name, tensor in initial.items()}
    optimizer = make(parameters.values(), options)
    has_modes = hasattr(optimizer, "train")
    history, evaluated = [], []
    for step_gradients in gradients:
        if has_modes:
            optimizer.train()
        for name, parameter in parameters.items():
            parameter.grad = step_gradients[name].clone()
        optimizer.step()
        history.append({name: numbers(p) for name, p in parameters.items()})
        if has_modes:
            optimizer.eval()
            evaluated.append({name: numbers(p) for name, p in parameters.items()})
    return {"options": options, "afterStep": history, **({"evaluated": evaluated} if has_modes else {})}


def in_float32(run):
    """Muon rounds to bfloat16 before its iteration; here that rounding is taken out of it, everything else is torch's."""
    rounding = torch.Tensor.bfloat16
    torch.Tensor.bfloat16 = torch.Tensor.clone  # as rounding does: the momentum must not be changed in place
    try:
        return run()
    finally:
        torch.Tensor.bfloat16 = rounding


def write_optimizers():
    for index, (name, (make, cases)) in enumerate(OPTIMIZERS.items()):
        generator = torch.Generator().manual_seed(310 + index)
        shapes = {"matrix": (3, 4), "tall": (5, 2)} if name == "muon" else {"matrix": (3, 4), "bias": (5,)}
        draw = lambda scale: rounded({tensor: scale * torch.randn(shape, generator=generator) for tensor, shape in shapes.items()})
        initial = draw(1.0)
        gradients = [draw(10.0 ** (step % 4 - 2)) for step in range(STEPS)]
        run = lambda options: run_optimizer(make, options, initial, gradients)
        content = {
            "initial": {tensor: numbers(t) for tensor, t in initial.items()},
            "gradients": [{tensor: numbers(t) for tensor, t in step.items()} for step in gradients],
            "cases": {case: in_float32(lambda: run(options)) if name == "muon" else run(options) for case, options in cases.items()},
        }
        if name == "muon":
            content["bfloat16"] = {case: run(options)["afterStep"][-1] for case, options in cases.items()}
        origin = {
            "adafactor": "transformers.Adafactor",
            "lion": "lion_pytorch.Lion 0.2.5",
            "sgd": "torch.optim.SGD",
            "schedule-free-adamw": "schedulefree.AdamWScheduleFree 1.4.1; evaluated: after optimizer.eval()",
            "muon": "torch.optim.Muon with its rounding to bfloat16 taken out; bfloat16: the last step of torch.optim.Muon as it is",
        }[name]
        write_fixture(f"optimizers/{name}.json", f"{origin}, float32, decay on every tensor; gradients[i] drives step i+1", content)


EIGHT_BIT_SIZES = {"blocks": 4608, "rest": 4452, "small": 60}


def formula(size, step):
    """Numbers that both sides make by themselves: exact in float32, of a scale that changes from element to element."""
    index = torch.arange(size, dtype=torch.int64)
    whole = (index * 7919 + step * 104729) % 2001 - 1000
    return whole.float() * torch.tensor(2.0) ** -(8 + (index % 5)).float()


def run_8bit(options, quantize):
    from bitsandbytes.backends.cpu import ops

    parameters = {name: torch.nn.Parameter(formula(size, 0)) for name, size in EIGHT_BIT_SIZES.items()}
    betas = (options["beta1"], options["beta2"])
    optimizer = bitsandbytes.optim.AdamW8bit(
        parameters.values(), lr=options["learningRate"], betas=betas, eps=options["epsilon"], weight_decay=options["weightDecay"]
    )
    kernel = ops._quant_blockwise_fp32_direct
    ops._quant_blockwise_fp32_direct = quantize or kernel
    try:
        for step in range(STEPS):
            for parameter in parameters.values():
                parameter.grad = formula(parameter.numel(), step + 1)
            optimizer.step()
    finally:
        ops._quant_blockwise_fp32_direct = kernel
    return parameters, {name: optimizer.state[p] for name, p in parameters.items()}


def quantize_nearest(values, code, absmax_out, out, blocksize):
    """bitsandbytes' implementation in Python, which rounds to the nearest value, in place of its kernel for the CPU."""
    kernel = torch.ops.bitsandbytes.quantize_blockwise.default
    codes, absmax = kernel._op_dk(torch._C.DispatchKey.CompositeExplicitAutograd, values, code, blocksize)
    out.copy_(codes)
    absmax_out.copy_(absmax)


def as_base64(tensor):
    return base64.b64encode(tensor.contiguous().numpy().tobytes()).decode()


def write_8bit():
    maps = {name: numbers(bitsandbytes.functional.create_dynamic_map(signed=signed), 9) for name, signed in (("signed", True), ("unsigned", False))}
    options = dict(learningRate=1e-2, weightDecay=0.1, beta1=0.9, beta2=0.99, epsilon=1e-8)
    parameters, states = run_8bit(options, quantize_nearest)
    coarse, _ = run_8bit(options, None)
    encoded = {name: state for name, state in states.items() if "absmax1" in state}
    content = {
        "sizes": EIGHT_BIT_SIZES,
        "options": options,
        "maps": maps,
        "parameters": {name: as_base64(p.detach()) for name, p in parameters.items()},
        "codes": {name: [as_base64(state["state1"]), as_base64(state["state2"])] for name, state in encoded.items()},
        "absmax": {name: [numbers(state["absmax1"], 9), numbers(state["absmax2"], 9)] for name, state in encoded.items()},
        "cpuKernel": {name: summary(p) for name, p in coarse.items()},
    }
    recipe = (
        f"bitsandbytes {bitsandbytes.__version__}, AdamW8bit over ten steps with the quantisation of its Python implementation (nearest value); parameters, "
        "gradients by formula(); base64 of float32 and of uint8; cpuKernel: the same with the kernel for the CPU, which rounds more coarsely"
    )
    write_fixture("optimizers/adamw-8bit.json", recipe, content)


def write_averages():
    generator = torch.Generator().manual_seed(320)
    steps = [torch.tensor(numbers(torch.randn(6, generator=generator), 4)) for _ in range(STEPS)]
    functions = {"ema-0.9": torch.optim.swa_utils.get_ema_multi_avg_fn(0.9), "swa": torch.optim.swa_utils.get_swa_multi_avg_fn()}
    cases = {}
    for name, function in functions.items():
        model = torch.nn.Linear(5, 1)
        averaged = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=function)
        history = []
        for values in steps:
            with torch.no_grad():
                model.weight.copy_(values[:5].reshape(1, 5))
                model.bias.copy_(values[5:])
            averaged.update_parameters(model)
            history.append(numbers(torch.cat([averaged.module.weight.flatten(), averaged.module.bias])))
        cases[name] = history
    recipe = "torch.optim.swa_utils.AveragedModel; weights[i] are the weights after step i+1, cases the average then"
    write_fixture("optimizers/averages.json", recipe, {"weights": [numbers(values) for values in steps], "cases": cases})


def write_clipping():
    generator = torch.Generator().manual_seed(301)
    gradients = rounded({"a": torch.randn(2, 3, generator=generator), "b": torch.randn(4, generator=generator)})
    cases = []
    for max_norm in (0.5, 1.0, 100.0):
        parameters = [torch.nn.Parameter(torch.zeros_like(g)) for g in gradients.values()]
        for parameter, gradient in zip(parameters, gradients.values()):
            parameter.grad = gradient.clone()
        norm = torch.nn.utils.clip_grad_norm_(parameters, max_norm)
        clipped = {name: numbers(p.grad) for name, p in zip(gradients, parameters)}
        cases.append({"maxGradNorm": max_norm, "norm": number(norm.item()), "clipped": clipped})
    recipe = "torch.nn.utils.clip_grad_norm_: every gradient times min(1, maxGradNorm / (norm + 1e-6))"
    write_fixture("optimizers/clipping.json", recipe, {"gradients": {name: numbers(g) for name, g in gradients.items()}, "cases": cases})


def learning_rates(function_name, options):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = getattr(transformers.optimization, function_name)(optimizer, **options)
    rates = []
    for _ in range(SCHEDULE_STEPS):
        rates.append(number(schedule.get_last_lr()[0], 12))
        optimizer.step()
        schedule.step()
    return rates


def write_schedules():
    cases = {name: {"function": function, "options": options, "rates": learning_rates(function, options)} for name, (function, options) in SCHEDULES.items()}
    recipe = "peak learning rate 1; rates[i] is the rate that optimizer step i+1 uses; schedule.step() after every optimizer step, as in the Trainer"
    write_fixture("optimizers/schedules.json", recipe, {"steps": SCHEDULE_STEPS, "cases": cases})


def main():
    write_adamw()
    write_optimizers()
    write_8bit()
    write_averages()
    write_clipping()
    write_schedules()


if __name__ == "__main__":
    main()
