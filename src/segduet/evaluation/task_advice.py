"""Which figures of a task suit what is known about it: one rule per property that was counted."""

from collections.abc import Callable

from segduet.evaluation.advice import PITFALLS, RECOMMENDATIONS, Advice, Said, pieces_of_advice
from segduet.evaluation.data_fingerprint import DatasetFingerprint, TaskFingerprint
from segduet.metrics.probability import NUM_CALIBRATION_BINS

# The sources name properties, not numbers: where a property begins is our choice.
#: Most by least frequent class.
IMBALANCED = 2.0
#: Share of the positive cases.
RARE = 0.1
#: Of a class: with fewer, one answer moves its recall by more than 5 %.
FEW_OF_A_CLASS = 20
#: For ten on average in each bin.
FEW_FOR_CALIBRATION = 10 * NUM_CALIBRATION_BINS
#: Distance from the median in interquartile ranges; one normal value in 20,000 is so far away.
REMOTE = 3.0

_EXCLUSIVE = ("binary", "multiclass", "ordinal")

TaskRule = Callable[[str, TaskFingerprint], list[Advice]]


def task_advice(data: DatasetFingerprint) -> list[Advice]:
    """Advice on every task with a known answer."""
    found: list[Advice] = []
    for name, task in data.tasks.items():
        of_task = [advice for rule in _RULES for advice in rule(name, task)]
        found += [*of_task, *_what_remains(name, task, of_task)]
    return found


def _imbalance(name: str, task: TaskFingerprint) -> list[Advice]:
    occurring = [count for count in task.counts.values() if count]
    if task.kind not in _EXCLUSIVE or max(occurring) < IMBALANCED * min(occurring):
        return []
    most = max(task.counts, key=task.counts.__getitem__)
    share = task.counts[most] / task.num_cases
    return pieces_of_advice(
        name,
        "imbalance",
        f"{share:.0%} of {task.num_cases} cases are {most!r}",
        ("uninformative", ("accuracy",), "that much is right for who always says so"),
        ("look", ("macro_f1", "mcc"), "rare classes weigh like frequent ones"),
        measured=share,
        source=f"{PITFALLS}, high class imbalance (P2.3)",
    )


def _rare_positives(name: str, task: TaskFingerprint) -> list[Advice]:
    """Of two classes the second, of findings each."""
    if task.kind not in ("binary", "multilabel"):
        return []
    names = list(task.counts)[1:] if task.kind == "binary" else list(task.counts)
    rarest = min(names, key=task.counts.__getitem__)
    share = task.counts[rarest] / task.num_cases
    if share >= RARE:
        return []
    return pieces_of_advice(
        name,
        "rare_positives",
        f"{share:.1%} of {task.num_cases} cases have {rarest!r}",
        ("careful", ("auroc",), "it hardly falls when most alarms are false"),
        ("look", ("average_precision",), f"it sees false alarms; chance is {share:.3f}"),
        measured=share,
        source=f"Saito and Rehmsmeier 2015; {PITFALLS}, high class imbalance (P2.3)",
    )


def _prevalence(name: str, task: TaskFingerprint) -> list[Advice]:
    """Of two classes: what a reader in another population can take along."""
    if task.kind != "binary":
        return []
    positive = list(task.counts)[1]
    share = task.counts[positive] / task.num_cases
    return pieces_of_advice(
        name,
        "prevalence",
        f"{share:.0%} of {task.num_cases} cases are {positive!r}",
        (
            "careful",
            ("average_precision", "mcc", "macro_f1"),
            "where they are rarer or more frequent the same model has another value",
        ),
        (
            "look",
            ("sensitivity", "specificity", "positive_likelihood_ratio"),
            "they do not depend on how frequent positives are",
        ),
        measured=share,
        source=f"{RECOMMENDATIONS}, class prevalences and the population of interest (FP4.2)",
    )


def _order(name: str, task: TaskFingerprint) -> list[Advice]:
    if task.kind != "ordinal":
        return []
    return pieces_of_advice(
        name,
        "order",
        f"its {len(task.counts)} classes have an order",
        ("look", ("quadratic_kappa", "rank_error"), "an answer two ranks off counts as worse"),
        ("careful", ("macro_f1", "accuracy"), "every wrong answer is equally wrong to it"),
        measured=float(len(task.counts)),
        source=f"{RECOMMENDATIONS}, penalization of errors (FP2.5)",
    )


def _absent_classes(name: str, task: TaskFingerprint) -> list[Advice]:
    absent = [label for label, count in task.counts.items() if not count]
    if not absent:
        return []
    says: list[Said] = [("careful", ("macro_f1",), "they count 0 in the mean")]
    if task.kind != "ordinal":
        says.append(
            ("uninformative", ("auroc", "average_precision"), "it is undefined without them")
        )
    return pieces_of_advice(
        name,
        "absent_classes",
        f"no case is known to have {absent}",
        *says,
        measured=float(len(absent)),
        source="segduet: no mean over the remaining classes is passed off as the macro value",
    )


def _few_of_a_class(name: str, task: TaskFingerprint) -> list[Advice]:
    occurring = {label: count for label, count in task.counts.items() if count}
    if not occurring or min(occurring.values()) >= FEW_OF_A_CLASS:
        return []
    rarest = min(occurring, key=occurring.__getitem__)
    number = occurring[rarest]
    return pieces_of_advice(
        name,
        "few_of_a_class",
        f"only {number} cases are {rarest!r}",
        (
            "careful",
            ("macro_f1",),
            f"one answer moves its recall by {1 / number:.0%}; quote the interval",
        ),
        measured=float(number),
        source=f"{PITFALLS}, small test set size (P2.3)",
    )


def _few_for_calibration(name: str, task: TaskFingerprint) -> list[Advice]:
    if task.kind not in ("binary", "multiclass") or task.num_cases >= FEW_FOR_CALIBRATION:
        return []
    return pieces_of_advice(
        name,
        "few_for_calibration",
        f"{task.num_cases} cases are in {NUM_CALIBRATION_BINS} bins",
        ("careful", ("ece",), "it is above 0 even of a calibrated model"),
        ("look", ("brier",), "it has no bins"),
        measured=float(task.num_cases),
        source=f"{PITFALLS}, small test set size (P2.3)",
    )


def _many_classes(name: str, task: TaskFingerprint) -> list[Advice]:
    number = len(task.counts)
    if task.kind != "multiclass" or number < 3:
        return []
    return pieces_of_advice(
        name,
        "many_classes",
        f"it is a mean over {number} classes",
        ("careful", ("auroc",), "look at the confusion matrix and the F1 of each class beside it"),
        measured=float(number),
        source=f"{RECOMMENDATIONS}, class confusions of unequal severity (FP2.5)",
    )


def _findings(name: str, task: TaskFingerprint) -> list[Advice]:
    if task.kind != "multilabel":
        return []
    return pieces_of_advice(
        name,
        "several_findings",
        f"a case has {len(task.counts)} findings to get right",
        ("careful", ("exact_match",), "one wrong finding makes the whole case wrong"),
        measured=float(len(task.counts)),
        source="segduet: follows from the definition",
    )


def _remote_values(name: str, task: TaskFingerprint) -> list[Advice]:
    if task.remoteness is None or task.remoteness < REMOTE:
        return []
    return pieces_of_advice(
        name,
        "remote_values",
        f"a value lies {task.remoteness:.1f} interquartile ranges from the median",
        ("careful", ("rmse", "r2"), "a few such cases decide it"),
        ("look", ("mae", "spearman"), "they weigh it like any other"),
        measured=task.remoteness,
        source="segduet: squares of distances",
    )


def _what_remains(name: str, task: TaskFingerprint, others: list[Advice]) -> list[Advice]:
    """The figure to name first, where nothing was said about it."""
    first = "mae" if task.kind == "regression" else "macro_f1"
    if any(first in advice.metrics for advice in others):
        return []
    return pieces_of_advice(
        name,
        "classification" if task.counts else "regression",
        f"nothing counted on {task.num_cases} cases speaks against it",
        ("look", (first,), "the figure to name first"),
        measured=float(task.num_cases),
        source="segduet: the headline figure",
    )


_RULES: tuple[TaskRule, ...] = (
    _imbalance,
    _rare_positives,
    _prevalence,
    _order,
    _absent_classes,
    _few_of_a_class,
    _few_for_calibration,
    _many_classes,
    _findings,
    _remote_values,
)
