"""What files and reports call a metric."""

from segduet.metrics import declared


def test_every_metric_is_declared_once_under_its_own_name():
    tables = (
        declared.SEGMENTATION_METRICS,
        declared.CLASSIFICATION_METRICS,
        declared.REGRESSION_METRICS,
    )
    assert sum(map(len, tables)) == len(set().union(*tables))
    for table in tables:
        for name, metric in table.items():
            assert metric.name == name
            assert metric.label.strip() == metric.label != ""
            assert metric.better in ("higher", "lower", "zero")
            assert metric.unit in ("", "mm", "ml", "ranks", "unit of the task")
            assert name.endswith(f"_{metric.unit}") == (metric.unit in ("mm", "ml"))


def test_the_first_figure_to_name():
    assert declared.headline_metric({"auroc", "macro_f1"}).name == "macro_f1"
    assert declared.headline_metric({"mae", "r2"}).name == "mae"
