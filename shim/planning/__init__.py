"""From what a scan saw to what will be done. Pure: reads no file, has no effect."""

from shim.planning.layout import Layout, LayoutChoice, choose_layout
from shim.planning.library import EVERYTHING, Selection, plan_library, promises
from shim.planning.model import Act, ContainerPlan, LibraryPlan, Make, Plan, Promise, Refusal, Source, is_postponed
from shim.planning.wanted import Packing, Slim, Wanted

__all__ = [
    "EVERYTHING",
    "Act",
    "ContainerPlan",
    "Layout",
    "LayoutChoice",
    "LibraryPlan",
    "Make",
    "Packing",
    "Plan",
    "Promise",
    "Refusal",
    "Selection",
    "Slim",
    "Source",
    "Wanted",
    "choose_layout",
    "is_postponed",
    "plan_library",
    "promises",
]
