"""Where tests fork processes from: a server that has imported what a training needs, once."""

import multiprocessing

#: Installed modules alone: the server does not see the path that pytest adds for tests/support, and
#: says nothing of a module that it cannot find.
_MODULES = [
    *("torch.utils.tensorboard", "torch._dynamo"),  # the first step of an optimiser imports it
    *("torchjd.aggregation", "segduet.training.loop"),
    *("segduet.cli.main", "segduet.workflows.training"),
]


def fork_server() -> multiprocessing.context.ForkServerContext:
    """The context to start processes in.

    A process that other tests have filled with threads of many libraries is no place to fork from.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_MODULES)
    return context
