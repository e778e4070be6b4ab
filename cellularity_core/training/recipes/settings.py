"""What a recipe may hold: one frozen dataclass for each method."""

from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from cellularity_core.errors import ModelError
from cellularity_core.networks.direct import HALF
from cellularity_core.networks.encoders import check_init
from cellularity_core.training.augmentation import StainJitter
from cellularity_core.training.loop import Schedule

Part = TypeVar("Part")
Head = Literal["regression", "classification"]


def _check_places(places: float, average: str) -> None:
    if places and average != "scores":
        raise ModelError(
            f"places = {places} was asked for with average = '{average}'; only networks that "
            'average scores have places to learn from: write average = "scores".'
        )


@dataclass(frozen=True, slots=True)
class Segmentation:
    """How a segmentation is trained (METHODS 2).

    Attributes
    ----------
    encoder : str
        Any timm network with strides 2 to 32, or ``resnet34-elu``.
    decoder : {"unet", "fpn", "fpn-light"}
    init : str
        ``random``, ``imagenet``, or a file of weights.
    schedule : Schedule
    side : int
        Of a view, in pixels.
    view_mpp : float
        um per pixel that the network works at.
    disc_um : float
        Diameter of the disc drawn at each nucleus.
    class_weights : tuple of 4 float
        In the loss: Normal, Lymphocyte, Malignant, Background.
    batch : int
    zoom : float
        Magnification of a view lies between ``1 / (1 + zoom)`` and ``1 + zoom``.
    jitter : StainJitter
    fields_from : float
        Share of the training after which whole labelled fields join, named by the network.
    """

    encoder: str
    decoder: Literal["unet", "fpn", "fpn-light"]
    init: str
    schedule: Schedule
    side: int = 256
    view_mpp: float = 0.5
    disc_um: float = 6.5
    class_weights: tuple[float, float, float, float] = (1.0, 1.0, 4.0, 1.0)
    batch: int = 8
    zoom: float = 0.0
    jitter: StainJitter = field(default_factory=StainJitter)
    fields_from: float = 0.4


@dataclass(frozen=True, slots=True)
class Cascade:
    """How the regressor of a cascade is trained, and then both (METHODS 3).

    Attributes
    ----------
    regressor : str
        Any timm network.
    init : str
        ``random``, ``imagenet``, or a file of weights.
    channels : {3, 4}
        4 with Background; 3 without it, as an ImageNet start needs.
    frozen : Schedule
        Of the phase in which the segmentation keeps its weights.
    joint : Schedule or None
        Of the phase that tunes both; none leaves the segmentation as it was trained.
    side : int
        Of a view of the maps at 1 um/px in the frozen phase.
    joint_side : int
        Of a view of the image in the joint phase.
    pool : int
        Maps are averaged over ``pool x pool`` pixels before the regressor sees them.
    views : int
        Augmented views of each patch whose maps are made, where no boosting says so.
    batch : int
    repeats : int
        Views of each patch's maps in an epoch of the frozen phase.
    average : {"features", "scores"}
        What is averaged over the maps; see `networks.direct.Direct`.
    places : float
        Weight of the loss of places beside that of the patch, where points tell the
        cellularity of places; needs scores averaged.
    """

    regressor: str
    init: str
    channels: Literal[3, 4]
    frozen: Schedule
    joint: Schedule | None = None
    side: int = 224
    joint_side: int = 448
    pool: int = 2
    views: int = 6
    batch: int = 8
    repeats: int = 2
    average: Literal["features", "scores"] = "features"
    places: float = 0.0

    def __post_init__(self) -> None:
        _check_places(self.places, self.average)


@dataclass(frozen=True, slots=True)
class Direct:
    """How a direct network is trained (METHODS 5).

    Attributes
    ----------
    encoder : str
        Any timm network.
    init : str
        ``random``, ``imagenet``, or a file of weights.
    head : {"regression", "classification"}
    schedule : Schedule
    side : int
        Of a view, in pixels.
    view_mpp : float
        um per pixel that the network works at.
    batch : int
    views : int
        Views of each image in an epoch.
    spread : float
        Of the target over neighbouring classes (classification).
    zoom : float
    jitter : StainJitter
    frozen : bool
        Train the head only.
    average : {"features", "scores"}
        What is averaged over the image; see `networks.direct.Direct`.
    places : float
        As for a `Cascade`.
    after_segmentation : bool
        The encoder takes the weights of the segmentation's, trained on the same patients;
        what that has not, `init` gives. Scoring needs no segmentation all the same.
    whole : Schedule or None
        Of a last phase on views of nearly whole patches: places near a border see padding,
        and there are fewer of them in a patch than in a crop.
    mean, std : tuple of 3 float
        Of the images that the encoder learnt from, R, G, B from 0 to 1. The default maps to
        [-1, 1] as the paper does; a frozen encoder needs its own.
    arguments : dict
        Further arguments of timm's network.
    """

    encoder: str
    init: str
    head: Head
    schedule: Schedule
    side: int = 224
    view_mpp: float = 1.0
    batch: int = 16
    views: int = 4
    spread: float = 0.0
    zoom: float = 0.15
    jitter: StainJitter = field(default_factory=StainJitter)
    frozen: bool = False
    average: Literal["features", "scores"] = "features"
    places: float = 0.0
    after_segmentation: bool = False
    whole: Schedule | None = None
    mean: tuple[float, float, float] = HALF
    std: tuple[float, float, float] = HALF
    arguments: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_places(self.places, self.average)


@dataclass(frozen=True, slots=True)
class Boosting:
    """How the boosted trees are trained (METHODS 4).

    Attributes
    ----------
    views : int
        Augmented views of each patch.
    crops : int
        Random crops of each view, with their own cellularity where points tell it.
    rounds : int
    rate : float
    """

    views: int = 6
    crops: int = 0
    rounds: int = 600
    rate: float = 0.01


@dataclass(frozen=True, slots=True)
class Recipe:
    """Settings of the methods that a recipe speaks of; None for the others.

    Attributes
    ----------
    name : str
        As it was asked for.
    segmentation, cascade, boosting, direct, direct_classes
    combined : tuple of str
        Methods whose mean is the set's headline score; none has no such score.
    chosen : str
        What of it was chosen on which patients: the cards say so, as it flatters figures.
    chosen_on : tuple of str
        Kinds of data set of those patients; none where `chosen` holds of any data.
    """

    name: str = ""
    segmentation: Segmentation | None = None
    cascade: Cascade | None = None
    boosting: Boosting | None = None
    direct: Direct | None = None
    direct_classes: Direct | None = None
    combined: tuple[str, ...] = ()
    chosen: str = ""
    chosen_on: tuple[str, ...] = ()

    def parts(self) -> tuple[str, ...]:
        """Names of the methods it speaks of."""
        names = ("segmentation", "cascade", "boosting", "direct", "direct_classes")
        return tuple(name for name in names if getattr(self, name) is not None)

    def needed(self, part: Part | None, name: str) -> Part:
        """A part that cannot be done without.

        Raises
        ------
        ModelError
            If the recipe does not speak of it.
        """
        if part is None:
            raise ModelError(
                f"The recipe '{self.name}' does not speak of {name}, only of "
                f"{', '.join(self.parts())}; choose another recipe, or add a table [{name}] to it."
            )
        return part

    def check_starts(self, *parts: str) -> None:
        """Make sure that the networks of these parts can start as the recipe says.

        Takes no data; fetches published weights into their cache. See
        `networks.encoders.check_init`.

        Parameters
        ----------
        parts : str
            Names of parts; all that the recipe has by default.

        Raises
        ------
        ModelError
            If a part is not there, or its network cannot start so.
        """
        for name in parts or self.parts():
            part = self.needed(getattr(self, name), name)
            if isinstance(part, Direct):
                check_init(part.encoder, part.init, arguments=part.arguments)
            elif isinstance(part, Cascade):
                check_init(part.regressor, part.init, arguments={})
            elif isinstance(part, Segmentation):
                check_init(part.encoder, part.init)


@dataclass(frozen=True, slots=True)
class Trial:
    """A recipe with one ingredient left out or changed, to be measured beside it.

    Attributes
    ----------
    name : str
        By which it is asked for; the folder of its runs.
    what : str
        What is different, in words that follow a method's name.
    methods : tuple of str
        Methods that are trained and measured.
    folds : tuple of int
        Folds that are held out; none is all of them.
    alone : tuple of int
        Folds of these whose patches are measured by themselves too.
    with_own : bool
        Whether the mean with the scores of the recipe itself is measured too.
    recipe : Recipe
        The recipe as changed.
    """

    name: str
    what: str
    methods: tuple[Literal["gbt", "cascade", "direct-r", "direct-c"], ...]
    folds: tuple[int, ...] = ()
    alone: tuple[int, ...] = ()
    with_own: bool = False
    recipe: Recipe = field(default_factory=Recipe)
