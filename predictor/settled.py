"""What lives as long as the process is taken out of the garbage collector's sight, once it is all there.

Place in the flow: `bootstrap` puts it between the watch over what is missing and the health service.
"""

import gc

from predictor.adapters.health import Say


def settled_first(say: Say) -> Say:
    """`say`, before whose first SERVING the memory of what is loaded by then is settled."""
    is_settled = False

    async def settled(*, serving: bool) -> None:
        nonlocal is_settled
        if serving and not is_settled:
            is_settled = True
            settle()
        await say(serving=serving)

    return settled


def settle() -> None:
    """Collect, then freeze what is left.

    Libraries and the first champion are some hundred thousand objects that never go, yet each full collection looks at all of
    them while every request waits. Frozen, they are not looked at. Collecting first keeps the garbage of the start from being
    frozen with them. A model that is replaced later still goes when nobody refers to it; only cycles in the first would stay.
    """
    gc.collect()
    gc.freeze()
