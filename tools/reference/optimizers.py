"""AdamW over ten steps, clipping by global norm, and the learning rate of transformers' schedules at every step."""

import torch
import transformers

from fixture import number, numbers, write_fixture

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
    write_clipping()
    write_schedules()


if __name__ == "__main__":
    main()
