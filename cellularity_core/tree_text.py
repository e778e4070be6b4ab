"""LightGBM's text of trees, checked before LightGBM reads it.

LightGBM may read a damaged file without complaint, and an unknown parameter or a child that
is not there ends the process. So what it is given has every tree where the header says it
is, all of it numbers, each split on a feature that exists and leading to nodes that exist.
(A digit changed to another is for the model set's checksum to find.)
"""

import re
from collections.abc import Sequence
from typing import Final

from cellularity_core.errors import ModelError

END: Final = "end of trees\n"

_NUMBERS: Final = re.compile(r"(?:\w+=[-+.\de ]*\n|\n)*")
"""Lines of "key=1 2.5 -3e-05" as the trees are written."""

_HEAD: Final = re.compile(
    r"tree\nversion=v\d\nnum_class=1\nnum_tree_per_iteration=1\nlabel_index=0\n"
    r"max_feature_idx=(\d{1,4})\nobjective=regression\nfeature_names=([^\n]*)\n"
    r"feature_infos=((?:(?:none|\[[-+.\de]+:[-+.\de]+\]) ?)+)\ntree_sizes=(\d+(?: \d+)*)\n\n"
)

_OF_SPLITS: Final = (
    *("split_feature", "split_gain", "threshold", "decision_type", "left_child", "right_child"),
    *("internal_value", "internal_weight", "internal_count"),
)
_OF_LEAVES: Final = ("leaf_value", "leaf_weight", "leaf_count")


def checked(text: str, name: str, features: Sequence[str]) -> str:
    """The trees of a LightGBM file, without what plays no part in predicting.

    Parameters
    ----------
    text : str
        The file, its lines ended by a line feed.
    name : str
        What to call it in messages.
    features : sequence of str
        That the trees must read, as the file writes them.

    Raises
    ------
    ModelError
        If it is damaged, or reads other features.
    """
    head = _HEAD.match(text)
    end = text.find(END)
    whole = head is not None and end > 0 and "\nend of parameters" in text[end:]
    if head is None or not whole or not _are_whole(text[head.end() : end], head[4], int(head[1])):
        raise ModelError(
            f"{name} is damaged or no LightGBM model in text; install the model set again."
        )
    count = len(features)
    sizes = int(head[1]) + 1, len(head[3].split())
    if head[2].split() != list(features) or sizes != (count, count):
        raise ModelError(
            f"{name} does not read the {count} features of this software in their "
            "order; train it on them with `cellularity train gbt`."
        )
    return f"{text[:end]}{END}\nparameters:\n\nend of parameters\n"


def _are_whole(trees: str, sizes: str, last_feature: int) -> bool:
    if not trees.isascii() or _NUMBERS.fullmatch(trees) is None:
        return False
    start = 0
    for number, size in enumerate(sizes.split()):
        tree = trees[start : start + int(size[:9])]
        if not tree.startswith(f"Tree={number}\n") or not _is_sound(tree, last_feature):
            return False
        start += len(tree)
    return start == len(trees)


def _is_sound(tree: str, last_feature: int) -> bool:
    """Whether a tree's lists are as long as they must be and its nodes lead where they can."""
    lines = [line.partition("=") for line in tree.split("\n")[1:] if line]
    held = {key: values.split() for key, _, values in lines}
    try:
        leaves = int(held["num_leaves"][0])
        splits = leaves - 1
        if len(lines) != len(held) or held["num_cat"] != ["0"] or held["is_linear"] != ["0"]:
            return False
        lengths = dict.fromkeys(_OF_SPLITS, splits) | dict.fromkeys(_OF_LEAVES, leaves)
        if leaves == 1:
            lengths["leaf_weight"] = 0  # as LightGBM writes a tree without a split
        if any(len(held[key]) != n for key, n in lengths.items()):
            return False
        for values in held.values():
            tuple(map(float, values))
        children = [(int(held[key][k]), k) for key in _OF_SPLITS[4:6] for k in range(splits)]
        # A node stands after its parent, so that no path is a circle; ~k is a leaf.
        reached = sorted(child for child, parent in children if child < 0 or child > parent)
        nodes = [*range(-leaves, 0), *range(1, splits)] if splits else []
        return reached == nodes and all(
            0 <= int(split) <= last_feature for split in held["split_feature"]
        )
    except (KeyError, ValueError, IndexError):
        return False
