"""From what a scan saw to what will be done. Pure: reads no file, has no effect."""

from shim.planning.library import EVERYTHING, Selection, plan_library, promised_grade
from shim.planning.model import InjectSass, LibraryPlan, Plan, Refusal, Source

__all__ = [
    "EVERYTHING",
    "InjectSass",
    "LibraryPlan",
    "Plan",
    "Refusal",
    "Selection",
    "Source",
    "plan_library",
    "promised_grade",
]
