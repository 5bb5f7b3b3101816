"""Sentences about model and training, read from run.json, plans.json and the trained network."""

from typing import Any

from segduet.reporting.documents.evidence import Evidence

_OPTIMIZERS = {"sgd": "SGD with Nesterov momentum", "adamw": "AdamW"}


def technology(e: Evidence) -> str:
    """What sort of method it is."""
    answers = {
        "joint": "segments the image and classifies the case in one pass",
        "segmentation": "segments the image",
        "classification": "classifies the case",
    }
    does = answers.get(str(e.setting("recipe.answers")), "answers about the case")
    version = e.setting("versions.segduet")
    return f"Deep learning: one neural network {does} (segduet {version or 'of unknown version'})."


def model(e: Evidence) -> str | None:
    """What network it is."""
    kind, head = e.setting("recipe.network.kind"), e.setting("recipe.head.kind")
    if kind is None:
        return None
    words = [f"Network of the kind {kind}"]
    if kind == "planned" and e.configuration:
        architecture = e.configuration.architecture
        name = architecture.network_class_name.rpartition(".")[2]
        features = architecture.arch_kwargs.get("features_per_stage", ())
        widths = f" with {', '.join(map(str, features))} channels" if features else ""
        words.append(f"that the plan names, {name}{widths}")
    head_text = f"; heads of the kind {head}" if head and _answers_tasks(e) else ""
    return f"{' '.join(words)}{head_text}. {parameters(e) or ''}".strip()


def parameters(e: Evidence) -> str | None:
    """How large the network is."""
    count = e.setting("num_parameters")
    return None if count is None else f"{count:,} trainable parameters."


def network_table(e: Evidence) -> str | None:
    """Where every module is listed."""
    if e.network is None:
        return None
    return (
        f"{len(e.network.modules)} modules with their output shapes and "
        f"{e.network.num_parameters:,} parameters in all, listed in network.md, drawn in "
        "network.svg."
    )


def initialization(e: Evidence) -> str | None:
    """Where the first weights come from."""
    seed = e.setting("seed")
    if seed is None:
        return None
    start = e.run.get("warm_start")
    if not start:
        return f"Random weights from seed {seed}; no pretrained weights."
    loaded, fresh = start.get("loaded"), len(start.get("missing", ()))
    return f"{loaded} weights of a pretrained model, {fresh} random from seed {seed}."


def schedule(e: Evidence) -> str | None:
    """How long and in what steps it was trained."""
    if e.setting("recipe.steps_per_epoch") is None:
        return None
    return (
        f"Recipe {e.setting('recipe.name')}: {e.run['epochs_done']} of {e.setting('recipe.epochs')}"
        f" epochs of {e.setting('recipe.steps_per_epoch')} steps. {batch(e) or ''} "
        f"{patch(e) or ''}".strip()
    )


def batch(e: Evidence) -> str | None:
    """How many patches a step sees."""
    size = e.setting("recipe.batch_size") or (e.configuration.batch_size if e.configuration else 0)
    return f"Batches of {size} patches." if size else None


def patch(e: Evidence) -> str | None:
    """How large a patch is."""
    if e.configuration is None:
        return None
    return f"Patches of {_times(e.configuration.patch_size)} voxels."


def optimizer(e: Evidence) -> str | None:
    """What moves the weights."""
    name = e.setting("recipe.optimizer.name")
    if name is None:
        return None
    rate, decay = _entry(e, "optimizer.learning_rate"), _entry(e, "optimizer.weight_decay")
    kind, warmup = _entry(e, "schedule.kind"), _entry(e, "schedule.warmup_share")
    clip = _entry(e, "gradient_clip_norm")
    rate = f"{rate:g}" if isinstance(rate, int | float) else rate
    return (
        f"{_OPTIMIZERS.get(name, name)}, learning rate {rate}, weight decay {decay}, schedule "
        f"{kind} with warm-up over {warmup} of the steps, gradients clipped at a norm of {clip}; "
        f"averaging of weights: {_entry(e, 'averaging.kind')}."
    )


def losses(e: Evidence) -> str | None:
    """What is minimised, and how the terms are balanced."""
    masks = e.setting("recipe.segmentation_loss.kind")
    classes = e.setting("recipe.classification_loss.kind")
    if masks is None and classes is None:
        return None
    balancing = e.setting("recipe.balancing") or {}
    weights = [
        f"{key.replace('_', ' ')} {balancing[key]:g}"
        for key in ("segmentation_weight", "task_weight")
        if isinstance(balancing.get(key), int | float)
    ]
    told = f" ({', '.join(weights)})" if weights else ""
    return f"Masks: {masks}; classes: {classes}; balanced by {balancing.get('kind')}{told}."


def sampling(e: Evidence) -> str | None:
    """Which patches are drawn, and how they are varied."""
    chosen = e.setting("recipe.sampling")
    if chosen is None:
        return None
    region = chosen.get("foreground_region") or "any foreground"
    return (
        f"Cases {chosen.get('cases')}; a share of {chosen.get('foreground_share')} of the patches "
        f"centred on {region}; augmentation preset {chosen.get('augmentation')}."
    )


def imbalance(e: Evidence) -> str | None:
    """What was done against rare classes."""
    loss = e.setting("recipe.classification_loss")
    if loss is None:
        return None
    return (
        f"Class weights {loss.get('class_weights')}, logit adjustment "
        f"{loss.get('logit_adjustment')}, cases drawn {_entry(e, 'sampling.cases')}."
    )


def stopping(e: Evidence) -> str | None:
    """When the training ended, and why."""
    kind = e.setting("recipe.early_stopping.kind")
    if kind is None:
        return None
    reason = e.run.get("early_stopping")
    done = f"{e.run['epochs_done']} of {e.setting('recipe.epochs')} epochs were done"
    return f"Early stopping {kind}; {done}{f' ({reason})' if reason else ''}."


def selection(e: Evidence) -> str | None:
    """How the weights were chosen."""
    formula = e.run.get("selection_formula")
    if not formula:
        return None
    count = e.run.get("selected_from")
    return (
        f"{str(formula)[:1].upper()}{str(formula)[1:]} (rule {e.run.get('selection_rule')}); "
        f"chosen from {'an unrecorded number of' if count is None else count} candidate(s)."
    )


def software(e: Evidence) -> str | None:
    """Versions of what numbers depend on."""
    versions = e.run.get("versions")
    if not versions:
        return None
    return ", ".join(f"{name} {version}" for name, version in versions.items()) + "."


def hardware(e: Evidence) -> str | None:
    """What it was trained on."""
    device = e.run.get("device")
    if device is None:
        return None
    return (
        f"Trained on {device} in {e.run.get('precision')}, {e.run.get('threads')} processor "
        "threads."
    )


def training_time(e: Evidence) -> str | None:
    """How long it took."""
    wall = e.setting("seconds.wall")
    if wall is None:
        return None
    cpu = e.setting("seconds.cpu")
    told = "" if cpu is None else f" ({cpu / 3600:.2f} h of processor time)"
    return f"{wall / 3600:.2f} h{told}, of one run with seed {e.run['seed']}."


def tasks(e: Evidence) -> str | None:
    """What is answered."""
    if e.description is None:
        return None
    regions = ", ".join(e.description.label_scheme.foreground)
    questions = "; ".join(
        f"{task.name} ({task.kind}): {', '.join(task.classes) or task.unit or 'a number'}"
        for task in e.description.tasks
    )
    return f"Masks of {regions}; about the case: {questions or 'nothing'}."


def decision(e: Evidence) -> str | None:
    """How probabilities become classes."""
    if e.description is None or not e.description.tasks:
        return None
    kinds = {task.kind for task in e.description.tasks}
    rules = {
        "binary": "the class of the higher probability (threshold 0.5)",
        "multiclass": "the class of the highest probability",
        "ordinal": "the first class up to which half of the probability lies",
        "multilabel": "every finding with a probability above 0.5",
        "regression": "the number itself",
    }
    told = "; ".join(f"{kind}: {rules[kind]}" for kind in sorted(kinds))
    return f"An answer and a decision for every case ({told})."


def _answers_tasks(e: Evidence) -> bool:
    return bool(e.description is None or e.description.tasks)


def _entry(e: Evidence, path: str) -> Any:
    value = e.setting(f"recipe.{path}")
    return "not recorded" if value is None else value


def _times(numbers: tuple[int, ...]) -> str:
    return " x ".join(map(str, numbers))
