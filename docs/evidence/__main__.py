"""``python docs/evidence NAME [OPTIONS]`` makes the tables and figures of a page in this folder again."""

import runpy
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
STUDIES = (
    "model_doctor_networks",
    "adversarial",
    "depth_bias",
    "few_annotations",
    "doubts",
    "object_pointing",
    "object_boxes",
    "trace_weights",
    "comparison",
    "cures",
    "corruption_severities",
    "model_doctor",
    "model_doctor_pictures",
    "model_doctor_tables",
    "filter_paths",
    "planted_faults",
    "mistake_kinds",
    "parameter_saliency",
    "parameter_saliency_tables",
    "pot_saliency",
    "reproduced",
    "shortcuts",
    "suspects",
    "two_models",
    "vision_transformer",
)


def main() -> None:
    """Run the study that is named first, with the options after it."""
    if len(sys.argv) < 2 or sys.argv[1] not in STUDIES:
        message = f"Expected the name of a study: {', '.join(STUDIES)}. Its options are shown by `NAME --help`."
        raise SystemExit(message)
    name = sys.argv.pop(1)
    sys.argv[0] = f"{FOLDER.name} {name}"
    runpy.run_path(str(FOLDER / f"{name}.py"), run_name="__main__")


if __name__ == "__main__":
    main()
